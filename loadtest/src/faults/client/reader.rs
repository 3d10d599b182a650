//! Reads a service through the load balancer with the newest revision it has seen; some wait for the next change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::check::order;
use super::super::truth::{Operation, Revision, Seen, Truth, Wrong};
use super::{AGAIN, Answer, Caller};

/// Beyond the 5 s that a node may take to catch up with a revision.
const WITHIN: Duration = Duration::from_secs(6);
const PAUSE: Duration = Duration::from_millis(100);
const WAIT: Duration = Duration::from_secs(10);

pub struct Reader {
    pub truth: Arc<Truth>,
    pub caller: Caller,
    pub service: String,
    pub name: String,
    /// A long poll.
    pub waits: bool,
}

impl Reader {
    pub async fn live(mut self) {
        let path = format!("/v1/namespaces/default/services/{}/instances", self.service);
        let (mut newest, mut etag, mut world, mut failures) = (None::<Revision>, None::<String>, 0, 0);
        loop {
            if world != self.truth.world() {
                (newest, etag, world) = (None, None, self.truth.world());
            }
            let asked = Instant::now();
            let token = newest.map(|revision| format!("min_revision={revision}")).unwrap_or_default();
            let answer = match &etag {
                Some(etag) if self.waits => {
                    let path = format!("{path}?wait_ms={}&{token}", WAIT.as_millis());
                    self.caller.call_unless(&path, etag, WAIT + WITHIN).await
                }
                _ => self.caller.call("GET", &format!("{path}?{token}"), "", WITHIN).await,
            };
            self.truth.count(Operation::Reads);
            match answer {
                Ok(answer) if matches!(answer.status, 200 | 304 | 404) && world == self.truth.world() => {
                    failures = 0;
                    self.truth.read_well();
                    etag = answer.etag.clone().or(etag);
                    if answer.status != 304 {
                        newest = self.shown(&answer, asked, newest);
                    }
                }
                other => {
                    failures += 1;
                    etag = None;
                    self.truth.failed(&self.name, failures, &format!("{other:?}"));
                    tokio::time::sleep(AGAIN).await;
                }
            }
            if !self.waits {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// The newest revision that it knows then.
    fn shown(&self, answer: &Answer, asked: Instant, newest: Option<Revision>) -> Option<Revision> {
        let Some(revision) = answer.revision_of("revision").or(answer.revision) else { return newest };
        if let Some(what) = order::back(newest, revision) {
            self.truth.found(Wrong::StepBack, &what, format!("{} of {}: {what}", self.name, self.service));
        }
        self.truth.judge(&seen(&self.service, answer, (asked, revision), &self.name));
        newest.max(Some(revision))
    }
}

/// A list as JSON has it.
pub(super) fn seen(service: &str, answer: &Answer, (asked, revision): (Instant, Revision), by: &str) -> Seen {
    Seen { service: service.to_owned(), asked, revision, listed: listed(&answer.body["items"]), by: by.to_owned() }
}

pub fn listed(items: &Value) -> BTreeMap<String, bool> {
    let items = items.as_array().map(Vec::as_slice).unwrap_or_default();
    let item = |item: &Value| Some((item["id"].as_str()?.to_owned(), item["healthy"].as_bool()?));
    items.iter().filter_map(item).collect()
}
