//! What it costs to keep TTL leases: all of it, the receiving of the requests too.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{Plan, fill};
use crate::http::{Connection, request};
use crate::process::Server;

pub struct Renewing {
    pub leases: usize,
    /// Share of one core that the server used while every lease was renewed once a period.
    pub core_share: f64,
    /// Leases that were not healthy at the end: must be 0.
    pub lapsed: usize,
}

/// Two periods: a lease whose renewals are not heard lapses within the three periods of a run.
const LEASE: &str = r#"{"kind":"ttl","ttl_ms":30000,"remove_after_ms":60000}"#;
const BATCH: usize = 1_000;

pub async fn renew(plan: &Plan, leases: usize, period: Duration, rounds: u32) -> Result<Renewing> {
    let directory = tempfile::tempdir()?;
    let node = plan.node_in(directory.path())?;
    let services: Vec<_> = (0..leases / 10).map(|n| format!("service-{n}")).collect();
    fill(&node.http, &services, 10, 0, LEASE).await?;
    let item = |service: &str, id: usize| format!(r#"{{"namespace":"default","service":"{service}","id":"i-{id}"}}"#);
    let items: Vec<_> = services.iter().flat_map(|service| (0..10).map(move |id| item(service, id))).collect();
    let batches: Vec<_> = items.chunks(BATCH).map(batch).collect();
    let core_share = share(&node, &batches, period, rounds).await?;
    Ok(Renewing { leases, core_share, lapsed: lapsed(&node, &services).await? })
}

/// The truth: how many of all leases are not healthy.
async fn lapsed(node: &Server, services: &[String]) -> Result<usize> {
    let mut connection = Connection::open(&node.http).await?;
    let mut lapsed = 0;
    for service in services {
        let path = format!("{}?healthy=true", super::instances_path(service));
        let answer = connection.call(&request("GET", &path, "")).await?;
        let body: serde_json::Value = serde_json::from_slice(answer.body)?;
        lapsed += 10 - body["items"].as_array().map_or(0, Vec::len);
    }
    Ok(lapsed)
}

fn batch(items: &[String]) -> Vec<u8> {
    request("POST", "/v1/batch/renew", &format!(r#"{{"items":[{}]}}"#, items.join(",")))
}

/// Sends all of `batches` evenly over each period; the share of a core that the server used.
async fn share(server: &Server, batches: &[Vec<u8>], period: Duration, rounds: u32) -> Result<f64> {
    let mut connection = Connection::open(&server.http).await?;
    let step = period / u32::try_from(batches.len().max(1))?;
    let cpu = || server.cpu().and_then(|cpu| cpu.context("the process id of the server"));
    let (before, started) = (cpu()?, Instant::now());
    let mut meant = started;
    for batch in std::iter::repeat_n(batches, rounds as usize).flatten() {
        tokio::time::sleep_until(meant.into()).await;
        meant += step;
        let answer = connection.call(batch).await?;
        ensure!(answer.status == 200, "{}", String::from_utf8_lossy(answer.body));
        let refused = String::from_utf8_lossy(answer.body).matches(r#""code":"#).count();
        ensure!(refused == 0, "{refused} of {BATCH} were not renewed");
    }
    tokio::time::sleep_until(meant.into()).await;
    Ok((cpu()? - before).as_secs_f64() / started.elapsed().as_secs_f64())
}
