//! What no client of ours would send, for every decoder behind a door.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{TestCaseResult, TestRunner};

use compute::testing::ManualClock;

use crate::http_world::SOON;

/// Seldom enough for every run, unless PROPTEST_CASES says how often.
fn seldom(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 400, ..default }
}

/// Holds `check` against values of `strategy`.
pub(crate) fn hold<S: Strategy>(cases: u32, strategy: S, check: impl Fn(S::Value) -> TestCaseResult) {
    let outcome = TestRunner::new(seldom(cases)).run(&strategy, check);
    outcome.unwrap_or_else(|failed| panic!("{failed}"));
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// What `call` comes to. When nothing else is left to do, the node's time passes: no wait is long.
pub(crate) async fn in_no_time<T>(clock: &ManualClock, call: impl Future<Output = T>) -> T {
    let mut call = std::pin::pin!(call);
    let drive = async {
        for turn in 0_u64.. {
            tokio::select! {
                biased;
                done = &mut call => return done,
                () = tokio::task::yield_now() => if turn % 16 == 15 { clock.advance(500) },
            }
        }
        unreachable!("so many turns no clock has")
    };
    tokio::time::timeout(SOON, drive).await.expect("it comes about in time")
}

/// Time in which nothing may come of what is open.
pub(crate) const SHORT: Duration = Duration::from_millis(2);

/// A text that some decoder takes, and many that it must not.
#[expect(clippy::too_many_lines, reason = "a list of words")]
pub(crate) fn text() -> BoxedStrategy<String> {
    let known = select(vec![
        "default",
        "default",
        "default",
        "orders",
        "orders",
        "orders",
        "a",
        "a",
        "b",
        "10.0.0.7",
        "10.0.0.7:8080",
        "",
        ".",
        "..",
        "a/b",
        "a%2Fb",
        "a b",
        "ü",
        "日本",
        "\0",
        "\n",
        "\u{7f}",
        "\u{85}",
        "\u{feff}x",
        "e\u{301}",
        "*",
        "-1",
        "0",
        "1",
        "true",
        "false",
        "null",
        "1e400",
        "NaN",
        "99999999999999999999",
        "00",
        "+1",
        "0x10",
        "0.0.0",
        "1.1.0",
        "1.2.0",
        "\"0.0.0\"",
        "\"1.1.0\"",
        "W/\"1.1.0-0123456789abcdef\"",
        "\"1.1.0-",
        "\"",
        "W/",
        "127.1099511627775.65535",
        "127.1099511627776.0",
        "128.0.0",
        "1.1",
        "1.1.1.1",
        "1..1",
        "١.١.١",
        "1.1.65536",
        "memory",
        "log",
        "store",
        "2030-01-01T00:00:00Z",
        "9999-12-31T23:59:60Z",
        "fe80::1",
        "[::1]",
        "1.2.3.4.5",
        "/health",
        "http://x",
        "{}",
        "[]",
        "isolated",
        "weight",
        "note",
        "keep_ms",
        "expires_at",
    ]);
    prop_oneof![
        8 => known.prop_map(str::to_owned),
        2 => "\\PC{0,12}",
        1 => select(vec![127_usize, 128, 129, 253, 254, 255, 256, 1_024, 1_025]).prop_map(|length| "x".repeat(length)),
    ]
    .boxed()
}

/// Numbers about the limits, and any.
pub(crate) fn number() -> BoxedStrategy<u32> {
    prop_oneof![
        6 => select(vec![0_u32, 1, 2, 3, 10, 100, 999, 1_000, 1_001, 8_080, 10_000, 10_001, 60_000, 60_001, 65_535, 65_536,
            86_400_000, 86_400_001, 604_800_000, 604_800_001, u32::MAX]),
        1 => any::<u32>(),
    ].boxed()
}

/// Bytes that were something once: some replaced, some cut off, some put in.
pub(crate) fn spoilt(whole: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let hits = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 0..4);
    (whole, hits, proptest::option::weighted(0.2, any::<prop::sample::Index>())).prop_map(|(mut bytes, hits, cut)| {
        for (at, byte, how) in hits {
            let at = at.index(bytes.len() + 1);
            match how {
                0 => bytes.insert(at, byte),
                _ if at == bytes.len() => {}
                1 => bytes[at] = byte,
                _ => drop(bytes.remove(at)),
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        bytes
    })
}
