//! Which node owns which lease: all of them compute the same from the same members and log time.
//!
//! Rendezvous hashing: every node with a share gets a score for a lease, and the highest owns it. A node that comes or
//! goes moves only its own share. The hash is fixed, for all nodes and versions must agree: it never changes.

mod transfer;

use std::collections::BTreeSet;

use crate::model::{Instance, InstanceId, InstanceKey, NodeIncarnation, ServiceKey, SessionId};

use super::State;

pub use transfer::{Moved, Moving, Transfer};

/// A node that joined less than this long ago, in log time, has no share as long as one stays that is older by as much:
/// a node that comes and goes moves no lease. Those that start together share from the beginning, and the moment in
/// which the first of them is no newcomer any more takes nothing from the others.
pub const RIPE_MS: u64 = 30_000;

/// One member, as far as ownership asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    pub node: NodeIncarnation,
    /// Log time of its first beacon.
    pub joined_ms: u64,
    pub leaving: bool,
}

/// Who owns what. Without members, on a log of one process, nobody is asked: everything is that process's.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ownership {
    /// Rising.
    shares: Vec<NodeIncarnation>,
    members: BTreeSet<NodeIncarnation>,
    /// The log time at which a newcomer gets its share.
    ripens_ms: Option<u64>,
}

impl Ownership {
    /// `members`: those that are not gone. `log_time_ms`: the log's, nobody's clock.
    pub fn of(members: impl IntoIterator<Item = Standing>, log_time_ms: u64) -> Self {
        let all: Vec<_> = members.into_iter().collect();
        let staying = || all.iter().filter(|member| !member.leaving);
        let oldest_ms = staying().map(|member| member.joined_ms).min().unwrap_or(0);
        let ripe_ms = |joined_ms: u64| joined_ms.saturating_add(RIPE_MS);
        let is_ripe = |m: &Standing| m.joined_ms < ripe_ms(oldest_ms) || ripe_ms(m.joined_ms) <= log_time_ms;
        let mut shares: Vec<_> = staying().filter(|member| is_ripe(member)).map(|member| member.node).collect();
        if shares.is_empty() {
            shares = all.iter().map(|member| member.node).collect();
        }
        shares.sort_unstable();
        let young = staying().filter(|member| !is_ripe(member));
        let ripens_ms = young.map(|member| ripe_ms(member.joined_ms)).min();
        Self { shares, members: all.iter().map(|member| member.node).collect(), ripens_ms }
    }

    /// Whether no log is shared, so that this process owns everything.
    pub fn is_embedded(&self) -> bool {
        self.members.is_empty()
    }

    /// Those that own leases.
    pub fn shares(&self) -> &[NodeIncarnation] {
        &self.shares
    }

    /// The log time from which the same members share otherwise; `None`: never.
    pub fn ripens_ms(&self) -> Option<u64> {
        self.ripens_ms
    }

    /// Whether each lease that does not hang on a session has the same owner there.
    pub fn has_same_shares(&self, other: &Self) -> bool {
        self.shares == other.shares
    }

    /// Who owns the lease of an instance, if it is not a stream lease; `None`: this process, which is alone.
    pub fn owner(&self, key: &InstanceKey) -> Option<NodeIncarnation> {
        self.owner_of(&key.service, &key.id)
    }

    /// The same, without a key of its own.
    pub fn owner_of(&self, service: &ServiceKey, id: &InstanceId) -> Option<NodeIncarnation> {
        self.first(instance_hash(service, id))
    }

    /// Whether `me` owns it.
    pub fn is_owner(&self, me: NodeIncarnation, key: &InstanceKey) -> bool {
        self.owner(key).is_none_or(|owner| owner == me)
    }

    /// Who gives the second opinion on a failed check: the next after the owner.
    pub fn second(&self, key: &InstanceKey) -> Option<NodeIncarnation> {
        self.ranked(instance_hash(&key.service, &key.id)).1
    }

