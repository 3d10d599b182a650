//! Operators who end freezes, and are answered when it is so.

use tokio::sync::oneshot;

use crate::error::Error;
use crate::model::{FreezeScope, NodeIncarnation, Op, Revision};
use crate::node::link::{RELEASES, RELEASES_MAX, Release, overloaded};

use super::{Applier, Item};

/// An operator who waits for the end of these.
pub(super) struct Releasing {
    freezes: Vec<(FreezeScope, Revision)>,
    reply: oneshot::Sender<Result<usize, Error>>,
}

impl Applier {
    /// An operator's word: what holds back leases of a node is frozen no more. Nobody repeats it, so it is refused while
    /// the log is away.
    pub(super) fn release_freezes(&mut self, release: Release) {
        let Release { caller, node, reply } = release;
        let node = node.unwrap_or(self.me);
        let of_node = self.state.freezes().filter(|(scope, _)| self.holds_back(scope, node));
        let freezes: Vec<_> = of_node.map(|(scope, freeze)| (scope.clone(), freeze.revision)).collect();
        let refusal = if self.away.is_some() {
            Some(Error::LogAway)
        } else if self.releasing.len() >= RELEASES_MAX {
            Some(overloaded(RELEASES))
        } else {
            None
        };
        if let Some(error) = refusal {
            let _ = reply.send(Err(error));
            return;
        }
        for (scope, freeze) in freezes.iter().cloned() {
            self.staged.push_front(Item::Own { op: Op::Release { scope, freeze }, author: caller.author.clone() });
        }
        self.releasing.push(Releasing { freezes, reply });
        self.answer_released();
    }

    /// Whether a freeze is one of leases of `node`: of a service it is one of all nodes. What a node has frozen that is no
    /// member any more is nobody's, and so everybody's.
    fn holds_back(&self, scope: &FreezeScope, node: NodeIncarnation) -> bool {
        match scope {
            FreezeScope::Service(_) => true,
            FreezeScope::Node(frozen) => *frozen == node || self.state.member(*frozen).is_none(),
        }
    }

    /// Answers those whose freezes no longer stand.
    pub(super) fn answer_released(&mut self) {
        let mut waiting = Vec::new();
        for releasing in self.releasing.drain(..) {
            let stands = |(scope, freeze): &(FreezeScope, Revision)| {
                self.state.freeze(scope).is_some_and(|standing| standing.revision == *freeze)
            };
            if releasing.freezes.iter().any(stands) {
                waiting.push(releasing);
            } else {
                let _ = releasing.reply.send(Ok(releasing.freezes.len()));
            }
        }
        self.releasing = waiting;
    }

    /// The log is away: what is not in it is dropped, and what may be in it is not known to be.
    pub(super) fn refuse_releases(&mut self) {
        let mut changes = self.in_flight.iter().flat_map(|f| &f.frame.changes);
        let is_open = changes.any(|change| matches!(change.op, Op::Release { .. }));
        let error = if is_open { Error::OutcomeUnknown } else { Error::LogAway };
        for releasing in self.releasing.drain(..) {
            let _ = releasing.reply.send(Err(error.clone()));
        }
    }
}
