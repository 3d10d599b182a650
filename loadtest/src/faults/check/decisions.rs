//! Every decision of every node stood, all nodes decided alike, and whatever was removed was removed by whom and for
//! what it may be: said by the nodes' decision journals, read by a model that shares nothing with them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use cache_sync::journal::{Follower, Found};
use compute::testing::ledger::{self, Ledger};

use super::super::truth::Wrong;

/// The journals of all nodes.
pub struct Decisions {
    ledger: Ledger,
    journals: Vec<(String, Follower)>,
}

/// What came of them since the last time.
#[derive(Clone, Debug, Default)]
pub struct Ruled {
    /// Judged ones, by node.
    pub decisions: BTreeMap<String, u64>,
    /// Those that nobody can judge.
    pub unjudged: u64,
    pub removals: u64,
    /// Processes that died while they wrote: what that was nobody reads.
    pub torn: u64,
    pub wrong: Vec<(Wrong, String)>,
}

impl Decisions {
    /// `folder` has one of its own for each node, by its name.
    pub fn of(folder: &Path, nodes: &[String]) -> Self {
        let journals = nodes.iter().map(|name| (name.clone(), Follower::of(folder.join(name)))).collect();
        Self { ledger: Ledger::default(), journals }
    }

    pub fn judge(&mut self) -> Result<Ruled> {
        let (mut torn, mut missing) = (0, Vec::new());
        for (name, journal) in &mut self.journals {
            journal.read(|found| match found {
                Found::Record(record) => self.ledger.take(name, *record),
                Found::Torn { .. } => {
                    torn += 1;
                    self.ledger.breaks(name);
                }
                Found::Missing { segments } => {
                    missing.push((Wrong::TooLittle, format!("{segments} files of {name}'s journal are gone")));
                    self.ledger.breaks(name);
                }
            })?;
        }
        let ledger::Judged { decisions, removals, unjudged, wrong } = self.ledger.judge();
        let wrong = missing.into_iter().chain(wrong.into_iter().map(|one| (column(&one), one.to_string()))).collect();
        Ok(Ruled { decisions, unjudged, removals, torn, wrong })
    }
}

/// Where it is counted.
fn column(wrong: &ledger::Wrong) -> Wrong {
    match wrong {
        ledger::Wrong::Stale(_) => Wrong::StaleDecision,
        ledger::Wrong::Otherwise(_) | ledger::Wrong::Differs(_) => Wrong::OtherDecision,
        ledger::Wrong::Unproven(_) => Wrong::UnprovenRemoval,
        ledger::Wrong::Missing(_) => Wrong::TooLittle,
    }
}

#[cfg(test)]
mod tests;
