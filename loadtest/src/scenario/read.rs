//! Discovery of one service of ten instances, beside a bare server that answers the same bytes.

use std::sync::Arc;

use anyhow::{Result, ensure};
use bytes::Bytes;
use prost::Message;
use schemas::thuban::v1::DiscoverRequest;

use super::{LONG, Plan, fill, grpc, instances_path};
use crate::http::{Connection, request};
use crate::measure::{Pace, Run, run};
use crate::process::Server;

const CONNECTIONS: usize = 32;

pub struct Ratio {
    pub node: Run,
    pub bare: Run,
}

impl Ratio {
    /// Requests per CPU second of the node, as a share of the bare server's.
    pub fn share(&self) -> f64 {
        self.node.per_cpu_second / self.bare.per_cpu_second
    }
}

pub async fn read(plan: &Plan, instances: usize) -> Result<(Ratio, Ratio)> {
    let node = plan.node()?;
    let service = "orders".to_owned();
    fill(&node.server.http, std::slice::from_ref(&service), instances, 5, LONG).await?;
    let web = Connection::open(&node.server.http)
        .await?
        .call(&request("GET", &instances_path(&service), ""))
        .await?
        .body
        .to_vec();
    let asked = DiscoverRequest { namespace: "default".into(), service: service.clone(), ..Default::default() };
    let rpc = grpc(&node.server.grpc).await?.discover(asked).await?.into_inner();
    ensure!(rpc.items.len() == instances, "{} of {instances} instances", rpc.items.len());
    let bare = start_bare(plan, &web, &rpc.encode_to_vec())?;
    let (mut http_ratio, mut grpc_ratio) = (None, None);
    for _ in 0..plan.repeats {
        better(
            &mut http_ratio,
            Ratio {
                node: http_run(plan, &node.server, web.len()).await?,
                bare: http_run(plan, &bare, web.len()).await?,
            },
        );
        better(
            &mut grpc_ratio,
            Ratio {
                node: grpc_run(plan, &node.server, instances).await?,
                bare: grpc_run(plan, &bare, instances).await?,
            },
        );
    }
    match (http_ratio, grpc_ratio) {
        (Some(http), Some(grpc)) => Ok((http, grpc)),
        _ => anyhow::bail!("nothing was measured: repeats is 0"),
    }
}

/// Keeps the best of each side: what disturbs a run only ever makes it worse.
fn better(best: &mut Option<Ratio>, new: Ratio) {
    let pick = |old: &Run, new: Run| if new.per_cpu_second > old.per_cpu_second { new } else { old.clone() };
    *best = Some(match best.take() {
        Some(old) => Ratio { node: pick(&old.node, new.node), bare: pick(&old.bare, new.bare) },
        None => new,
    });
}

fn start_bare(plan: &Plan, web: &[u8], rpc: &[u8]) -> Result<Server> {
    let directory = tempfile::tempdir()?;
    let (http, grpc) = (directory.path().join("http"), directory.path().join("grpc"));
    std::fs::write(&http, web)?;
    std::fs::write(&grpc, rpc)?;
    let (http, grpc) = (http.to_string_lossy().into_owned(), grpc.to_string_lossy().into_owned());
    Server::start(&plan.own, &["bare", "--http-body", &http, "--grpc-body", &grpc], plan.core)
}

async fn http_run(plan: &Plan, server: &Server, length: usize) -> Result<Run> {
    let wanted: Arc<[u8]> = request("GET", &instances_path("orders"), "").into();
    let address: Arc<str> = server.http.as_str().into();
    run(server, CONNECTIONS, Pace::Closed, plan.warm_up, plan.span, move |_, mut timer, end| {
        let (wanted, address) = (wanted.clone(), address.clone());
        async move {
            let mut connection = Connection::open(&address).await?;
            while std::time::Instant::now() < end {
                let begun = timer.begin().await;
                let answer = connection.call(&wanted).await?;
                ensure!(answer.status == 200 && answer.body.len() == length, "answered {} bytes", answer.body.len());
                timer.end(begun);
            }
            Ok(timer)
        }
    })
    .await
}

async fn grpc_run(plan: &Plan, server: &Server, instances: usize) -> Result<Run> {
    let address: Arc<str> = server.grpc.as_str().into();
    run(server, CONNECTIONS, Pace::Closed, plan.warm_up, plan.span, move |_, mut timer, end| {
        let address = address.clone();
        async move {
            let mut client = grpc(&address).await?;
            let asked = DiscoverRequest { namespace: "default".into(), service: "orders".into(), ..Default::default() };
            while std::time::Instant::now() < end {
                let begun = timer.begin().await;
                let reply = client.discover(asked.clone()).await?.into_inner();
                ensure!(reply.items.len() == instances, "{} instances", reply.items.len());
                timer.end(begun);
            }
            Ok(timer)
        }
    })
    .await
}

/// The bodies of a bare server, from the files that [`start_bare`] wrote.
pub fn bare_bodies(http: &std::path::Path, grpc: &std::path::Path) -> Result<(Bytes, Bytes)> {
    Ok((std::fs::read(http)?.into(), std::fs::read(grpc)?.into()))
}
