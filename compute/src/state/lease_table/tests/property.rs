//! Random lives of leases, judged by a model that knows the contract and nothing of the table: from what was heard and
//! when the node could judge, it computes when each word must come.

use proptest::prelude::*;

use super::world::{World, key, session};
use crate::model::{InstanceKey, Lease, Op};
use crate::port::clock::MonoMs;
use crate::state::lease_table::is_late;

const DELAY_MS_MAX: MonoMs = 300;
/// A bucket of the wheel, and twice the way through the log.
const SLACK_MS: MonoMs = 2 * DELAY_MS_MAX + 100;
const GRACE_MS: MonoMs = 2_000;

#[derive(Clone, Debug)]
enum Step {
    Renew(usize),
    Register(usize, usize),
    Remove(usize),
    Lose,
    Resume,
    Hold,
    Release,
    Sleep(MonoMs),
    Restart,
    Delay(MonoMs),
    Wait,
}

/// TTL and time to removal.
const TERMS: [(u64, u64); 4] = [(1_000, 1_000), (2_000, 3_000), (3_500, 1_000), (5_000, 2_000)];
/// The first of them have TTL leases, the last two hang on a session. No service has more than two.
const KEYS: [&str; 8] = ["a/1", "a/2", "b/1", "b/2", "c/1", "d/1", "e/1", "e/2"];
const TTL_KEYS: usize = 6;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..TTL_KEYS).prop_map(Step::Renew),
        4 => (0..KEYS.len(), 0..TERMS.len()).prop_map(|(key, terms)| Step::Register(key, terms)),
        1 => (0..KEYS.len()).prop_map(Step::Remove),
        1 => Just(Step::Lose),
        1 => Just(Step::Resume),
        1 => Just(Step::Hold),
        2 => Just(Step::Release),
        1 => (0_u64..6_000).prop_map(Step::Sleep),
        1 => Just(Step::Restart),
        1 => (0..=DELAY_MS_MAX).prop_map(Step::Delay),
        6 => Just(Step::Wait),
    ]
}

/// What the model knows: no more than what happened to a lease, and to the node.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Event {
    /// A lease starts; its terms.
    Begin {
        span: MonoMs,
        remove: MonoMs,
    },
    Heard,
    /// The heartbeat of a suspect is answered when its refute is applied; the time may count from either.
    Answered,
    /// It can't lapse from here on.
    Attached,
    Lost,
    Ended,
    Restart,
    /// The node could not judge, since then.
    Held {
        from: MonoMs,
    },
    /// The node did not run, since then.
    Slept {
        from: MonoMs,
    },
}

struct Story {
    world: World,
    /// Of each key.
    events: Vec<Vec<(MonoMs, Event)>>,
    /// What of the log is noted.
    followed: (usize, usize),
    held_from: Option<MonoMs>,
    is_attached: bool,
}

impl Story {
    fn new() -> Self {
        let mut world = World::new();
        world.table.ready(0);
        world.open(session("A"), GRACE_MS as u32);
        world.held(session("A"));
        Self { world, events: vec![Vec::new(); KEYS.len()], followed: (0, 0), held_from: None, is_attached: true }
    }

    fn note(&mut self, which: impl IntoIterator<Item = usize>, event: Event) {
        let now = self.world.now;
        which.into_iter().for_each(|at| self.events[at].push((now, event)));
    }

    /// Notes what came out of the log: what expired is over, for the model too.
    fn follow(&mut self) {
        let ended = self.world.applied[self.followed.0..].iter().filter_map(|(at, op)| match op {
            Op::Expire { instance, .. } => Some((*at, instance, Event::Ended)),
            _ => None,
        });
        let answered = self.world.answered[self.followed.1..].iter().map(|(at, key)| (*at, key, Event::Answered));
        let mut came: Vec<_> = answered.chain(ended).collect();
        came.sort_by_key(|(at, ..)| *at);
        came.into_iter().for_each(|(at, key, event)| self.events[index_of(key)].push((at, event)));
        self.followed = (self.world.applied.len(), self.world.answered.len());
    }

