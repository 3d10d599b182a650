//! The journals of several nodes, laid one over the other: what one decided all must have decided, and the independent
//! model reads it once for all of them.
//!
//! Nodes come and go, and each journal has holes: what fell before a node started, and what was not written any more when
//! it died. Together they have all of a log from its first frame on, or what is missing is counted: nothing behind a
//! frame that no journal has is judged, and nothing of a log that did not begin with nothing.

use std::collections::BTreeMap;

use crate::model::{Author, Change, Entry, Op, Position, RemovalReason};
use crate::state::Verdict;

use super::journal::{Decided, Raised, Record};
use super::model::Model;

/// What is wrong with what was decided.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Wrong {
    /// It was applied, and what it rests on no longer stood.
    #[error("stale: {0}")]
    Stale(String),
    /// Another verdict than the model's.
    #[error("otherwise: {0}")]
    Otherwise(String),
    /// Two nodes read or decided something else at one position.
    #[error("differs: {0}")]
    Differs(String),
    /// A removal for a reason, or by somebody, that such a change can't have.
    #[error("unproven: {0}")]
    Unproven(String),
    /// Of what was decided something is missing.
    #[error("missing: {0}")]
    Missing(String),
}

/// What came since the last time.
#[derive(Clone, Default, Debug)]
pub struct Judged {
    /// Decisions of each node, by its name, that are the same on all others and those of the model.
    pub decisions: BTreeMap<String, u64>,
    /// Instances that were removed by them, each once.
    pub removals: u64,
    /// Decisions of all nodes that nobody can judge.
    pub unjudged: u64,
    pub wrong: Vec<Wrong>,
}

#[derive(Default)]
pub struct Ledger {
    /// By the log's identity.
    logs: BTreeMap<[u8; 16], Log>,
    /// Where each node's journal goes on; `None`: it may be anywhere.
    follows: BTreeMap<String, Option<Position>>,
    wrong: Vec<Wrong>,
}

/// One log, through all its lives.
#[derive(Default)]
struct Log {
    /// Each frame once, and who was first to decide it.
    decided: BTreeMap<Position, (Decided, String)>,
    raised: Vec<Raised>,
    /// Somebody has begun with no rows at all.
    began_empty: bool,
    model: Model,
    /// Up to where it has been judged once.
    judged: Position,
    /// The model came to another verdict, and knows nothing from there on.
    is_lost: bool,
    /// What was decided and is not judged yet: where, by whom, how many changes.
    fresh: Vec<(Position, String, u64)>,
}

impl Ledger {
    /// The next record of a node's journal.
    pub fn take(&mut self, node: &str, record: Record) {
        match record {
            Record::Begun { log, at } => {
                self.logs.entry(log.0).or_default().began_empty |= at == Position::ZERO;
                self.follows.insert(node.to_owned(), (at != Position::ZERO).then(|| at.next()));
            }
            Record::Decided(decided) => self.decided(node, decided),
            Record::Raised(raised) => self.logs.entry(raised.log.0).or_default().raise(raised),
            Record::Lost { frames } => {
                self.follows.insert(node.to_owned(), None);
                self.wrong.push(Wrong::Missing(format!("{node} could not write {frames} frames")));
            }
        }
    }

    /// What follows in a journal may be anything: here it begins anew.
    pub fn breaks(&mut self, node: &str) {
        self.follows.insert(node.to_owned(), None);
    }

    fn decided(&mut self, node: &str, decided: Decided) {
        let at = decided.entry.position;
        let (changes, verdicts) = (decided.entry.frame.changes.len(), decided.verdicts.len());
        if changes != verdicts {
            let what = format!("{node} has {verdicts} verdicts on the {changes} changes at {at}");
            return self.wrong.push(Wrong::Missing(what));
        }
        if let Some(Some(due)) = self.follows.insert(node.to_owned(), Some(at.next()))
            && due != at
        {
            self.wrong.push(Wrong::Missing(format!("{node} goes on with {at}, and {due} was due")));
        }
        let log = self.logs.entry(decided.entry.frame.identity.0).or_default();
        log.fresh.push((at, node.to_owned(), changes as u64));
        match log.decided.get(&at) {
            Some((before, first)) => self.wrong.extend(differs(before, first, &decided, node)),
            None => drop(log.decided.insert(at, (decided, node.to_owned()))),
        }
    }

    /// Judges what can be judged by now.
    pub fn judge(&mut self) -> Judged {
        let mut judged = Judged { wrong: std::mem::take(&mut self.wrong), ..Judged::default() };
        for log in self.logs.values_mut() {
            log.judge(&mut judged);
        }
        judged
    }
}

