use std::sync::Arc;

use bytes::Bytes;
use compute::model::{
    Author, Digest, Health, Instance, InstanceId, Lease, LeaseCell, Namespace, Provider, ProviderSpec, Removal,
    RemovalReason, Revision, ServiceKey,
};
use compute::view::{Counts, Encoded, View};
use compute::watch::{Delta, Removed, WatchEvent};
use prost::Message;
use schemas::thuban::v1 as pb;
use schemas::thuban::v1::watch_event::Event;

use super::Outgoing;
use crate::grpc::wire::unframed;

fn revision(text: &str) -> Revision {
    text.parse().unwrap()
}

fn instance(id: &str, note: &str) -> Arc<Instance> {
    let mut spec = ProviderSpec::at("10.0.0.7", 80);
    spec.metadata.insert("note".to_owned(), note.to_owned());
    spec.lease = Lease::Permanent;
    Arc::new(Instance {
        id: InstanceId::new(id).unwrap(),
        provider: Provider::new(&spec).unwrap(),
        health: Health::good(5),
        operator: None,
        registered_at_ms: 5,
        generation: revision("1.2.0"),
        revision: revision("1.3.0"),
        cell: Arc::new(LeaseCell::default()),
    })
}

fn view(count: usize, note: &str) -> Arc<View> {
    let instances: Vec<_> = (0..count).map(|n| instance(&format!("i{n:05}"), note)).collect();
    Arc::new(View {
        // So that it exists.
        overlay: 1,
        revision: revision("1.3.0"),
        digest: instances.iter().fold(Digest::default(), |sum, i| sum.plus(i.digest())),
        counts: Counts { all: count as u32, healthy: count as u32, isolated: 0 },
        instances: Arc::new(instances),
        ..View::unknown(ServiceKey::new("default", "orders").unwrap())
    })
}

fn delta() -> Arc<Delta> {
    let author = Author::new("lease", "lease");
    let removal = Removal { at_ms: 7, reason: RemovalReason::Expired, author, revision: revision("1.4.1") };
    let gone = |id: &str, removal| Removed { id: InstanceId::new(id).unwrap(), removal };
    Arc::new(Delta {
        service: ServiceKey::new("default", "orders").unwrap(),
        from: revision("1.3.0"),
        to: revision("1.4.2"),
        digest: Digest::default(),
        row: None,
        protected: false,
        put: vec![instance("new", "")],
        removed: vec![gone("old", Some(removal)), gone("other", None)],
        encoded: Encoded::default(),
    })
}

fn told(event: &WatchEvent) -> Vec<pb::WatchEvent> {
    let namespace = Namespace::default_namespace();
    let mut plain = Outgoing::default();
    plain.put_event(&namespace, event, Some(revision("1.2.9")));
    let plain: Vec<_> = frames(&mut plain).map(|bytes| pb::WatchEvent::decode(bytes).unwrap()).collect();
    // A session tells the same, with the watch's name around it.
    let mut inside = Outgoing::default();
    inside.put_session_event(300, &namespace, event, Some(revision("1.2.9")));
    let inside: Vec<_> = frames(&mut inside).map(session_event).collect();
    assert_eq!(inside, plain);
    plain
}

fn frames(out: &mut Outgoing) -> impl Iterator<Item = Bytes> {
    let bytes: Vec<u8> = out.take().flatten().collect();
    assert!(out.is_empty());
    unframed(Bytes::from(bytes))
}

fn session_event(bytes: Bytes) -> pb::WatchEvent {
    let reply = pb::SessionReply::decode(bytes).unwrap();
    assert_eq!(reply.request_id, 0);
    let Some(pb::session_reply::Reply::Event(event)) = reply.reply else { panic!("not an event: {reply:?}") };
    assert_eq!(event.watch_id, 300);
    event.event.unwrap()
}

#[test]
fn a_snapshot_names_its_revision_and_is_complete() {
    let view = view(3, "");
    let event = WatchEvent::Snapshot { view: Some(view.clone()), revision: revision("1.9.0"), complete: true };
    let told = told(&event);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].service.as_str(), told[0].revision.as_str()), ("orders", "1.9.0"));
    let Some(Event::Snapshot(snapshot)) = &told[0].event else { panic!("{told:?}") };
    assert_eq!(snapshot.items.len(), 3);
    assert!(snapshot.complete && snapshot.exists);
    assert_eq!(snapshot.digest, view.digest.to_string());
}

