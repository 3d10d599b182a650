//! Registers, changes as an operator, and deregisters an instance of its own, and reads back what was acknowledged.
//!
//! What it asks of a life of its instance names that life's generation, so that a request that comes late, from a node
//! that stood still, does nothing to the next. A register names none: where its outcome is unknown it may come late, too,
//! and the writer goes on with another instance.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::super::check::written::{Value, Written};
use super::super::dice::Dice;
use super::super::truth::{Operation, Revision, Truth, Wrong};
use super::{AGAIN, ATTEMPT, Answer, Caller};

/// Between two writes: a few changes a second in all.
const PAUSE: Duration = Duration::from_millis(500);
/// A read waits up to 5 s for the revision that it brings.
const WITHIN: Duration = Duration::from_secs(6);

/// The instance, for who reads it back on every node when all is quiet.
#[derive(Debug, Default)]
pub struct Mine {
    pub id: String,
    pub written: Written,
    /// How many it gave up before.
    left: usize,
}

pub struct Writer {
    pub truth: Arc<Truth>,
    pub caller: Caller,
    pub service: String,
    name: String,
    dice: Dice,
    pub mine: Arc<Mutex<Mine>>,
    generation: String,
    world: u64,
}

impl Writer {
    pub fn new(truth: Arc<Truth>, address: &str, service: &str, name: String, dice: Dice) -> Self {
        let (caller, service) = (Caller::new(address), service.to_owned());
        let mine = Arc::new(Mutex::new(Mine { id: name.clone(), ..Mine::default() }));
        Self { truth, caller, service, name, dice, mine, generation: String::new(), world: 0 }
    }

    fn path(&self) -> String {
        format!("/v1/namespaces/default/services/{}/instances/{}", self.service, self.mine().id)
    }

    pub async fn live(mut self) {
        let (mut now, mut failures) = (Value::Absent, 0);
        loop {
            tokio::time::sleep(PAUSE).await;
            if self.world != self.truth.world() {
                self.mine().written = Written::default();
                (now, self.world) = (Value::Absent, self.truth.world());
            }
            if self.truth.is_quiet() {
                continue;
            }
            let weight = self.dice.below(10_000) as u64;
            let (wanted, answered) = match (now, self.dice.below(4)) {
                (Value::Weight(_), 0) => (Value::Absent, self.deregister().await),
                (Value::Weight(_), 1 | 2) => (Value::Weight(weight), self.say(weight).await),
                _ => (Value::Weight(weight), self.register(weight).await),
            };
            self.truth.count(Operation::Writes);
            if self.world != self.truth.world() {
                continue;
            }
            match answered {
                Ok(at) => {
                    (now, failures) = (wanted, 0);
                    self.truth.wrote_well();
                    self.mine().written.acknowledged(wanted, at);
                    self.read_back().await;
                }
                Err(how) => {
                    // What is there then is not known: it is registered anew.
                    now = Value::Absent;
                    failures += 1;
                    self.truth.failed(&self.name, failures, &how);
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Its incarnation makes it another process, so that no operator's word stands before its weight.
    async fn register(&mut self, weight: u64) -> Result<Revision, String> {
        let incarnation = self.dice.roll();
        let body = format!(
            r#"{{"host":"10.0.0.3","port":3000,"weight":{weight},"incarnation":"{incarnation}","lease":{{"kind":"permanent"}}}}"#
        );
        let written = self.write("PUT", &self.path(), &body, Value::Weight(weight)).await;
        if written.is_err() {
            let mut mine = self.mine();
            let left = mine.left + 1;
            *mine = Mine { id: format!("{}-{left}", self.name), written: Written::default(), left };
        }
        written
    }

    async fn say(&mut self, weight: u64) -> Result<Revision, String> {
        let path = format!("{}/operator?generation={}", self.path(), self.generation);
        self.write("PATCH", &path, &format!(r#"{{"weight":{weight}}}"#), Value::Weight(weight)).await
    }

    async fn deregister(&mut self) -> Result<Revision, String> {
        let path = format!("{}?generation={}", self.path(), self.generation);
        self.write("DELETE", &path, "", Value::Absent).await
    }

    async fn write(&mut self, method: &str, path: &str, body: &str, value: Value) -> Result<Revision, String> {
        self.mine().written.asked(value);
        let answer = self.caller.call(method, path, body, ATTEMPT).await?;
        let at = answer.revision_of("revision").or(answer.revision);
        match (answer.status, at) {
            (200 | 201 | 204, Some(at)) => {
                if method == "PUT" {
                    answer.text("generation").clone_into(&mut self.generation);
                }
                Ok(at)
            }
            _ => Err(format!("{method}: {answer:?}")),
        }
    }

    async fn read_back(&mut self) {
        let path = self.path();
        let Some(at) = self.mine().written.at() else { return };
        let read = self.caller.call("GET", &format!("{path}?min_revision={at}"), "", WITHIN).await;
        self.truth.count(Operation::Reads);
        if let Ok(answer) = read {
            self.truth.read_well();
            let shown = shown(&answer);
            if shown.is_some() {
                self.truth.read_back(&self.name);
            }
            let what = shown.and_then(|shown| self.mine().written.lost(shown, at));
            if let Some(what) = what.filter(|_| self.world == self.truth.world()) {
                self.truth.found(Wrong::WriteLost, &what, format!("{}: {what}", self.name));
            }
        } else {
            self.truth.failed(&self.name, 1, "a read of what was written");
        }
    }

    fn mine(&self) -> MutexGuard<'_, Mine> {
        self.mine.lock().expect("nobody panics with it")
    }
}

/// `None`: it does not say.
pub fn shown(answer: &Answer) -> Option<Value> {
    match answer.status {
        200 => answer.body["weight"].as_u64().map(Value::Weight),
        404 => Some(Value::Absent),
        _ => None,
    }
}
