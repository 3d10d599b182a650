//! An independent model of presence: what each decision rests on, checked by reading the whole journal again.
//!
//! It shares nothing with the state machine but the vocabulary, and takes the slow and obvious way everywhere: it keeps
//! every removal and every origin for ever, and looks through lists. It can begin only where nothing is yet: what it has
//! not seen from its beginning it does not judge.

mod ends;
mod rests;
mod rows;
mod takes;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Author, Change, Freeze, FreezeScope, Instance, InstanceKey, MemberRow, Namespace, NamespaceRow, NamespaceSettings,
    NodeIncarnation, Origin, OverrideRow, Position, Process, Provider, Removal, Revision, ServiceKey, ServiceSettings,
    Session, SessionId, Suspicion,
};
use crate::state::{Refusal, Verdict};
use crate::testing::journal::{Decided, Raised, in_order};

pub use rows::differences;

/// A service, without what follows from its instances and their removals.
#[derive(Clone, Debug)]
struct Described {
    settings: ServiceSettings,
    created_at_ms: u64,
    /// The change that made it.
    created: Revision,
    /// The last change of its settings.
    described: Revision,
    /// The last change of its settings or of any instance.
    touched: Revision,
    implicit: bool,
}

/// A removal, remembered for ever.
#[derive(Clone, Debug)]
struct Gone {
    key: InstanceKey,
    generation: Revision,
    removal: Removal,
}

/// A verdict that is not the model's.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("{revision}: {verdict:?}, but it is {} and wrong with it is {wrong:?}: {op}", if *.is_new { "new" } else { "seen before" })]
pub struct Misjudged {
    pub revision: Revision,
    pub verdict: Verdict,
    pub is_new: bool,
    /// Whoever refuses it may name any of this; nothing: it stands.
    pub wrong: Vec<Refusal>,
    /// The change, in words.
    pub op: String,
}

impl Misjudged {
    /// Whether it was applied, and what it rests on no longer stood.
    pub fn is_stale(&self) -> bool {
        self.verdict.is_applied() && !(self.is_new && self.wrong.is_empty())
    }
}

pub struct Model {
    seen: BTreeSet<Origin>,
    heard: BTreeMap<NodeIncarnation, Position>,
    /// Everything that is registered.
    pub living: BTreeMap<InstanceKey, Instance>,
    removals: Vec<Gone>,
    services: BTreeMap<ServiceKey, Described>,
    namespaces: BTreeMap<Namespace, NamespaceRow>,
    kept: BTreeMap<InstanceKey, OverrideRow>,
    sessions: BTreeMap<SessionId, Session>,
    suspicions: BTreeMap<InstanceKey, Suspicion>,
    freezes: BTreeMap<FreezeScope, Freeze>,
    nodes: BTreeMap<NodeIncarnation, MemberRow>,
    position: Position,
    time_ms: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

/// A change as it is looked at: who made it, and where and when it stands.
#[derive(Clone, Copy)]
struct Now<'a> {
    author: &'a Author,
    node: NodeIncarnation,
    revision: Revision,
    time_ms: u64,
}

impl Model {
    /// Where nothing is yet.
    pub fn new() -> Self {
        let row = NamespaceRow { settings: NamespaceSettings::default(), created_at_ms: 0, revision: Revision::ZERO };
        let default = Namespace::new("default").expect("a good name");
        Self {
            seen: BTreeSet::new(),
            heard: BTreeMap::new(),
            living: BTreeMap::new(),
            removals: Vec::new(),
            services: BTreeMap::new(),
            namespaces: BTreeMap::from([(default, row)]),
            kept: BTreeMap::new(),
            sessions: BTreeMap::new(),
            suspicions: BTreeMap::new(),
            freezes: BTreeMap::new(),
            nodes: BTreeMap::new(),
            position: Position::ZERO,
            time_ms: 0,
        }
    }

