//! When a healed run may end: everybody is well, and for so long that nothing is to come any more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use compute::Registry;
use compute::model::{Digest, InstanceKey, NodeIncarnation, Op};
use compute::node::Readiness;

use super::fleet::{Seat, World};
use super::history::{Fate, History};
use super::oracle::{KEPT_MS_MAX, LANDED_MS};

/// Nobody doubts anybody for so long: longer than any lease lasts unheard, so that each has been kept by what its owner
/// has heard since, and longer than a silent provider is away behind its removal.
const CALM_MS: u64 = 3_500;
/// How often is looked.
const LOOK_MS: u64 = 250;

/// What goes on in a run that may still lead to something.
#[derive(Default)]
pub(super) struct Calm {
    /// When there was anything the last time.
    stirred_ms: AtomicU64,
    /// What was given up by who asked for it, and may come all the same.
    under_way: AtomicU64,
}

/// One of what is under way, until it is dropped.
pub(super) struct UnderWay(Arc<Calm>);

impl Calm {
    pub(super) fn stir(&self, now_ms: u64) {
        self.stirred_ms.store(now_ms, Ordering::Relaxed);
    }

    pub(super) fn under_way(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether a change says of nobody that there is anything with it: nodes that live and streams that move do so always.
pub(super) fn is_calm(op: &Op) -> bool {
    matches!(op, Op::Beacon { leaving: false, .. } | Op::AttachSession { .. })
}

/// Until a healed run is calm; false: it is not within the time in which it should be.
pub(super) async fn settle(world: &World, seats: &[Seat], history: &History) -> bool {
    let (sim, calm) = (&world.sim, world.sim.calm());
    calm.stir(sim.now_ms());
    let until_ms = sim.now_ms() + KEPT_MS_MAX + LOOK_MS * 2;
    while sim.now_ms() < until_ms {
        sim.pause(LOOK_MS).await;
        if !is_well(world, seats, history) {
            calm.stir(sim.now_ms());
        } else if sim.now_ms() >= calm.stirred_ms.load(Ordering::Relaxed) + CALM_MS {
            return true;
        }
    }
    false
}

/// All nodes know of each other, and show the same; who lives is there, who is silent is not; and what is due has landed.
fn is_well(world: &World, seats: &[Seat], history: &History) -> bool {
    let nodes: Vec<_> = seats.iter().filter_map(Seat::live).map(|live| live.registry).collect();
    let names: BTreeSet<_> = nodes.iter().map(|registry| registry.status().node).collect();
    let due = world.topic.appended_before(world.sim.now_ms().saturating_sub(LANDED_MS));
    let told = history.told();
    let shown = |registry| told.fates.iter().map(|(key, fate)| shown(registry, key, *fate)).collect::<Option<Vec<_>>>();
    let shown: Vec<_> = nodes.iter().map(shown).collect();
    nodes.len() == seats.len()
        && world.sim.calm().under_way.load(Ordering::Relaxed) == 0
        && nodes.iter().all(|registry| is_at_ease(registry, &names, due))
        && shown.iter().all(|digests| digests.is_some() && *digests == shown[0])
}

/// A node that takes everything, keeps nothing to itself, and knows the others. `due`: so many frames have landed.
fn is_at_ease(registry: &Registry, nodes: &BTreeSet<NodeIncarnation>, due: u64) -> bool {
    let status = registry.status();
    let members = status.members.iter().filter(|member| !member.leaving).map(|member| member.node);
    registry.readiness() == Readiness::Ready
        && status.isolated.is_none()
        && status.log_away_ms.is_none()
        && (status.counted.suspects, status.counted.overlay, status.freezes.len()) == (0, 0, 0)
        && status.landed.offset() >= due
        && members.collect::<BTreeSet<_>>() == *nodes
}

/// The digest of the instance's service, if the node shows the instance as it should.
fn shown(registry: &Registry, key: &InstanceKey, fate: Fate) -> Option<Digest> {
    let view = registry.view(&key.service);
    let health = view.get(&key.id).map(|there| there.is_healthy());
    let is_right = match fate {
        Fate::Lives { .. } => health == Some(true),
        Fate::Silent { .. } => health.is_none(),
        Fate::Left => true,
    };
    is_right.then_some(view.digest)
}
