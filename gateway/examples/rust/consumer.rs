//! Watches a service over gRPC: prints each change, and the set that it leads to.
//!
//!     cargo run -p gateway --example consumer -- http://127.0.0.1:7801 orders

use std::collections::BTreeMap;
use std::time::Duration;

use schemas::thuban::v1::registry_client::RegistryClient;
use schemas::thuban::v1::watch_event::Event;
use schemas::thuban::v1::{Instance, WatchEvent, WatchRequest};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

#[derive(Default)]
struct Watcher {
    instances: BTreeMap<String, Instance>,
    /// What the last event said to resume from.
    last: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [node, service] = &arguments[..] else {
        return Err("usage: consumer http://HOST:PORT SERVICE".into());
    };
    let channel = Endpoint::from_shared(node.clone())?
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
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

impl Watcher {
    async fn watch(&mut self, client: &mut RegistryClient<Channel>, service: &str) -> Result<(), Status> {
        let wanted = WatchRequest {
            namespace: "default".to_owned(),
            services: vec![service.to_owned()],
            from_revision: self.last.clone(),
            ..WatchRequest::default()
        };
        let mut events = client.watch(wanted).await?.into_inner();
        while let Some(WatchEvent { event, resume_revision, .. }) = events.message().await? {
            self.take(event);
            if !resume_revision.is_empty() {
                self.last = Some(resume_revision);
            }
        }
        Ok(())
    }

    fn take(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Snapshot(snapshot)) => {
                self.instances = snapshot.items.into_iter().map(|i| (i.id.clone(), i)).collect();
                println!("snapshot {}", self.describe());
            }
            Some(Event::Change(change)) => {
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
            }
            Some(Event::Progress(_) | Event::Compacted(_)) | None => {}
        }
    }

    fn describe(&self) -> String {
        let usable = self.instances.values().filter(|i| i.healthy && !i.isolated);
        let ids: Vec<_> = usable.map(|i| i.id.as_str()).collect();
        if ids.is_empty() { "nobody".to_owned() } else { ids.join(" ") }
    }
}