#[test]
fn the_same_view_is_told_at_another_revision_with_the_same_bytes() {
    let view = view(40, &"x".repeat(1_000));
    for at in ["1.5.0", "1.1000.0"] {
        let event = WatchEvent::Snapshot { view: Some(view.clone()), revision: revision(at), complete: true };
        assert!(told(&event).iter().all(|part| part.revision == at));
    }
    let event = WatchEvent::Snapshot { view: Some(view.clone()), revision: revision("1.5.0"), complete: true };
    let address = |event: &WatchEvent| {
        let mut out = Outgoing::default();
        out.put_event(&Namespace::default_namespace(), event, None);
        out.take().max_by_key(Bytes::len).unwrap().as_ptr()
    };
    assert_eq!(address(&event), address(&event));
}

#[test]
fn a_large_snapshot_comes_in_parts() {
    let view = view(1_000, &"x".repeat(1_000));
    let event = WatchEvent::Snapshot { view: Some(view.clone()), revision: revision("1.3.0"), complete: true };
    let parts = told(&event);
    assert!(parts.len() > 2, "{} parts", parts.len());
    let mut ids = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        assert!(part.encoded_len() < 1 << 20);
        let Some(Event::Snapshot(snapshot)) = &part.event else { panic!("not a snapshot") };
        let is_last = at + 1 == parts.len();
        assert_eq!((snapshot.complete, !snapshot.digest.is_empty()), (is_last, is_last));
        assert_eq!(part.resume_revision, if is_last { "1.2.9" } else { "" });
        ids.extend(snapshot.items.iter().map(|item| item.id.clone()));
    }
    let wanted: Vec<_> = view.instances.iter().map(|instance| instance.id.to_string()).collect();
    assert_eq!(ids, wanted);
}

#[test]
fn a_part_of_a_namespace_is_not_complete_though_the_same_view_was() {
    let view = view(1, "");
    let event = |complete| WatchEvent::Snapshot { view: Some(view.clone()), revision: revision("1.3.0"), complete };
    let is_complete = |event: &WatchEvent| match &told(event)[0].event {
        Some(Event::Snapshot(snapshot)) => snapshot.complete,
        other => panic!("{other:?}"),
    };
    assert!(is_complete(&event(true)));
    assert!(!is_complete(&event(false)));
    assert!(is_complete(&event(true)));
}

#[test]
fn a_namespace_without_services_is_complete_at_once() {
    let told = told(&WatchEvent::Snapshot { view: None, revision: revision("1.3.0"), complete: true });
    assert_eq!((told[0].namespace.as_str(), told[0].service.as_str()), ("default", ""));
    assert_eq!(told[0].revision, "1.3.0");
    assert!(matches!(&told[0].event, Some(Event::Snapshot(snapshot)) if snapshot.complete && !snapshot.exists));
}

#[test]
fn a_change_says_from_where_to_where() {
    let told = told(&WatchEvent::Change(delta()));
    assert_eq!(told[0].revision, "1.4.2");
    let Some(Event::Change(change)) = &told[0].event else { panic!("{told:?}") };
    assert_eq!(told[0].resume_revision, "1.2.9");
    assert_eq!((change.from_revision.as_str(), change.to_revision.as_str()), ("1.3.0", "1.4.2"));
    assert_eq!(change.put.len(), 1);
    assert!(!change.exists);
    let reasons: Vec<_> = change.removed.iter().map(|gone| (gone.id.as_str(), gone.reason())).collect();
    assert_eq!(reasons, [("old", pb::Reason::Expired), ("other", pb::Reason::Filtered)]);
    assert_eq!(change.removed[0].author, "lease");
    assert!(change.removed[1].removed_at.is_none());
}

#[test]
fn progress_and_compacted_are_of_the_whole_watch() {
    let told_progress = told(&WatchEvent::Progress(revision("1.8.0")));
    assert!(matches!(told_progress[0].event, Some(Event::Progress(_))));
    assert_eq!((told_progress[0].revision.as_str(), told_progress[0].service.as_str()), ("1.8.0", ""));
    let told_compacted = told(&WatchEvent::Compacted(revision("1.8.0")));
    assert!(matches!(told_compacted[0].event, Some(Event::Compacted(_))));
}

#[test]
fn what_goes_out_keeps_its_order() {
    let namespace = Namespace::default_namespace();
    let mut out = Outgoing::default();
    let large = view(40, &"x".repeat(1_000));
    out.put(&pb::SessionReply { request_id: 1, reply: None });
    let event = WatchEvent::Snapshot { view: Some(large), revision: revision("1.3.0"), complete: true };
    out.put_session_event(1, &namespace, &event, None);
    out.put(&pb::SessionReply { request_id: 2, reply: None });
    let replies: Vec<_> = frames(&mut out).map(|bytes| pb::SessionReply::decode(bytes).unwrap().request_id).collect();
    assert_eq!(replies, [1, 0, 2]);
}
