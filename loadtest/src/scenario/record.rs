//! What a node answers, taken down for the bare server.

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use prost::Message;
use schemas::thuban::v1::session_request::Request;
use schemas::thuban::v1::{DiscoverRequest, Open, SessionRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::watch::Events;
use super::{LONG, Plan, fill, grpc, instances_path, provider, register};
use crate::bare::Recorded;
use crate::http::{Connection, request};

/// Of a node of its own with `instances` instances of one service.
pub async fn record(plan: &Plan, instances: usize) -> Result<Recorded> {
    let directory = tempfile::tempdir()?;
    let node = plan.node_in(directory.path())?;
    let service = "orders".to_owned();
    fill(&node.http, std::slice::from_ref(&service), instances, 5, LONG).await?;
    let mut web = Connection::open(&node.http).await?;
    let answer = web.call(&request("GET", &instances_path(&service), "")).await?;
    let discovered = answer.body.to_vec().into();
    let discovered_headers = own_headers(answer.head)?.into();
    let mut rpc = grpc(&node.grpc).await?;
    let asked = DiscoverRequest { namespace: "default".into(), service, ..Default::default() };
    let reply = rpc.discover(asked).await?.into_inner();
    ensure!(reply.items.len() == instances, "{} of {instances} instances", reply.items.len());
    let (opened, registered_reply) = session(&mut rpc).await?;
    let mut events = Events::open(&node.http, "changed").await?;
    let snapshot = events.next("snapshot").await?.text;
    let put = request("PUT", &format!("{}/i-0", instances_path("changed")), &provider(0, 5, LONG));
    let registered = web.call(&put).await?.body.to_vec().into();
    let change = events.next("change").await?.text;
    Ok(Recorded {
        discovered,
        discovered_headers,
        discovered_reply: reply.encode_to_vec().into(),
        registered,
        opened_reply: opened.into(),
        registered_reply: registered_reply.into(),
        snapshot: snapshot.into(),
        change: change.into(),
    })
}

/// The headers of an answer that no server adds by itself, a line each.
fn own_headers(head: &[u8]) -> Result<String> {
    let added = ["content-type:", "content-length:", "date:"];
    let own = |line: &&str| !line.is_empty() && !added.iter().any(|name| line.to_ascii_lowercase().starts_with(name));
    // The first line is the status.
    Ok(std::str::from_utf8(head)?.lines().skip(1).filter(own).flat_map(|line| [line, "\n"]).collect())
}

/// The replies to the first request of a Session and to a register on it.
async fn session(
    rpc: &mut schemas::thuban::v1::registry_client::RegistryClient<tonic::transport::Channel>,
) -> Result<(Vec<u8>, Vec<u8>)> {
    let (requests, outgoing) = mpsc::channel(2);
    let open = SessionRequest { request_id: 1, request: Some(Request::Open(Open::default())) };
    requests.send(open).await?;
    let mut replies = rpc.session(ReceiverStream::new(outgoing)).await?.into_inner();
    let opened = replies.next().await.context("an answer to the first request")??;
    requests.send(register::on_session(2)).await?;
    let registered = replies.next().await.context("an answer to a register")??;
    Ok((opened.encode_to_vec(), registered.encode_to_vec()))
}
