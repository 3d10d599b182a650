//! Heartbeats of TTL leases, each instance in its turn.

use anyhow::{Result, ensure};
use compute::model::{InstanceKey, Revision};
use schemas::thuban::v1::{self as pb, RenewReply, RenewRequest};

use crate::connection::{Rpc, Web, framed, read, request};
use crate::world::{INSTANCES, World, caller, key, service_name};

const SERVICES: usize = 100;
const ALL: usize = SERVICES * INSTANCES;
const ROUNDS: usize = 10;

fn keys() -> impl Iterator<Item = InstanceKey> {
    (0..ALL).map(|place| key(place / INSTANCES, place))
}

/// By the registry, one by one.
pub(super) fn alone() -> Result<u64> {
    let world = World::with(SERVICES)?;
    let (caller, keys): (_, Vec<_>) = (caller(), keys().collect());
    let renew = async |rounds: usize| {
        for _ in 0..rounds {
            for key in &keys {
                world.registry.renew(&caller, key, None).await?;
            }
        }
        anyhow::Ok(())
    };
    world.runtime.block_on(renew(1))?;
    world.count(renew(ROUNDS))?;
    Ok((ALL * ROUNDS) as u64)
}

/// By the registry, a thousand together.
pub(super) fn batch() -> Result<u64> {
    type Batch = Vec<(InstanceKey, Option<Revision>)>;
    let world = World::with(SERVICES)?;
    let caller = caller();
    let batches =
        |rounds: usize| -> Vec<Batch> { (0..rounds).map(|_| keys().map(|key| (key, None)).collect()).collect() };
    let renew = async |batches: Vec<Batch>| {
        for batch in batches {
            for outcome in world.registry.renew_all(&caller, batch).await {
                outcome?;
            }
        }
        anyhow::Ok(())
    };
    world.runtime.block_on(renew(batches(1)))?;
    world.count(renew(batches(ROUNDS)))?;
    Ok((ALL * ROUNDS) as u64)
}

/// On a connection of HTTP/1.1, one after the other.
pub(super) fn http() -> Result<u64> {
    let world = World::with(SERVICES)?;
    let address = world.http()?;
    let path = |place: usize| {
        let service = service_name(place / INSTANCES);
        format!("/v1/namespaces/default/services/{service}/instances/i-{place}/renew")
    };
    let requests: Vec<Vec<u8>> = (0..ALL).map(|place| request("POST", &path(place), "")).collect();
    let mut web = world.runtime.block_on(Web::open(address))?;
    let mut ask = async || {
        for request in &requests {
            web.call(request, None).await?;
        }
        anyhow::Ok(())
    };
    world.runtime.block_on(ask())?;
    world.count(ask())?;
    Ok(ALL as u64)
}

/// On a connection of HTTP/2, a thousand in a message.
pub(super) fn grpc_batch() -> Result<u64> {
    let world = World::with(SERVICES)?;
    let address = world.grpc()?;
    let item = |place: usize| pb::InstanceKey {
        namespace: "default".into(),
        service: service_name(place / INSTANCES),
        id: format!("i-{place}"),
        ..Default::default()
    };
    let message = framed(&RenewRequest { items: (0..ALL).map(item).collect() });
    let mut rpc = world.runtime.block_on(Rpc::open(address))?;
    let mut ask = async |rounds: usize| {
        let mut last = bytes::Bytes::new();
        for _ in 0..rounds {
            last = rpc.call("/thuban.v1.Registry/Renew", &message).await?;
        }
        anyhow::Ok(last)
    };
    let renewed: RenewReply = read(&world.runtime.block_on(ask(1))?)?;
    ensure!(renewed.items.len() == ALL, "{} of {ALL} were answered", renewed.items.len());
    world.count(ask(ROUNDS))?;
    Ok((ALL * ROUNDS) as u64)
}
