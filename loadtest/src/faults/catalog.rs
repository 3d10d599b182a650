//! Every fault there is, and mixtures of them.

use std::time::Duration;

use super::dice::Dice;
use super::link::Weather;
use super::step::{CUT, Fault, Step};

/// 200 ms each way and 2 % lost.
const BAD: Weather = Weather { is_cut: false, delay: Duration::from_millis(200), lost: 20 };
/// A statement of SQL and its answer take 200 ms longer.
const SLOW: Weather = Weather { is_cut: false, delay: Duration::from_millis(100), lost: 0 };

fn pause(name: &str) -> Step {
    Step::Pause(name.into())
}

fn away(name: &str) -> Step {
    Step::Away(name.into())
}

fn links(wanted: &str, weather: Weather) -> Step {
    Step::Links(wanted.into(), weather)
}

/// In the order in which they are run. A renewal of all takes 1.6 s at least.
pub fn all() -> Vec<Fault> {
    let fault = |name: &str, renewals, steps: &[Step]| Fault {
        name: name.into(),
        steps: steps.to_vec(),
        renewals,
        all_can_renew: true,
        is_core: false,
        is_planned: false,
    };
    let core = |name: &str, renewals, steps: &[Step]| Fault { is_core: true, ..fault(name, renewals, steps) };
    vec![
        core("kill -9 of one node", 0, &[Step::Kill(vec![0])]),
        core("SIGSTOP of a node for 3 TTL", 11, &[pause("node2")]),
        core("SIGSTOP of Kafka for 8 s", 5, &[pause("kafka")]),
        core("SIGSTOP of MariaDB for 15 s", 10, &[pause("store")]),
        core("calls to one node cut", 4, &[links("node1.peer", CUT)]),
        fault("nothing", 5, &[]),
        fault("kill -9 of two nodes", 0, &[Step::Kill(vec![0, 2])]),
        fault("kill -9 of all nodes", 0, &[Step::Kill(vec![0, 1, 2])]),
        fault("a provider and its node in the same second", 0, &[Step::KillWithProvider]),
        fault("two of three nodes restarted within 5 s", 0, &[Step::RestartInTurn([0, 1])]),
        Fault { is_planned: true, ..fault("rolling restart", 0, &[Step::Roll]) },
        fault("all state wiped", 0, &[Step::Wipe]),
        fault("SIGSTOP of Kafka for 30 s", 19, &[pause("kafka")]),
        fault("Kafka killed for 60 s", 37, &[away("kafka")]),
        fault("MariaDB killed for 120 s", 74, &[away("store")]),
        fault("MariaDB slow, 200 ms a statement", 10, &[links(".store", SLOW)]),
        fault("Kafka restarted empty", 20, &[Step::LoseLog]),
        fault("Kafka and MariaDB away", 10, &[away("kafka"), away("store")]),
        fault("calls between all nodes cut", 8, &[links(".peer", CUT)]),
        fault("one node's calls to another cut", 8, &[links("node2>node1.peer", CUT)]),
        fault(
            "calls cut in a ring",
            8,
            &["node1>node2.peer", "node2>node3.peer", "node3>node1.peer"].map(|way| links(way, CUT)),
        ),
        fault("one node's way to the log cut", 8, &[Step::CutLog]),
        fault("200 ms and 2 % lost on every link", 10, &[links(".", BAD)]),
        fault("a clock 60 s behind", 5, &[Step::Clock(1, -60)]),
        fault("a clock 1 h ahead", 5, &[Step::Clock(2, 3_600)]),
        // Longer than it takes a node to copy what has landed.
        fault("a node's disk full", 18, &[Step::FullDisk(1)]),
        fault("the log trimmed past the watermark", 2, &[Step::Trim]),
    ]
}

/// Two or three steps at once, none of which needs another's part.
pub fn mixture(number: usize, dice: &mut Dice) -> Fault {
    let node = dice.below(3);
    let (other, name) = ((node + 1 + dice.below(2)) % 3, format!("node{}", node + 1));
    let mut nodes =
        vec![Step::Kill(vec![node]), pause(&name), Step::Kill(vec![node, other]), Step::RestartInTurn([node, other])];
    let mut parts = vec![pause("kafka"), pause("store"), away("kafka"), away("store")];
    let mut ways = vec![links(".peer", BAD), links(&format!("{name}.peer"), CUT), links(&format!("{name}.log"), CUT)];
    ways.extend([links(".log", BAD), links(".store", SLOW), links(&format!("{name}>node{}.peer", other + 1), CUT)]);
    let mut steps = Vec::new();
    for kind in [&mut nodes, &mut parts, &mut ways] {
        steps.push(kind.swap_remove(dice.below(kind.len())));
    }
    if dice.below(2) == 0 {
        steps.swap_remove(dice.below(3));
    }
    let name = format!("mixture {number}: {steps:?}");
    let renewals = 2 + dice.below(8) as u64;
    Fault { name, steps, renewals, all_can_renew: false, is_core: false, is_planned: false }
}
