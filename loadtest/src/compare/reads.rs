//! Everybody reads the same service of ten.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::keeper::Keeper;
use super::{PER_SERVICE, PROBES, Plan, loopback_bytes};
use crate::measure::{Pace, Run, run};
use crate::process::Server;
use crate::target::Target;

const SERVICE: &str = "orders";

/// And the bytes that one read takes on the wire.
pub(super) async fn reads(plan: &Plan, server: &Server, target: &Target) -> Result<(Run, u64)> {
    let mut keeper = Keeper::start(target, SERVICE, PER_SERVICE).await?;
    keeper.check(target, SERVICE).await?;
    let mut client = target.connect().await?;
    let size = client.read(SERVICE).await?;
    let before = loopback_bytes()?;
    for _ in 0..PROBES {
        client.read(SERVICE).await?;
    }
    let bytes = (loopback_bytes()? - before) / PROBES;
    let (warm_up, span) = (plan.of_each.warm_up, plan.of_each.span);
    let done = run(server, plan.connections, Pace::Closed, warm_up, span, |_, mut timer, end| {
        let target = target.clone();
        async move {
            let mut client = target.connect().await?;
            while Instant::now() < end {
                let begun = timer.begin().await;
                let read = client.read(SERVICE).await?;
                timer.end(begun);
                ensure!(read == size, "an answer of {read} where {size} was said before");
            }
            Ok(timer)
        }
    });
    let done = done.await?;
    keeper.check(target, SERVICE).await?;
    Ok((done, bytes))
}
