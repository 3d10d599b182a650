use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::suite::{Site, suite};
use super::{RiggedChance, SeededChance};
use crate::port::Chance;

/// Seeded chances, behind something that a test puts in front of them.
struct Seeds<F>(F);

fn seeds<F: Fn(Arc<SeededChance>) -> Arc<dyn Chance>>(front: F) -> Seeds<F> {
    Seeds(front)
}

impl<F: Fn(Arc<SeededChance>) -> Arc<dyn Chance> + Send + Sync> Site for Seeds<F> {
    fn fresh(&self) -> Arc<dyn Chance> {
        (self.0)(SeededChance::new(11))
    }

    fn seeded(&self, seed: u64) -> Option<Arc<dyn Chance>> {
        Some((self.0)(SeededChance::new(seed)))
    }
}

#[test]
fn seeded_passes() {
    suite(&seeds(|chance| chance)).unwrap();
}

#[test]
fn rigged_without_a_script_passes() {
    suite(&seeds(|chance| RiggedChance::over(chance))).unwrap();
}

/// A mistake that a chance could be built with.
#[derive(Clone, Copy)]
enum Bug {
    EndIncluded,
    /// `below` never gives the last.
    LastLeftOut,
    /// Two are drawn where one is asked, and the higher is given.
    Skewed,
    HalfEmpty,
    /// A small state, which comes round.
    Short,
    /// Reads and writes its state in two steps.
    Racy,
    SeedIgnored,
    SeededByUse,
}

struct Planted {
    inner: Arc<SeededChance>,
    bug: Bug,
    state: AtomicU64,
}

static USES: AtomicU64 = AtomicU64::new(0);

impl Planted {
    fn over(inner: Arc<SeededChance>, bug: Bug) -> Arc<Self> {
        let inner = match bug {
            Bug::SeedIgnored => SeededChance::new(3),
            Bug::SeededByUse => SeededChance::new(USES.fetch_add(1, Ordering::SeqCst)),
            _ => inner,
        };
        Arc::new(Self { inner, bug, state: AtomicU64::new(0) })
    }
}

impl Chance for Planted {
    fn bytes(&self) -> [u8; 16] {
        let mut bytes = self.inner.bytes();
        match self.bug {
            Bug::HalfEmpty => bytes[8..].fill(0),
            Bug::Short => return SeededChance::new(u64::from(bytes[0]) + 256 * u64::from(bytes[1] % 4)).bytes(),
            Bug::Racy => {
                let at = self.state.load(Ordering::SeqCst);
                std::thread::yield_now();
                self.state.store(at + 1, Ordering::SeqCst);
                return SeededChance::new(at).bytes();
            }
            _ => {}
        }
        bytes
    }

    fn below(&self, end: u64) -> u64 {
        let drawn = |end: u64| if end == 0 { 0 } else { self.number() % end };
        match self.bug {
            Bug::EndIncluded if end > 0 => drawn(end.saturating_add(1)),
            Bug::LastLeftOut if end > 2 => drawn(end - 1),
            Bug::Skewed => drawn(end).max(drawn(end)),
            _ => drawn(end),
        }
    }
}

#[test]
fn the_suite_sees_planted_bugs() {
    let all = "below reaches every number, each about as often";
    let same = "a seed gives the same again, another seed another";
    let cases = [
        (Bug::EndIncluded, "below is below"),
        (Bug::LastLeftOut, all),
        (Bug::Skewed, all),
        (Bug::HalfEmpty, "every bit is now 0 and now 1"),
        (Bug::Short, "nothing is drawn twice"),
        (Bug::Racy, "threads draw nothing twice"),
        (Bug::SeedIgnored, same),
        (Bug::SeededByUse, same),
    ];
    for (bug, rule) in cases {
        let planted = seeds(move |chance| Planted::over(chance, bug));
        assert_eq!(suite(&planted).expect_err("the suite saw nothing").rule, rule);
    }
}

#[test]
fn what_is_scripted_comes_first_and_what_is_repeated_next() {
    let (plain, rigged) = (SeededChance::new(5), RiggedChance::over(SeededChance::new(5)));
    rigged.script([[1; 16], [2; 16]]);
    rigged.repeat(2);
    let drawn: Vec<_> = (0..5).map(|_| rigged.bytes()).collect();
    assert_eq!(drawn[..4], [[1; 16], [2; 16], [2; 16], [2; 16]]);
    assert_eq!(drawn[4], plain.bytes());
}
