//! Thuban by HTTP and JSON; changes as server-sent events.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use super::{Ack, Client, Instance, Subscription};
use crate::http::{Connection, request};
use crate::scenario::instances_path;
use crate::scenario::watch::Events;

/// So long that nothing lapses during a run, in milliseconds.
const TTL_MS: u32 = 86_400_000;

pub struct Http {
    connection: Connection,
    ack: &'static str,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    service: String,
    host: String,
    port: u16,
    metadata: BTreeMap<String, String>,
}

impl Http {
    pub async fn open(address: &str, ack: Ack) -> Result<Self> {
        let ack = match ack {
            Ack::Memory => "memory",
            Ack::Disk => "log",
        };
        Ok(Self { connection: Connection::open(address).await?, ack })
    }

    fn path(&self, instance: &Instance) -> String {
        format!("{}/{}?ack={}", instances_path(&instance.service), instance.id(), self.ack)
    }
}

#[async_trait]
impl Client for Http {
    async fn register(&mut self, instance: &Instance) -> Result<()> {
        let lease = json!({"kind": "ttl", "ttl_ms": TTL_MS, "remove_after_ms": TTL_MS});
        let body = json!({"host": instance.host, "port": instance.port, "metadata": instance.metadata, "lease": lease});
        let wanted = request("PUT", &self.path(instance), &body.to_string());
        let answer = self.connection.call(&wanted).await?;
        ensure!(matches!(answer.status, 200 | 201), "{} {}", answer.status, answer.text());
        Ok(())
    }

    async fn deregister(&mut self, instance: &Instance) -> Result<()> {
        let answer = self.connection.call(&request("DELETE", &self.path(instance), "")).await?;
        ensure!(answer.status == 204, "{} {}", answer.status, answer.text());
        Ok(())
    }

    async fn read(&mut self, service: &str) -> Result<usize> {
        let answer = self.connection.call(&request("GET", &instances_path(service), "")).await?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
        Ok(answer.body.len())
    }

    async fn discover(&mut self, service: &str) -> Result<BTreeSet<Instance>> {
        let answer = self.connection.call(&request("GET", &instances_path(service), "")).await?;
        if answer.status == 404 {
            return Ok(BTreeSet::new());
        }
        ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
        let page: Page = serde_json::from_slice(answer.body)?;
        let instance = |item: Item| {
            let Item { service, host, port, metadata } = item;
            Instance { service, host, port, metadata }
        };
        Ok(page.items.into_iter().map(instance).collect())
    }
}

/// What is known is what was there when the watch began, and every change since.
pub struct Watch {
    events: Events,
    known: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

#[derive(Deserialize)]
struct Told {
    put: Vec<Named>,
    removed: Vec<Named>,
}

impl Watch {
    pub async fn open(address: &str, service: &str) -> Result<Self> {
        let mut events = Events::open(address, service).await?;
        events.next("snapshot").await?;
        // Behind the snapshot: what changes meanwhile is told, and being told twice harms nobody.
        let known = Http::open(address, Ack::Disk).await?.discover(service).await?.iter().map(Instance::id).collect();
        Ok(Self { events, known })
    }
}

#[async_trait]
impl Subscription for Watch {
    async fn next(&mut self) -> Result<&BTreeSet<String>> {
        let event = self.events.next("change").await?;
        let text = std::str::from_utf8(&event.text)?;
        let said: String = text.lines().filter_map(|line| line.strip_prefix("data:")).collect();
        let told: Told = serde_json::from_str(&said)?;
        for removed in &told.removed {
            self.known.remove(&removed.id);
        }
        self.known.extend(told.put.into_iter().map(|named| named.id));
        Ok(&self.known)
    }
}
