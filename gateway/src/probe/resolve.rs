//! Names to addresses.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use compute::port::Clock;
use compute::port::clock::MonoMs;
use hickory_resolver::config::{LookupIpStrategy, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use tokio::sync::Mutex;

use crate::reread;

/// The system's settings are looked at again after this time.
const REREAD_MS: MonoMs = 5_000;
/// A query that is not answered is sent again after this time, until the probe's own timeout ends it.
const RETRY: Duration = Duration::from_millis(500);
const ATTEMPTS: usize = 20;
/// How long an answer is kept at most, and how long the answer that there is none.
const KEPT_MAX: Duration = Duration::from_secs(30);
const ABSENCE_KEPT_MAX: Duration = Duration::from_secs(5);

/// Finds the addresses of a name.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// The addresses; or, in words fit for an operator, why there are none. It ends when it is dropped.
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String>;
}

/// Names as the system's resolver settings and hosts file say.
///
/// Not the C library's own resolver: that one blocks a thread until it gives up, long after the probe did, and a few
/// names whose servers are silent would take all threads from the others.
pub struct SystemResolver {
    clock: Arc<dyn Clock>,
    paths: Vec<PathBuf>,
    make: Make,
    made: Mutex<Option<Made>>,
}

/// Makes a resolver of the contents of the files.
type Make = Box<dyn Fn(&[Vec<u8>]) -> Result<TokioResolver, String> + Send + Sync>;

struct Made {
    of: Vec<Vec<u8>>,
    looked_at: MonoMs,
    resolver: Result<TokioResolver, String>,
}

impl SystemResolver {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let paths = ["/etc/resolv.conf", "/etc/hosts"].map(PathBuf::from).to_vec();
        Self::over(clock, paths, Box::new(|_| from_system()))
    }

    fn over(clock: Arc<dyn Clock>, paths: Vec<PathBuf>, make: Make) -> Self {
        Self { clock, paths, make, made: Mutex::new(None) }
    }

    /// A resolver by the settings as they are, or were a moment ago.
    async fn current(&self) -> Result<TokioResolver, String> {
        let mut made = self.made.lock().await;
        let now = self.clock.mono_ms();
        let is_fresh = made.as_ref().is_some_and(|made| now < made.looked_at + REREAD_MS);
        if !is_fresh {
            let mut of = Vec::with_capacity(self.paths.len());
            for path in &self.paths {
                // A file that can't be read says as much as an empty one.
                of.push(reread::read(path).await.unwrap_or_default());
            }
            match &mut *made {
                Some(made) if made.of == of => made.looked_at = now,
                _ => *made = Some(Made { resolver: (self.make)(&of), of, looked_at: now }),
            }
        }
        made.as_ref().map_or_else(|| Err("no resolver".to_owned()), |made| made.resolver.clone())
    }
}

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        let resolver = self.current().await?;
        match resolver.lookup_ip(host).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(error) => Err(format!("the name does not resolve: {error}")),
        }
    }
}

fn from_system() -> Result<TokioResolver, String> {
    // Without name servers the hosts file still counts.
    let nothing = || (ResolverConfig::from_parts(None, Vec::new(), Vec::new()), ResolverOpts::default());
    let (config, options) = system_conf::read_system_conf().unwrap_or_else(|_| nothing());
    build(config, options, Hosts::from_system().unwrap_or_default())
}

fn build(config: ResolverConfig, mut options: ResolverOpts, hosts: Hosts) -> Result<TokioResolver, String> {
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.timeout = options.timeout.min(RETRY);
    options.attempts = options.attempts.max(ATTEMPTS);
    options.positive_max_ttl = Some(KEPT_MAX);
    options.negative_max_ttl = Some(ABSENCE_KEPT_MAX);
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let mut resolver = builder.with_options(options).build().map_err(|error| format!("no resolver: {error}"))?;
    resolver.set_hosts(Arc::new(hosts));
    Ok(resolver)
}

#[cfg(test)]
mod tests;
