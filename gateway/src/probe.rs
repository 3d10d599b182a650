//! Probes of `checked` leases over the network: HTTP, TCP, gRPC health.
//!
//! Whoever may register names the target, so a probe is a call that a stranger asked for. Hence:
//! - it goes only to addresses that were vetted ([`Networks`]), and to exactly the address that was vetted: a name is
//!   resolved once, and what it says a moment later does not matter;
//! - it follows no redirect, sends nothing that the target's provider chose but the path, reads little, and ends in time
//!   whatever the target does;
//! - what comes back is a word of ours, never text of the target: a check is no way to read an internal page.

mod connect;
mod detail;
mod grpc;
mod http;
mod networks;
mod resolve;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use compute::model::{Check, CheckKind};
use compute::port::Prober;
use compute::port::clock::SystemClock;
use compute::port::prober::Probed;
use ipnet::IpNet;

pub use networks::Networks;
pub use resolve::{Resolve, SystemResolver};

use connect::Target;

/// Most that is read of one answer, its header included.
const READ_BYTES_MAX: usize = 4_096;
/// How a probe names itself.
const USER_AGENT: &str = concat!("thuban/", env!("CARGO_PKG_VERSION"), " (health check)");

/// Probes over the network, within the allowed part of it.
pub struct NetProber {
    networks: Networks,
    resolver: Arc<dyn Resolve>,
}

/// Why a probe did not succeed.
#[derive(Debug, PartialEq, Eq)]
enum Miss {
    Failure(String),
    Forbidden(String),
}

/// How far a probe got.
#[derive(Clone, Copy)]
enum Stage {
    Resolving,
    Connecting,
    Asking,
}

impl NetProber {
    /// Calls only addresses in `allow`; link-local, metadata and other special ones not even if they are in it.
    pub fn new(allow: Vec<IpNet>) -> Self {
        Self::with_resolver(allow, Arc::new(SystemResolver::new(SystemClock::new())))
    }

    pub fn with_resolver(allow: Vec<IpNet>, resolver: Arc<dyn Resolve>) -> Self {
        Self { networks: Networks::new(allow), resolver }
    }

    async fn attempt(&self, target: Target<'_>, check: &Check, stage: &mut Stage) -> Result<Option<http::Rest>, Miss> {
        *stage = Stage::Resolving;
        let addresses = target.vet(&self.networks, &*self.resolver).await?;
        *stage = Stage::Connecting;
        let stream = target.connect(&addresses, timeout_of(check)).await.map_err(Miss::Failure)?;
        *stage = Stage::Asking;
        match &check.kind {
            CheckKind::Tcp => Ok(None),
            CheckKind::Http { path } => http::get(stream, &target, path).await.map(Some),
            CheckKind::Grpc { service } => {
                grpc::check(stream, &target, service, timeout_of(check)).await.map(|()| None)
            }
        }
        .map_err(Miss::Failure)
    }
}

#[async_trait]
impl Prober for NetProber {
    async fn probe(&self, host: &str, port: u16, check: &Check) -> Probed {
        let mut stage = Stage::Resolving;
        let attempt = self.attempt(Target { host, port }, check, &mut stage);
        match tokio::time::timeout(timeout_of(check), attempt).await {
            Ok(Ok(rest)) => {
                if let Some(rest) = rest {
                    rest.drain().await;
                }
                Probed::Success
            }
            Ok(Err(Miss::Failure(why))) => Probed::Failure(detail::fit(&why)),
            Ok(Err(Miss::Forbidden(why))) => Probed::Forbidden(detail::fit(&why)),
            Err(_) => Probed::Failure(detail::fit(&format!("{} within {} ms", stage.missing(), check.timeout_ms))),
        }
    }
}

impl Stage {
    /// What did not come.
    fn missing(self) -> &'static str {
        match self {
            Self::Resolving => "the name did not resolve",
            Self::Connecting => "no connection",
            Self::Asking => "connected, but no answer",
        }
    }
}

fn timeout_of(check: &Check) -> Duration {
    Duration::from_millis(u64::from(check.timeout_ms))
}
