//! What it costs to keep 200,000 TTL leases, beyond the receiving of the requests.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Plan, fill};
use crate::http::{Connection, request};

pub struct Renewing {
    pub leases: usize,
    pub period_ms: u64,
    /// Share of one core that the server used while every lease was renewed once a period.
    pub core_share: f64,
    /// The same for as many requests, as large, that renew nothing: their items name one lease that is not there.
    pub receiving_share: f64,
    /// Leases that were not healthy at the end: must be 0.
    pub lapsed: usize,
}

const LEASE: &str = r#"{"kind":"ttl","ttl_ms":30000,"remove_after_ms":30000}"#;
const BATCH: usize = 1_000;

pub async fn renew(plan: &Plan, leases: usize, period: Duration, rounds: u32) -> Result<Renewing> {
    let node = plan.node()?;
    let services: Vec<_> = (0..leases / 10).map(|n| format!("service-{n}")).collect();
    fill(&node.server.http, &services, 10, 0, LEASE).await?;
    let item = |service: &str, id: usize| format!(r#"{{"namespace":"default","service":"{service}","id":"i-{id}"}}"#);
    let real: Vec<_> = services.iter().flat_map(|service| (0..10).map(move |id| item(service, id))).collect();
    let real: Vec<_> = real.chunks(BATCH).map(batch).collect();
    let idle = baseline(&node.server, period).await?;
    let core_share = share(&node.server, &real, period, rounds, true).await?;
    let mut connection = Connection::open(&node.server.http).await?;
    let mut lapsed = 0;
    for service in services.iter().step_by(100) {
        let path = format!("{}?healthy=true", super::instances_path(service));
        let answer = connection.call(&request("GET", &path, "")).await?;
        let body: serde_json::Value = serde_json::from_slice(answer.body)?;
        lapsed += 10 - body["items"].as_array().map_or(0, Vec::len);
    }
    let nobody: Vec<_> = real.iter().map(|_| batch(&vec![item("nobody-is-here", 1_000_000); BATCH])).collect();
    let receiving_share = share(&node.server, &nobody, period, 1, false).await?;
    ensure!(idle < 0.5, "the node is busy by itself: {idle:.2} of a core");
    Ok(Renewing { leases, period_ms: period.as_millis() as u64, core_share, receiving_share, lapsed })
}

fn batch(items: &[String]) -> Vec<u8> {
    request("POST", "/v1/batch/renew", &format!(r#"{{"items":[{}]}}"#, items.join(",")))
}

async fn baseline(server: &crate::process::Server, span: Duration) -> Result<f64> {
    let (cpu, started) = (server.cpu()?, Instant::now());
    tokio::time::sleep(span / 4).await;
    Ok((server.cpu()? - cpu).as_secs_f64() / started.elapsed().as_secs_f64())
}

/// Sends all of `batches` evenly over each period; the share of a core that the server used.
async fn share(
    server: &crate::process::Server,
    batches: &[Vec<u8>],
    period: Duration,
    rounds: u32,
    must_renew: bool,
) -> Result<f64> {
    let mut connection = Connection::open(&server.http).await?;
    let (cpu, started) = (server.cpu()?, Instant::now());
    let step = period / batches.len() as u32;
    let mut meant = started;
    for _ in 0..rounds {
        for batch in batches {
            tokio::time::sleep_until(meant.into()).await;
            meant += step;
            let answer = connection.call(batch).await?;
            ensure!(answer.status == 200, "{}", String::from_utf8_lossy(answer.body));
            let renewed = String::from_utf8_lossy(answer.body).matches(r#""status":204"#).count();
            ensure!(!must_renew || renewed == BATCH, "{renewed} of {BATCH} renewed");
        }
    }
    Ok((server.cpu()? - cpu).as_secs_f64() / started.elapsed().as_secs_f64())
}