    /// Reads a journal from its beginning; an error says which verdict is not the model's.
    pub fn replay(journal: &[Decided]) -> Result<Self, String> {
        let mut model = Self::new();
        for decided in in_order(journal).map_err(|broken| broken.to_string())? {
            model.read(&decided).map_err(|wrong| wrong.to_string())?;
        }
        Ok(model)
    }

    /// Reads the next frame.
    pub fn read(&mut self, decided: &Decided) -> Result<(), Misjudged> {
        let Decided { entry, verdicts } = decided;
        self.time_ms = self.time_ms.max(entry.frame.time_ms);
        self.position = entry.position;
        for ((change, verdict), place) in entry.frame.changes.iter().zip(verdicts).zip(0..) {
            self.judge(change, entry.position.at(place), *verdict)?;
        }
        Ok(())
    }

    /// The log was lost, and goes on from here.
    pub fn raise(&mut self, raised: &Raised) {
        self.position = raised.next;
        if raised.is_lifted {
            self.services.values_mut().for_each(|there| there.touched = raised.next.last());
        }
    }

    /// Up to where it has read.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Compares what apply said of a change with what the model says, and takes the change if it stands.
    fn judge(&mut self, change: &Change, revision: Revision, verdict: Verdict) -> Result<(), Misjudged> {
        let Origin { node, .. } = change.origin;
        let now = Now { author: &change.author, node, revision, time_ms: self.time_ms };
        self.heard.insert(node, revision.position());
        let is_new = self.seen.insert(change.origin);
        let wrong = self.wrong_with(&change.op, now);
        let agrees = match verdict {
            Verdict::Duplicate => !is_new,
            Verdict::Applied(at) => is_new && wrong.is_empty() && at == revision,
            Verdict::Refused(why) => is_new && wrong.contains(&why),
        };
        if !agrees {
            return Err(Misjudged { revision, verdict, is_new, wrong, op: format!("{:?}", change.op) });
        }
        if is_new && wrong.is_empty() {
            self.take(&change.op, now);
        }
        Ok(())
    }

    /// How often anything was removed.
    pub fn removal_count(&self) -> usize {
        self.removals.len()
    }

    /// How a member calls itself.
    pub fn name_of(&self, node: NodeIncarnation) -> Option<&str> {
        self.nodes.get(&node).map(|there| &*there.name)
    }

    /// How many instances were removed.
    pub fn removed_count(&self) -> usize {
        self.removals.iter().map(|gone| &gone.key).collect::<BTreeSet<_>>().len()
    }

    fn held_by(&self, session: SessionId) -> Vec<InstanceKey> {
        let held = self.living.iter().filter(|(_, i)| i.lease().session() == Some(session));
        held.map(|(key, _)| key.clone()).collect()
    }

    fn members(&self, service: &ServiceKey) -> impl Iterator<Item = &Instance> {
        self.living.iter().filter(move |(key, _)| key.service == *service).map(|(_, instance)| instance)
    }

    /// The last removal from a service, since it was made.
    fn last_removal(&self, service: &ServiceKey) -> Option<&Removal> {
        let created = self.services.get(service)?.created;
        let gone = self.removals.iter().rev().find(|gone| gone.key.service == *service)?;
        (gone.removal.revision > created).then_some(&gone.removal)
    }
}

/// Both say that they are one process: the same incarnation or, where neither names one, the same session.
fn is_one_process(a: &Provider, b: &Provider) -> bool {
    match (a.incarnation(), b.incarnation()) {
        (None, None) => a.lease().session().is_some() && a.lease().session() == b.lease().session(),
        (named, other) => named == other,
    }
}

/// Who a provider says it is: its incarnation, and its session where it names none.
fn process(provider: &Provider) -> Option<Process> {
    match (provider.incarnation(), provider.lease().session()) {
        (Some(name), _) => Some(Process::Incarnation(name.into())),
        (None, session) => session.map(Process::Session),
    }
}

fn names(known: &Process, provider: &Provider) -> bool {
    process(provider).as_ref() == Some(known)
}