    fn is_there(&self, at: usize) -> bool {
        self.world.instances.contains_key(&key(KEYS[at]))
    }

    fn act(&mut self, step: &Step) {
        match *step {
            Step::Renew(at) if self.is_there(at) => {
                self.world.renew(&key(KEYS[at]));
                self.note([at], Event::Heard);
            }
            Step::Register(at, terms) => self.register(at, TERMS[terms]),
            Step::Remove(at) if self.is_there(at) => {
                self.world.remove(&key(KEYS[at]));
                self.note([at], Event::Ended);
            }
            Step::Lose if self.is_attached && self.world.sessions.contains_key(&session("A")) => {
                self.world.lose(session("A"));
                self.is_attached = false;
                self.note(TTL_KEYS..KEYS.len(), Event::Lost);
            }
            Step::Resume if self.world.sessions.contains_key(&session("A")) => {
                self.world.attach(session("A"), true);
                self.world.held(session("A"));
                self.is_attached = true;
                self.note(TTL_KEYS..KEYS.len(), Event::Attached);
            }
            Step::Hold if self.held_from.is_none() => {
                self.world.table.hold();
                self.held_from = Some(self.world.now);
            }
            Step::Release => self.release(),
            Step::Sleep(ms) => {
                let from = self.world.now;
                self.world.sleep(ms);
                self.world.table.late(from, self.world.now);
                if self.held_from.is_none() {
                    self.note(0..KEYS.len(), Event::Slept { from });
                }
            }
            Step::Restart => {
                if let Some(from) = self.held_from.take() {
                    self.note(0..KEYS.len(), Event::Held { from });
                }
                self.world.restart();
                self.is_attached = false;
                self.note(0..KEYS.len(), Event::Restart);
            }
            Step::Delay(ms) => self.world.delay_ms = ms,
            _ => {}
        }
    }

    fn release(&mut self) {
        if let Some(from) = self.held_from.take() {
            self.world.table.release(self.world.now);
            self.note(0..KEYS.len(), Event::Held { from });
        }
    }

    fn register(&mut self, at: usize, (ttl, remove): (u64, u64)) {
        let is_stream = at >= TTL_KEYS;
        if is_stream && (!self.is_attached || !self.world.sessions.contains_key(&session("A"))) {
            return;
        }
        let (lease, span) = if is_stream {
            (Lease::stream(session("A"), remove).unwrap(), GRACE_MS)
        } else {
            (Lease::ttl(ttl, remove).unwrap(), ttl)
        };
        self.world.register(&key(KEYS[at]), lease);
        self.note([at], Event::Begin { span, remove });
        if is_stream {
            self.note([at], Event::Attached);
        }
    }

    fn of<'a>(ops: &'a [(MonoMs, Op)], of: &'a InstanceKey) -> impl Iterator<Item = (MonoMs, Word)> + 'a {
        ops.iter().filter_map(move |(at, op)| {
            let (instance, word) = match op {
                Op::Unhealthy { instance, .. } => (instance, Word::Unhealthy),
                Op::Expire { instance, .. } => (instance, Word::Expire),
                Op::Refute { instance, .. } => (instance, Word::Refute),
                _ => return None,
            };
            (instance == of).then_some((*at, word))
        })
    }
}

