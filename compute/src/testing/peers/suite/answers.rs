//! What a node is asked.

use std::sync::Arc;

use super::super::Delivery;
use super::telling::told;
use super::{Outcome, Site, acquainted, ages};
use crate::model::{LogIdentity, NodeIncarnation, Position, ServiceKey};
use crate::node::{Lag, Leases, Readiness, Report};
use crate::port::peers::{Host as _, PeerError, Reading, Reply};
use crate::watch::{Subscriber, Subscription};

/// More than goes into one message of most transports.
const SUBSCRIBERS_MANY: u64 = 5_000;

fn position(generation: u8, offset: u64) -> Position {
    Position::new(generation, offset).expect("far below 2^40")
}

pub(super) async fn ask(site: &dyn Site) -> Outcome {
    let [one, two, three] = acquainted(site).await?;
    for (n, member, reading) in [(1, &two, Reading::Stopped), (2, &three, Reading::Away)] {
        let (applied, landed) = (position(3, 1 << 30 | n), position(3, n));
        let log = LogIdentity([n as u8; 16]);
        let reply = Reply { node: member.node, log, reading, applied, landed };
        member.host.set_reply(reply);
        let answered = one.peers.ask(member.node).await.map_err(|e| e.to_string())?;
        if answered != reply {
            return Err(format!("answered was {answered:?}, the node is at {reply:?}"));
        }
    }
    Ok(())
}

pub(super) async fn report(site: &dyn Site) -> Outcome {
    let [one, two, three] = acquainted(site).await?;
    let whole = Report {
        version: "1.2.3".into(),
        addresses: vec![("grpc".into(), "10.0.0.2:7801".into()), ("http".into(), "[fd00::2]:7800".into())],
        readiness: Readiness::NotReady("it is behind".to_owned()),
        isolated: Some("it hears nobody".to_owned()),
        holding: Some("the log is away".to_owned()),
        log_away_ms: Some(0),
        store_error: Some("no route".to_owned()),
        applied: position(3, 1 << 30),
        landed: position(3, 7),
        lag: Lag { frames: 9, ms: u64::MAX },
        unlanded: 1 << 40,
        overlay: 3,
        leases: Leases { ttl: 1, stream: 2, checked: 3, permanent: 4, suspects: 5 },
    };
    let draining = Report { readiness: Readiness::Draining, ..Report::default() };
    for (member, there) in [(&two, whole), (&three, draining)] {
        member.host.set_report(there.clone());
        let told = one.peers.report(member.node).await.map_err(|e| e.to_string())?;
        if told != there {
            return Err(format!("told was {told:?}, the node has {there:?}"));
        }
    }
    Ok(())
}

pub(super) async fn subscribers(site: &dyn Site) -> Outcome {
    let [one, two, _three] = acquainted(site).await?;
    let service = ServiceKey::new("team-a", "g@@orders").expect("within the limits");
    let nobody = one.peers.subscribers(two.node, &service).await.map_err(|e| e.to_string())?;
    if !nobody.is_empty() {
        return Err(format!("of a service without subscribers there are {nobody:?}"));
    }
    let watches = |n: u64| Subscription {
        subscriber: Subscriber {
            name: format!("client-{n}").into(),
            address: (!n.is_multiple_of(3)).then(|| format!("[fd00::{n:x}]:{n}").parse().expect("an address")),
            door: Arc::from("http"),
        },
        sent: position(1, n).at(n as u16),
        acknowledged: (!n.is_multiple_of(2)).then(|| position(1, n).at(0)),
    };
    let there: Vec<_> = (0..SUBSCRIBERS_MANY).map(watches).collect();
    two.host.set_subscribers(service.clone(), there.clone());
    let named = one.peers.subscribers(two.node, &service).await.map_err(|e| e.to_string())?;
    if named == there { Ok(()) } else { Err(format!("{} are there, named were {}", there.len(), named.len())) }
}

pub(super) async fn drain(site: &dyn Site) -> Outcome {
    let [one, mut two, _three] = acquainted(site).await?;
    one.peers.drain(two.node).await.map_err(|e| e.to_string())?;
    told(&mut two, Delivery::Drain).await
}

/// The node is gone, and at its address is another: nothing that is meant for the one may reach the other.
pub(super) async fn another(site: &dyn Site) -> Outcome {
    let [one, mut two, _three] = acquainted(site).await?;
    let other = NodeIncarnation(two.node.0 ^ 0x3333);
    two.host.set_reply(Reply { node: other, ..two.host.reply() });
    let asked = one.peers.ask(two.node).await.map(drop);
    let watched = ServiceKey::new("default", "orders").expect("within the limits");
    let calls = [
        asked,
        one.peers.report(two.node).await.map(drop),
        one.peers.subscribers(two.node, &watched).await.map(drop),
        one.peers.drain(two.node).await,
        one.peers.heartbeats(two.node, ages(1, 1)).await,
        one.peers.hand_over(two.node, ages(1, 1)).await,
    ];
    if let Some(wrong) = calls.iter().find(|call| !matches!(call, Err(PeerError::Away(_)))) {
        return Err(format!("a call of the one that is gone gave {wrong:?}"));
    }
    if let Ok(told) = two.inbox.try_recv() {
        return Err(format!("the other was told {told:?}"));
    }
    // By its own name it is reached.
    one.peers.know(one.node, &[(other, two.address.clone())]);
    one.peers.heartbeats(other, ages(2, 1)).await.map_err(|e| e.to_string())?;
    told(&mut two, Delivery::Heartbeats { from: one.node, heard: ages(2, 1) }).await
}
