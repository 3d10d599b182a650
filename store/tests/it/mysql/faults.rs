//! What a server, a network and another node can do to a landing.

use std::sync::Arc;
use std::time::Duration;

use compute::model::{Position, Rows};
use compute::port::PresenceStore;
use compute::port::store::{Epoch, LandError, ReadError};
use compute::testing::store::sample::{every_kind, identity, instances, position, sorted};
use futures::poll;
use store::mysql::{MysqlStore, open, open_later};
use tokio::time::timeout;

use super::base::Base;
use super::server::{Server, address};
use super::wire::{AtCommit, Wire};
use crate::place::at;

/// What any call must end within, whatever the server does: more than its limits, far less than for ever.
const BOUNDED: Duration = Duration::from_secs(30);

async fn ends<T>(call: impl Future<Output = T>) -> T {
    timeout(BOUNDED, call).await.expect("a call hangs")
}

/// Asks until the store answers, as a lander does.
async fn mark(store: &MysqlStore) -> (Epoch, u64) {
    ends(async {
        loop {
            match store.mark().await {
                Ok(mark) => {
                    let (epoch, log) = mark.unwrap();
                    return (epoch, log.watermark.offset());
                }
                Err(ReadError::Away(_)) => tokio::task::yield_now().await,
                Err(unusable) => panic!("{unusable}"),
            }
        }
    })
    .await
}

async fn is_whole(store: &MysqlStore, offset: u64, rows: Rows) {
    let loaded = ends(store.load()).await.unwrap();
    assert_eq!(loaded.log, Some(at(offset)));
    assert!(sorted(loaded.rows) == sorted(rows), "other rows at {offset}");
}

