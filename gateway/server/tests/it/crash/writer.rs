use std::collections::BTreeMap;
use std::net::SocketAddr;

use http::Method;
use serde_json::{Value, json};

use super::SERVICES;
use super::chance::Seeded;
use super::ledger::{Ledger, Place, Write, place};
use crate::caller::{Answer, Caller, instance};

/// Instances of one writer; nobody else writes them.
const OWN: u64 = 24;

/// Writes to its own instances, one after the other, and keeps a ledger of each.
pub(crate) struct Writer {
    pub(crate) ledgers: BTreeMap<(&'static str, String), Ledger>,
    pub(crate) acknowledged: u64,
    pub(crate) unknown: u64,
    chance: Seeded,
    written: u64,
}

/// The connection is gone, and with it the node.
struct Lost;

impl Writer {
    pub(crate) fn new(number: u64, chance: Seeded) -> Self {
        let key = |own: u64| (SERVICES[(own % 3) as usize], format!("{number}-{own}"));
        let ledgers = (0..OWN).map(|own| (key(own), Ledger::default())).collect();
        Self { ledgers, acknowledged: 0, unknown: 0, chance, written: 0 }
    }

    /// Writes on one connection until that is lost.
    pub(crate) async fn run(mut self, address: SocketAddr) -> Self {
        let Ok(mut caller) = Caller::connect(address).await else { return self };
        while self.turn(&mut caller).await.is_ok() {}
        self
    }

    async fn turn(&mut self, caller: &mut Caller) -> Result<(), Lost> {
        let place = self.chance.below(OWN) as usize;
        let Some((key, ledger)) = self.ledgers.iter().nth(place) else { return Err(Lost) };
        let (key, may_be_there) = (key.clone(), ledger.may_be_there());
        self.written += 1;
        let write = match self.chance.below(10) {
            0..3 if may_be_there => Write::Deregister,
            3..6 if may_be_there => Write::Note(self.written),
            _ => Write::Register(self.written),
        };
        let answer = self.send(caller, &key, write).await;
        let ledger = self.ledgers.get_mut(&key).expect("it was there just now");
        let Ok(answer) = answer else {
            ledger.unknown(write);
            self.unknown += 1;
            return Err(Lost);
        };
        match answer.status.as_u16() {
            200 | 201 | 204 => {
                ledger.done(write, revision(&answer.body));
                self.acknowledged += 1;
            }
            // Asked for the store, and it has come as far as the log.
            202 if answer.body["ack"] == "log" || write == Write::Deregister => {
                ledger.done(write, revision(&answer.body));
                self.acknowledged += 1;
            }
            404 => ledger.absent().unwrap_or_else(|wrong| panic!("{key:?}: {write:?} found nothing: {wrong}")),
            504 => ledger.unknown(write),
            503 | 429 => {}
            _ => panic!("{key:?}: {write:?} was answered {answer:?}"),
        }
        Ok(())
    }

    async fn send(&mut self, caller: &mut Caller, key: &(&str, String), write: Write) -> std::io::Result<Answer> {
        let ack = if self.chance.one_in(8) { "store" } else { "log" };
        let at = instance(key.0, &key.1);
        match write {
            Write::Register(value) => {
                let lease = if self.chance.one_in(2) {
                    json!({"kind": "permanent"})
                } else {
                    json!({"kind": "ttl", "ttl_ms": 86_400_000, "remove_after_ms": 86_400_000})
                };
                let metadata = json!({"value": value.to_string()});
                let body = json!({"host": "10.0.0.7", "port": 80, "metadata": metadata, "lease": lease});
                caller.call(Method::PUT, &format!("{at}?ack={ack}"), Some(&body)).await
            }
            Write::Deregister => caller.call(Method::DELETE, &format!("{at}?ack={ack}"), None).await,
            Write::Note(note) => {
                let body = json!({"note": note.to_string()});
                caller.call(Method::PATCH, &format!("{at}/operator?ack={ack}"), Some(&body)).await
            }
        }
    }
}

fn revision(body: &Value) -> Option<Place> {
    body["revision"].as_str().map(place)
}
