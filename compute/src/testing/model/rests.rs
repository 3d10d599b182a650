//! What a change rests on, and all that is wrong with it.

use crate::model::limits::TOMBSTONE_POSITIONS;
use crate::model::{
    Base, Cause, FreezeScope, GENERATIONS_FIRST, InstanceKey, LeaseKind, MemberRow, NodeIncarnation, Op, Position,
    Revision, Suspicion,
};
use crate::state::Refusal;

use super::{Model, Now};

/// Everything that is wrong; whoever refuses may name any of it.
#[derive(Default)]
struct Wrong(Vec<Refusal>);

impl Wrong {
    fn unless(&mut self, holds: bool, refusal: Refusal) {
        if !holds {
            self.0.push(refusal);
        }
    }

    fn base(&mut self, there: Option<Revision>, base: Base, now: Now<'_>) {
        match base {
            Base::At(revision) => self.unless(there == Some(revision), Refusal::Base),
            Base::Absent(seen) => {
                self.unless(there.is_none(), Refusal::Base);
                let is_fresh = is_fresh(seen, now.revision.position());
                // Only of instances are removals forgotten; for the rest an old look is a wrong one.
                self.unless(is_fresh, Refusal::Base);
                self.unless(is_fresh, Refusal::BaseTooOld);
            }
        }
    }
}

/// Whether all that was removed since is remembered. In a life of the log that took a lost one's place nobody knows what
/// went in the life before; a first one has none before it.
fn is_fresh(seen: Position, at: Position) -> bool {
    let begins_here = seen == Position::ZERO && GENERATIONS_FIRST.contains(&at.generation());
    (begins_here || seen.generation() == at.generation()) && seen.offset() + TOMBSTONE_POSITIONS >= at.offset()
}

impl Model {
    pub(super) fn wrong_with(&self, op: &Op, now: Now<'_>) -> Vec<Refusal> {
        let mut wrong = Wrong::default();
        self.nodes(&mut wrong, op, now);
        match op {
            Op::PutNamespace { .. }
            | Op::DeleteNamespace { .. }
            | Op::PutService { .. }
            | Op::DeleteService { .. }
            | Op::CollectService { .. } => self.catalog(&mut wrong, op, now),
            Op::Register { .. }
            | Op::Deregister { .. }
            | Op::Operate { .. }
            | Op::KeepOverride { .. }
            | Op::EndOverride { .. } => self.people(&mut wrong, op, now),
            Op::Suspect { .. } | Op::Refute { .. } | Op::Confirm { .. } | Op::Unhealthy { .. } | Op::Expire { .. } => {
                self.doubts(&mut wrong, op)
            }
            Op::OpenSession { session, .. } => {
                wrong.unless(!self.sessions.contains_key(session), Refusal::Already);
            }
            Op::AttachSession { session, epoch, .. } => match self.sessions.get(session) {
                Some(there) => wrong.unless(there.epoch + 1 == *epoch, Refusal::Epoch),
                None => wrong.unless(false, Refusal::Absent),
            },
            Op::CloseSession { session, epoch, deregister } => match self.sessions.get(session) {
                Some(there) => {
                    wrong.unless(there.epoch == *epoch, Refusal::Epoch);
                    wrong.unless(*deregister || self.held_by(*session).is_empty(), Refusal::NotEmpty);
                }
                None => wrong.unless(false, Refusal::Absent),
            },
            Op::Freeze { scope, .. } => {
                wrong.unless(!self.freezes.contains_key(scope), Refusal::Already);
                let is_there = match scope {
                    FreezeScope::Node(node) => !self.is_gone(*node),
                    FreezeScope::Service(service) => self.services.contains_key(service),
                };
                wrong.unless(is_there, Refusal::Absent);
            }
            Op::Release { scope, freeze } => match self.freezes.get(scope) {
                Some(there) => wrong.unless(there.revision == *freeze, Refusal::Base),
                None => wrong.unless(false, Refusal::Absent),
            },
            Op::Beacon { .. } | Op::Gone { .. } => {}
        }
        wrong.0
    }