fn state(offset: u64) -> Rows {
    instances(0, 2_000, position(offset))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_in_a_landing_leaves_one_watermark() {
    let Some(server) = Server::start() else { return };
    let base = Base::on(&server.address()).await;
    let store = open(&base.impatient(&server.address())).await.unwrap();
    let epoch = store.lead(identity(1)).await.unwrap();
    store.land(epoch, state(1), Position::ZERO, at(1)).await.unwrap();
    let mut now = 1;
    for polls in [0, 1, 3, 6, 12, 25, 50] {
        let landing = store.land(epoch, state(now + 1), at(now).watermark, at(now + 1));
        tokio::pin!(landing);
        for _ in 0..polls {
            if poll!(&mut landing).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        server.kill();
        // Whatever the call would have said: only the mark counts.
        let away = ends(store.load()).await;
        assert!(matches!(&away, Err(ReadError::Away(text)) if text.contains(base.name())), "{:?}", away.err());
        assert!(server.begin(), "the server did not come back");
        let (there, offset) = mark(&store).await;
        assert_eq!(there, epoch);
        assert!(offset == now || offset == now + 1, "{offset} after {now}");
        is_whole(&store, offset, state(offset)).await;
        ends(store.land(epoch, state(offset + 1), at(offset).watermark, at(offset + 1))).await.unwrap();
        now = offset + 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_hangs_on_a_server_that_stands_still() {
    let Some(server) = Server::start() else { return };
    let base = Base::on(&server.address()).await;
    let store = open(&base.impatient(&server.address())).await.unwrap();
    let epoch = store.lead(identity(1)).await.unwrap();
    store.land(epoch, state(1), Position::ZERO, at(1)).await.unwrap();

    server.freeze();
    let landed = ends(store.land(epoch, state(2), at(1).watermark, at(2))).await;
    // The first statement was not answered: no commit was sent, so nothing is written, also later.
    let told = |text: &str| text.contains("did not answer within 1000 ms") && text.contains(base.name());
    assert!(matches!(&landed, Err(LandError::Rejected(text)) if told(text)), "{landed:?}");
    assert!(matches!(ends(store.mark()).await, Err(ReadError::Away(text)) if told(&text)));
    assert!(matches!(ends(store.load()).await, Err(ReadError::Away(text)) if told(&text)));
    assert!(matches!(ends(store.lead(identity(1))).await, Err(LandError::Rejected(text)) if told(&text)));
    let other = Box::pin(ends(open(&base.impatient(&server.address())))).await;
    assert!(matches!(other, Err(store::mysql::OpenError::Away(text)) if told(&text)));

    server.thaw();
    assert_eq!(mark(&store).await, (epoch, 1));
    is_whole(&store, 1, state(1)).await;
    ends(store.land(epoch, state(2), at(1).watermark, at(2))).await.unwrap();
    is_whole(&store, 2, state(2)).await;
}

#[tokio::test]
async fn a_store_that_was_away_at_the_start_is_there_when_its_server_is() {
    let Some(server) = Server::start() else { return };
    let base = Base::on(&server.address()).await;
    server.kill();
    let store = open_later(&base.impatient(&server.address()));
    assert!(matches!(ends(store.load()).await, Err(ReadError::Away(text)) if text.contains(base.name())));
    assert!(matches!(ends(store.lead(identity(1))).await, Err(LandError::Rejected(_))));
    assert!(server.begin());
    let epoch = ends(async {
        loop {
            if let Ok(epoch) = store.lead(identity(1)).await {
                return epoch;
            }
        }
    })
    .await;
    store.land(epoch, every_kind(position(1)), Position::ZERO, at(1)).await.unwrap();
    is_whole(&store, 1, every_kind(position(1))).await;
}

/// Two nodes, as two stores with connections of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_landers_fence_each_other() {
    let Some(base) = Base::shared().await else { return };
    let (one, other) = (base.open().await, base.open().await);
    let (mut now, mut landings) = (0, [0, 0]);
    let mut epoch = Epoch(0);
    for round in 0..20 {
        let (place, node): (usize, &Arc<MysqlStore>) = if round % 2 == 0 { (0, &one) } else { (1, &other) };
        let fenced = epoch;
        epoch = node.lead(identity(1)).await.unwrap();
        assert!(epoch > fenced);
        let from = if now == 0 { Position::ZERO } else { at(now).watermark };
        // At the same time: the one that was fenced must not get in between.
        let late = if place == 0 { &other } else { &one };
        let (landed, refused) = futures::future::join(
            node.land(epoch, state(now + 1), from, at(now + 1)),
            late.land(fenced, state(now + 2), from, at(now + 2)),
        )
        .await;
        landed.unwrap();
        assert!(matches!(refused, Err(LandError::Fenced { epoch: e, .. }) if e == epoch), "{refused:?}");
        now += 1;
        landings[place] += 1;
        assert_eq!(mark(late).await, (epoch, now));
    }
    assert_eq!(landings, [10, 10]);
    is_whole(&one, now, state(now)).await;
}

/// Each time one of the two takes the role for itself, whoever is landing: rows and watermark stay one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn landings_of_two_nodes_that_both_believe_to_lead_never_mix() {
    let Some(base) = Base::shared().await else { return };
    let stores = [base.open().await, base.open().await];
    stores[0].lead(identity(1)).await.unwrap();
    let landings = |store: Arc<MysqlStore>| async move {
        let mut landed = 0;
        while landed < 10 {
            let Ok(epoch) = store.lead(identity(1)).await else { continue };
            loop {
                let (_, log) = store.mark().await.unwrap().unwrap();
                let offset = log.watermark.offset();
                let next = if log.watermark == Position::ZERO { 1 } else { offset + 1 };
                let answer = store.land(epoch, state(next), log.watermark, at(next)).await;
                match answer {
                    Ok(()) => landed += 1,
                    Err(LandError::Fenced { .. } | LandError::Rejected(_)) => break,
                    Err(unknown) => panic!("{unknown}"),
                }
                if landed >= 10 {
                    break;
                }
            }
        }
    };
    let both = [tokio::spawn(landings(stores[0].clone())), tokio::spawn(landings(stores[1].clone()))];
    let third = base.open().await;
    while !both.iter().all(|node| node.is_finished()) {
        let loaded = third.load().await.unwrap();
        let Some(log) = loaded.log.filter(|log| log.watermark != Position::ZERO) else { continue };
        let offset = log.watermark.offset();
        assert_eq!(log, at(offset));
        assert!(sorted(loaded.rows) == sorted(state(offset)), "rows of another watermark than {offset}");
    }
    for node in both {
        node.await.unwrap();
    }
}

struct Led {
    base: Base,
    server: Server,
    wire: Wire,
    store: Arc<MysqlStore>,
    epoch: Epoch,
}

/// A store that is reached by a wire, and holds [`state`] 1.
async fn wired() -> Option<Led> {
    let server = Server::start()?;
    let base = Base::on(&server.address()).await;
    let wire = Wire::to(server.port()).await;
    let mut settings = base.impatient(&address("127.0.0.1", wire.port()));
    settings.tls.mode = store::mysql::TlsMode::Disabled;
    let store = open(&settings).await.unwrap();
    let epoch = store.lead(identity(1)).await.unwrap();
    store.land(epoch, state(1), Position::ZERO, at(1)).await.unwrap();
    Some(Led { base, server, wire, store, epoch })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_lost_at_the_commit_is_unknown_and_the_mark_tells() {
    let Some(Led { base: _base, server: _server, wire, store, epoch }) = wired().await else { return };
    let mut now = 1;
    for (cut, written) in [(AtCommit::CutBefore, false), (AtCommit::CutBehind, true), (AtCommit::CutBefore, false)] {
        wire.next_commit(cut);
        let landed = ends(store.land(epoch, state(now + 1), at(now).watermark, at(now + 1))).await;
        assert!(matches!(landed, Err(LandError::Unknown(_))), "{cut:?}: {landed:?}");
        let (_, offset) = mark(&store).await;
        assert_eq!(offset, now + u64::from(written), "{cut:?}");
        is_whole(&store, offset, state(offset)).await;
        let again = ends(store.land(epoch, state(now + 1), at(now).watermark, at(now + 1))).await;
        if written {
            let fence = at(now + 1).watermark;
            assert!(matches!(again, Err(LandError::Fenced { watermark, .. }) if watermark == fence), "{again:?}");
        } else {
            again.unwrap();
        }
        now += 1;
        is_whole(&store, now, state(now)).await;
    }
    // And of a lead.
    wire.next_commit(AtCommit::CutBehind);
    let led = ends(store.lead(identity(1))).await;
    assert!(matches!(led, Err(LandError::Unknown(_))), "{led:?}");
    assert_eq!(mark(&store).await, (Epoch(epoch.0 + 1), now));
}

/// A landing that its node has given up, with the commit on its way; and another node's store.
async fn held_up() -> Option<(Led, Arc<MysqlStore>)> {
    let led = wired().await?;
    let neighbour = open(&led.base.settings()).await.unwrap();
    led.wire.next_commit(AtCommit::HoldUp);
    let landed = ends(led.store.land(led.epoch, state(2), at(1).watermark, at(2))).await;
    assert!(matches!(landed, Err(LandError::Unknown(_))), "{landed:?}");
    led.wire.held().await;
    Some((led, neighbour))
}

/// The commit reaches the server when its node has long given it up: whoever asks for the mark by then must be told
/// what it becomes, not what it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_comes_late_is_waited_for() {
    let Some((Led { base: _base, server: _server, wire, store, epoch }, neighbour)) = held_up().await else { return };

    // It is open on the server: nobody is told a mark yet, nor takes the role.
    let asked = ends(store.mark()).await;
    assert!(matches!(&asked, Err(ReadError::Away(_))), "{asked:?}");
    let led = ends(store.lead(identity(1))).await;
    assert!(matches!(&led, Err(LandError::Rejected(_))), "{led:?}");
    let asking = neighbour.mark();
    tokio::pin!(asking);
    assert!(poll!(&mut asking).is_pending());
    wire.deliver();
    let told = ends(asking).await.unwrap().unwrap();
    assert_eq!(told, (epoch, at(2)));
    assert_eq!(mark(&store).await, (epoch, 2));
    is_whole(&store, 2, state(2)).await;
}

/// A node that dies, or stands still, in the middle of a landing: the server ends its session, and with it the lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stands_still_in_a_landing_holds_nobody_up_for_long() {
    let Some((Led { base: _base, server: _server, wire: _wire, store, epoch }, neighbour)) = held_up().await else {
        return;
    };
    // Nothing is ever delivered.
    let raised = ends(async {
        loop {
            match neighbour.lead(identity(1)).await {
                Ok(raised) => return raised,
                Err(LandError::Rejected(_)) => (),
                Err(other) => panic!("{other}"),
            }
        }
    })
    .await;
    assert!(raised > epoch);
    is_whole(&neighbour, 1, state(1)).await;
    let late = ends(store.land(epoch, state(2), at(1).watermark, at(2))).await;
    assert!(matches!(late, Err(LandError::Fenced { epoch: e, .. }) if e == raised), "{late:?}");
}
