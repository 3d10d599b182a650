//! Discovery of one service, beside a bare server that answers the same bytes.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use schemas::thuban::v1::DiscoverRequest;

use super::{LONG, Pair, Plan, fill, grpc, instances_path};
use crate::http::{Connection, request};
use crate::measure::{Pace, Run, run};
use crate::process::Server;

const CONNECTIONS: usize = 32;

pub struct Read {
    pub http: Pair,
    pub grpc: Pair,
}

pub async fn read(plan: &Plan, instances: usize, pace: Pace) -> Result<Read> {
    let node = plan.node()?;
    fill(&node.server.http, &["orders".to_owned()], instances, 5, LONG).await?;
    let bare = plan.bare(instances).await?;
    let (mut web, mut rpc) = (None, None);
    for _ in 0..plan.repeats {
        let of_node = http_run(plan, &node.server, pace).await?;
        web = Some(Pair::better(web, Pair { node: of_node, bare: http_run(plan, &bare, pace).await? }));
        let of_node = grpc_run(plan, &node.server, instances, pace).await?;
        rpc = Some(Pair::better(rpc, Pair { node: of_node, bare: grpc_run(plan, &bare, instances, pace).await? }));
    }
    let nothing = "repeats is 0: nothing was measured";
    Ok(Read { http: web.context(nothing)?, grpc: rpc.context(nothing)? })
}

async fn http_run(plan: &Plan, server: &Server, pace: Pace) -> Result<Run> {
    let wanted: Arc<[u8]> = request("GET", &instances_path("orders"), "").into();
    let address: Arc<str> = server.http.as_str().into();
    let length = Connection::open(&address).await?.call(&wanted).await?.body.len();
    run(server, CONNECTIONS, pace, plan.warm_up, plan.span, move |_, mut timer, end| {
        let (wanted, address) = (wanted.clone(), address.clone());
        async move {
            let mut connection = Connection::open(&address).await?;
            while Instant::now() < end {
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

async fn grpc_run(plan: &Plan, server: &Server, instances: usize, pace: Pace) -> Result<Run> {
    let address: Arc<str> = server.grpc.as_str().into();
    run(server, CONNECTIONS, pace, plan.warm_up, plan.span, move |_, mut timer, end| {
        let address = address.clone();
        async move {
            let mut client = grpc(&address).await?;
            let asked = DiscoverRequest { namespace: "default".into(), service: "orders".into(), ..Default::default() };
            while Instant::now() < end {
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
