//! From a change of a service to each of its subscribers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::keeper::Keeper;
use super::{PER_SERVICE, Plan, provider};
use crate::faults::dice::Dice;
use crate::measure::{Latency, histogram};
use crate::process::Server;
use crate::scenario::unused;
use crate::target::{Subscription, Target};

/// A subscriber that has not been told by then was missed.
const TOLD_WITHIN: Duration = Duration::from_secs(30);
/// Between changes, by chance up to so much more: longer than any server's period, so that none is always met at its best.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MORE_MS: usize = 500;

#[derive(Clone, Debug, Serialize)]
pub struct Changes {
    pub watchers: usize,
    pub changes: usize,
    /// From the moment the change is sent to each subscriber's knowing all of the service as it then is.
    pub latency: Latency,
    /// CPU time of the server for each subscriber told; 0 where its process is not known.
    pub cpu_us_each: f64,
}

/// The tenth instance of a service comes and goes. The truth: each subscriber knows each of these states, and no other.
pub(super) async fn changes(plan: &Plan, server: &Server, target: &Target) -> Result<Changes> {
    let service = format!("watched-{}", unused());
    let keeper = Keeper::start(target, &service, PER_SERVICE - 1).await?;
    let tenth = provider(&service, PER_SERVICE - 1);
    let (told, mut all_told) = mpsc::channel(plan.watchers.max(1));
    let mut tasks = JoinSet::new();
    for _ in 0..plan.watchers {
        let subscription = target.subscribe(&service).await?;
        tasks.spawn(follow(subscription, tenth.id(), told.clone()));
    }
    drop(told);
    let mut writer = target.connect().await?;
    let (mut latencies, mut dice) = (histogram(), Dice::new(plan.seed));
    let cpu = server.cpu()?;
    for change in 0..plan.changes {
        tokio::time::sleep(PAUSE + Duration::from_millis(dice.below(PAUSE_MORE_MS) as u64)).await;
        let sent = Instant::now();
        if change % 2 == 0 {
            writer.register(&tenth).await?
        } else {
            writer.deregister(&tenth).await?
        }
        for _ in 0..plan.watchers {
            let next = tokio::time::timeout(TOLD_WITHIN, all_told.recv()).await;
            let at = next.with_context(|| format!("a subscriber is not told of change {change}"))?;
            let Some(at) = at else { break };
            latencies.saturating_record(at.duration_since(sent).as_micros() as u64);
        }
    }
    let cpu = server.cpu()?.zip(cpu).map(|(after, before)| after - before).unwrap_or_default();
    while let Some(ended) = tasks.try_join_next() {
        ended??;
    }
    let counted = plan.changes * plan.watchers;
    ensure!(latencies.len() as usize == counted, "{} of {counted} were told", latencies.len());
    drop(keeper);
    let cpu_us_each = cpu.as_secs_f64() * 1e6 / counted.max(1) as f64;
    Ok(Changes { watchers: plan.watchers, changes: plan.changes, latency: Latency::of(&latencies), cpu_us_each })
}

/// Says when the subscriber knows of `id`, when no longer, and so on.
async fn follow(mut subscription: Box<dyn Subscription>, id: String, told: mpsc::Sender<Instant>) -> Result<()> {
    let mut is_there = false;
    loop {
        let known = subscription.next().await?;
        let at = Instant::now();
        if known.contains(&id) != is_there {
            is_there = !is_there;
            let wanted = PER_SERVICE - 1 + usize::from(is_there);
            ensure!(known.len() == wanted, "a subscriber knows of {known:?}; {wanted} are there");
            told.send(at).await?;
        }
    }
}
