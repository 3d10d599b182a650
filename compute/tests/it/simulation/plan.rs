//! What a seed comes to: who there is, what goes wrong, and when. Not all that can go wrong does in each run, for two
//! faults may hide a third.

use super::clients::{Habit, Trade};
use super::sim::Sim;

/// Something that goes wrong, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    pub(super) at_ms: u64,
    pub(super) for_ms: u64,
    pub(super) seat: usize,
    pub(super) other: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Kill,
    Stop,
    /// The whole process stands still.
    Stall,
    CutFromLog,
    CutFromStore,
    LogAway,
    StoreAway,
    /// One way, or both.
    Cut,
    SlowReads,
    SlowWrites,
    SlowStore,
    LogFaults,
    StoreFaults,
    PeersLost,
    WallClock,
}

const KINDS: [Kind; 15] = [
    Kind::Kill,
    Kind::Stop,
    Kind::Stall,
    Kind::CutFromLog,
    Kind::CutFromStore,
    Kind::LogAway,
    Kind::StoreAway,
    Kind::Cut,
    Kind::SlowReads,
    Kind::SlowWrites,
    Kind::SlowStore,
    Kind::LogFaults,
    Kind::StoreFaults,
    Kind::PeersLost,
    Kind::WallClock,
];

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) nodes: usize,
    pub(super) services: usize,
    pub(super) faults_ms: u64,
    pub(super) troubles: Vec<Trouble>,
    pub(super) trades: Vec<Trade>,
    pub(super) habits: Vec<Habit>,
    pub(super) has_operator: bool,
}

/// What a run is about, so that rare things come together often enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Theme {
    Anything,
    /// Nodes that die or stand still while they land, and a store that is slow.
    Landing,
    /// Witnesses that are late, and owners that do not hear them.
    Witnesses,
    /// Many that die at once.
    MassLoss,
    /// Providers that come back in the moment in which they are removed.
    Comebacks,
    /// Clients that go to another node while what they said at the first is still on its way.
    Moves,
}

impl Theme {
    pub(super) const ALL: [Self; 6] =
        [Self::Anything, Self::Landing, Self::Witnesses, Self::MassLoss, Self::Comebacks, Self::Moves];
}

impl Plan {
    pub(super) fn of(sim: &Sim, theme: Theme) -> Self {
        let faults_ms = sim.between(5_000, 9_000);
        let nodes = if sim.percent(80) { 3 } else { sim.between(4, 5) as usize };
        let kinds = match theme {
            Theme::Anything | Theme::MassLoss => KINDS.into_iter().filter(|_| sim.percent(35)).collect(),
            Theme::Landing => {
                vec![Kind::Kill, Kind::Stall, Kind::CutFromLog, Kind::SlowStore, Kind::StoreFaults, Kind::StoreFaults]
            }
            Theme::Comebacks => vec![Kind::SlowWrites, Kind::SlowWrites, Kind::SlowReads, Kind::LogFaults],
            Theme::Moves => vec![Kind::SlowWrites, Kind::SlowWrites, Kind::SlowReads, Kind::LogFaults, Kind::Stall],
            Theme::Witnesses => vec![Kind::Stall, Kind::SlowReads, Kind::Cut, Kind::PeersLost, Kind::SlowWrites],
        };
        let troubles = if kinds.is_empty() { 0 } else { sim.between(1, 7) };
        let trouble = |_| Trouble {
            at_ms: sim.between(500, faults_ms - 500),
            for_ms: sim.between(100, 4_000),
            seat: sim.below(nodes as u64) as usize,
            other: sim.below(nodes as u64) as usize,
            kind: kinds[sim.below(kinds.len() as u64) as usize],
        };
        let mut troubles: Vec<Trouble> = (0..troubles).map(trouble).collect();
        troubles.sort_by_key(|trouble| trouble.at_ms);
        let all_die_ms = (theme == Theme::MassLoss || sim.percent(5)).then(|| sim.between(2_000, faults_ms - 1_000));
        let services = match theme {
            _ if all_die_ms.is_some() => 1,
            Theme::Comebacks => 3,
            _ => sim.between(1, 3) as usize,
        };
        let trades = (0..sim.between(3, 6)).map(|_| match theme {
            Theme::Comebacks => Trade { falls_silent: 25, comes_back: true, ..Self::trade(sim, all_die_ms) },
            Theme::Moves => Trade { changes: 50, patience_ms: 200, ..Self::trade(sim, all_die_ms) },
            _ => Self::trade(sim, all_die_ms),
        });
        let trades = trades.collect();
        let streamers = match theme {
            _ if all_die_ms.is_some() => 0,
            Theme::Moves => sim.between(2, 4),
            _ => sim.below(3),
        };
        let habits = (0..streamers).map(|_| Self::habit(sim, theme)).collect();
        Self { nodes, services, faults_ms, troubles, trades, habits, has_operator: sim.percent(50) }
    }

    fn habit(sim: &Sim, theme: Theme) -> Habit {
        let grace_ms = sim.between(1_000, 2_500);
        let (longest_ms, roams) = if theme == Theme::Moves { (4_000, 70) } else { (9_000, 0) };
        Habit { grace_ms, longest_ms, roams, dies: 15 }
    }

    fn trade(sim: &Sim, all_die_ms: Option<u64>) -> Trade {
        let is_steady = all_die_ms.is_some() || sim.percent(50);
        let odds = |percent: u64| if is_steady { 0 } else { sim.below(percent) };
        let ttl_ms = sim.between(1_500, 3_000);
        Trade {
            ttl_ms,
            remove_after_ms: sim.between(1_000, 2_000),
            falls_silent: odds(12),
            comes_back: false,
            leaves: odds(12),
            changes: odds(12),
            dies_ms: all_die_ms.map(|at| at + sim.below(300)),
            patience_ms: ttl_ms / 2,
        }
    }
}
