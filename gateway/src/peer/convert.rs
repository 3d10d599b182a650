//! Between the words of the port and the messages.

use compute::model::{InstanceId, Invalid, LogIdentity, NodeIncarnation, Position, Revision, ServiceKey};
use compute::node::{Lag, Leases, Readiness, Report};
use compute::port::peers::{Age, Reading, Reply};
use compute::watch::{Subscriber, Subscription};
use schemas::thuban::peer::v1 as pb;
use schemas::thuban::peer::v1::report_reply::State;

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
    let Reply { node, log, reading, applied, landed } = reply;
    let reading = match reading {
        Reading::Reads => pb::Reading::Reads,
        Reading::Away => pb::Reading::Away,
        Reading::Stopped => pb::Reading::Stopped,
    };
    pb::AskReply {
        node: node.0,
        log: log.0.to_vec(),
        applied: applied.packed(),
        landed: landed.packed(),
        reading: reading.into(),
    }
}

pub(super) fn from_reply(reply: &pb::AskReply) -> Result<Reply, Odd> {
    let log = <[u8; 16]>::try_from(reply.log.as_slice());
    let log = log.map_err(|_| odd("log", format!("{} bytes", reply.log.len()), "16 bytes"))?;
    let reading = match pb::Reading::try_from(reply.reading) {
        // A node of before the question has no other word.
        Ok(pb::Reading::Unspecified | pb::Reading::Reads) => Reading::Reads,
        Ok(pb::Reading::Away) => Reading::Away,
        Ok(pb::Reading::Stopped) => Reading::Stopped,
        Err(_) => return Err(odd("reading", reply.reading, "0 to 3")),
    };
    Ok(Reply {
        node: NodeIncarnation(reply.node),
        log: LogIdentity(log),
        reading,
        applied: position("applied", reply.applied)?,
        landed: position("landed", reply.landed)?,
    })
}

pub(super) fn to_report(of: &Report) -> pb::ReportReply {
    let (state, not_ready) = match &of.readiness {
        Readiness::Ready => (State::Ready, ""),
        Readiness::NotReady(why) => (State::NotReady, why.as_str()),
        Readiness::Draining => (State::Draining, ""),
    };
    let addresses = of.addresses.iter();
    let addresses = addresses.map(|(door, at)| pb::Address { door: door.to_string(), address: at.to_string() });
    let said = |text: &Option<String>| text.clone().unwrap_or_default();
    pb::ReportReply {
        version: of.version.to_string(),
        addresses: addresses.collect(),
        state: state.into(),
        not_ready: not_ready.to_owned(),
        isolated: said(&of.isolated),
        holding: said(&of.holding),
        store_error: said(&of.store_error),
        log_away_ms: of.log_away_ms,
        applied: of.applied.packed(),
        landed: of.landed.packed(),
        lag_frames: of.lag.frames,
        lag_ms: of.lag.ms,
        unlanded: of.unlanded,
        overlay: of.overlay,
        leases_ttl: of.leases.ttl as u64,
        leases_stream: of.leases.stream as u64,
        leases_checked: of.leases.checked as u64,
        leases_permanent: of.leases.permanent as u64,
        suspects: of.leases.suspects as u64,
    }
}

pub(super) fn from_report(of: pb::ReportReply) -> Result<Report, Odd> {
    let readiness = match of.state() {
        State::Ready => Readiness::Ready,
        State::NotReady => Readiness::NotReady(of.not_ready),
        State::Draining => Readiness::Draining,
        State::Unspecified => return Err(odd("state", of.state, "one of the states that a node has")),
    };
    let said = |text: String| Some(text).filter(|text| !text.is_empty());
    let count = |field, count: u64| usize::try_from(count).map_err(|_| odd(field, count, "a count"));
    Ok(Report {
        version: of.version.into(),
        addresses: of.addresses.into_iter().map(|at| (at.door.into(), at.address.into())).collect(),
        readiness,
        isolated: said(of.isolated),
        holding: said(of.holding),
        log_away_ms: of.log_away_ms,
        store_error: said(of.store_error),
        applied: position("applied", of.applied)?,
        landed: position("landed", of.landed)?,
        lag: Lag { frames: of.lag_frames, ms: of.lag_ms },
        unlanded: of.unlanded,
        overlay: of.overlay,
        leases: Leases {
            ttl: count("leases_ttl", of.leases_ttl)?,
            stream: count("leases_stream", of.leases_stream)?,
            checked: count("leases_checked", of.leases_checked)?,
            permanent: count("leases_permanent", of.leases_permanent)?,
            suspects: count("suspects", of.suspects)?,
        },
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
