//! Applies a frame, exactly once, in log order.

mod instances;
mod leases;
mod members;
mod services;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{
    Author, Base, Change, Entry, FreezeScope, Instance, InstanceKey, MemberRow, Namespace, NamespaceRow,
    NodeIncarnation, Op, Position, Removal, RemovalReason, Revision, ServiceKey, SessionId, Suspicion,
};
use crate::watch::{Record, Recorded};

use super::State;
use super::tombstones::Tombstones;
use super::verdict::{LogBroken, Refusal, Verdict};

/// What a frame did.
#[derive(Debug, Default)]
pub struct Applied {
    pub position: Position,
    /// One for each change of the frame, in its order.
    pub verdicts: Vec<Verdict>,
    /// The services whose view changed, and how.
    pub touched: BTreeMap<ServiceKey, Vec<Record>>,
    /// The services of which something is kept that was not, or no longer.
    pub kept: BTreeSet<ServiceKey>,
    /// Words of operators that should have outlived their instance, for which there was no room any more.
    pub unkept: usize,
    /// Namespaces made, described, or deleted (`None`).
    pub namespaces: Vec<(Namespace, Option<NamespaceRow>)>,
    /// A node joined, is gone, or has begun or ceased to leave; not for each beacon.
    pub members_changed: bool,
    /// For whoever keeps leases, in order.
    pub leases: Vec<LeaseEvent>,
}

/// What the keeper of leases must know of a frame.
#[derive(Clone, Debug)]
pub enum LeaseEvent {
    /// A lease starts, or its terms or its generation changed.
    Began {
        key: InstanceKey,
        instance: Arc<Instance>,
    },
    /// Its provider spoke, and nothing of the lease changed.
    Heard {
        key: InstanceKey,
        instance: Arc<Instance>,
    },
    Ended {
        key: InstanceKey,
        generation: Revision,
    },
    Suspected {
        key: InstanceKey,
        suspicion: Suspicion,
    },
    /// The second opinion agreed with the suspicion.
    Confirmed {
        key: InstanceKey,
        suspicion: Revision,
    },
    /// No suspicion stands any more; `age_ms` when somebody heard it that long ago.
    Cleared {
        key: InstanceKey,
        age_ms: Option<u64>,
    },
    Unhealthy {
        key: InstanceKey,
        /// The node that says so.
        by: NodeIncarnation,
    },
    SessionAttached {
        session: SessionId,
        epoch: u32,
        node: NodeIncarnation,
        grace_ms: u32,
    },
    SessionClosed {
        session: SessionId,
    },
    Frozen {
        scope: FreezeScope,
        freeze: Revision,
    },
    Released {
        scope: FreezeScope,
    },
}

type Result<T = ()> = std::result::Result<T, Refusal>;

/// One change on its way into the state.
struct Applying<'a> {
    state: &'a mut State,
    out: &'a mut Applied,
    author: &'a Author,
    /// Where it was accepted.
    node: NodeIncarnation,
    revision: Revision,
    time_ms: u64,
}

impl State {
    /// Applies the next frame of the log. An error means that the log is broken; nothing was changed.
    pub fn apply(&mut self, entry: &Entry) -> std::result::Result<Applied, LogBroken> {
        self.check(entry)?;
        let frame = &entry.frame;
        let time_ms = self.log.time_ms.max(frame.time_ms);
        let mut out = Applied { position: entry.position, ..Applied::default() };
        out.verdicts.reserve(frame.changes.len());
        for (place, change) in frame.changes.iter().enumerate() {
            let revision = entry.position.at(place as u16);
            let verdict = self.apply_change(change, revision, time_ms, &mut out);
            out.verdicts.push(verdict);
        }
        self.log.watermark = entry.position;
        self.log.time_ms = time_ms;
        self.log.rolling_hash = rolled(self.log.rolling_hash, entry);
        self.forget();
        self.turn_range();
        Ok(out)
    }

    fn check(&self, entry: &Entry) -> std::result::Result<(), LogBroken> {
        let (at, applied) = (entry.position, self.log.watermark);
        let follows = at == applied.next() || (applied == Position::ZERO && at.offset() == 1);
        if !follows {
            return Err(LogBroken::Gap { applied, at });
        }
        if entry.frame.identity != self.log.identity {
            return Err(LogBroken::Foreign { at, expected: self.log.identity, found: entry.frame.identity });
        }
        if entry.frame.changes.len() > usize::from(u16::MAX) {
            return Err(LogBroken::TooMany { at, changes: entry.frame.changes.len() });
        }
        Ok(())
    }

    fn apply_change(&mut self, change: &Change, revision: Revision, time_ms: u64, out: &mut Applied) -> Verdict {
        self.dirty.origins.insert(change.origin.node);
        if !self.origins.admit(change.origin, revision.position()) {
            return Verdict::Duplicate;
        }
        let mut applying =
            Applying { state: self, out, author: &change.author, node: change.origin.node, revision, time_ms };
        match applying.op(&change.op) {
            Ok(()) => Verdict::Applied(revision),
            Err(refusal) => Verdict::Refused(refusal),
        }
    }

