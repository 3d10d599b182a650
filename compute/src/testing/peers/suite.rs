//! What every way to the other nodes must do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;

use super::{Delivery, Inbox};
use crate::model::{InstanceKey, NodeIncarnation, Position};
use crate::port::Peers;
use crate::port::peers::{Age, PeerError};

/// One node of a network that the suite calls in.
pub struct Member {
    pub node: NodeIncarnation,
    pub peers: Arc<dyn Peers>,
    /// What the node was told, in the order in which it was told.
    pub inbox: Inbox,
}

/// Where the suite gets its nodes.
#[async_trait]
pub trait Site: Send + Sync {
    /// Three nodes that can all call each other.
    async fn three(&self) -> [Member; 3];

    /// Ends a node of the last three, and returns when the others no longer reach it.
    async fn end(&self, node: NodeIncarnation);
}

/// A rule that a transport broke, and how it showed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {saw}")]
pub struct Violation {
    pub rule: &'static str,
    pub saw: String,
}

const RULE_TIME_MAX: Duration = Duration::from_secs(60);
/// A cell holds no more leases than this that change hands in one call.
const AGES_MANY: usize = 20_000;

type Outcome = Result<(), String>;

/// Runs every rule, each on nodes of its own.
pub async fn suite(site: &dyn Site) -> Result<(), Violation> {
    let rules: [(&'static str, BoxFuture<'_, Outcome>); 5] = [
        ("the other nodes are reachable, and oneself is not", Box::pin(reachable(site))),
        ("what one is told is what the other said, in order", Box::pin(delivery(site))),
        ("a call of many ages arrives whole", Box::pin(many(site))),
        ("a node nobody knows is unknown, oneself too", Box::pin(unknown(site))),
        ("a node that ended is not reached, and the others still are", Box::pin(ended(site))),
    ];
    for (rule, run) in rules {
        let outcome = tokio::time::timeout(RULE_TIME_MAX, run).await;
        let outcome = outcome.unwrap_or_else(|_| Err(format!("did not end within {} s", RULE_TIME_MAX.as_secs())));
        outcome.map_err(|saw| Violation { rule, saw })?;
    }
    Ok(())
}

async fn reachable(site: &dyn Site) -> Outcome {
    let members = site.three().await;
    for member in &members {
        let mut wanted: Vec<_> = members.iter().map(|m| m.node).filter(|node| *node != member.node).collect();
        wanted.sort_unstable();
        let mut reached = member.peers.reachable();
        reached.sort_unstable();
        if reached != wanted {
            return Err(format!("{:?} reaches {reached:?}, there are {wanted:?}", member.node));
        }
    }
    Ok(())
}

async fn delivery(site: &dyn Site) -> Outcome {
    let [one, mut two, mut three] = site.three().await;
    for n in 0..20 {
        let heard = ages(n, 3);
        one.peers.heartbeats(two.node, heard.clone()).await.map_err(|e| e.to_string())?;
        told(&mut two, Delivery::Heartbeats { from: one.node, heard }).await?;
        let ages = ages(n, 2);
        two.peers.hand_over(three.node, ages.clone()).await.map_err(|e| e.to_string())?;
        told(&mut three, Delivery::HandOver { from: two.node, ages }).await?;
    }
    one.peers.heartbeats(two.node, Vec::new()).await.map_err(|e| format!("a call of no ages: {e}"))
}

async fn many(site: &dyn Site) -> Outcome {
    let [one, mut two, _three] = site.three().await;
    let ages = ages(0, AGES_MANY);
    one.peers.hand_over(two.node, ages.clone()).await.map_err(|e| e.to_string())?;
    let mut arrived = Vec::new();
    // A transport may cut it into several messages.
    while arrived.len() < ages.len() {
        match two.inbox.recv().await {
            Some(Delivery::HandOver { from, ages }) if from == one.node => arrived.extend(ages),
            other => return Err(format!("after {} ages came {other:?}", arrived.len())),
        }
    }
    if arrived == ages { Ok(()) } else { Err("the ages that arrived are others".into()) }
}

async fn unknown(site: &dyn Site) -> Outcome {
    let [one, two, three] = site.three().await;
    let nobody = NodeIncarnation(one.node.0 ^ two.node.0 ^ three.node.0 ^ 0x5555);
    for node in [nobody, one.node] {
        match one.peers.heartbeats(node, ages(1, 1)).await {
            Err(PeerError::Unknown(named)) if named == node => {}
            other => return Err(format!("a call of {node:?} gave {other:?}")),
        }
    }
    Ok(())
}

async fn ended(site: &dyn Site) -> Outcome {
    let [one, two, mut three] = site.three().await;
    site.end(two.node).await;
    if let Ok(()) = one.peers.heartbeats(two.node, ages(1, 1)).await {
        return Err("a call of a node that ended succeeded".into());
    }
    if one.peers.reachable() != [three.node] {
        return Err(format!("reachable are {:?}, there is {:?}", one.peers.reachable(), three.node));
    }
    let heard = ages(2, 1);
    one.peers.heartbeats(three.node, heard.clone()).await.map_err(|e| e.to_string())?;
    told(&mut three, Delivery::Heartbeats { from: one.node, heard }).await
}

async fn told(member: &mut Member, wanted: Delivery) -> Outcome {
    let told = member.inbox.recv().await;
    if told.as_ref() == Some(&wanted) { Ok(()) } else { Err(format!("told was {told:?}, said {wanted:?}")) }
}

fn ages(seed: u64, count: usize) -> Vec<Age> {
    let age = |n: u64| Age {
        instance: InstanceKey::new("default", "service", &format!("10.0.0.1:{n}")).expect("within the limits"),
        generation: Position::new(1, seed + n + 1).expect("far below 2^40").at(n as u16),
        age_ms: seed * 1_000 + n,
    };
    (0..count as u64).map(age).collect()
}
