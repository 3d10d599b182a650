//! What is known to be true, and what was found to be otherwise.
//!
//! Truth is an interval: a write holds from its acknowledgement on, and may hold from its request on. A write whose
//! outcome is unknown, or which only an overlay has, allows both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::check;
use super::check::enough::{self, Judged, Wanted};

/// To clients it is opaque; who judges them knows what it is: generation, offset, place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Revision(u64, u64, u64);

impl Revision {
    pub fn new(generation: u64, offset: u64, place: u64) -> Self {
        Self(generation, offset, place)
    }
}

impl FromStr for Revision {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let parts: Vec<u64> = text.split('.').map(str::parse).collect::<Result<_, _>>()?;
        let [generation, offset, place] = parts[..] else { anyhow::bail!("{text:?} is no revision") };
        Ok(Self(generation, offset, place))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a provider knows of its own instance.
#[derive(Clone, Debug)]
pub struct Known {
    pub service: String,
    pub id: String,
    /// When its register was acknowledged by the log, and the instance's revision by that; not by an overlay.
    pub held: Option<(Instant, Revision)>,
    /// Since when it says nothing any more.
    pub died_at: Option<Instant>,
    /// Renewals that were acknowledged; of a session, pings that were answered.
    pub renewals: u64,
    /// The node that holds its session; providers without one have none.
    pub node: Option<String>,
}

impl Known {
    pub fn new(service: &str, id: &str) -> Self {
        Self { service: service.into(), id: id.into(), held: None, died_at: None, renewals: 0, node: None }
    }
}

/// One list that a client was shown.
#[derive(Clone, Debug)]
pub struct Seen {
    pub service: String,
    pub asked: Instant,
    pub revision: Revision,
    /// The id of each, and whether it is healthy.
    pub listed: BTreeMap<String, bool>,
    /// Who saw it, for people.
    pub by: String,
}

/// What must not be. Each is a column of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// A live instance that is shown unhealthy or not at all.
    RemovedAlive,
    /// A list without an instance that lives, or empty.
    UntrueList,
    /// A dead instance that is there beyond the contract's bound.
    DeadKept,
    /// A write that was acknowledged and does not hold, or one that came back.
    WriteLost,
    /// A client was shown an older revision than the one it brought.
    StepBack,
    /// A watcher's event that does not begin where the last one ended, or a digest that differs.
    BrokenChain,
    /// A provider was told that its live registration is unknown.
    ToldUnknown,
    /// A node that the fault did not touch did not answer a read.
    Unanswered,
    /// An error that one retry did not cure, where that was promised.
    Uncured,
    /// A decision that was applied though what it rests on no longer stood.
    StaleDecision,
    /// One that is not the model's, or not that of another node.
    OtherDecision,
    /// A removal by somebody, or for a reason, that it can't have.
    UnprovenRemoval,
    /// Nodes that found that they had read, or made of it, something else than another.
    Divergence,
    /// What was to come did not come in time: a level, or that all show the same.
    Late,
    /// Too little was judged for the row to mean anything.
    TooLittle,
}

impl Wrong {
    pub const ALL: [Self; 15] = [
        Self::RemovedAlive,
        Self::UntrueList,
        Self::DeadKept,
        Self::WriteLost,
        Self::StepBack,
        Self::BrokenChain,
        Self::ToldUnknown,
        Self::Unanswered,
        Self::Uncured,
        Self::StaleDecision,
        Self::OtherDecision,
        Self::UnprovenRemoval,
        Self::Divergence,
        Self::Late,
        Self::TooLittle,
    ];
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Reads,
    Writes,
    Events,
    Retries,
}

/// The longest time between two that went well.
#[derive(Debug)]
struct Gap {
    last: Instant,
    longest: Duration,
}

impl Gap {
    fn new() -> Self {
        Self { last: Instant::now(), longest: Duration::ZERO }
    }

    fn went_well(&mut self) {
        let now = Instant::now();
        self.longest = self.longest.max(now - self.last);
        self.last = now;
    }

    fn take(&mut self) -> Duration {
        self.went_well();
        std::mem::take(&mut self.longest)
    }
}

/// Since when a provider that died is counted as dead.
#[derive(Clone, Copy, Debug)]
pub enum Since {
    /// Removals may be held back just now.
    Held,
    /// Not before this.
    At(Instant),
}