impl Log {
    fn raise(&mut self, raised: Raised) {
        if self.raised.contains(&raised) {
            return;
        }
        // What was read behind it has turned out to be void.
        if raised.voids(self.model.position()) {
            self.model = Model::new();
        }
        self.raised.push(raised);
    }

    fn judge(&mut self, judged: &mut Judged) {
        while self.began_empty && !self.is_lost && self.go_on(judged) {}
        let (known, fresh) = (self.judged, std::mem::take(&mut self.fresh));
        let (done, rest): (Vec<_>, Vec<_>) = fresh.into_iter().partition(|of| of.0 <= known);
        // What a life that was lost had beyond the next one's beginning counts for nobody.
        let rest: Vec<_> = rest.into_iter().filter(|of| !self.raised.iter().any(|raised| raised.voids(of.0))).collect();
        for (_, node, changes) in done {
            *judged.decisions.entry(node).or_default() += changes;
        }
        if let Some((first, ..)) = rest.iter().min() {
            judged.unjudged += rest.iter().map(|(.., changes)| changes).sum::<u64>();
            let why = if self.is_lost { "the model differed before" } else { "nobody's journal has what is before" };
            judged.wrong.push(Wrong::Missing(format!("nothing from {first} on is judged: {why}, behind {known}")));
        }
        self.fresh = rest;
    }

    /// Reads the next frame, or goes over to the next life; whether there was any.
    fn go_on(&mut self, judged: &mut Judged) -> bool {
        let at = self.model.position();
        if let Some(raised) = self.raised.iter().find(|raised| raised.from == at) {
            self.model.raise(raised);
            return true;
        }
        let next = match at {
            Position::ZERO => self.decided.first_key_value().filter(|(first, _)| first.offset() == 1),
            _ => self.decided.get_key_value(&at.next()),
        };
        let Some((&next, (decided, _))) = next else { return false };
        let (is_news, before) = (next > self.judged, self.model.removal_count());
        if let Err(wrong) = self.model.read(decided) {
            let is_stale = wrong.is_stale();
            judged.wrong.push(if is_stale {
                Wrong::Stale(wrong.to_string())
            } else {
                Wrong::Otherwise(wrong.to_string())
            });
            self.is_lost = true;
            return false;
        }
        if is_news {
            self.judged = next;
            judged.removals += (self.model.removal_count() - before) as u64;
            judged.wrong.extend(unproven(decided, &self.model));
        }
        true
    }
}

fn differs(one: &Decided, by: &str, other: &Decided, node: &str) -> Option<Wrong> {
    let Entry { position: at, frame, checksum } = &one.entry;
    if *checksum != other.entry.checksum || *frame != other.entry.frame {
        return Some(Wrong::Differs(format!("{by} and {node} read different frames at {at}")));
    }
    let place = one.verdicts.iter().zip(&other.verdicts).position(|(one, other)| one != other)?;
    let (said, then, op) = (one.verdicts[place], other.verdicts[place], &frame.changes[place].op);
    Some(Wrong::Differs(format!("{by} decided {said:?} and {node} {then:?} of {op:?} at {at}, place {place}")))
}

/// Removals that nobody could have ordered so.
fn unproven(decided: &Decided, model: &Model) -> Vec<Wrong> {
    let applied = |(change, verdict): (_, &Verdict)| verdict.is_applied().then_some(change);
    let changes = decided.entry.frame.changes.iter().zip(&decided.verdicts).filter_map(applied);
    let why = |change: &Change| Some(format!("{}: {}: {change:?}", decided.entry.position, unfounded(change, model)?));
    changes.filter_map(why).map(Wrong::Unproven).collect()
}

/// A lease ends by the word of the node that owns it, in that node's name; everything else by somebody's order.
fn unfounded(change: &Change, model: &Model) -> Option<String> {
    let Author { name, door } = &change.author;
    let is_own = ["lease", "check"].contains(&&**door);
    match &change.op {
        Op::Expire { .. } if !is_own => Some(format!("expired by {name} through {door}")),
        Op::Expire { .. } => {
            let member = model.name_of(change.origin.node)?;
            (member != &**name).then(|| format!("expired in the name of {name} by {member}"))
        }
        Op::Deregister { reason: RemovalReason::Expired, .. } => Some("deregistered as expired".to_owned()),
        Op::Deregister { .. } | Op::CloseSession { deregister: true, .. } if is_own => {
            Some(format!("ordered by {name}, a node, through {door}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
