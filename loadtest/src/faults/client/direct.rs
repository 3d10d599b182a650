//! Reads one node for as long as there is a cluster: who was ready before a fault that does not touch it answers on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::truth::{Operation, Truth, Wrong};
use super::{AGAIN, Caller, reader};

/// A read is answered from memory; this machine may be busy.
const WITHIN: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);

pub struct Direct {
    pub truth: Arc<Truth>,
    pub caller: Caller,
    pub node: String,
    pub services: Vec<String>,
}

impl Direct {
    pub async fn live(mut self) {
        for service in self.services.clone().iter().cycle() {
            let path = format!("/v1/namespaces/default/services/{service}/instances");
            let (asked, world) = (Instant::now(), self.truth.world());
            let was_struck = self.truth.is_struck(&self.node);
            let answer = self.caller.call("GET", &path, "", WITHIN).await;
            self.truth.count(Operation::Reads);
            match answer {
                Ok(answer) if matches!(answer.status, 200 | 404) && world == self.truth.world() => {
                    if let Some(revision) = answer.revision_of("revision").or(answer.revision) {
                        self.truth.judge(&reader::seen(service, &answer, (asked, revision), &self.node));
                    }
                }
                other => {
                    if !was_struck && !self.truth.is_struck(&self.node) {
                        let what = format!("{} was not touched and did not answer: {other:?}", self.node);
                        self.truth.found(Wrong::Unanswered, &self.node, what);
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