    /// Lets go of what is only remembered for a number of positions.
    fn forget(&mut self) {
        let at = self.log.watermark;
        self.dirty.tombstones.extend(self.tombstones.forget(at));
        self.dirty.origins.extend(self.origins.forget(at));
        self.dirty.members.extend(self.members.forget(at, &self.origins));
    }
}

/// Mixes a frame into the hash of everything before it.
fn rolled(hash: u64, entry: &Entry) -> u64 {
    let mut mixed = hash ^ entry.checksum.rotate_left(17) ^ entry.position.packed();
    for _ in 0..2 {
        mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    }
    mixed ^ (mixed >> 32)
}

impl Applying<'_> {
    fn op(&mut self, op: &Op) -> Result {
        self.check_node(op)?;
        match op {
            Op::PutNamespace { namespace, settings, base } => self.put_namespace(namespace, settings, *base),
            Op::DeleteNamespace { namespace, base } => self.delete_namespace(namespace, *base),
            Op::PutService { service, settings, base } => self.put_service(service, settings, *base),
            Op::DeleteService { service, base } => self.delete_service(service, *base),
            Op::CollectService { service, base } => self.collect_service(service, *base),
            Op::Register { instance, provider, base, epoch } => self.register(instance, provider, *base, *epoch),
            Op::Deregister { instance, generation, reason } => self.deregister(instance, *generation, *reason),
            Op::Operate { instance, generation, base, operator } => {
                self.operate(instance, *generation, *base, operator.as_deref())
            }
            Op::KeepOverride { instance, absent, over, kept } => self.keep(instance, *absent, *over, kept),
            Op::EndOverride { instance, operator } => self.end_override(instance, *operator),
            Op::Suspect { instance, generation, age_ms, cause } => self.suspect(instance, *generation, *age_ms, cause),
            Op::Refute { instance, suspicion, age_ms } => self.refute(instance, *suspicion, *age_ms),
            Op::Confirm { instance, suspicion } => self.confirm(instance, *suspicion),
            Op::Unhealthy { instance, suspicion } => self.unhealthy(instance, *suspicion),
            Op::Expire { instance, suspicion } => self.expire(instance, *suspicion),
            Op::OpenSession { session, node, grace_ms, client } => {
                self.open_session(*session, *node, *grace_ms, client)
            }
            Op::AttachSession { session, node, epoch } => self.attach_session(*session, *node, *epoch),
            Op::CloseSession { session, epoch, deregister } => self.close_session(*session, *epoch, *deregister),
            Op::Freeze { scope, lapsed, of } => self.freeze(scope, *lapsed, *of),
            Op::Release { scope, freeze } => self.release(scope, *freeze),
            Op::Beacon { name, peer, applied, rolling_hash, digest: _, rebuilt: _, landed, leaving } => {
                self.beacon(MemberRow {
                    name: name.clone(),
                    peer: peer.clone(),
                    joined_ms: self.time_ms,
                    joined: self.revision,
                    seen: self.revision,
                    applied: *applied,
                    rolling_hash: *rolling_hash,
                    landed: *landed,
                    leaving: *leaving,
                    gone: false,
                })
            }
            Op::Gone { node } => self.gone(*node),
        }
    }

    fn record(&mut self, service: &ServiceKey, what: Recorded) {
        self.state.dirty.services.insert(service.clone());
        let record = Record { revision: self.revision, what };
        self.out.touched.entry(service.clone()).or_default().push(record);
    }

    fn tell(&mut self, event: LeaseEvent) {
        self.out.leases.push(event);
    }

    fn instance(&self, key: &InstanceKey) -> Result<Arc<Instance>> {
        self.state.instance(key).cloned().ok_or(Refusal::Absent)
    }

    /// Puts a changed instance in its place and tells of it.
    fn put(&mut self, key: &InstanceKey, instance: Instance) -> Arc<Instance> {
        let instance = Arc::new(instance);
        if let Some(service) = self.state.services.get_mut(&key.service) {
            let before = service.row().digest;
            service.put(instance.clone());
            self.state.digest = self.state.digest.minus(before).plus(service.row().digest);
        }
        self.state.dirty.instances.insert(key.clone(), Some(instance.clone()));
        self.record(&key.service, Recorded::Put(instance.clone()));
        instance
    }

    /// What is kept of an instance has changed.
    fn kept_changed(&mut self, key: &InstanceKey) {
        self.state.dirty.overrides.insert(key.clone());
        self.out.kept.insert(key.service.clone());
        self.state.time_override(key);
    }

    fn removal(&self, reason: RemovalReason) -> Removal {
        Removal { at_ms: self.time_ms, reason, author: self.author.clone(), revision: self.revision }
    }

    /// A base "absent as of a position" is refused when removals since then may be forgotten.
    fn is_fresh(&self, base: Base) -> bool {
        match base {
            Base::Absent(position) => position >= Tombstones::floor(self.revision.position()),
            Base::At(_) => true,
        }
    }
}
