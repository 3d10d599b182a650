//! Makes what a plan says go wrong, and ends it.

use std::sync::Arc;

use super::fleet::{Seat, Wish, World};
use super::plan::{Kind, Plan, Trouble};
use super::weather::Sky;

/// Goes through the troubles of a plan; each by itself, so that they overlap.
pub(super) async fn run(world: Arc<World>, seats: Arc<Vec<Seat>>, plan: Plan) {
    let began_ms = world.sim.now_ms();
    let each = plan.troubles.into_iter().map(|trouble| {
        let (world, seats) = (world.clone(), seats.clone());
        async move {
            world.sim.pause(trouble.at_ms).await;
            world.sim.tell(|| format!("{trouble:?}"));
            begin(&world, &seats, trouble);
            let left_ms = (began_ms + plan.faults_ms).saturating_sub(world.sim.now_ms());
            world.sim.pause(trouble.for_ms.min(left_ms)).await;
            end(&world, &seats, trouble);
        }
    });
    futures::future::join_all(each).await;
}

/// Nothing is wrong any more: everybody is up, runs, and reaches everything.
pub(super) fn heal(world: &World, seats: &[Seat]) {
    world.weather.change(|sky| {
        let wall_ahead_ms = std::mem::take(&mut sky.wall_ahead_ms);
        *sky = Sky { wall_ahead_ms, ..Sky::default() };
    });
    for seat in seats {
        seat.wish(Wish::Up);
        seat.live().iter().for_each(|live| live.life.stall(false));
    }
}

fn begin(world: &World, seats: &[Seat], trouble: Trouble) {
    let Trouble { seat: at, other, kind, .. } = trouble;
    let (seat, name) = (&seats[at], seats[at].name.clone());
    let sim = &world.sim;
    world.weather.change(|sky| match kind {
        Kind::Kill => seat.wish(Wish::Killed),
        Kind::Stop => seat.wish(Wish::Stopped),
        Kind::Stall => seat.live().iter().for_each(|live| live.life.stall(true)),
        Kind::CutFromLog => drop(sky.cut_from_log.insert(name)),
        Kind::CutFromStore => drop(sky.cut_from_store.insert(name)),
        Kind::LogAway => sky.cut_from_log.extend(seats.iter().map(|seat| seat.name.clone())),
        Kind::StoreAway => sky.cut_from_store.extend(seats.iter().map(|seat| seat.name.clone())),
        Kind::Cut => {
            sky.cut.insert((name.clone(), seats[other].name.clone()));
            if sim.percent(60) {
                sky.cut.insert((seats[other].name.clone(), name));
            }
        }
        Kind::SlowReads => drop(sky.reads_late_ms.insert(name, sim.between(50, 2_000))),
        Kind::SlowWrites => drop(sky.writes_late_ms.insert(name, sim.between(50, 1_000))),
        Kind::SlowStore => sky.store_late_ms = sim.between(50, 800),
        Kind::LogFaults => sky.log_faults = sim.between(5, 40),
        Kind::StoreFaults => sky.store_faults = sim.between(10, 70),
        Kind::PeersLost => sky.peers_lost = sim.between(20, 100),
        Kind::WallClock => drop(sky.wall_ahead_ms.insert(name, sim.below(3_600_000))),
    });
}

fn end(world: &World, seats: &[Seat], trouble: Trouble) {
    let Trouble { seat: at, other, kind, .. } = trouble;
    let (seat, name) = (&seats[at], seats[at].name.clone());
    world.weather.change(|sky| match kind {
        Kind::Kill | Kind::Stop => seat.wish(Wish::Up),
        Kind::Stall => seat.live().iter().for_each(|live| live.life.stall(false)),
        Kind::CutFromLog => drop(sky.cut_from_log.remove(&name)),
        Kind::CutFromStore => drop(sky.cut_from_store.remove(&name)),
        Kind::LogAway => sky.cut_from_log.clear(),
        Kind::StoreAway => sky.cut_from_store.clear(),
        Kind::Cut => {
            sky.cut.remove(&(name.clone(), seats[other].name.clone()));
            sky.cut.remove(&(seats[other].name.clone(), name));
        }
        Kind::SlowReads => drop(sky.reads_late_ms.remove(&name)),
        Kind::SlowWrites => drop(sky.writes_late_ms.remove(&name)),
        Kind::SlowStore => sky.store_late_ms = 0,
        Kind::LogFaults => sky.log_faults = 0,
        Kind::StoreFaults => sky.store_faults = 0,
        Kind::PeersLost => sky.peers_lost = 0,
        // Log time has followed it; it does not come back.
        Kind::WallClock => {}
    });
}
