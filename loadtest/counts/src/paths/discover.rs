//! Ten instances of a service, found.

use anyhow::{Result, ensure};
use schemas::thuban::v1::{DiscoverReply, DiscoverRequest};

use crate::connection::{Rpc, Web, framed, read, request};
use crate::world::{INSTANCES, World, service_name};

const WARM: usize = 200;
const COUNTED: usize = 2_000;

/// On a connection of HTTP/1.1, from the bytes of a request to those of its answer.
pub(super) fn http() -> Result<u64> {
    let world = World::with(1)?;
    let address = world.http()?;
    let wanted = request("GET", &format!("/v1/namespaces/default/services/{}/instances", service_name(0)), "");
    let mut web = world.runtime.block_on(Web::open(address))?;
    let bytes = world.runtime.block_on(web.call(&wanted, None))?;
    let mut ask = async |times: usize| {
        for _ in 0..times {
            let answered = web.call(&wanted, Some(bytes)).await?;
            ensure!(answered == bytes, "answered {answered} bytes and not {bytes}");
        }
        anyhow::Ok(())
    };
    world.runtime.block_on(ask(WARM))?;
    world.count(ask(COUNTED))?;
    Ok(COUNTED as u64)
}

/// On a connection of HTTP/2.
pub(super) fn grpc() -> Result<u64> {
    let world = World::with(1)?;
    let address = world.grpc()?;
    let wanted = DiscoverRequest { namespace: "default".into(), service: service_name(0), ..Default::default() };
    let wanted = framed(&wanted);
    let mut rpc = world.runtime.block_on(Rpc::open(address))?;
    let mut ask = async |times: usize| {
        let mut last = bytes::Bytes::new();
        for _ in 0..times {
            last = rpc.call("/thuban.v1.Registry/Discover", &wanted).await?;
        }
        anyhow::Ok(last)
    };
    let found: DiscoverReply = read(&world.runtime.block_on(ask(WARM))?)?;
    ensure!(found.items.len() == INSTANCES, "found {} instances", found.items.len());
    world.count(ask(COUNTED))?;
    Ok(COUNTED as u64)
}
