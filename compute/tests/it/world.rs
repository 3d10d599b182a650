//! One node, its ports in memory, and a clock that the test moves.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use compute::Registry;
use compute::command::{Ack, Answer, Caller, Command, Outcome};
use compute::error::Error;
use compute::model::{
    Author, Check, Instance, InstanceKey, Lease, LogIdentity, Provider, ProviderSpec, RemovalReason, Revision,
    ServiceKey,
};
use compute::node::{Config, Node, Parts, StartError};
use compute::port::prober::{Probed, Prober};
use compute::port::{ChangeLog, PresenceStore};
use compute::testing::change_log::{FaultyLog, MemoryLog};
use compute::testing::store::MemoryStore;
use compute::testing::{ManualClock, SeededChance};

/// A prober to which every target answers.
pub(crate) struct AllWell;

#[async_trait]
impl Prober for AllWell {
    async fn probe(&self, _: &str, _: u16, _: &Check) -> Probed {
        Probed::Success
    }
}

pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) chance: Arc<SeededChance>,
    pub(crate) store: Arc<dyn PresenceStore>,
    pub(crate) memory: Arc<MemoryLog>,
    pub(crate) log: Arc<FaultyLog>,
}

impl World {
    pub(crate) fn new() -> Self {
        let memory = MemoryLog::new(LogIdentity([7; 16]));
        Self {
            clock: ManualClock::new(),
            chance: SeededChance::new(1),
            store: MemoryStore::new(),
            log: FaultyLog::over(memory.clone()),
            memory,
        }
    }

    pub(crate) fn parts(&self) -> Parts {
        Parts {
            snapshot: None,
            store: self.store.clone(),
            log: self.log.clone() as Arc<dyn ChangeLog>,
            clock: self.clock.clone(),
            chance: self.chance.clone(),
            prober: Arc::new(AllWell),
            peers: None,
            journal: None,
        }
    }

    pub(crate) async fn start(&self) -> Node {
        self.try_start().await.expect("the node starts")
    }

    pub(crate) async fn try_start(&self) -> Result<Node, StartError> {
        compute::node::start(self.parts(), Config::default()).await
    }

    pub(crate) async fn start_with(&self, config: Config) -> Node {
        compute::node::start(self.parts(), config).await.expect("the node starts")
    }

    /// Moves time on in steps, so that every task sees every step, until `done`; at most `max_ms`.
    pub(crate) async fn pass_until(&self, max_ms: u64, mut done: impl FnMut() -> bool) -> Option<u64> {
        let mut passed = 0;
        while passed <= max_ms {
            self.settle().await;
            if done() {
                return Some(passed);
            }
            self.clock.advance(50);
            passed += 50;
        }
        None
    }

    pub(crate) async fn pass(&self, ms: u64) {
        self.pass_until(ms, || false).await;
    }

    /// Lets every task run until none has anything left to do.
    pub(crate) async fn settle(&self) {
        for _ in 0..64 {
            tokio::task::yield_now().await;
        }
    }

    /// The result of a call that may need time to pass.
    pub(crate) async fn drive<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = Box::pin(call);
        for _ in 0..2_000 {
            tokio::select! {
                biased;
                done = &mut call => return done,
                () = self.settle() => self.clock.advance(50),
            }
        }
        panic!("no answer in 100 s of its time");
    }
}

pub(crate) fn somebody() -> Caller {
    Caller { author: Author::new("somebody", "test"), is_operator: false }
}

pub(crate) fn service(name: &str) -> ServiceKey {
    ServiceKey::new("default", name).expect("a good name")
}

pub(crate) fn key(service: &str, id: &str) -> InstanceKey {
    InstanceKey::new("default", service, id).expect("a good name")
}

pub(crate) fn provider(port: u16, lease: Lease) -> Provider {
    let spec = ProviderSpec { lease, metadata: BTreeMap::new(), ..ProviderSpec::at("10.0.0.1", port) };
    Provider::new(&spec).expect("a good provider")
}

pub(crate) fn ttl(ttl_ms: u64, remove_after_ms: u64) -> Lease {
    Lease::ttl(ttl_ms, remove_after_ms).expect("a good lease")
}

pub(crate) fn register(key: &InstanceKey, provider: Provider) -> Command {
    Command::Register { instance: key.clone(), provider: Box::new(provider), epoch: None, generation: None }
}

pub(crate) fn deregister(key: &InstanceKey) -> Command {
    Command::Deregister { instance: key.clone(), generation: None, reason: RemovalReason::Deregistered }
}

pub(crate) async fn must(registry: &Registry, command: Command) -> Outcome {
    ask(registry, Ack::Log, command).await.expect("accepted")
}

pub(crate) async fn ask(registry: &Registry, ack: Ack, command: Command) -> Result<Outcome, Error> {
    let caller = somebody();
    let answered = registry.submit_one(&caller, ack, command);
    tokio::time::timeout(Duration::from_secs(20), answered).await.expect("answered in time")
}

pub(crate) fn instance(outcome: &Outcome) -> Arc<Instance> {
    match &outcome.answer {
        Answer::Instance { instance, .. } => instance.clone(),
        other => panic!("not an instance: {other:?}"),
    }
}

pub(crate) fn generation(outcome: &Outcome) -> Revision {
    instance(outcome).generation
}
