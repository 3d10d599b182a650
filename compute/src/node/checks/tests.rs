use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::model::{Check, LogIdentity, NodeIncarnation};
use crate::node::Config;
use crate::node::applier::first_status;
use crate::node::link::{CheckWord, Lanes};
use crate::state::State;
use crate::testing::{ManualClock, SeededChance};

use super::schedule::tests::{check, instance};

/// A probe that a test answers.
struct Call {
    host: String,
    port: u16,
    answer: oneshot::Sender<Answer>,
}

enum Answer {
    Probed(Probed),
    Panic,
}

struct Scripted(mpsc::UnboundedSender<Call>);

#[async_trait]
impl Prober for Scripted {
    async fn probe(&self, host: &str, port: u16, _: &Check) -> Probed {
        let (answer, answered) = oneshot::channel();
        self.0.send(Call { host: host.to_owned(), port, answer }).expect("the test listens");
        match answered.await {
            Ok(Answer::Probed(probed)) => probed,
            Ok(Answer::Panic) => panic!("as the test wants it"),
            Err(_) => std::future::pending().await,
        }
    }
}

struct World {
    clock: Arc<ManualClock>,
    feed: Feed,
    calls: mpsc::UnboundedReceiver<Call>,
    lanes: Lanes,
    task: JoinHandle<()>,
}

impl World {
    fn start(probes_max: usize) -> Self {
        let state = State::new(LogIdentity([1; 16]));
        let status = first_status(&Config::default(), NodeIncarnation(1), &state, Position::ZERO);
        let (link, lanes) = Link::new(status);
        let (calls, calls_end) = mpsc::unbounded_channel();
        let clock = ManualClock::new();
        let checker = Checker {
            prober: Arc::new(Scripted(calls)),
            clock: clock.clone(),
            chance: SeededChance::new(3),
            link,
            probes_max,
            booted: Position::ZERO,
        };
        let (feed, events) = Feed::new();
        Self { clock, feed, calls: calls_end, lanes, task: tokio::spawn(checker.run(events)) }
    }

    fn began(&self, (key, instance): &(InstanceKey, Arc<Instance>)) {
        self.feed.tell(CheckEvent::Began { key: key.clone(), instance: instance.clone() });
    }

    /// The next probe, however long it takes by the manual clock.
    async fn call(&mut self) -> Call {
        let clock = self.clock.clone();
        in_time(async {
            loop {
                tokio::select! {
                    biased;
                    call = self.calls.recv() => return call.expect("the prober is there"),
                    () = tokio::task::yield_now() => clock.advance(1),
                }
            }
        })
        .await
    }

    async fn answer(&mut self, probed: Probed) {
        let call = self.call().await;
        assert!(call.answer.send(Answer::Probed(probed)).is_ok(), "it is waited for");
    }

    async fn word(&mut self) -> CheckWord {
        let words = in_time(self.lanes.checks.take(1)).await.expect("the link is there");
        words.into_iter().find_map(|(_, word)| word).expect("a word about a check")
    }
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it comes in time")
}

fn refused() -> Probed {
    Probed::Failure("refused".into())
}

fn word((key, instance): &(InstanceKey, Arc<Instance>), failed: Option<&str>) -> CheckWord {
    CheckWord { key: key.clone(), generation: instance.generation, failed: failed.map(Into::into) }
}

#[tokio::test]
async fn a_target_that_fails_is_told_and_told_again_when_it_recovers() {
    let mut world = World::start(4);
    let lease = instance("a", check(1_000, 100, 2, 2), 1);
    world.began(&lease);
    world.answer(Probed::Success).await;
    world.answer(refused()).await;
    world.answer(Probed::Forbidden("not to be called".into())).await;
    assert_eq!(world.word().await, word(&lease, Some("not to be called")));
    world.answer(Probed::Success).await;
    world.answer(Probed::Success).await;
    assert_eq!(world.word().await, word(&lease, None));
}

#[tokio::test]
async fn the_port_of_the_check_goes_before_that_of_the_instance() {
    let mut world = World::start(4);
    world.began(&instance("a", Check { port: Some(81), ..check(1_000, 100, 2, 2) }, 1));
    let call = world.call().await;
    assert_eq!((call.host.as_str(), call.port), ("127.0.0.1", 81));
    drop(call);
    world.began(&instance("b", check(1_000, 100, 2, 2), 1));
    assert_eq!(world.call().await.port, 80);
}

