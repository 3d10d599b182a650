//! Random changes, watchers of every kind and speed, resumes and drops: whatever happens, a [`Judge`] of each watcher
//! finds nothing wrong, and in the end each holds what is true.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::judge::Judge;
use super::world::{World, healthy, key, namespace, next, zone};
use crate::model::{Revision, Selector, ServiceKey};
use crate::watch::{HistoryLimits, Scope, Watch, WatchEvent};

/// Unless PROPTEST_CASES says how many.
const CASES: u32 = 400;

const SERVICES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum Act {
    Put { service: usize, id: u8, zone: u8, healthy: bool },
    Remove { service: usize, id: u8 },
    Describe { service: usize, threshold: u8 },
    Delete { service: usize },
}

#[derive(Clone, Debug)]
enum Op {
    Frame(Vec<Act>),
    Wake,
    Open {
        scope: u8,
        selector: u8,
        from: Option<u8>,
    },
    Read {
        watcher: usize,
        events: u8,
    },
    /// The connection is lost, and the watcher comes back with what it has.
    Resume {
        watcher: usize,
    },
    Close {
        watcher: usize,
    },
    Advance {
        ms: u16,
    },
    Sweep,
}

fn act() -> impl Strategy<Value = Act> {
    let service = 0..SERVICES.len();
    prop_oneof![
        5 => (service.clone(), 0..5_u8, 0..2_u8, any::<bool>())
            .prop_map(|(service, id, zone, healthy)| Act::Put { service, id, zone, healthy }),
        4 => (service.clone(), 0..5_u8).prop_map(|(service, id)| Act::Remove { service, id }),
        1 => (service.clone(), 0..3_u8).prop_map(|(service, threshold)| Act::Describe { service, threshold }),
        2 => service.prop_map(|service| Act::Delete { service }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let watcher = 0..6_usize;
    prop_oneof![
        8 => proptest::collection::vec(act(), 0..5).prop_map(Op::Frame),
        4 => Just(Op::Wake),
        3 => (0..6_u8, 0..4_u8, proptest::option::weighted(0.3, any::<u8>()))
            .prop_map(|(scope, selector, from)| Op::Open { scope, selector, from }),
        8 => (watcher.clone(), 1..6_u8).prop_map(|(watcher, events)| Op::Read { watcher, events }),
        2 => watcher.clone().prop_map(|watcher| Op::Resume { watcher }),
        1 => watcher.prop_map(|watcher| Op::Close { watcher }),
        1 => (0..5_000_u16).prop_map(|ms| Op::Advance { ms }),
        1 => Just(Op::Sweep),
    ]
}

fn history() -> impl Strategy<Value = HistoryLimits> {
    let small = HistoryLimits { records_max: 6, bytes_max: 1 << 20, missed_max: 3, kept_ms: 2_000 };
    let narrow = HistoryLimits { bytes_max: 3_000, ..HistoryLimits::default() };
    prop_oneof![3 => Just(HistoryLimits::default()), 1 => Just(small), 1 => Just(narrow)]
}

struct Watcher {
    scope: Scope,
    selector: Selector,
    watch: Watch,
    judge: Judge,
    seen: Vec<String>,
}

struct Run {
    world: World,
    watchers: Vec<Watcher>,
    /// Revisions that somebody may bring.
    past: Vec<Revision>,
    gone: Vec<Judge>,
    resumes: usize,
}

impl Run {
    fn new(history: HistoryLimits) -> Self {
        let world = World::with(history);
        let past = vec![Revision::ZERO, world.applied()];
        Self { world, watchers: Vec::new(), past, gone: Vec::new(), resumes: 0 }
    }

    fn step(&mut self, op: &Op) -> Result<(), String> {
        match op {
            Op::Frame(acts) => self.past.push(self.world.frame(|frame| acts.iter().for_each(|act| act.on(frame)))),
            Op::Wake => self.world.wake(),
            Op::Open { scope, selector, from } => {
                let from = from.and_then(|at| self.past.get(usize::from(at) % self.past.len()).copied());
                self.open(scope_of(*scope), selector_of(*selector), from);
            }
            Op::Read { watcher, events } => {
                let Some(watcher) = self.watchers.get_mut(*watcher) else { return Ok(()) };
                for _ in 0..*events {
                    watcher.read()?;
                }
            }
            Op::Resume { watcher } => self.resume(*watcher)?,
            Op::Close { watcher } => {
                if *watcher < self.watchers.len() {
                    self.gone.push(self.watchers.remove(*watcher).judge);
                }
            }
            Op::Advance { ms } => self.world.clock.advance(u64::from(*ms)),
            Op::Sweep => self.world.hub.sweep(crate::port::Clock::mono_ms(&*self.world.clock)),
        }
        Ok(())
    }

    fn open(&mut self, scope: Scope, selector: Selector, from: Option<Revision>) {
        if self.watchers.len() < 6 {
            let watch = self.world.watch(scope.clone(), selector.clone(), from);
            let judge = Judge::new(scope.clone(), selector.clone(), self.world.truth.clone(), from);
            self.watchers.push(Watcher { scope, selector, watch, judge, seen: vec![format!("from {from:?}")] });
        }
    }

    /// What a client holds is then what was true at the position that it brings: its judge begins anew from there.
    fn resume(&mut self, watcher: usize) -> Result<(), String> {
        if watcher >= self.watchers.len() {
            return Ok(());
        }
        let Watcher { scope, selector, watch, judge, .. } = self.watchers.remove(watcher);
        let position = watch.position();
        let is_one = !matches!(&scope, Scope::Services(services) if services.len() > 1);
        if is_one && position.is_some_and(|position| position != judge.newest()) {
            return Err(format!("to be resumed from {position:?}, and the last event was {}", judge.newest()));
        }
        drop(watch);
        self.gone.push(judge);
        self.resumes += 1;
        self.open(scope, selector, position);
        Ok(())
    }

    fn count(&self, covered: &mut Covered) {
        covered.resumes += self.resumes;
        for judge in self.gone.iter().chain(self.watchers.iter().map(|watcher| &watcher.judge)) {
            covered.changes += judge.changes;
            covered.compacted += judge.compacted;
            covered.filtered_out += judge.filtered_out;
            covered.protections += judge.protections;
            covered.ahead += judge.parts_ahead;
        }
    }

    /// Everybody reads everything; then all is true and nobody has anything left to read.
    fn end(&mut self) -> Result<(), String> {
        self.world.wake();
        for watcher in &mut self.watchers {
            while watcher.read()? {}
        }
        // Whoever is told nothing else is told how far the node is.
        self.world.clock.advance(10_000);
        let applied = self.world.applied();
        for watcher in &mut self.watchers {
            if !watcher.read()? {
                return Err("no event in 10 s".to_owned());
            }
            while watcher.read()? {}
            watcher.judge.is_at(applied).map_err(|wrong| watcher.told(&wrong))?;
        }
        Ok(())
    }
}

impl Watcher {
    /// False when there is nothing to read.
    fn read(&mut self) -> Result<bool, String> {
        let Some(event) = next(&mut self.watch) else { return Ok(false) };
        self.seen.push(words(&event));
        self.judge.see(&event).map_err(|wrong| self.told(&wrong))?;
        Ok(true)
    }

    fn told(&self, wrong: &str) -> String {
        format!("{wrong}\n{:?} {:?}\n{}", self.scope, self.selector, self.seen.join("\n"))
    }
}

impl Act {
    fn on(&self, frame: &mut super::world::Frame<'_>) {
        match self {
            Self::Put { service, id, zone, healthy } => {
                frame.put(SERVICES[*service], &id.to_string(), ["x", "y"][usize::from(*zone)], *healthy);
            }
            Self::Remove { service, id } => frame.remove(SERVICES[*service], &id.to_string()),
            Self::Describe { service, threshold } => frame.describe(SERVICES[*service], f64::from(*threshold) / 2.0),
            Self::Delete { service } => frame.delete(SERVICES[*service]),
        }
    }
}

fn scope_of(number: u8) -> Scope {
    let some = |range: std::ops::Range<usize>| -> Vec<ServiceKey> { SERVICES[range].iter().map(|s| key(s)).collect() };
    match number {
        0 => Scope::Services(some(0..1)),
        1 => Scope::Services(some(1..2)),
        2 => Scope::Services(some(0..2)),
        3 => Scope::Services(some(0..4)),
        _ => Scope::Namespace(namespace()),
    }
}

fn selector_of(number: u8) -> Selector {
    match number {
        0 | 1 => Selector::default(),
        2 => healthy(),
        _ => zone("x"),
    }
}

fn words(event: &WatchEvent) -> String {
    match event {
        WatchEvent::Snapshot { view, revision, complete } => {
            let of = view.as_ref().map(|view| format!("{} at {}", view.service, view.revision));
            format!("snapshot {revision} {of:?} {complete}")
        }
        WatchEvent::Change(delta) => {
            let put: Vec<_> = delta.put.iter().map(|i| (&i.id, i.revision)).collect();
            format!("change {} {}..{} put {put:?} removed {:?}", delta.service, delta.from, delta.to, delta.removed)
        }
        WatchEvent::Progress(revision) => format!("progress {revision}"),
        WatchEvent::Compacted(revision) => format!("compacted {revision}"),
    }
}

/// How often the runs came through what they are there for.
#[derive(Default)]
struct Covered {
    changes: usize,
    compacted: usize,
    filtered_out: usize,
    protections: usize,
    ahead: usize,
    resumes: usize,
}

#[test]
fn watchers_hold_what_is_true() {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { CASES };
    let config = ProptestConfig { cases, ..config };
    let covered = RefCell::new(Covered::default());
    let all = (history(), proptest::collection::vec(op(), 1..80));
    let ran = TestRunner::new(config).run(&all, |(history, ops)| {
        let mut run = Run::new(history);
        let judged = ops.iter().try_for_each(|op| run.step(op)).and_then(|()| run.end());
        run.count(&mut covered.borrow_mut());
        judged.map_err(TestCaseError::fail)
    });
    if let Err(wrong) = ran {
        panic!("{wrong}");
    }
    let Covered { changes, compacted, filtered_out, protections, ahead, resumes } = covered.into_inner();
    let seen = [changes, compacted, filtered_out, protections, ahead, resumes];
    assert!(seen.iter().all(|count| *count > 20), "runs that show nothing: {seen:?}");
}
