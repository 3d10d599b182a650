//! What every way to the other nodes must do.

mod answers;
mod ends;
mod telling;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;

use super::{Inbox, InboxHost};
use crate::model::{InstanceKey, NodeIncarnation, Position};
use crate::port::Peers;
use crate::port::peers::Age;

/// One node of a network that the suite calls in.
pub struct Member {
    pub node: NodeIncarnation,
    /// Where the others reach it.
    pub address: Arc<str>,
    pub peers: Arc<dyn Peers>,
    /// What answers for the node.
    pub host: Arc<InboxHost>,
    /// What the node was told, in the order in which it was told.
    pub inbox: Inbox,
}

/// Where the suite gets its nodes.
#[async_trait]
pub trait Site: Send + Sync {
    /// Three nodes that could all call each other, and know of nobody yet.
    async fn three(&self) -> [Member; 3];

    /// Ends the node at an address of the last three.
    async fn end(&self, address: &str);

    /// From now on the node at this address answers nothing, and its connections stay as they are.
    async fn silence(&self, address: &str);
}

/// A rule that a transport broke, and how it showed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {saw}")]
pub struct Violation {
    pub rule: &'static str,
    pub saw: String,
}

const RULE_TIME_MAX: Duration = Duration::from_secs(60);
/// What the port says, and a second for a machine that does other things meanwhile.
const CALL_TIME_MAX: Duration = Duration::from_secs(2);
/// Within which what is true of the network shows in what is reachable.
const NOTICE_TIME_MAX: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

type Outcome = Result<(), String>;

/// Runs every rule, each on nodes of its own.
pub async fn suite(site: &dyn Site) -> Result<(), Violation> {
    let rules: [(&'static str, BoxFuture<'_, Outcome>); 13] = [
        ("the other nodes are reachable, and oneself is not", Box::pin(ends::reachable(site))),
        ("what one is told is what the other said, in order", Box::pin(telling::delivery(site))),
        ("a call of many ages arrives whole", Box::pin(telling::many(site))),
        ("a node nobody knows is unknown, oneself too", Box::pin(ends::unknown(site))),
        ("who is not known is not called", Box::pin(ends::known(site))),
        ("a node answers how far it is", Box::pin(answers::ask(site))),
        ("a node tells of itself", Box::pin(answers::report(site))),
        ("a node names its subscribers", Box::pin(answers::subscribers(site))),
        ("a node is told to drain", Box::pin(answers::drain(site))),
        ("another node at the same address is not believed", Box::pin(answers::another(site))),
        ("a node that was renamed says so", Box::pin(telling::renamed(site))),
        ("a node that ended is not reached, and the others still are", Box::pin(ends::ended(site))),
        ("a call of a node that does not answer ends within a second", Box::pin(ends::silent(site))),
    ];
    for (rule, run) in rules {
        let outcome = tokio::time::timeout(RULE_TIME_MAX, run).await;
        let outcome = outcome.unwrap_or_else(|_| Err(format!("did not end within {} s", RULE_TIME_MAX.as_secs())));
        outcome.map_err(|saw| Violation { rule, saw })?;
    }
    Ok(())
}

/// Three nodes that know each other.
async fn acquainted(site: &dyn Site) -> Result<[Member; 3], String> {
    let members = site.three().await;
    for member in &members {
        let others: Vec<_> = members.iter().filter(|other| other.node != member.node).collect();
        introduce(member, &others);
        reaches(member, &others).await?;
    }
    Ok(members)
}

/// Makes `others`, and nobody else, known to a node.
fn introduce(member: &Member, others: &[&Member]) {
    let known: Vec<_> = others.iter().map(|other| (other.node, Arc::clone(&other.address))).collect();
    member.peers.know(member.node, &known);
}

/// The node comes to reach these and no others.
async fn reaches(member: &Member, others: &[&Member]) -> Outcome {
    let mut wanted: Vec<_> = others.iter().map(|other| other.node).collect();
    wanted.sort_unstable();
    let mut reached = Vec::new();
    let looking = async {
        loop {
            reached = member.peers.reachable();
            reached.sort_unstable();
            if reached == wanted {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let looked = tokio::time::timeout(NOTICE_TIME_MAX, looking).await;
    looked.map_err(|_| format!("{:?} reaches {reached:?}, there are {wanted:?}", member.node))
}

fn ages(seed: u64, count: usize) -> Vec<Age> {
    let age = |n: u64| Age {
        // Several services, one after the other and in turns.
        instance: InstanceKey::new("default", &format!("s{}", n / 64 + n % 2), &format!("10.0.0.1:{n}"))
            .expect("within the limits"),
        generation: Position::new(1, seed + n + 1).expect("far below 2^40").at(n as u16),
        age_ms: seed * 1_000 + n,
    };
    (0..count as u64).map(age).collect()
}