struct Inner {
    known: BTreeMap<String, Known>,
    operations: BTreeMap<Operation, u64>,
    /// How often, of which instances (for what is counted by instance), and the first words on it.
    found: BTreeMap<Wrong, (u64, BTreeSet<String>, Vec<String>)>,
    reads: Gap,
    writes: Gap,
    renewals: Gap,
    since: Since,
    /// Nodes that the fault touches.
    struck: BTreeSet<String>,
    world: u64,
    is_quiet: bool,
    judges_cures: bool,
    judged: Judged,
    /// Since when the fault lasts.
    lasts: Option<Instant>,
}

/// Shared by all clients.
pub struct Truth {
    inner: Mutex<Inner>,
    /// How long a dead provider may be listed.
    pub gone_within: Duration,
}

/// What was counted of one fault.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counted {
    pub operations: BTreeMap<Operation, u64>,
    pub judged: Judged,
    pub wrong: BTreeMap<Wrong, u64>,
    pub examples: Vec<String>,
    pub no_read_s: f64,
    pub no_write_s: f64,
    pub no_renewal_s: f64,
}

impl Truth {
    pub fn new(gone_within: Duration) -> Self {
        let inner = Inner {
            known: BTreeMap::new(),
            operations: BTreeMap::new(),
            found: BTreeMap::new(),
            reads: Gap::new(),
            writes: Gap::new(),
            renewals: Gap::new(),
            since: Since::At(Instant::now()),
            struck: BTreeSet::new(),
            world: 0,
            is_quiet: false,
            judges_cures: false,
            judged: Judged::default(),
            lasts: None,
        };
        Self { inner: Mutex::new(inner), gone_within }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn count(&self, what: Operation) {
        *self.lock().operations.entry(what).or_default() += 1;
    }

    pub fn read_well(&self) {
        self.lock().reads.went_well();
    }

    /// A write that the log has: what an overlay takes goes on while there is none.
    pub fn wrote_well(&self) {
        self.lock().writes.went_well();
    }

    pub fn renewed_well(&self) {
        self.lock().renewals.went_well();
    }

    /// `what` is said once for each `of`.
    pub fn found(&self, wrong: Wrong, of: &str, what: impl Into<String>) {
        let mut inner = self.lock();
        let (count, instances, examples) = inner.found.entry(wrong).or_default();
        *count += 1;
        if instances.insert(of.to_owned()) && examples.len() < 3 {
            examples.push(what.into());
        }
    }

    /// A request failed for the `failures`-th time in a row.
    pub fn failed(&self, who: &str, failures: u32, how: &str) {
        self.count(Operation::Retries);
        if failures > 1 && self.lock().judges_cures {
            self.found(Wrong::Uncured, who, format!("{who} failed {failures} times in a row: {how}"));
        }
    }

    pub fn expect_cures(&self, are_expected: bool) {
        self.lock().judges_cures = are_expected;
    }

    pub fn add(&self, known: Known) {
        self.lock().known.insert(known.id.clone(), known);
    }

    pub fn of(&self, id: &str) -> Option<Known> {
        self.lock().known.get(id).cloned()
    }

    pub fn all(&self) -> Vec<Known> {
        self.lock().known.values().cloned().collect()
    }

    pub fn change(&self, id: &str, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.lock().known.get_mut(id) {
            change(known);
        }
    }

    /// Judges a list against all that is known.
    pub fn judge(&self, seen: &Seen) {
        let (known, since) = {
            let inner = self.lock();
            let of_service = inner.known.values().filter(|known| known.service == seen.service);
            (of_service.cloned().collect::<Vec<_>>(), inner.since)
        };
        if known.iter().any(|known| check::alive::must_be_listed(known, seen)) {
            let mut inner = self.lock();
            inner.judged.lists_meanwhile += u64::from(inner.lasts.is_some());
            *inner.judged.lists.entry(seen.by.clone()).or_default() += 1;
        }
        for known in &known {
            if let Some(what) = check::alive::removed(known, seen) {
                self.found(Wrong::RemovedAlive, &known.id, what);
            }
            if let Some(what) = check::dead::kept(known, seen, since, self.gone_within) {
                self.found(Wrong::DeadKept, &known.id, what);
            }
        }
        if let Some(what) = check::list::untrue(&known, seen) {
            self.found(Wrong::UntrueList, &what, what.clone());
        }
    }

    /// A writer read back what it was acknowledged.
    pub fn read_back(&self, writer: &str) {
        self.lock().judged.writers.insert(writer.to_owned());
    }

    /// The fault stands from now on.
    pub fn begins(&self) {
        self.lock().lasts = Some(Instant::now());
    }

    pub fn ends(&self) {
        let mut inner = self.lock();
        inner.judged.lasted = inner.lasts.take().map_or(Duration::ZERO, |since| since.elapsed());
    }

    /// How many provide.
    pub fn alive(&self) -> usize {
        self.lock().known.values().filter(|known| known.held.is_some() && known.died_at.is_none()).count()
    }

    /// The node that holds most sessions of those who live.
    pub fn busiest(&self) -> Option<String> {
        let inner = self.lock();
        let mut held = BTreeMap::<&String, usize>::new();
        let alive = inner.known.values().filter(|known| known.died_at.is_none());
        alive.filter_map(|known| known.node.as_ref()).for_each(|node| *held.entry(node).or_default() += 1);
        held.into_iter().max_by_key(|(_, sessions)| *sessions).map(|(node, _)| node.clone())
    }

    pub fn died_since(&self, since: Instant) -> usize {
        self.lock().known.values().filter(|known| known.died_at.is_some_and(|at| at >= since)).count()
    }

    /// Says so when too little was judged since the last time. `rest`: what only the caller knows of it.
    pub fn judged_enough(&self, wanted: &Wanted, rest: impl FnOnce(&mut Judged)) {
        let lacking = {
            let mut inner = self.lock();
            rest(&mut inner.judged);
            enough::lacking(&inner.judged, wanted)
        };
        if let Some(what) = lacking {
            self.found(Wrong::TooLittle, &what, what.clone());
        }
    }

    /// A fault did something just now: bounds count from here, or, while removals may be held back, later.
    pub fn disturbed(&self) {
        let mut inner = self.lock();
        if let Since::At(since) = &mut inner.since {
            *since = Instant::now();
        }
    }

    /// Nobody need be removed until `release`.
    pub fn hold(&self) {
        self.lock().since = Since::Held;
    }

    pub fn release(&self) {
        self.lock().since = Since::At(Instant::now());
    }

    pub fn strike(&self, nodes: &[&str]) {
        self.lock().struck.extend(nodes.iter().map(|&node| node.to_owned()));
    }

    pub fn healed(&self) {
        self.lock().struck.clear();
    }

    pub fn is_struck(&self, node: &str) -> bool {
        self.lock().struck.contains(node)
    }

    /// All state is wiped: nothing that was true is, and no revision means anything any more.
    pub fn new_world(&self) {
        let mut inner = self.lock();
        inner.world += 1;
        for known in inner.known.values_mut() {
            known.held = None;
        }
        inner.known.retain(|_, known| known.died_at.is_none());
    }

    pub fn world(&self) -> u64 {
        self.lock().world
    }

    /// Whether those who change things for the sake of it are to pause.
    pub fn is_quiet(&self) -> bool {
        self.lock().is_quiet
    }

    /// That nobody writes while it is quiet is nobody's fault.
    pub fn set_quiet(&self, is_quiet: bool) {
        let mut inner = self.lock();
        inner.is_quiet = is_quiet;
        if is_quiet { inner.writes.went_well() } else { inner.writes.last = Instant::now() }
    }

    /// What was counted since the last time.
    pub fn take(&self) -> Counted {
        let mut inner = self.lock();
        let found = std::mem::take(&mut inner.found);
        // Of some the readers tell again with each read: those are counted by instance.
        let by_instance = [Wrong::RemovedAlive, Wrong::DeadKept];
        let count = |wrong: &Wrong, (count, of, _): &(u64, BTreeSet<String>, Vec<String>)| {
            if by_instance.contains(wrong) { of.len() as u64 } else { *count }
        };
        Counted {
            operations: std::mem::take(&mut inner.operations),
            judged: std::mem::take(&mut inner.judged),
            wrong: found.iter().map(|(wrong, of)| (*wrong, count(wrong, of))).collect(),
            examples: found.into_values().flat_map(|(_, _, examples)| examples).collect(),
            no_read_s: inner.reads.take().as_secs_f64(),
            no_write_s: inner.writes.take().as_secs_f64(),
            no_renewal_s: inner.renewals.take().as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_node_is_that_of_most_sessions_that_live() {
        let truth = Truth::new(Duration::ZERO);
        let holds = |id: &str, node: &str, died_at| {
            truth.add(Known { node: Some(node.into()), died_at, ..Known::new("s", id) });
        };
        assert_eq!(truth.busiest(), None);
        holds("a", "node1", None);
        holds("b", "node2", None);
        holds("c", "node2", None);
        for id in ["d", "e", "f"] {
            holds(id, "node3", Some(Instant::now()));
        }
        assert_eq!(truth.busiest().as_deref(), Some("node2"));
    }
}
