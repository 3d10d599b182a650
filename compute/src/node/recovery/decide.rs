//! Who begins the next life of a log that is lost, and from what.
//!
//! Pure: every node decides for itself, from what it has, what the store has, and what the others say. Where two are
//! wrong about each other and both begin it, the epoch in the store lets one through.

use std::cmp::Reverse;

use crate::model::{LogIdentity, NodeIncarnation, Position};
use crate::port::change_log::{Found, Life};
use crate::port::peers::Reading;

/// What came of asking another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    Answered {
        reading: Reading,
        applied: Position,
    },
    /// Nothing, and not for so long that it is dead.
    Unsure,
    /// Nothing, for so long that nobody waits for it: should it come back, it discards what it has.
    Silent,
    /// That it does not believe this node: it lives, and may have more than anybody knows here.
    Refused,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// What the store has is the state, in the life of the log that it names.
    Reload,
    /// This node begins the next life.
    Raise(Source),
    /// For another node, or for what is not known yet.
    Wait(Option<NodeIncarnation>, &'static str),
}

/// From what the next life begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// What this node has applied: nobody has more.
    State,
    /// What has landed: nobody who lives has more.
    Rows,
}

/// What is next for node `me`, which has applied up to `applied` of a log that is lost to it (`None`: it has only just
/// started, and has nothing), where the store has `stored`. `is_still`: nobody has landed for some time. Who lands reads a
/// log, and it is this node that looks at another one.
pub(super) fn decide(
    me: NodeIncarnation,
    applied: Option<Position>,
    (stored, is_still): (Position, bool),
    others: &[(NodeIncarnation, Heard)],
) -> Step {
    let generation = applied.unwrap_or(stored).generation();
    if stored.generation() > generation {
        return Step::Reload;
    }
    let mut furthest = applied.map(|applied| (applied, Reverse(me)));
    let mut wait = None;
    for (node, heard) in others {
        let (reading, there) = match *heard {
            Heard::Answered { reading, applied } => (reading, applied),
            Heard::Unsure => {
                wait = wait.or(Some((*node, "it has not answered yet")));
                continue;
            }
            Heard::Silent => continue,
            Heard::Refused => {
                wait = Some((*node, "it lives and refuses this node's calls: all must have the same cluster secret"));
                continue;
            }
        };
        match (there.generation().cmp(&generation), reading) {
            // It has slept over this life, too, and will find out.
            (std::cmp::Ordering::Less, _) => {}
            (std::cmp::Ordering::Greater, _) => wait = Some((*node, "it is in a later life of the log")),
            // For it the log is well, so it is this node that must look again.
            (_, Reading::Reads) if applied.is_some() => return Step::Reload,
            (_, Reading::Reads) => wait = Some((*node, "it reads the log that is empty for this node")),
            (_, Reading::Away) => wait = wait.or(Some((*node, "it has not found yet that the log is lost"))),
            (_, Reading::Stopped) => furthest = furthest.max(Some((there, Reverse(*node)))),
        }
    }
    match (wait, furthest) {
        (Some((node, why)), _) => Step::Wait(Some(node), why),
        (None, Some((_, Reverse(node)))) if node != me => {
            Step::Wait(Some(node), "it is furthest, and begins the next life of the log")
        }
        (None, _) if !is_still => {
            Step::Wait(None, "somebody still lands in the store, from a log that this node does not see")
        }
        (None, Some((there, _))) if there >= stored => Step::Raise(Source::State),
        (None, _) => Step::Raise(Source::Rows),
    }
}

/// What a log that was found is to the rows of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pair {
    /// They belong together.
    Whole,
    /// It is gone, or has lost its end: the rows are ahead of it.
    Lost,
    /// It is another one.
    Foreign(LogIdentity),
    /// It is of a later life than the rows: they are an old copy.
    Later(Life),
    /// It holds this many records, and no frame among them.
    Strange(u64),
}

/// `stored`: up to where the store has landed log `identity`.
pub(super) fn pair(identity: LogIdentity, stored: Position, found: &Found) -> Pair {
    let lives = found.lives.map(|(first, last)| [first, last]);
    for life in lives.into_iter().flatten() {
        if life.0 != identity {
            return Pair::Foreign(life.0);
        }
        if life.1 > stored.generation() && stored.generation() > 0 {
            return Pair::Later(life);
        }
    }
    // A log that begins where it was emptied has no frame yet, and somebody else may have been faster.
    let is_begun = stored.generation() > 0 && stored.offset() <= found.trimmed;
    if found.lives.is_none() && found.last > found.trimmed && !is_begun {
        return Pair::Strange(found.last - found.trimmed);
    }
    if found.last < stored.offset() { Pair::Lost } else { Pair::Whole }
}

#[cfg(test)]
mod tests;