#[tokio::test]
async fn a_place_goes_to_the_next_when_its_answer_is_long_in_coming() {
    let mut world = World::start(2);
    for n in 0..3 {
        world.began(&instance(&n.to_string(), check(3_600_000, 60_000, 3, 1), 1));
    }
    let mut first = world.call().await;
    // Of two places one is for targets that are not known yet: it is given up when another of them wants it.
    // The first has the other one, as it is known to be slow.
    let again = world.call().await;
    in_time(first.answer.closed()).await;
    let mut second = world.call().await;
    world.call().await;
    in_time(second.answer.closed()).await;
    assert!(!again.answer.is_closed());
}

#[tokio::test]
async fn a_probe_of_what_ended_is_called_off() {
    let mut world = World::start(1);
    let (lease, other) = (instance("a", check(1_000, 100, 1, 1), 1), instance("b", check(1_000, 100, 1, 1), 1));
    world.began(&lease);
    let mut call = world.call().await;
    world.feed.tell(CheckEvent::Ended { key: lease.0.clone(), generation: lease.1.generation });
    in_time(call.answer.closed()).await;
    world.began(&other);
    world.answer(refused()).await;
    assert_eq!(world.word().await, word(&other, Some("refused")), "its place is free again");
}

#[tokio::test]
async fn a_prober_that_does_not_come_back_is_not_waited_for() {
    let mut world = World::start(4);
    let lease = instance("a", check(1_000, 200, 1, 1), 1);
    world.began(&lease);
    let mut call = world.call().await;
    world.clock.advance(200 + OVERTIME.as_millis() as u64);
    in_time(call.answer.closed()).await;
    assert_eq!(world.word().await, word(&lease, Some("no answer within 200 ms")));
}

#[tokio::test]
async fn a_probe_that_breaks_says_nothing_and_is_made_again() {
    let mut world = World::start(4);
    let lease = instance("a", check(60_000, 100, 1, 1), 1);
    world.began(&lease);
    let call = world.call().await;
    assert!(call.answer.send(Answer::Panic).is_ok());
    let broken_at = world.clock.mono_ms();
    world.answer(refused()).await;
    assert!(world.clock.mono_ms() < broken_at + 10_000, "soon, not after the interval");
    assert_eq!(world.word().await, word(&lease, Some("refused")));
}

#[tokio::test]
async fn it_ends_with_the_applier_and_takes_its_probes_along() {
    let mut world = World::start(4);
    world.began(&instance("a", check(1_000, 100, 1, 1), 1));
    let mut call = world.call().await;
    drop(world.feed);
    in_time(world.task).await.expect("it ends by itself");
    in_time(call.answer.closed()).await;
}

#[tokio::test]
async fn news_of_a_lease_take_one_place_and_come_in_their_order() {
    let (feed, mut end) = Feed::new();
    let (key, instance) = instance("a", check(1_000, 100, 1, 1), 1);
    let generation = instance.generation;
    let began = || CheckEvent::Began { key: key.clone(), instance: instance.clone() };
    let ended = |generation| CheckEvent::Ended { key: key.clone(), generation };
    let cleared = || CheckEvent::Cleared { key: key.clone() };
    for _ in 0..10_000 {
        feed.tell(began());
        feed.tell(cleared());
        feed.tell(ended(generation));
    }
    assert_eq!(feed.len(), 1);
    let mut heard = async || {
        let taken = end.take(8).await.expect("the feed is there");
        let events = taken.into_iter().flat_map(|(key, news)| news.events(key));
        let name = |event| match event {
            CheckEvent::Began { .. } => "began",
            CheckEvent::Ended { .. } => "ended",
            CheckEvent::Cleared { .. } => "cleared",
        };
        events.map(name).collect::<Vec<_>>()
    };
    assert_eq!(heard().await, ["ended"]);
    feed.tell(ended(generation));
    feed.tell(began());
    feed.tell(cleared());
    assert_eq!(heard().await, ["ended", "began", "cleared"]);
}
