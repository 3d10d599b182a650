//! Between the words of the port and the messages.

use compute::model::{InstanceId, Invalid, LogIdentity, NodeIncarnation, Position, Revision, ServiceKey};
use compute::port::peers::{Age, Reply};
use compute::watch::{Subscriber, Subscription};
use schemas::thuban::peer::v1 as pb;

use super::AGES_MAX;

/// Why a message is none that a peer sends.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Odd {
    #[error(transparent)]
    Name(#[from] Invalid),
    #[error("{field} is {value}; allowed: {allowed}")]
    Value { field: &'static str, value: String, allowed: &'static str },
}

fn odd(field: &'static str, value: impl ToString, allowed: &'static str) -> Odd {
    Odd::Value { field, value: value.to_string(), allowed }
}

/// Ages in their order: neighbours of one service together.
pub(super) fn to_services(ages: &[Age]) -> Vec<pb::ServiceAges> {
    let of_one = |one: &Age, other: &Age| one.instance.service == other.instance.service;
    let service = |run: &[Age]| {
        let key = run.first().map(|age| &age.instance.service);
        pb::ServiceAges {
            namespace: key.map(|key| key.namespace.to_string()).unwrap_or_default(),
            service: key.map(|key| key.service.to_string()).unwrap_or_default(),
            ids: run.iter().map(|age| age.instance.id.to_string()).collect(),
            generations: run.iter().map(|age| age.generation.packed()).collect(),
            ages_ms: run.iter().map(|age| age.age_ms).collect(),
        }
    };
    ages.chunk_by(of_one).map(service).collect()
}

pub(super) fn from_services(services: &[pb::ServiceAges]) -> Result<Vec<Age>, Odd> {
    let count: usize = services.iter().map(|service| service.ids.len()).sum();
    if count > AGES_MAX {
        return Err(odd("services", format!("{count} ages"), "at most 8192 ages in all"));
    }
    let mut ages = Vec::with_capacity(count);
    for of in services {
        let key = ServiceKey::new(&of.namespace, &of.service)?;
        if of.generations.len() != of.ids.len() || of.ages_ms.len() != of.ids.len() {
            let counts =
                format!("{} ids, {} generations, {} ages", of.ids.len(), of.generations.len(), of.ages_ms.len());
            return Err(odd("services", counts, "as many of each"));
        }
        for ((id, generation), age_ms) in of.ids.iter().zip(&of.generations).zip(&of.ages_ms) {
            let instance = key.instance(InstanceId::new(id)?);
            ages.push(Age { instance, generation: revision("generations", *generation)?, age_ms: *age_ms });
        }
    }
    Ok(ages)
}

fn revision(field: &'static str, packed: u64) -> Result<Revision, Odd> {
    Revision::from_packed(packed).ok_or_else(|| odd(field, packed, "a packed revision, its highest bit not set"))
}

fn position(field: &'static str, packed: u64) -> Result<Position, Odd> {
    Position::from_packed(packed).ok_or_else(|| odd(field, packed, "a packed position, below 2^47"))
}

pub(super) fn to_reply(reply: &Reply) -> pb::AskReply {
    let Reply { node, log, applied, landed } = reply;
    pb::AskReply { node: node.0, log: log.0.to_vec(), applied: applied.packed(), landed: landed.packed() }
}

pub(super) fn from_reply(reply: &pb::AskReply) -> Result<Reply, Odd> {
    let log = <[u8; 16]>::try_from(reply.log.as_slice());
    let log = log.map_err(|_| odd("log", format!("{} bytes", reply.log.len()), "16 bytes"))?;
    Ok(Reply {
        node: NodeIncarnation(reply.node),
        log: LogIdentity(log),
        applied: position("applied", reply.applied)?,
        landed: position("landed", reply.landed)?,
    })
}

pub(super) fn to_subscription(of: &Subscription) -> pb::Subscription {
    let Subscription { subscriber, sent, acknowledged } = of;
    pb::Subscription {
        client: subscriber.name.to_string(),
        address: subscriber.address.map(|address| address.to_string()).unwrap_or_default(),
        door: subscriber.door.to_string(),
        sent: sent.packed(),
        acknowledged: acknowledged.map(Revision::packed),
    }
}

pub(super) fn from_subscription(of: pb::Subscription) -> Result<Subscription, Odd> {
    let address = match of.address.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| odd("address", text, "an IP address and a port"))?),
    };
    Ok(Subscription {
        subscriber: Subscriber { name: of.client.into(), address, door: of.door.into() },
        sent: revision("sent", of.sent)?,
        acknowledged: of.acknowledged.map(|packed| revision("acknowledged", packed)).transpose()?,
    })
}

#[cfg(test)]
mod tests;