fn index_of(instance: &InstanceKey) -> usize {
    KEYS.iter().position(|text| key(text) == *instance).unwrap()
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Word {
    Unhealthy,
    Expire,
    Refute,
}

/// When a word may come, and by when it must.
#[derive(Clone, Copy, Debug)]
struct Due {
    span: MonoMs,
    /// The time is over, at the earliest, and at the latest.
    earliest: MonoMs,
    over: MonoMs,
    latest: MonoMs,
}

impl Due {
    fn new(at: MonoMs, span: MonoMs) -> Self {
        Self { span, earliest: at, over: at, latest: at + SLACK_MS }
    }

    /// Something else happens at `at`: of a pause that goes on then, nothing can be expected.
    fn cut_off(self, events: &[(MonoMs, Event)], at: MonoMs) -> Self {
        let goes_on = pauses(events).any(|(from, until)| from <= self.latest && at <= until && from < at);
        if goes_on { Self { latest: MonoMs::MAX, ..self } } else { self }
    }

    /// The node could not judge, or did not run. What was due then has its span again; what was due just before may
    /// have been said, or was not and has it again too.
    fn pause(&mut self, from: MonoMs, until: MonoMs, spares: bool) {
        if self.latest < from {
            return;
        }
        if self.earliest <= until && spares {
            let again = until + self.span;
            if self.earliest > from && self.over <= until {
                self.earliest = self.earliest.max(again);
            }
            self.over = self.over.max(again);
            self.latest = self.latest.max(again + SLACK_MS);
        }
        self.latest = self.latest.max(until + SLACK_MS);
    }
}

/// Walks through what happened to one lease, and holds what was said against what had to be.
fn judge(
    events: &[(MonoMs, Event)],
    said: &[(MonoMs, Word)],
    applied: &[(MonoMs, Word)],
    end: MonoMs,
) -> Result<(), String> {
    let (mut span, mut remove) = (0, 0);
    let mut due: Option<Due> = None;
    // Every span of time in which the lease was at risk: from, until, and when it had to become unhealthy.
    let mut risks: Vec<(MonoMs, MonoMs, Option<Due>)> = Vec::new();
    let mut since = 0;
    for &(at, event) in events {
        let starts = |due: Option<Due>| (due, true);
        let (next, is_new) = match event {
            Event::Begin { span: new_span, remove: new_remove } => {
                (span, remove) = (new_span, new_remove);
                starts(Some(Due::new(at + span, span)))
            }
            Event::Heard | Event::Lost => starts((span > 0).then(|| Due::new(at + span, span))),
            Event::Restart => starts((span > 0).then(|| Due::new(at + span, span))),
            Event::Answered => {
                let later = |due: Due| Due { over: at + span, latest: at + span + SLACK_MS, ..due };
                (due.map(later), false)
            }
            Event::Attached => starts(None),
            Event::Ended => {
                span = 0;
                starts(None)
            }
            Event::Held { from } => (due.map(|mut due| (due.pause(from, at, true), due).1), false),
            Event::Slept { from } => {
                (due.map(|mut due| (due.pause(from, at, is_late(from, at, due.span)), due).1), false)
            }
        };
        if is_new {
            risks.push((since, at, due.map(|due| due.cut_off(events, at))));
            since = at;
        }
        due = next;
    }
    risks.push((since, end, due));
    let _ = remove;
    let held = |at: MonoMs| {
        events.iter().any(|(until, event)| match event {
            Event::Held { from } => *from < at && at < *until,
            _ => false,
        })
    };
    if let Some((at, word)) = said.iter().find(|(at, word)| *word != Word::Refute && held(*at)) {
        return Err(format!("{word:?} at {at}, while the node could not judge"));
    }
    for &(from, until, due) in &risks {
        // What is said in the moment in which something happens was said before it.
        let words = said.iter().filter(|(at, word)| *word == Word::Unhealthy && from < *at && *at <= until);
        let words: Vec<_> = words.map(|(at, _)| *at).collect();
        let was_unhealthy = is_unhealthy(applied, from);
        match due {
            None if words.is_empty() => {}
            None => return Err(format!("unhealthy at {words:?}, and nothing was at risk from {from} to {until}")),
            Some(due) => {
                if let Some(early) = words.iter().find(|at| **at < due.earliest) {
                    return Err(format!("unhealthy at {early}, before {due:?}, from {from} to {until}"));
                }
                if words.is_empty() && due.latest < until && !was_unhealthy && is_there(events, due.latest) {
                    return Err(format!("not unhealthy by {due:?}, from {from} to {until}"));
                }
            }
        }
    }
    Ok(())
}

/// From when to when the node could not judge or did not run.
fn pauses(events: &[(MonoMs, Event)]) -> impl Iterator<Item = (MonoMs, MonoMs)> + '_ {
    events.iter().filter_map(|(until, event)| match event {
        Event::Held { from } | Event::Slept { from } => Some((*from, *until)),
        _ => None,
    })
}