    /// Who answers for a session, and so for its leases: `node`, which holds or held its connection, as long as that is
    /// a member; else whoever is drawn for it. `None`: this process, which is alone.
    pub fn owner_of_session(&self, session: &SessionId, node: NodeIncarnation) -> Option<NodeIncarnation> {
        if self.members.contains(&node) { Some(node) } else { self.first(hash(0, &session.0)) }
    }

    /// How many healthy members of a service are suspects, and how many of them are not `me`'s: what
    /// [`freeze`](crate::state::freeze) must count with what goes here. Nothing where no log is shared: there it is all
    /// one node's, which knows.
    pub fn suspects(&self, me: NodeIncarnation, state: &State, service: &ServiceKey) -> (u32, u32) {
        if self.is_embedded() {
            return (0, 0);
        }
        let suspects = state.suspicions.range(service.first_instance()..).map(|(key, _)| key);
        let of_it = suspects.take_while(|key| key.service == *service).filter_map(|key| state.instance(key));
        of_it.filter(|instance| instance.is_healthy()).fold((0, 0), |(all, elsewhere), instance| {
            (all + 1, elsewhere + u32::from(!self.answers_for(me, state, service, instance)))
        })
    }

    /// Whether a lease is `me`'s, whatever its kind.
    pub fn answers_for(&self, me: NodeIncarnation, state: &State, service: &ServiceKey, instance: &Instance) -> bool {
        self.is_embedded() || self.holder(state, service, instance) == Some(me)
    }

    /// Who answers for a lease, whatever its kind.
    fn holder(&self, state: &State, service: &ServiceKey, instance: &Instance) -> Option<NodeIncarnation> {
        match instance.lease().session() {
            Some(id) => state.session(&id).and_then(|session| self.owner_of_session(&id, session.node)),
            None => self.owner_of(service, &instance.id),
        }
    }

    fn first(&self, hash: u64) -> Option<NodeIncarnation> {
        self.ranked(hash).0
    }

    /// The two with the highest scores.
    fn ranked(&self, hash: u64) -> (Option<NodeIncarnation>, Option<NodeIncarnation>) {
        let (mut first, mut second) = (None, None);
        for node in &self.shares {
            // Of equal scores the lower node's counts, so that no order of members matters.
            let scored = Some((score(hash, *node), std::cmp::Reverse(*node)));
            if scored > first {
                (first, second) = (scored, first);
            } else if scored > second {
                second = scored;
            }
        }
        let node = |scored: Option<(u64, std::cmp::Reverse<NodeIncarnation>)>| scored.map(|(_, node)| node.0);
        (node(first), node(second))
    }
}

const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
const SECOND: u64 = 0xd6e8_feb8_6659_fd93;

/// Of an instance's name, each part with its length, so that no two names run into each other.
fn instance_hash(service: &ServiceKey, id: &InstanceId) -> u64 {
    hash(service_hash(service), id.as_str().as_bytes())
}

/// Of a service's name; the same on every node, as the order in which leases change hands.
fn service_hash(service: &ServiceKey) -> u64 {
    hash(hash(0, service.namespace.as_str().as_bytes()), service.service.as_str().as_bytes())
}

/// Eight bytes at a time, least significant first, the last ones filled with zeros.
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut mixed = folded(seed ^ FIRST, bytes.len() as u64 ^ SECOND);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mixed = folded(mixed ^ u64::from_le_bytes(word), FIRST).wrapping_add(SECOND);
    }
    mixed
}

/// How much a node wants what has this hash.
fn score(hash: u64, node: NodeIncarnation) -> u64 {
    let mut mixed = hash ^ node.0.wrapping_mul(FIRST);
    for _ in 0..2 {
        mixed = (mixed ^ (mixed >> 32)).wrapping_mul(SECOND);
    }
    mixed ^ (mixed >> 32)
}

/// Both halves of a product, one over the other.
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests;
