//! Follows a service by gRPC through the load balancer, and goes on where it was on whatever node.

use anyhow::{Context, Result};
use schemas::thuban::v1::registry_client::RegistryClient;
use schemas::thuban::v1::watch_event::Event;
use schemas::thuban::v1::{Instance, WatchEvent, WatchRequest};
use tokio::time::timeout;
use tonic::transport::Endpoint;

use super::super::check::chain::{Item, Told};
use super::watcher::{Follower, SILENT};

pub struct StreamWatcher {
    pub address: String,
    pub follower: Follower,
}

impl StreamWatcher {
    pub async fn live(mut self) {
        loop {
            let how = self.follow().await;
            self.follower.ended(how).await;
        }
    }

    async fn follow(&mut self) -> Result<()> {
        let from_revision = self.follower.resume().map(|from| from.to_string());
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address))?.connect_timeout(super::ATTEMPT);
        let mut client = RegistryClient::new(endpoint.connect().await?);
        let services = vec![self.follower.service.clone()];
        let wanted = WatchRequest { services, from_revision, ..WatchRequest::default() };
        let mut events = timeout(SILENT, client.watch(wanted)).await??.into_inner();
        while let Some(event) = timeout(SILENT, events.message()).await.context("15 s of silence")?? {
            self.follower.take(told(event)?)?;
        }
        Ok(())
    }
}

fn told(event: WatchEvent) -> Result<Told> {
    let items = |instances: Vec<Instance>| {
        instances.into_iter().map(|instance| Item { id: instance.id, is_healthy: instance.healthy }).collect()
    };
    Ok(match event.event.context("an event")? {
        Event::Snapshot(snapshot) => Told::Snapshot {
            items: items(snapshot.items),
            revision: event.revision.parse()?,
            is_complete: snapshot.complete,
        },
        Event::Change(change) => Told::Change {
            from: change.from_revision.parse()?,
            to: change.to_revision.parse()?,
            put: items(change.put),
            removed: change.removed.into_iter().map(|removed| removed.id).collect(),
        },
        Event::Progress(_) => Told::Progress { revision: event.revision.parse()? },
        Event::Compacted(_) => Told::Compacted,
    })
}
