//! The prober against real servers on loopback, of which most misbehave.

mod fuzz;
mod grpc;
mod http;
mod lease;
mod reach;
mod server;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use compute::model::{Check, CheckKind};
use compute::port::Prober;
use compute::port::prober::Probed;
use gateway::probe::{NetProber, Networks, Resolve};

/// Nobody asks it: the targets are addresses.
struct NoNames;

#[async_trait]
impl Resolve for NoNames {
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        panic!("{host} is an address")
    }
}

fn check(kind: CheckKind, timeout_ms: u64) -> Check {
    Check::new(kind, 60_000, timeout_ms, 1, 1, None).expect("a valid check")
}

fn http(path: &str) -> CheckKind {
    CheckKind::http(path).expect("a valid path")
}

async fn probe(address: SocketAddr, check: &Check) -> Probed {
    let prober = NetProber::with_resolver(Networks::default_allow(), Arc::new(NoNames));
    prober.probe(&address.ip().to_string(), address.port(), check).await
}

/// Long enough for a loaded machine.
async fn probe_patiently(address: SocketAddr, kind: CheckKind) -> Probed {
    probe(address, &check(kind, 20_000)).await
}

fn failure(why: &str) -> Probed {
    Probed::Failure(why.into())
}
