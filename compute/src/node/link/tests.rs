use std::time::Duration;

use super::*;
use crate::model::Position;
use crate::node::Config;
use crate::node::applier::first_status;
use crate::state::State;

const SESSION: SessionId = SessionId([1; 16]);

fn link() -> (Link, Lanes) {
    let state = State::new(LogIdentity([1; 16]));
    Link::new(first_status(&Config::default(), NodeIncarnation(1), &state, Position::ZERO))
}

#[tokio::test]
async fn words_about_a_session_take_one_place_however_often_it_comes_and_goes() {
    let (link, mut lanes) = link();
    for epoch in 1..=10_000 {
        drop(link.session_held(SESSION, epoch));
        link.session_lost(SESSION, epoch);
    }
    assert_eq!(lanes.sessions.len(), 1);
    let word = SessionWord { epoch: 10_000, is_held: true, is_lost: true };
    assert_eq!(lanes.sessions.take(8).await, Some(vec![(SESSION, word)]));
    // The end of an older connection says nothing of the newer one.
    drop(link.session_held(SESSION, 10_002));
    link.session_lost(SESSION, 10_001);
    let word = SessionWord { epoch: 10_002, is_held: true, is_lost: false };
    assert_eq!(lanes.sessions.take(8).await, Some(vec![(SESSION, word)]));
}

#[tokio::test]
async fn words_about_a_check_take_one_place_and_the_last_one_counts() {
    let (link, mut lanes) = link();
    let word = |failed: Option<&str>| CheckWord {
        key: InstanceKey::new("default", "orders", "a").expect("a good name"),
        generation: Revision::ZERO,
        failed: failed.map(Into::into),
    };
    for _ in 0..10_000 {
        link.check(word(Some("refused")));
        link.check(word(None));
    }
    assert_eq!(lanes.checks.take(8).await.map(|words| words.len()), Some(1));
    link.check(word(None));
    link.check(word(Some("refused")));
    let taken = lanes.checks.take(8).await.expect("the link is there");
    assert_eq!(taken[0].1, Some(word(Some("refused"))));
}

/// What every read and every renewal asks must not wait for the applier, which writes it.
#[test]
fn a_node_that_is_just_writing_its_status_is_still_asked() {
    let (link, _lanes) = link();
    let asked = link.clone();
    link.put_status(move |status| {
        let (told, hears) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _ = told.send((asked.readiness(), asked.may_renew(), asked.status().readiness));
        });
        let told = hears.recv_timeout(Duration::from_secs(20)).expect("it does not wait");
        assert_eq!(told, (Readiness::Ready, Ok(()), Readiness::Ready));
        status.readiness = Readiness::NotReady("the disk is gone".to_owned());
    });
    assert_eq!(link.may_renew(), Err(Error::NotReady("the disk is gone".to_owned())));
    link.drain();
    assert_eq!(link.readiness(), Readiness::NotReady("the disk is gone".to_owned()), "it is more than a drain");
}

#[tokio::test]
async fn operators_do_not_queue_for_ever() {
    let (link, _lanes) = link();
    let caller = Caller { author: crate::model::Author::new("somebody", "test"), is_operator: true };
    let mut waiting: Vec<_> = (0..RELEASES_MAX).map(|_| Box::pin(link.release_freezes(&caller, None))).collect();
    for one in &mut waiting {
        assert!(futures::poll!(one).is_pending());
    }
    let shed = link.release_freezes(&caller, None).await;
    assert!(matches!(shed, Err(Error::Overloaded { limit: RELEASES, .. })), "{shed:?}");
}
