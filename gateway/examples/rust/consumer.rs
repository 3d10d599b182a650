//! Watches a service over gRPC: prints each change, and the set that it leads to.
//!
//!     cargo run -p gateway --example consumer -- http://127.0.0.1:7801 orders

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use schemas::thuban::v1::registry_client::RegistryClient;
use schemas::thuban::v1::watch_event::Event;
use schemas::thuban::v1::{Instance, WatchEvent, WatchRequest};
use sha2::{Digest, Sha256};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

#[derive(Default)]
struct Watcher {
    instances: BTreeMap<String, Instance>,
    /// The parts of a snapshot that is not complete yet. Until it is, the list from before stands.
    parts: Vec<Instance>,
    /// What the last event said to resume from.
    last: Option<String>,
    failures: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [node, service] = &arguments[..] else {
        return Err("usage: consumer http://HOST:PORT SERVICE".into());
    };
    let channel = Endpoint::from_shared(node.clone())?
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .connect_lazy();
    let mut client = RegistryClient::new(channel);
    let mut watcher = Watcher::default();
    loop {
        match watcher.watch(&mut client, service).await {
            Ok(()) => println!("the node ended the stream; connecting again"),
            Err(status) => println!("{}: {}; connecting again", status.code(), status.message()),
        }
        tokio::time::sleep(pause(watcher.failures)).await;
        watcher.failures += 1;
    }
}

/// Grows with each failure and is never in step with other clients: each hasher of the library has keys of its own.
fn pause(failures: u32) -> Duration {
    let longest = Duration::from_millis(100 << failures.min(6)).min(Duration::from_secs(5));
    longest.mul_f64(0.5 + (RandomState::new().hash_one(failures) % 1_000) as f64 / 2_000.0)
}

impl Watcher {
    async fn watch(&mut self, client: &mut RegistryClient<Channel>, service: &str) -> Result<(), Status> {
        self.parts.clear();
        let wanted = WatchRequest {
            namespace: "default".to_owned(),
            services: vec![service.to_owned()],
            from_revision: self.last.clone(),
            ..WatchRequest::default()
        };
        let mut events = client.watch(wanted).await?.into_inner();
        while let Some(WatchEvent { event, resume_revision, .. }) = events.message().await? {
            if let Some(digest) = self.take(event)
                && digest != self.digest()
            {
                self.last = None; // what was seen is not whole: ask for everything
                return Err(Status::data_loss("the digest differs"));
            }
            self.failures = 0;
            if !resume_revision.is_empty() {
                self.last = Some(resume_revision);
            }
        }
        Ok(())
    }

    /// Takes an event in; the digest of the list that it leads to, if it leads to one.
    fn take(&mut self, event: Option<Event>) -> Option<String> {
        match event? {
            Event::Snapshot(snapshot) => {
                self.parts.extend(snapshot.items);
                if !snapshot.complete {
                    return None;
                }
                self.instances = self.parts.drain(..).map(|i| (i.id.clone(), i)).collect();
                println!("snapshot {}", self.describe());
                Some(snapshot.digest)
            }
            Event::Change(change) => {
                for instance in change.put {
                    let state = if instance.healthy { "healthy" } else { &instance.health_reason };
                    println!("put {} {state}", instance.id);
                    self.instances.insert(instance.id.clone(), instance);
                }
                for removed in change.removed {
                    self.instances.remove(&removed.id);
                    let reason = removed.reason().as_str_name().trim_start_matches("REASON_").to_lowercase();
                    println!("removed {} {reason}", removed.id);
                }
                println!("now {}", self.describe());
                Some(change.digest)
            }
            Event::Progress(_) | Event::Compacted(_) => None,
        }
    }

    /// The proof that a list is whole, as the node computes it: a sum of hashes, modulo 2^128.
    fn digest(&self) -> String {
        let hashes = self.instances.values().map(|instance| {
            let hash = Sha256::digest(format!("{}\n{}", instance.id, instance.revision));
            hash[..16].iter().fold(0, |number: u128, byte| number << 8 | u128::from(*byte))
        });
        format!("{:032x}", hashes.fold(0, u128::wrapping_add))
    }

    fn describe(&self) -> String {
        let usable = self.instances.values().filter(|i| i.healthy && !i.isolated);
        let ids: Vec<_> = usable.map(|i| i.id.as_str()).collect();
        if ids.is_empty() { "nobody".to_owned() } else { ids.join(" ") }
    }
}
