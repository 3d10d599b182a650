//! What one node tells another.

use super::super::Delivery;
use super::{Member, Outcome, Site, acquainted, ages};
use crate::model::NodeIncarnation;

/// Leases that change hands in one call.
const AGES_MANY: usize = 20_000;

pub(super) async fn delivery(site: &dyn Site) -> Outcome {
    let [one, mut two, mut three] = acquainted(site).await?;
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

pub(super) async fn many(site: &dyn Site) -> Outcome {
    let [one, mut two, mut three] = acquainted(site).await?;
    let ages = ages(0, AGES_MANY);
    one.peers.hand_over(two.node, ages.clone()).await.map_err(|e| e.to_string())?;
    one.peers.heartbeats(three.node, ages.clone()).await.map_err(|e| e.to_string())?;
    for member in [&mut two, &mut three] {
        let mut arrived = Vec::new();
        // A transport may cut it into several messages.
        while arrived.len() < ages.len() {
            match member.inbox.recv().await {
                Some(Delivery::HandOver { from, ages } | Delivery::Heartbeats { from, heard: ages })
                    if from == one.node =>
                {
                    arrived.extend(ages);
                }
                other => return Err(format!("after {} ages came {other:?}", arrived.len())),
            }
        }
        if arrived != ages {
            return Err("the ages that arrived are others".into());
        }
    }
    Ok(())
}

/// A node that joins again has another name, and what it says is said in that name.
pub(super) async fn renamed(site: &dyn Site) -> Outcome {
    let [one, mut two, _three] = acquainted(site).await?;
    let renamed = NodeIncarnation(one.node.0 ^ 0x5555);
    one.peers.know(renamed, &[(two.node, two.address.clone())]);
    let heard = ages(1, 1);
    one.peers.heartbeats(two.node, heard.clone()).await.map_err(|e| e.to_string())?;
    told(&mut two, Delivery::Heartbeats { from: renamed, heard }).await
}

pub(super) async fn told(member: &mut Member, wanted: Delivery) -> Outcome {
    let told = member.inbox.recv().await;
    if told.as_ref() == Some(&wanted) { Ok(()) } else { Err(format!("told was {told:?}, said {wanted:?}")) }
}