    /// What is wrong with who says it.
    fn nodes(&self, wrong: &mut Wrong, op: &Op, now: Now<'_>) {
        let lives = |node| !self.is_gone(node);
        match op {
            Op::Suspect { .. }
            | Op::Confirm { .. }
            | Op::Unhealthy { .. }
            | Op::Expire { .. }
            | Op::Freeze { .. }
            | Op::Release { .. } => wrong.unless(lives(now.node), Refusal::Gone),
            Op::OpenSession { node, .. } | Op::AttachSession { node, .. } => {
                wrong.unless(lives(now.node) && lives(*node), Refusal::Gone);
            }
            Op::Beacon { applied, landed, .. } => {
                wrong.unless(lives(now.node), Refusal::Gone);
                let before = now.revision.position();
                wrong.unless(*applied < before && *landed < before, Refusal::Base);
            }
            Op::Gone { node } => {
                wrong.unless(self.nodes.contains_key(node) && lives(*node), Refusal::Absent);
                wrong.unless(lives(now.node), Refusal::Gone);
            }
            Op::PutNamespace { .. }
            | Op::DeleteNamespace { .. }
            | Op::PutService { .. }
            | Op::DeleteService { .. }
            | Op::CollectService { .. }
            | Op::Register { .. }
            | Op::Deregister { .. }
            | Op::Operate { .. }
            | Op::KeepOverride { .. }
            | Op::EndOverride { .. }
            | Op::Refute { .. }
            | Op::CloseSession { .. } => {}
        }
    }

    fn is_gone(&self, node: NodeIncarnation) -> bool {
        self.nodes.get(&node).is_some_and(|there| there.gone)
    }

    fn catalog(&self, wrong: &mut Wrong, op: &Op, now: Now<'_>) {
        match op {
            Op::PutNamespace { namespace, base, .. } => {
                wrong.base(self.namespaces.get(namespace).map(|n| n.revision), *base, now);
            }
            Op::DeleteNamespace { namespace, base } => match self.namespaces.get(namespace) {
                Some(there) => {
                    wrong.unless(there.revision == *base, Refusal::Base);
                    let is_empty = !self.services.keys().any(|service| service.namespace == *namespace);
                    wrong.unless(is_empty && namespace.as_str() != "default", Refusal::NotEmpty);
                }
                None => wrong.unless(false, Refusal::Absent),
            },
            Op::PutService { service, base, .. } => {
                wrong.unless(self.namespaces.contains_key(&service.namespace), Refusal::Absent);
                wrong.base(self.services.get(service).map(|s| s.described), *base, now);
            }
            Op::DeleteService { service, base } | Op::CollectService { service, base } => {
                let Some(there) = self.services.get(service) else { return wrong.unless(false, Refusal::Absent) };
                let stands = match op {
                    Op::CollectService { .. } => there.touched == *base && there.implicit,
                    _ => there.described == *base,
                };
                wrong.unless(stands, Refusal::Base);
                wrong.unless(self.members(service).next().is_none(), Refusal::NotEmpty);
            }
            _ => {}
        }
    }

    fn people(&self, wrong: &mut Wrong, op: &Op, now: Now<'_>) {
        match op {
            Op::Register { instance, provider, base, epoch } => {
                if let Some(session) = provider.lease().session() {
                    let current = self.sessions.get(&session).map(|s| s.epoch);
                    wrong.unless(current.is_some() && current == *epoch, Refusal::Epoch);
                }
                wrong.unless(self.namespaces.contains_key(&instance.service.namespace), Refusal::Absent);
                self.life(wrong, instance, *base, now);
            }
            Op::KeepOverride { instance, absent, over, .. } => {
                wrong.unless(self.services.contains_key(&instance.service), Refusal::Absent);
                self.life(wrong, instance, Base::Absent(*absent), now);
                let kept = self.kept.get(instance).map(|kept| kept.operator.revision);
                wrong.unless(kept == *over, Refusal::Base);
            }
            Op::Deregister { instance, generation, .. } => self.of_generation(wrong, instance, *generation),
            Op::Operate { instance, generation, base, .. } => {
                self.of_generation(wrong, instance, *generation);
                let stands = self.living.get(instance).is_none_or(|there| there.revision == *base);
                wrong.unless(stands, Refusal::Base);
            }
            Op::EndOverride { instance, operator } => {
                let live = self.living.get(instance).and_then(|there| there.operator.as_ref()).map(|o| o.revision);
                let kept = self.kept.get(instance).map(|kept| kept.operator.revision);
                wrong.unless([live, kept].contains(&Some(*operator)), Refusal::Absent);
            }
            _ => {}
        }
    }

