//! Registers by HTTP for a TTL, keeps its lease, and, once it is told to die, never says another word.

use std::sync::Arc;
use std::time::Instant;

use super::super::dice::Dice;
use super::super::truth::{Operation, Truth, Wrong};
use super::{AGAIN, ATTEMPT, Answer, Caller, REMOVE_AFTER, TTL};

pub struct Provider {
    pub truth: Arc<Truth>,
    pub caller: Caller,
    pub service: String,
    pub id: String,
    pub dice: Dice,
}

impl Provider {
    pub async fn live(mut self) {
        let path = format!("/v1/namespaces/default/services/{}/instances/{}", self.service, self.id);
        let (ttl, remove) = (TTL.as_millis(), REMOVE_AFTER.as_millis());
        let body = format!(
            r#"{{"host":"10.0.0.1","port":1000,"lease":{{"kind":"ttl","ttl_ms":{ttl},"remove_after_ms":{remove}}}}}"#
        );
        let (mut is_registered, mut generation, mut failures) = (false, String::new(), 0);
        while self.truth.of(&self.id).is_some_and(|known| known.died_at.is_none()) {
            let world = self.truth.world();
            let answer = if is_registered {
                self.caller.call("POST", &format!("{path}/renew{generation}"), "", ATTEMPT).await
            } else {
                self.caller.call("PUT", &path, &body, ATTEMPT).await
            };
            self.truth.count(Operation::Writes);
            let pause = match answer {
                Ok(answer) if matches!(answer.status, 200..=202 | 204) => {
                    failures = 0;
                    self.acknowledged(&answer, is_registered, world);
                    if !is_registered {
                        let said = answer.body["generation"].as_str();
                        generation = said.map(|said| format!("?generation={said}")).unwrap_or_default();
                    }
                    // What only an overlay has is registered again, until the log has it: that renews it, too.
                    is_registered = is_registered || answer.status != 202;
                    TTL / 3
                }
                Ok(answer) if matches!(answer.status, 404 | 412) && is_registered => {
                    self.told_unknown(world);
                    is_registered = false;
                    continue;
                }
                other => {
                    failures += 1;
                    self.truth.failed(&self.id, failures, &format!("{other:?}"));
                    AGAIN
                }
            };
            let share = 800 + self.dice.below(200) as u32;
            tokio::time::sleep(pause * share / 1_000).await;
        }
    }

    fn acknowledged(&self, answer: &Answer, was_registered: bool, world: u64) {
        match (was_registered, answer.status) {
            (true, _) => self.truth.renewed_well(),
            (false, 202) => {}
            (false, _) => self.truth.wrote_well(),
        }
        // 202: only an overlay has it, and speaks for its node.
        let is_new = !was_registered && answer.status != 202 && world == self.truth.world();
        let held = answer.revision_of("revision").filter(|_| is_new).map(|revision| (Instant::now(), revision));
        self.truth.change(&self.id, |known| {
            known.renewals += 1;
            known.held = held.or(known.held);
        });
    }

    fn told_unknown(&self, world: u64) {
        let is_held = self.truth.of(&self.id).is_some_and(|known| known.held.is_some());
        if is_held && world == self.truth.world() {
            self.truth.found(
                Wrong::ToldUnknown,
                &self.id,
                format!("{} was told on renewal that it is unknown", self.id),
            );
        }
    }
}
