//! Who is a member, and whose word counts.

use crate::model::{Cause, FreezeScope, MemberRow, NodeIncarnation, Op, Suspicion};

use super::super::planted::{Rule, holds};
use super::super::verdict::Refusal;
use super::{Applying, LeaseEvent, Result};

impl Applying<'_> {
    /// What a node that is gone decided on its own does not count: others have its leases now. What clients asked it
    /// for stands, and so does that it heard somebody.
    pub(super) fn check_node(&self, op: &Op) -> Result {
        let is_void = match op {
            Op::Suspect { .. }
            | Op::Confirm { .. }
            | Op::Unhealthy { .. }
            | Op::Expire { .. }
            | Op::Freeze { .. }
            | Op::Release { .. }
            | Op::Beacon { .. } => self.state.is_gone(self.node),
            // Nobody would answer for it.
            Op::OpenSession { node, .. } | Op::AttachSession { node, .. } => {
                self.state.is_gone(self.node) || self.state.is_gone(*node)
            }
            _ => false,
        };
        if is_void { Err(Refusal::Gone) } else { Ok(()) }
    }

    pub(super) fn beacon(&mut self, shown: MemberRow) -> Result {
        let at = self.revision.position();
        if shown.applied >= at || shown.landed >= at {
            return Err(Refusal::Base);
        }
        let changed = match self.state.members.get_mut(self.node) {
            // It was overtaken by a newer one; that it was sent is all that it still says.
            Some(member) if shown.applied < member.applied => {
                member.seen = shown.seen;
                false
            }
            Some(member) => {
                let changed = member.leaving != shown.leaving;
                let landed = member.landed.max(shown.landed);
                *member = MemberRow { joined_ms: member.joined_ms, joined: member.joined, landed, ..shown };
                changed
            }
            None => {
                self.state.members.insert(self.node, shown);
                true
            }
        };
        self.out.members_changed |= changed;
        self.state.dirty.members.insert(self.node);
        Ok(())
    }

    pub(super) fn gone(&mut self, node: NodeIncarnation) -> Result {
        let sayer_is_gone = self.state.is_gone(self.node);
        let member = self.state.members.get_mut(node).filter(|member| !member.gone).ok_or(Refusal::Absent)?;
        if sayer_is_gone {
            return Err(Refusal::Gone);
        }
        (member.gone, member.seen) = (true, self.revision);
        self.out.members_changed = true;
        self.state.dirty.members.insert(node);
        // Whose leases it held back are others' now; they judge anew.
        let scope = FreezeScope::Node(node);
        if self.state.freezes.remove(&scope).is_some() {
            self.state.dirty.freezes.insert(scope.clone());
            self.tell(LeaseEvent::Released { scope });
        }
        Ok(())
    }

    /// Who heard a suspect says so before it shows that it has read the suspicion: until all have shown that, nobody is
    /// known to be silent. A failed check has other witnesses.
    pub(super) fn check_barrier(&self, standing: &Suspicion) -> Result {
        let waits = matches!(standing.cause, Cause::Lapse | Cause::Session { .. });
        let is_behind = || self.state.barrier().is_some_and(|shown| shown < standing.revision.position());
        if waits && is_behind() && holds(Rule::Barrier) { Err(Refusal::Barrier) } else { Ok(()) }
    }
}
