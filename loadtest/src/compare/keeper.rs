//! Providers that stay: each on a connection of its own, and each says again who it is, as its protocol has it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use super::provider;
use crate::target::{Instance, Target};

/// Below the patience of every server that waits for its clients to say something: ZooKeeper's is 40 s.
const AGAIN: Duration = Duration::from_secs(4);

/// They leave with it.
pub(super) struct Keeper {
    pub(super) instances: BTreeSet<Instance>,
    tasks: JoinSet<Result<()>>,
}

impl Keeper {
    /// The first `count` providers of `service`.
    pub(super) async fn start(target: &Target, service: &str, count: usize) -> Result<Self> {
        let instances: BTreeSet<_> = (0..count).map(|number| provider(service, number)).collect();
        let mut tasks = JoinSet::new();
        for instance in instances.clone() {
            let mut client = target.connect().await?;
            client.register(&instance).await?;
            tasks.spawn(async move {
                loop {
                    tokio::time::sleep(AGAIN).await;
                    client.register(&instance).await?;
                }
            });
        }
        Ok(Self { instances, tasks })
    }

    /// The truth: the server shows them, and nobody else, and each of them was heard until now.
    pub(super) async fn check(&mut self, target: &Target, service: &str) -> Result<()> {
        if let Some(ended) = self.tasks.try_join_next() {
            ended??;
        }
        let shown = target.connect().await?.discover(service).await?;
        ensure!(shown == self.instances, "{service} is {shown:?}; registered are {:?}", self.instances);
        Ok(())
    }
}
