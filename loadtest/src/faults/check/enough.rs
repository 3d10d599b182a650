//! A fault under which little was judged says little: how much there must have been for its row to mean something.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

/// Lists of a second, of the tens that readers and nodes give on a busy machine.
const LISTS_PER_S: f64 = 5.0;

/// What was held against the truth.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Judged {
    /// Who provided when the fault began.
    pub providers: usize,
    /// Lists with somebody in them who had to be there, by who saw them.
    pub lists: BTreeMap<String, u64>,
    /// Those of them that were seen while the fault lasted, and how long it did.
    pub lists_meanwhile: u64,
    pub lasted: Duration,
    /// The whole row.
    pub took: Duration,
    /// Providers that died, and were looked for on each node.
    pub dead: usize,
    /// Decisions of each node that were the model's and the same on all, by its name.
    pub decisions: BTreeMap<String, u64>,
    /// Those that nobody could judge.
    pub decisions_unjudged: u64,
    /// Instances that were removed by them.
    pub removals: u64,
    /// Journals of processes that died while they wrote.
    pub torn_journals: u64,
    /// Writers that were acknowledged a write, and read it back.
    pub writers: BTreeSet<String>,
}

/// The least there must be.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub providers: usize,
    /// Who must have seen a list.
    pub readers: Vec<String>,
    /// Who must have decided something.
    pub nodes: Vec<String>,
    pub dead: usize,
    pub writers: usize,
}

impl Judged {
    pub fn all_lists(&self) -> u64 {
        self.lists.values().sum()
    }
}

pub fn lacking(judged: &Judged, wanted: &Wanted) -> Option<String> {
    let blind = wanted.readers.iter().find(|reader| !judged.lists.contains_key(*reader));
    if let Some(reader) = blind {
        return Some(format!("{reader} saw no list"));
    }
    let silent = wanted.nodes.iter().find(|node| !judged.decisions.contains_key(*node));
    if let Some(node) = silent {
        return Some(format!("no decision of {node} was judged"));
    }
    let floor = |span: Duration| (span.as_secs_f64() * LISTS_PER_S) as u64;
    let counts = [
        ("providers", judged.providers as u64, wanted.providers as u64),
        ("lists", judged.all_lists(), floor(judged.took)),
        ("lists while it lasted", judged.lists_meanwhile, floor(judged.lasted)),
        ("dead", judged.dead as u64, wanted.dead as u64),
        // The nodes have their own journals of who died.
        ("removals", judged.removals, wanted.dead as u64),
        ("writers", judged.writers.len() as u64, wanted.writers as u64),
    ];
    let (what, there, least) = counts.into_iter().find(|(_, there, least)| there < least)?;
    Some(format!("{there} {what} were judged, at least {least} are wanted"))
}
