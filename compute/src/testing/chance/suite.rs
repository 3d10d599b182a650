//! What every chance must do: be below what it is asked, reach all of it, and never say the same twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::port::Chance;

/// Where the suite gets chances.
pub trait Site: Send + Sync {
    /// As a process has it after its start.
    fn fresh(&self) -> Arc<dyn Chance>;

    /// That of this seed; `None`: this chance has no seeds, and no two starts are alike.
    fn seeded(&self, seed: u64) -> Option<Arc<dyn Chance>>;
}

/// A rule that a chance broke, and how it showed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {saw}")]
pub struct Violation {
    pub rule: &'static str,
    pub saw: String,
}

type Outcome = Result<(), String>;
type Rule = (&'static str, fn(&dyn Site) -> Outcome);

const RULES: [Rule; 6] = [
    ("below is below", below),
    ("below reaches every number, each about as often", reaches_all),
    ("every bit is now 0 and now 1", every_bit),
    ("nothing is drawn twice", unique),
    ("threads draw nothing twice", unique_among_threads),
    ("a seed gives the same again, another seed another", repeatable),
];

/// Runs every rule.
pub fn suite(site: &dyn Site) -> Result<(), Violation> {
    RULES.into_iter().try_for_each(|(rule, run)| run(site).map_err(|saw| Violation { rule, saw }))
}

/// Fails the rule, with what was seen, unless it holds.
macro_rules! ensure {
    ($holds:expr, $($saw:tt)+) => {
        if !$holds {
            return Err(format!($($saw)+));
        }
    };
}

fn below(site: &dyn Site) -> Outcome {
    let chance = site.fresh();
    ensure!(chance.below(0) == 0, "below(0) is not 0");
    for end in [1, 2, 3, 7, 256, 1_000, 1 << 32, (1 << 63) + 1, u64::MAX] {
        for _ in 0..200 {
            let drawn = chance.below(end);
            ensure!(drawn < end, "below({end}) is {drawn}");
        }
    }
    Ok(())
}

fn reaches_all(site: &dyn Site) -> Outcome {
    const DRAWS: u32 = 1_000;
    let chance = site.fresh();
    for end in [2, 3, 10] {
        let mut counts = vec![0; end as usize];
        (0..DRAWS * end as u32).for_each(|_| counts[chance.below(end) as usize] += 1);
        // 8 standard deviations: once in a million years of suites.
        ensure!(counts.iter().all(|count: &u32| count.abs_diff(DRAWS) < 250), "of below({end}): {counts:?}");
    }
    Ok(())
}

fn every_bit(site: &dyn Site) -> Outcome {
    let chance = site.fresh();
    let (mut ones, mut zeros) = (0, 0);
    for _ in 0..200 {
        let drawn = u128::from_le_bytes(chance.bytes());
        ones |= drawn;
        zeros |= !drawn;
    }
    ensure!(ones == u128::MAX && zeros == u128::MAX, "always 1: {:#x}, always 0: {:#x}", !zeros, !ones);
    Ok(())
}

fn unique(site: &dyn Site) -> Outcome {
    let chance = site.fresh();
    let mut seen = BTreeSet::new();
    for n in 0..10_000 {
        ensure!(seen.insert(chance.bytes()), "draw {n} was drawn before");
    }
    Ok(())
}

fn unique_among_threads(site: &dyn Site) -> Outcome {
    const DRAWS: usize = 1_000;
    let chance = site.fresh();
    let draw = || (0..DRAWS).map(|_| chance.bytes()).collect::<Vec<_>>();
    let drawn = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(draw)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).collect::<Vec<_>>()
    });
    ensure!(drawn.iter().all(|of_one| of_one.len() == DRAWS), "a thread panicked");
    let different: BTreeSet<_> = drawn.iter().flatten().collect();
    ensure!(different.len() == 4 * DRAWS, "{} different of {}", different.len(), 4 * DRAWS);
    Ok(())
}

fn repeatable(site: &dyn Site) -> Outcome {
    let series = |chance: Arc<dyn Chance>| (0..100).map(|_| chance.bytes()).collect::<Vec<_>>();
    let Some(first) = site.seeded(1) else {
        ensure!(series(site.fresh()) != series(site.fresh()), "two starts are alike");
        return Ok(());
    };
    let (first, again, other) = (series(first), site.seeded(1).map(series), site.seeded(2).map(series));
    ensure!(again.as_ref() == Some(&first), "seed 1 gives another series each time");
    ensure!(other.as_ref() != Some(&first), "seeds 1 and 2 give the same series");
    Ok(())
}
