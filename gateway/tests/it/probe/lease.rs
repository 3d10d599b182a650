//! A checked lease from end to end: a node that probes a real server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use compute::Registry;
use compute::command::{Ack, Caller, Command};
use compute::model::{Author, Check, HealthReason, InstanceKey, Lease, LogIdentity, Provider, ProviderSpec};
use compute::node::{self, Config, Parts};
use compute::port::clock::SystemClock;
use compute::testing::SeededChance;
use compute::testing::change_log::MemoryLog;
use compute::testing::store::MemoryStore;
use gateway::probe::{NetProber, Networks};
use tokio::io::AsyncWriteExt;

use super::server::{Server, read_request};
use super::{NoNames, http};

/// A server that answers with whatever status is set.
async fn server(status: u16) -> (Server, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(status));
    let now = status.clone();
    let server = Server::start(move |mut stream| {
        let status = now.load(Ordering::SeqCst);
        async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(format!("HTTP/1.1 {status} X\r\n\r\n").as_bytes()).await;
        }
    })
    .await;
    (server, status)
}

fn key() -> InstanceKey {
    InstanceKey::new("default", "orders", "a").expect("a valid key")
}

async fn register(registry: &Registry, target: SocketAddr) {
    let check = Check::new(http("/health"), 1_000, 1_000, 2, 1, None).expect("a valid check");
    let lease = Lease::checked(check, None).expect("a valid lease");
    let spec = ProviderSpec { lease, ..ProviderSpec::at(target.ip().to_string(), target.port()) };
    let provider = Box::new(Provider::new(&spec).expect("a valid provider"));
    let command = Command::Register { instance: key(), provider, epoch: None, generation: None };
    let caller = Caller { author: Author::new("tests", "none"), is_operator: false };
    registry.submit_one(&caller, Ack::Log, command).await.expect("it is registered");
}

/// Waits until the last probe that counts has this to say.
async fn becomes(registry: &Registry, expected: Option<&str>) {
    let reason = |detail: &str| HealthReason::CheckFailed(detail.into());
    let mut watcher = registry.watcher(&key().service);
    let changed = async {
        loop {
            let view = registry.view(&key().service);
            if view.get(&key().id).expect("it is listed").health.reason == expected.map(reason) {
                return;
            }
            watcher.changed().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), changed).await.expect("the checker notices");
}

#[tokio::test]
async fn what_the_probes_say_is_what_readers_see() {
    let clock = SystemClock::new();
    let parts = Parts {
        snapshot: None,
        store: MemoryStore::new(),
        log: MemoryLog::new(LogIdentity([7; 16])),
        clock,
        chance: SeededChance::new(1),
        prober: Arc::new(NetProber::with_resolver(Networks::default_allow(), Arc::new(NoNames))),
        peers: None,
        journal: None,
    };
    let node = node::start(parts, Config::default()).await.expect("the node starts");
    let registry = node.registry();
    let (first, status) = server(200).await;
    register(&registry, first.address).await;
    becomes(&registry, None).await;
    status.store(503, Ordering::SeqCst);
    becomes(&registry, Some("status 503")).await;
    status.store(204, Ordering::SeqCst);
    becomes(&registry, None).await;
    // The same process says that it is reached elsewhere now.
    let (second, _) = server(500).await;
    register(&registry, second.address).await;
    becomes(&registry, Some("status 500")).await;
    node.stop().await;
}
