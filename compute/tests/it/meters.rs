//! What a node shows to Prometheus.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use compute::command::Ack;
use compute::model::{Lease, Selector};
use compute::testing::change_log::Stall;
use metrics::{Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder};
use metrics::{SharedString, Unit};

use crate::world::{World, ask, deregister, key, must, provider, register, service, somebody};

/// Keeps the last value of each gauge, the sum of each counter, and how often each histogram was told something.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<BTreeMap<String, f64>>>);

struct Line {
    book: Book,
    name: String,
}

impl Book {
    fn line(&self, key: &Key) -> Arc<Line> {
        let labels = key.labels().map(|label| format!(" {}={}", label.key(), label.value()));
        let name = format!("{}{}", key.name(), labels.collect::<String>());
        Arc::new(Line { book: self.clone(), name })
    }

    fn get(&self, name: &str) -> Option<f64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }
}

impl Line {
    fn put(&self, change: impl FnOnce(f64) -> f64) {
        let mut lines = self.book.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = lines.entry(self.name.clone()).or_default();
        *value = change(*value);
    }
}

impl CounterFn for Line {
    fn increment(&self, by: u64) {
        self.put(|value| value + by as f64);
    }

    fn absolute(&self, to: u64) {
        self.put(|_| to as f64);
    }
}

impl GaugeFn for Line {
    fn increment(&self, by: f64) {
        self.put(|value| value + by);
    }

    fn decrement(&self, by: f64) {
        self.put(|value| value - by);
    }

    fn set(&self, to: f64) {
        self.put(|_| to);
    }
}

impl HistogramFn for Line {
    fn record(&self, _: f64) {
        self.put(|times| times + 1.0);
    }
}

impl Recorder for Book {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.line(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.line(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.line(key))
    }
}

#[tokio::test]
async fn every_queue_span_and_limit_is_shown() {
    let book = Book::default();
    let _guard = metrics::set_default_local_recorder(&book);
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    for n in 0..10 {
        must(&registry, register(&key("orders", &n.to_string()), provider(80, Lease::DEFAULT))).await;
    }
    must(&registry, deregister(&key("orders", "0"))).await;
    let healthy = Selector { healthy: Some(true), ..Selector::default() };
    for _ in 0..3 {
        registry.selected(&service("orders"), &healthy);
    }
    ask(&registry, Ack::Log, deregister(&key("orders", "0"))).await.expect_err("it is gone");
    world.pass(500).await;

    let frames = book.get("thuban_frames_appended_total").expect("frames are counted");
    assert_eq!(frames, 11.0);
    assert_eq!(book.get("thuban_append_seconds"), Some(frames), "each append is timed");
    for span in ["thuban_apply_seconds", "thuban_publish_seconds"] {
        assert_eq!(book.get(span), Some(frames), "{span}");
    }
    assert!(book.get("thuban_decide_seconds") >= Some(frames));
    assert!(book.get("thuban_loop_late_seconds") > Some(0.0) && book.get("thuban_boot_seconds").is_some());
    for queue in ["requests", "renewals", "releases", "staged", "staged_renewals", "check_feed"] {
        assert_eq!(book.get(&format!("thuban_queue_length queue={queue}")), Some(0.0), "{queue}");
        assert!(book.get(&format!("thuban_queue_limit queue={queue}")) > Some(0.0), "{queue}");
    }
    for queue in ["session_words", "check_words"] {
        assert_eq!(book.get(&format!("thuban_queue_length queue={queue}")), Some(0.0), "{queue}");
    }
    let limits = [
        ("rows that wait for the store", 2_000_000.0),
        ("sessions of this node", 200_000.0),
        ("writes in the overlay", 100_000.0),
        ("probes under way", 512.0),
        ("kept words of operators", 100_000.0),
        ("selected views", 100_000.0),
        ("bytes of selected views", 67_108_864.0),
    ];
    for (limit, value) in limits {
        assert_eq!(book.get(&format!("thuban_limit limit={limit}")), Some(value), "{limit}");
    }
    assert_eq!((book.get("thuban_tombstones"), book.get("thuban_timers")), (Some(1.0), Some(0.0)));
    assert_eq!((book.get("thuban_kept_overrides"), book.get("thuban_landing_rows")), (Some(0.0), Some(0.0)));
    assert_eq!(book.get("thuban_unkept_overrides_total"), Some(0.0));
    assert_eq!(book.get("thuban_log_kept_frames"), Some(frames));
    let selected = ["thuban_selected_hits_total", "thuban_selected_misses_total"].map(|name| book.get(name));
    assert_eq!(selected, [Some(2.0), Some(1.0)]);
    assert!(book.get("thuban_selected_entries").is_some() && book.get("thuban_selected_bytes").is_some());

    world.clock.advance(60_000);
    world.pass(500).await;
    assert_eq!(book.get("thuban_leases_spared_total reason=late"), Some(9.0));
    assert_eq!(book.get("thuban_expiry_holds_total reason=late"), Some(1.0));
    world.log.set_away(true);
    ask(&registry, Ack::Log, register(&key("orders", "a"), provider(80, Lease::DEFAULT))).await.expect("kept");
    assert_eq!(book.get("thuban_expiry_held reason=log_away"), Some(1.0));
    world.log.set_away(false);
    world.pass(1_000).await;
    assert_eq!(book.get("thuban_expiry_held reason=log_away"), Some(0.0));
    assert_eq!(book.get("thuban_expiry_holds_total reason=log_away"), Some(1.0));
}

/// The log may show a frame before it answers the append: that is how long the append took.
#[tokio::test]
async fn an_append_that_the_log_shows_first_is_timed() {
    let book = Book::default();
    let _guard = metrics::set_default_local_recorder(&book);
    let world = World::new();
    let node = world.start().await;
    world.log.stall(Stall::Answer);
    for n in 1..=3 {
        must(&node.registry(), register(&key("orders", &n.to_string()), provider(80, Lease::DEFAULT))).await;
        assert_eq!(book.get("thuban_append_seconds"), Some(f64::from(n)));
    }
}

/// One request may be a thousand commands: the bound is of commands.
#[tokio::test]
async fn what_waits_for_a_frame_is_counted_by_commands() {
    let book = Book::default();
    let _guard = metrics::set_default_local_recorder(&book);
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    world.log.stall(Stall::Append);
    let mut waiting = Vec::new();
    for request in 0..40 {
        let (registry, caller) = (registry.clone(), somebody());
        let ids = (0..1_000).map(|n| key("orders", &format!("{request}-{n}")));
        let commands = ids.map(|id| register(&id, provider(80, Lease::DEFAULT))).collect();
        waiting.push(tokio::spawn(async move { registry.submit(&caller, Ack::Log, commands).await.len() }));
    }
    world.settle().await;
    world.pass(500).await;
    let staged = book.get("thuban_queue_length queue=staged");
    assert!(staged > Some(15_000.0) && staged < Some(16_384.0 + 1_000.0), "{staged:?}");
    assert!(book.get("thuban_queue_length queue=requests") > Some(15.0), "the rest stays in its lane");
    world.log.release(Stall::Append);
    for calls in waiting {
        assert_eq!(world.drive(calls).await.expect("it ran"), 1_000);
    }
}
