//! What nodes say of themselves, right or wrong: about leases, freezes, and ends that have come.

use crate::model::{Cause, FreezeScope, InstanceKey, Lease, NodeIncarnation, Op, Revision};

use super::Script;

impl Script {
    /// About a suspicion that stands, or stood, or never did.
    pub(super) fn some_word(&self) -> Option<Op> {
        let instance = self.some_key();
        let there = self.state.instance(&instance)?;
        let generation = there.generation;
        let suspicion = self.state.suspicion(&instance).map(|s| s.revision);
        let suspicion = if self.below(8) == 0 { self.last } else { suspicion? };
        Some(match self.below(5) {
            0 => Op::Refute { instance, suspicion, age_ms: 1 },
            1 => Op::Confirm { instance, suspicion },
            2 => Op::Unhealthy { instance, suspicion },
            3 => Op::Expire { instance, suspicion },
            _ => {
                let cause = match there.lease().session() {
                    Some(session) => Cause::Session { session, epoch: self.below(3) as u32 + 1 },
                    None => self.one_of(&[Cause::Lapse, Cause::Check { detail: "no answer".into() }]),
                };
                Op::Suspect { instance, generation, age_ms: 10_000, cause }
            }
        })
    }

    pub(super) fn some_suspicion(&self) -> Option<Op> {
        let instance = self.some_key();
        let there = self.state.instance(&instance)?;
        let cause = match there.lease() {
            Lease::Stream { session, .. } => {
                Cause::Session { session: *session, epoch: self.state.session(session)?.epoch }
            }
            Lease::Checked { .. } => Cause::Check { detail: self.one_of(&["no answer", "503"]).into() },
            Lease::Ttl { .. } | Lease::Permanent => Cause::Lapse,
        };
        Some(Op::Suspect { generation: there.generation, instance, age_ms: 10_000, cause })
    }

    /// The next step of a suspect on its way out.
    pub(super) fn some_expiry(&self) -> Option<Op> {
        let suspects: Vec<(InstanceKey, Revision)> =
            self.state.suspicions().map(|(key, suspicion)| (key.clone(), suspicion.revision)).collect();
        if suspects.is_empty() {
            return None;
        }
        let (instance, suspicion) = self.one_of(&suspects);
        let is_healthy = self.state.instance(&instance)?.is_healthy();
        Some(match is_healthy {
            true => Op::Unhealthy { instance, suspicion },
            false => Op::Expire { instance, suspicion },
        })
    }

    pub(super) fn some_freeze(&self) -> Op {
        let scope = match self.below(4) {
            0 => FreezeScope::Node(self.some_node()),
            _ => FreezeScope::Service(self.some_service()),
        };
        let standing = self.state.freezes().find(|(of, _)| **of == scope).map(|(_, freeze)| freeze.revision);
        match standing {
            Some(freeze) if self.below(3) > 0 => Op::Release { scope, freeze },
            None if self.below(8) == 0 => Op::Release { scope, freeze: self.last },
            _ => Op::Freeze { scope, lapsed: 3, of: 3 },
        }
    }

    fn some_node(&self) -> NodeIncarnation {
        self.one_of(&self.nodes).incarnation
    }

    /// Mostly of what has been applied by now; late, early or stale now and then.
    pub(super) fn some_beacon(&self) -> Op {
        let at = self.state.position();
        let applied = match self.below(10) {
            0 => at.back(7),
            1 => at.next().next(),
            _ => at,
        };
        let landed = if self.below(30) == 0 { at.next() } else { applied.back(self.below(5) as u64) };
        Op::Beacon {
            name: self.one_of(&["n0", "n1", "n2"]).into(),
            peer: self.one_of(&["", "10.0.0.1:7802"]).into(),
            applied,
            rolling_hash: self.state.log().rolling_hash,
            digest: Some(self.state.digest()),
            rebuilt: None,
            landed,
            leaving: self.below(8) == 0,
        }
    }

    /// Mostly of one that lives; of the dead, or of nobody.
    pub(super) fn some_gone(&self) -> Option<Op> {
        let node = match self.below(8) {
            0 => NodeIncarnation(self.below(6) as u64),
            1..4 => self.some_node(),
            _ => return None,
        };
        Some(Op::Gone { node })
    }

    /// What has come to its end, as a node sees it; now and then one whose clock is ahead.
    pub(super) fn some_end(&self) -> Option<Op> {
        let ahead = self.one_of(&[0, 0, 0, 100_000_000]);
        let due = self.state.due(self.state.log().time_ms + ahead);
        (!due.is_empty()).then(|| self.one_of(&due))
    }
}
