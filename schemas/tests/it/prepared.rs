use bytes::Bytes;
use prost::Message;
use schemas::Prepared;
use schemas::thuban::v1::{
    DiscoverReply, Progress, SessionEvent, SessionReply, WatchEvent, session_reply, watch_event,
};

fn event(service: &str) -> WatchEvent {
    WatchEvent {
        namespace: "default".into(),
        service: service.into(),
        revision: "1.57.2".into(),
        event: Some(watch_event::Event::Progress(Progress {})),
        resume_revision: String::new(),
    }
}

#[test]
fn a_shared_event_reads_as_the_reply_that_carries_it() {
    // Lengths on both sides of one and two bytes of varint.
    for length in [0, 1, 60, 90, 120, 127, 128, 300, 16_300, 16_400] {
        for watch_id in [0, 1, 200, u64::MAX] {
            let event = event(&"s".repeat(length));
            let sent = Prepared::event(watch_id, event.encode_to_vec().into());
            let bytes = sent.encode_to_vec();
            assert_eq!(bytes.len(), sent.encoded_len());
            let carried = SessionEvent { watch_id, event: Some(event), ended: None };
            let whole = SessionReply { request_id: 0, reply: Some(session_reply::Reply::Event(carried)) };
            assert_eq!(SessionReply::decode(&*bytes), Ok(whole), "{length} bytes for watch {watch_id}");
        }
    }
}

#[test]
fn parts_make_one_message() {
    let own = DiscoverReply { stale: true, ..DiscoverReply::default() };
    let shared = DiscoverReply { service: "orders".into(), exists: true, ..DiscoverReply::default() };
    let encoded =
        Prepared::<DiscoverReply>::Encoded { own: own.encode_to_vec().into(), shared: shared.encode_to_vec().into() };
    let read = DiscoverReply::decode(&*encoded.encode_to_vec());
    assert_eq!(read, Ok(DiscoverReply { stale: true, ..shared }));
}

#[test]
fn a_plain_message_and_a_shared_one_are_the_same_on_the_wire() {
    let reply = DiscoverReply { service: "orders".into(), digest: "0f".into(), ..DiscoverReply::default() };
    let shared = Prepared::<DiscoverReply>::shared(reply.encode_to_vec().into());
    assert_eq!(Prepared::from(reply).encode_to_vec(), shared.encode_to_vec());
}

#[test]
fn what_arrives_joins_what_was_encoded() {
    let first = DiscoverReply { service: "orders".into(), ..DiscoverReply::default() };
    let second = DiscoverReply { revision: "1.2.3".into(), ..DiscoverReply::default() };
    let mut met = Prepared::<DiscoverReply>::shared(first.encode_to_vec().into());
    met.merge(&*second.encode_to_vec()).expect("two whole messages");
    let Prepared::Message(met) = met else { panic!("it is still encoded") };
    assert_eq!(met, DiscoverReply { service: "orders".into(), revision: "1.2.3".into(), ..DiscoverReply::default() });

    let mut broken = Prepared::<DiscoverReply>::shared(Bytes::from_static(b"\xff"));
    assert!(broken.merge(&*second.encode_to_vec()).is_err());
}
