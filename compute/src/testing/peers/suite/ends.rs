//! Who is called, and who is not.

use super::super::Delivery;
use super::telling::told;
use super::{CALL_TIME_MAX, Member, Outcome, Site, acquainted, ages, introduce, reaches};
use crate::model::{NodeIncarnation, ServiceKey};
use crate::port::peers::PeerError;

pub(super) async fn reachable(site: &dyn Site) -> Outcome {
    acquainted(site).await.map(drop)
}

pub(super) async fn unknown(site: &dyn Site) -> Outcome {
    let [one, two, three] = acquainted(site).await?;
    let nobody = NodeIncarnation(one.node.0 ^ two.node.0 ^ three.node.0 ^ 0x5555);
    is_unknown(&one, nobody).await?;
    is_unknown(&one, one.node).await?;
    // Nor is oneself called when somebody says that one is another.
    one.peers.know(one.node, &[(one.node, one.address.clone())]);
    is_unknown(&one, one.node).await
}

pub(super) async fn known(site: &dyn Site) -> Outcome {
    let [one, mut two, mut three] = site.three().await;
    is_unknown(&one, two.node).await?;
    introduce(&one, &[&two, &three]);
    reaches(&one, &[&two, &three]).await?;
    introduce(&one, &[&three]);
    is_unknown(&one, two.node).await?;
    if let Ok(wrong) = two.inbox.try_recv() {
        return Err(format!("who is not known was told {wrong:?}"));
    }
    reaches(&one, &[&three]).await?;
    one.peers.heartbeats(three.node, ages(1, 1)).await.map_err(|e| e.to_string())?;
    told(&mut three, Delivery::Heartbeats { from: one.node, heard: ages(1, 1) }).await
}

async fn is_unknown(member: &Member, node: NodeIncarnation) -> Outcome {
    let watched = ServiceKey::new("default", "orders").expect("within the limits");
    let calls = [
        member.peers.ask(node).await.map(drop),
        member.peers.report(node).await.map(drop),
        member.peers.subscribers(node, &watched).await.map(drop),
        member.peers.drain(node).await,
        member.peers.heartbeats(node, ages(1, 1)).await,
        member.peers.hand_over(node, ages(1, 1)).await,
    ];
    match calls.iter().find(|call| !matches!(call, Err(PeerError::Unknown(named)) if *named == node)) {
        None => Ok(()),
        Some(other) => Err(format!("a call of {node:?} gave {other:?}")),
    }
}

pub(super) async fn ended(site: &dyn Site) -> Outcome {
    let [one, two, mut three] = acquainted(site).await?;
    site.end(&two.address).await;
    if let Ok(()) = one.peers.heartbeats(two.node, ages(1, 1)).await {
        return Err("a call of a node that ended succeeded".into());
    }
    reaches(&one, &[&three]).await?;
    let heard = ages(2, 1);
    one.peers.heartbeats(three.node, heard.clone()).await.map_err(|e| e.to_string())?;
    told(&mut three, Delivery::Heartbeats { from: one.node, heard }).await
}

pub(super) async fn silent(site: &dyn Site) -> Outcome {
    let [one, two, three] = acquainted(site).await?;
    site.silence(&two.address).await;
    let watched = ServiceKey::new("default", "orders").expect("within the limits");
    let calls = async {
        [
            ("ask", in_time(one.peers.ask(two.node)).await),
            ("report", in_time(one.peers.report(two.node)).await),
            ("subscribers", in_time(one.peers.subscribers(two.node, &watched)).await),
            ("drain", in_time(one.peers.drain(two.node)).await),
            ("heartbeats", in_time(one.peers.heartbeats(two.node, ages(1, 1))).await),
            ("hand_over", in_time(one.peers.hand_over(two.node, ages(1, 20_000))).await),
        ]
    };
    for (call, ended) in calls.await {
        ended.map_err(|saw| format!("{call} {saw}"))?;
    }
    reaches(&one, &[&three]).await
}

/// The call fails within the time that the port names.
async fn in_time<T>(call: impl Future<Output = Result<T, PeerError>>) -> Outcome {
    match tokio::time::timeout(CALL_TIME_MAX, call).await {
        Ok(Err(PeerError::Away(_))) => Ok(()),
        Ok(Err(PeerError::Unknown(_))) => Err("forgot who is a member".into()),
        Ok(Err(PeerError::Refused(why))) => Err(format!("refused: {why}")),
        Ok(Ok(_)) => Err("was answered".into()),
        Err(_) => Err(format!("did not end within {} ms", CALL_TIME_MAX.as_millis())),
    }
}
