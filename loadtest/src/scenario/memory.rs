//! What a node weighs: idle, with watchers, with a million instances, and how fast it is back.

use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::{LONG, Plan, fill, instances_path};
use crate::http::{Connection, request};

pub struct Small {
    pub idle_bytes: u64,
    /// With 10,000 instances and 100 watchers on 10 connections.
    pub watched_bytes: u64,
}

pub async fn small(plan: &Plan) -> Result<Small> {
    let node = plan.node()?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let idle_bytes = node.server.rss_bytes()?;
    let services: Vec<_> = (0..1_000).map(|n| format!("service-{n}")).collect();
    fill(&node.server.http, &services, 10, 5, LONG).await?;
    let mut watches = Vec::new();
    for connection in 0..10 {
        let client = super::grpc(&node.server.grpc).await?;
        for watch in 0..10 {
            let mut client = client.clone();
            let service = format!("service-{}", connection * 10 + watch);
            let asked = schemas::thuban::v1::WatchRequest {
                namespace: "default".into(),
                services: vec![service],
                ..Default::default()
            };
            let mut events = client.watch(asked).await?.into_inner();
            events.message().await?.context("a snapshot")?;
            watches.push(events);
        }
    }
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let watched_bytes = node.server.rss_bytes()?;
    drop(watches);
    Ok(Small { idle_bytes, watched_bytes })
}

pub struct Large {
    pub instances: usize,
    pub bytes_each: f64,
    pub fill_seconds: f64,
    pub landed_seconds: f64,
    pub restart_seconds: f64,
    pub bytes_each_after_restart: f64,
}

/// `instances` instances, ten to a service, five metadata keys each; then a restart.
pub async fn large(plan: &Plan, instances: usize) -> Result<Large> {
    let directory = tempfile::tempdir()?;
    let server = plan.node_in(directory.path())?;
    let empty = server.rss_bytes()?;
    let started = Instant::now();
    let services: Vec<_> = (0..instances / 10).map(|n| format!("service-{n}")).collect();
    let address = server.http.clone();
    let halves: Vec<_> = services.chunks(services.len().div_ceil(4).max(1)).map(<[String]>::to_vec).collect();
    let mut tasks = Vec::new();
    for half in halves {
        let address = address.clone();
        tasks.push(tokio::spawn(async move { fill(&address, &half, 10, 5, LONG).await }));
    }
    for task in tasks {
        task.await??;
    }
    let fill_seconds = started.elapsed().as_secs_f64();
    wait_until_landed(&address).await?;
    let landed_seconds = started.elapsed().as_secs_f64();
    let each = |bytes: u64| bytes.saturating_sub(empty) as f64 / instances as f64;
    let bytes_each = each(server.rss_bytes()?);
    server.stop()?;
    let started = Instant::now();
    let server = plan.node_in(directory.path())?;
    wait_until_ready(&server.http).await?;
    let restart_seconds = started.elapsed().as_secs_f64();
    let bytes_each_after_restart = each(server.rss_bytes()?);
    check_all_there(&server.http, instances).await?;
    Ok(Large { instances, bytes_each, fill_seconds, landed_seconds, restart_seconds, bytes_each_after_restart })
}

/// The truth: a sample of services is whole after the restart.
async fn check_all_there(address: &str, instances: usize) -> Result<()> {
    let mut connection = Connection::open(address).await?;
    for service in (0..instances / 10).step_by((instances / 1_000).max(1)) {
        let answer = connection.call(&request("GET", &instances_path(&format!("service-{service}")), "")).await?;
        let body: serde_json::Value = serde_json::from_slice(answer.body)?;
        let found = body["items"].as_array().map_or(0, Vec::len);
        ensure!(found == 10, "service-{service} has {found} of 10 instances");
    }
    Ok(())
}

async fn wait_until_landed(address: &str) -> Result<()> {
    poll(address, "/metrics", |status, body| {
        let lag = body.lines().find_map(|line| line.strip_prefix("thuban_landing_lag_frames "));
        status == 200 && lag.is_some_and(|lag| lag.parse() == Ok(0.0))
    })
    .await
}

async fn wait_until_ready(address: &str) -> Result<()> {
    poll(address, "/readyz", |status, _| status == 200).await
}

async fn poll(address: &str, path: &str, done: impl Fn(u16, &str) -> bool) -> Result<()> {
    let deadline = Instant::now() + std::time::Duration::from_secs(120);
    let mut connection = Connection::open(address).await?;
    loop {
        let answer = connection.call(&request("GET", path, "")).await?;
        if done(answer.status, &String::from_utf8_lossy(answer.body)) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{path} did not come to what was waited for");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