    /// What is wrong with what somebody saw of an instance.
    fn life(&self, wrong: &mut Wrong, instance: &InstanceKey, base: Base, now: Now<'_>) {
        wrong.base(self.living.get(instance).map(|i| i.revision), base, now);
        if let Base::Absent(seen) = base {
            // It came and went since then.
            let mut gone = self.removals.iter().filter(|gone| gone.key == *instance);
            wrong.unless(!gone.any(|gone| gone.removal.revision.position() > seen), Refusal::Base);
        }
    }

    fn doubts(&self, wrong: &mut Wrong, op: &Op) {
        match op {
            Op::Suspect { instance, generation, cause, .. } => {
                self.of_generation(wrong, instance, *generation);
                wrong.unless(!self.suspicions.contains_key(instance), Refusal::Already);
                let Some(there) = self.living.get(instance) else { return };
                let fits = match cause {
                    Cause::Lapse => there.lease().kind() == LeaseKind::Ttl,
                    Cause::Check { .. } => there.lease().kind() == LeaseKind::Checked,
                    Cause::Session { session, .. } => there.lease().session() == Some(*session),
                };
                wrong.unless(fits, Refusal::Generation);
                wrong.unless(self.is_current(cause), Refusal::Epoch);
            }
            Op::Refute { instance, suspicion, .. } | Op::Confirm { instance, suspicion } => {
                wrong.unless(self.standing(instance, *suspicion).is_some(), Refusal::Suspicion);
            }
            Op::Unhealthy { instance, suspicion } | Op::Expire { instance, suspicion } => {
                let Some(standing) = self.standing(instance, *suspicion) else {
                    return wrong.unless(false, Refusal::Suspicion);
                };
                wrong.unless(self.is_current(&standing.cause), Refusal::Epoch);
                let there = &self.living[instance];
                if matches!(op, Op::Unhealthy { .. }) {
                    wrong.unless(there.health.reason.is_none(), Refusal::Already);
                    let is_read = |node: &MemberRow| node.gone || node.applied >= suspicion.position();
                    let needs_all = !matches!(standing.cause, Cause::Check { .. });
                    wrong.unless(!needs_all || self.nodes.values().all(is_read), Refusal::Barrier);
                } else {
                    let may_go = there.health.reason.is_some() && there.lease().remove_after().is_some();
                    wrong.unless(may_go, Refusal::Suspicion);
                }
            }
            _ => {}
        }
    }

    fn of_generation(&self, wrong: &mut Wrong, instance: &InstanceKey, generation: Revision) {
        match self.living.get(instance) {
            Some(there) => wrong.unless(there.generation == generation, Refusal::Generation),
            None => wrong.unless(false, Refusal::Absent),
        }
    }

    fn standing(&self, instance: &InstanceKey, suspicion: Revision) -> Option<&Suspicion> {
        self.suspicions.get(instance).filter(|standing| standing.revision == suspicion)
    }

    /// What is said of a session is void once somebody else holds it.
    fn is_current(&self, cause: &Cause) -> bool {
        match cause {
            Cause::Session { session, epoch } => self.sessions.get(session).is_none_or(|there| there.epoch == *epoch),
            Cause::Lapse | Cause::Check { .. } => true,
        }
    }
}
