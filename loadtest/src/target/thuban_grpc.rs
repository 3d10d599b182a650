//! Thuban by unary gRPC; changes on a `Watch`.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use schemas::thuban::v1::register_outcome::Outcome;
use schemas::thuban::v1::registry_client::RegistryClient;
use schemas::thuban::v1::watch_event::Event;
use schemas::thuban::v1::{
    self as api, DeregisterRequest, DiscoverReply, DiscoverRequest, InstanceKey, Lease, RegisterItem, RegisterReply,
    RegisterRequest, WatchEvent, WatchRequest, lease,
};
use tonic::Streaming;
use tonic::transport::Channel;

use super::{Ack, Client, Instance, Subscription};
use crate::scenario::grpc;

/// So long that nothing lapses during a run, in milliseconds.
const TTL_MS: u32 = 86_400_000;

pub struct Grpc {
    client: RegistryClient<Channel>,
    ack: i32,
}

impl Grpc {
    pub async fn open(address: &str, ack: Ack) -> Result<Self> {
        Ok(Self { client: grpc(address).await?, ack: ack_of(ack) })
    }

    async fn ask(&mut self, service: &str) -> Result<DiscoverReply> {
        let asked = DiscoverRequest { namespace: "default".into(), service: service.into(), ..Default::default() };
        Ok(self.client.discover(asked).await?.into_inner())
    }
}

pub(super) fn ack_of(ack: Ack) -> i32 {
    match ack {
        Ack::Memory => api::Ack::Memory as i32,
        Ack::Disk => api::Ack::Log as i32,
    }
}

/// A register of `instance`, with the lease that its door keeps by itself or with one that outlives every run.
pub(super) fn registration(instance: &Instance, is_stream: bool, ack: i32) -> RegisterRequest {
    let lease = if is_stream {
        Lease { kind: lease::Kind::Stream as i32, ..Lease::default() }
    } else {
        Lease { kind: lease::Kind::Ttl as i32, ttl_ms: Some(TTL_MS), remove_after_ms: Some(TTL_MS), ..Lease::default() }
    };
    let item = RegisterItem {
        namespace: "default".into(),
        service: instance.service.clone(),
        id: instance.id(),
        host: instance.host.clone(),
        port: Some(instance.port.into()),
        metadata: instance.metadata.clone(),
        lease: Some(lease),
        ..RegisterItem::default()
    };
    RegisterRequest { items: vec![item], ack, brief: true }
}

pub(super) fn key(instance: &Instance) -> InstanceKey {
    InstanceKey {
        namespace: "default".into(),
        service: instance.service.clone(),
        id: instance.id(),
        ..InstanceKey::default()
    }
}

/// The one item was taken as far as was asked; or said before, so that nothing was to be written.
pub(super) fn check_registered(reply: &RegisterReply, asked: i32) -> Result<()> {
    let item = reply.items.first().context("an outcome for each item")?;
    let is_enough = item.ack == api::Ack::Unspecified as i32 || (asked..api::Ack::Overlay as i32).contains(&item.ack);
    match &item.outcome {
        Some(Outcome::Instance(_)) if is_enough => Ok(()),
        other => bail!("refused: {other:?}, acknowledged {}", item.ack),
    }
}

pub(super) fn instances(items: Vec<api::Instance>) -> Result<BTreeSet<Instance>> {
    let one = |item: api::Instance| {
        let api::Instance { service, host, port, metadata, .. } = item;
        Ok(Instance { service, host, port: port.try_into()?, metadata })
    };
    items.into_iter().map(one).collect()
}

#[async_trait]
impl Client for Grpc {
    async fn register(&mut self, instance: &Instance) -> Result<()> {
        let reply = self.client.register(registration(instance, false, self.ack)).await?.into_inner();
        check_registered(&reply, self.ack)
    }

    async fn deregister(&mut self, instance: &Instance) -> Result<()> {
        let asked = DeregisterRequest { items: vec![key(instance)], ack: self.ack };
        let reply = self.client.deregister(asked).await?.into_inner();
        let problem = reply.items.first().context("an outcome for each item")?.problem.as_ref();
        ensure!(problem.is_none(), "refused: {problem:?}");
        Ok(())
    }

    async fn read(&mut self, service: &str) -> Result<usize> {
        Ok(self.ask(service).await?.items.len())
    }

    async fn discover(&mut self, service: &str) -> Result<BTreeSet<Instance>> {
        instances(self.ask(service).await?.items)
    }
}

/// What a watcher knows, as events tell it.
#[derive(Default)]
pub(super) struct Known {
    ids: BTreeSet<String>,
}

impl Known {
    /// Whether the event was one that tells who is there.
    pub(super) fn apply(&mut self, event: WatchEvent) -> bool {
        match event.event {
            Some(Event::Snapshot(snapshot)) => {
                // Of a service as small as these it comes in one part.
                self.ids = snapshot.items.into_iter().map(|item| item.id).collect();
            }
            Some(Event::Change(change)) => {
                for removed in &change.removed {
                    self.ids.remove(&removed.id);
                }
                self.ids.extend(change.put.into_iter().map(|item| item.id));
            }
            Some(Event::Progress(_) | Event::Compacted(_)) | None => return false,
        }
        true
    }

    pub(super) fn ids(&self) -> &BTreeSet<String> {
        &self.ids
    }
}

pub struct Watch {
    events: Streaming<WatchEvent>,
    known: Known,
}

impl Watch {
    pub async fn open(address: &str, service: &str) -> Result<Self> {
        let asked =
            WatchRequest { namespace: "default".into(), services: vec![service.into()], ..WatchRequest::default() };
        let events = grpc(address).await?.watch(asked).await?.into_inner();
        let mut watch = Self { events, known: Known::default() };
        watch.next().await?;
        Ok(watch)
    }
}

#[async_trait]
impl Subscription for Watch {
    async fn next(&mut self) -> Result<&BTreeSet<String>> {
        loop {
            let event = self.events.message().await?.context("the stream goes on")?;
            if self.known.apply(event) {
                return Ok(self.known.ids());
            }
        }
    }
}
