//! What one writer knows of one instance: the states that it may be in, and the revision below which it may not be.

use serde_json::Value;

/// A revision's place in the one order; to everybody but this test it is opaque.
pub(crate) type Place = (u64, u64, u64);

pub(crate) fn place(text: &str) -> Place {
    let mut parts = text.split('.').map(|part| part.parse().expect("a number"));
    let mut next = || parts.next().expect("a revision has three parts");
    (next(), next(), next())
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Absent,
    /// The number that its provider wrote last, and the operator's.
    Present {
        value: u64,
        note: Option<u64>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Register(u64),
    Deregister,
    Note(u64),
}

impl Write {
    /// What it makes of a state, if it is carried out.
    fn on(self, state: &State) -> State {
        match (self, state) {
            (Self::Register(value), State::Absent) => State::Present { value, note: None },
            (Self::Register(value), State::Present { note, .. }) => State::Present { value, note: *note },
            (Self::Deregister, _) | (Self::Note(_), State::Absent) => State::Absent,
            (Self::Note(note), State::Present { value, .. }) => State::Present { value: *value, note: Some(note) },
        }
    }
}

/// An instance as a node shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) state: State,
    pub(crate) revision: String,
}

impl Seen {
    pub(crate) fn of(item: &Value) -> Self {
        let number = |text: Option<&str>| text.map(|text| text.parse().expect("a number that a writer wrote"));
        let value = number(item["metadata"]["value"].as_str()).expect("each has a value");
        let note = number(item["operator"]["note"].as_str());
        let revision = item["revision"].as_str().expect("each has a revision").to_owned();
        Self { state: State::Present { value, note }, revision }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    possible: Vec<State>,
    at_least: Place,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { possible: vec![State::Absent], at_least: (0, 0, 0) }
    }
}

impl Ledger {
    /// It was acknowledged, at `log` or better.
    pub(crate) fn done(&mut self, write: Write, revision: Option<Place>) {
        self.possible = unique(self.possible.iter().map(|state| write.on(state)).collect());
        self.at_least = revision.unwrap_or((0, 0, 0)).max(self.at_least);
    }

    /// It may have been carried out, or not.
    pub(crate) fn unknown(&mut self, write: Write) {
        let after: Vec<State> = self.possible.iter().map(|state| write.on(state)).collect();
        self.possible = unique([self.possible.as_slice(), &after].concat());
    }

    /// The node says that there is no such instance.
    pub(crate) fn absent(&mut self) -> Result<(), String> {
        self.settle(None)
    }

    pub(crate) fn may_be_there(&self) -> bool {
        self.possible.iter().any(|state| *state != State::Absent)
    }

    /// What a node shows is one of the possible states; from now on it is the one.
    pub(crate) fn settle(&mut self, seen: Option<&Seen>) -> Result<(), String> {
        let state = seen.map_or(State::Absent, |seen| seen.state.clone());
        if !self.possible.contains(&state) {
            return Err(format!("it is {state:?}, and may only be one of {:?}", self.possible));
        }
        if let Some(seen) = seen
            && place(&seen.revision) < self.at_least
        {
            return Err(format!("it is at {}, and was acknowledged at {:?}", seen.revision, self.at_least));
        }
        self.possible = vec![state];
        Ok(())
    }
}

fn unique(states: Vec<State>) -> Vec<State> {
    let mut unique = Vec::new();
    for state in states {
        if !unique.contains(&state) {
            unique.push(state);
        }
    }
    unique
}

#[test]
fn a_ledger_finds_what_is_wrong() {
    let seen =
        |value, note, revision: &str| Seen { state: State::Present { value, note }, revision: revision.to_owned() };
    let mut ledger = Ledger::default();
    ledger.done(Write::Register(1), Some((1, 5, 0)));
    assert!(ledger.clone().settle(None).is_err(), "an acknowledged register is lost");
    assert!(ledger.clone().settle(Some(&seen(2, None, "1.5.0"))).is_err(), "somebody else's value");
    assert!(ledger.clone().settle(Some(&seen(1, None, "1.4.9"))).is_err(), "an older revision");
    assert!(ledger.clone().settle(Some(&seen(1, None, "1.5.0"))).is_ok());
    ledger.unknown(Write::Note(7));
    assert!(ledger.clone().settle(Some(&seen(1, None, "1.5.0"))).is_ok());
    assert!(ledger.clone().settle(Some(&seen(1, Some(7), "1.6.0"))).is_ok());
    ledger.done(Write::Deregister, None);
    assert!(ledger.clone().settle(Some(&seen(1, None, "1.5.0"))).is_err(), "what was removed came back");
    assert!(ledger.settle(None).is_ok());
}