fn is_unhealthy(applied: &[(MonoMs, Word)], at: MonoMs) -> bool {
    applied.iter().take_while(|(when, _)| *when <= at).last().is_some_and(|(_, word)| *word == Word::Unhealthy)
}

/// Registered and not ended by anybody but its own lease.
fn is_there(events: &[(MonoMs, Event)], at: MonoMs) -> bool {
    let lives = events.iter().take_while(|(when, _)| *when <= at);
    let last = lives.filter(|(_, event)| matches!(event, Event::Begin { .. } | Event::Ended)).last();
    last.is_some_and(|(_, event)| *event != Event::Ended)
}

/// What is removed was unhealthy for its time, and what is unhealthy for its time is removed.
fn judge_removals(
    events: &[(MonoMs, Event)],
    applied: &[(MonoMs, Word)],
    said: &[(MonoMs, Word)],
    end: MonoMs,
) -> Result<(), String> {
    for (n, (fell, _)) in applied.iter().enumerate().filter(|(_, (_, word))| *word == Word::Unhealthy) {
        let (mut span, mut remove) = (0, 0);
        for (_, event) in events.iter().take_while(|(at, _)| at <= fell) {
            if let Event::Begin { span: new_span, remove: new_remove } = event {
                (span, remove) = (*new_span, *new_remove);
            }
        }
        let mut due = Due { span, ..Due::new(fell + remove, span) };
        let (mut from, mut until) = (*fell, end);
        // Nothing of this moment can have come before: no lease is shorter than a second.
        for &(at, event) in events.iter().filter(|(at, _)| at >= fell) {
            match event {
                Event::Held { from } => due.pause(from, at, true),
                Event::Slept { from } => due.pause(from, at, is_late(from, at, span)),
                Event::Restart => (from, due) = (at, Due::new(at + span + remove, span)),
                Event::Lost => {}
                _ => {
                    until = at;
                    break;
                }
            }
        }
        // Refutes of heartbeats that came before it was applied end it too.
        until = until.min(applied.get(n + 1).filter(|(_, word)| *word == Word::Refute).map_or(end, |(at, _)| *at));
        due = due.cut_off(events, until);
        let words: Vec<_> = said
            .iter()
            .filter(|(at, word)| *word == Word::Expire && from < *at && *at <= until)
            .map(|(at, _)| *at)
            .collect();
        if let Some(early) = words.iter().find(|at| **at < due.earliest) {
            return Err(format!("removed at {early}, before {due:?}, unhealthy at {fell}"));
        }
        if words.is_empty() && due.latest < until {
            return Err(format!("not removed by {due:?}, unhealthy at {fell}, until {until}"));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_word_comes_in_its_time(steps in prop::collection::vec((0_u64..1_500, step()), 1..120)) {
        let mut story = Story::new();
        for (wait, step) in &steps {
            let until = story.world.now + wait;
            story.world.run_until(until);
            story.follow();
            story.act(step);
            story.world.wake();
            story.follow();
        }
        story.release();
        let end = story.world.now + 30_000;
        story.world.run_until(end);
        story.follow();
        for (at, text) in KEYS.iter().enumerate() {
            let key = key(text);
            let said: Vec<_> = Story::of(&story.world.said, &key).collect();
            let applied: Vec<_> = Story::of(&story.world.applied, &key).collect();
            let events = &story.events[at];
            let verdict = judge(events, &said, &applied, end).and_then(|()| judge_removals(events, &applied, &said, end));
            prop_assert!(verdict.is_ok(), "{key}: {}\nevents {events:?}\nsaid {said:?}\napplied {applied:?}", verdict.unwrap_err());
        }
        // Nothing is kept for ever: what was silent for so long is gone.
        let left: Vec<_> = story.world.instances.iter().filter(|(_, i)| i.lease().session().is_none() || !story.is_attached).collect();
        prop_assert!(left.is_empty(), "{left:?}");
        prop_assert!(story.world.sessions.is_empty() != story.is_attached);
    }
}
