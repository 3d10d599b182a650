use compute::command::{Answer, Caller, Outcome};
use compute::model::limits::{
    CHECK_FAILURES_DEFAULT, CHECK_INTERVAL_MS_DEFAULT, CHECK_SUCCESSES_DEFAULT, CHECK_TIMEOUT_MS_DEFAULT,
    REMOVE_AFTER_MS_DEFAULT, TTL_MS_DEFAULT, WEIGHT_DEFAULT,
};
use compute::model::{
    Check, CheckKind, InstanceId, InstanceKey, Lease, Provider, ProviderText, RemovalReason, Revision, SessionId,
};
use schemas::thuban::v1 as pb;

use super::{brief, instance, reached, revision, service, token};
use crate::error::{Code, Problem};
use crate::grpc::status;

/// An instance, and which life of it is meant.
pub(crate) type Key = (InstanceKey, Option<Revision>);

/// `RegisterItem`, its texts where they lie.
#[derive(Clone, Default, Debug, PartialEq)]
pub(crate) struct Registration<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) service: &'a str,
    pub(crate) id: &'a str,
    pub(crate) host: &'a str,
    pub(crate) port: Option<u32>,
    pub(crate) ports: Vec<(&'a str, u64)>,
    pub(crate) protocol: &'a str,
    pub(crate) weight: Option<u32>,
    pub(crate) version: &'a str,
    pub(crate) zone: &'a str,
    pub(crate) region: &'a str,
    pub(crate) metadata: Vec<(&'a str, &'a str)>,
    pub(crate) lease: Option<pb::Lease>,
    pub(crate) incarnation: Option<&'a str>,
    pub(crate) generation: Option<&'a str>,
}

impl<'a> From<&'a pb::RegisterItem> for Registration<'a> {
    fn from(item: &'a pb::RegisterItem) -> Self {
        Self {
            namespace: &item.namespace,
            service: &item.service,
            id: &item.id,
            host: &item.host,
            port: item.port,
            ports: item.ports.iter().map(|(name, port)| (name.as_str(), u64::from(*port))).collect(),
            protocol: &item.protocol,
            weight: item.weight,
            version: &item.version,
            zone: &item.zone,
            region: &item.region,
            metadata: item.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            lease: item.lease.clone(),
            incarnation: item.incarnation.as_deref(),
            generation: item.generation.as_deref(),
        }
    }
}

/// What a provider registers. `session`: that of the stream it came on, whose leases are the default there.
pub(crate) fn registration(
    item: Registration<'_>,
    session: Option<SessionId>,
) -> Result<(Key, Box<Provider>), Problem> {
    let service = service(item.namespace, item.service)?;
    let Some(port) = item.port else { return Err(Problem::missing("port", "0 to 65535")) };
    let generation = revision("generation", item.generation)?;
    let provider = Box::new(Provider::read(ProviderText {
        host: item.host,
        port: u64::from(port),
        ports: item.ports,
        protocol: item.protocol,
        weight: item.weight.map_or(u64::from(WEIGHT_DEFAULT), u64::from),
        version: item.version,
        zone: item.zone,
        region: item.region,
        metadata: item.metadata,
        lease: lease(item.lease, session)?,
        incarnation: item.incarnation,
    })?);
    let id = match item.id {
        "" => InstanceId::new(&format!("{}:{port}", item.host))?,
        id => InstanceId::new(id)?,
    };
    Ok(((InstanceKey { service, id }, generation), provider))
}

fn lease(lease: Option<pb::Lease>, session: Option<SessionId>) -> Result<Lease, Problem> {
    use pb::lease::Kind;
    let pb::Lease { kind, ttl_ms, remove_after_ms, check } = lease.unwrap_or_default();
    let kind = match Kind::try_from(kind) {
        Ok(Kind::Unspecified) if session.is_some() => Kind::Stream,
        Ok(Kind::Unspecified) => Kind::Ttl,
        Ok(kind) => kind,
        Err(_) => {
            let allowed = "KIND_TTL, KIND_CHECKED, KIND_PERMANENT, or KIND_STREAM inside a session";
            return Err(Problem::invalid("lease.kind", kind, allowed));
        }
    };
    let remove_after = || u64::from(remove_after_ms.unwrap_or(REMOVE_AFTER_MS_DEFAULT));
    if kind != Kind::Ttl {
        absent("lease.ttl_ms", ttl_ms, "absent, but for KIND_TTL")?;
    }
    if kind != Kind::Checked && check.is_some() {
        return Err(Problem::invalid("lease.check", "given", "absent, but for KIND_CHECKED"));
    }
    let lease = match (kind, session) {
        (Kind::Unspecified | Kind::Ttl, _) => Lease::ttl(u64::from(ttl_ms.unwrap_or(TTL_MS_DEFAULT)), remove_after())?,
        (Kind::Stream, Some(session)) => Lease::stream(session, remove_after())?,
        (Kind::Stream, None) => {
            return Err(Problem::invalid("lease.kind", "KIND_STREAM", "KIND_STREAM only inside a session"));
        }
        (Kind::Checked, _) => Lease::checked(self::check(check)?, remove_after_ms.map(u64::from))?,
        (Kind::Permanent, _) => {
            absent("lease.remove_after_ms", remove_after_ms, "absent for KIND_PERMANENT")?;
            Lease::Permanent
        }
    };
    Ok(lease)
}

fn absent(field: &'static str, given: Option<u32>, allowed: &'static str) -> Result<(), Problem> {
    given.map_or(Ok(()), |given| Err(Problem::invalid(field, given, allowed)))
}

fn check(check: Option<pb::Check>) -> Result<Check, Problem> {
    use pb::check::Probe;
    const ALLOWED: &str = "exactly one of http, tcp and grpc";
    let Some(check) = check else { return Err(Problem::missing("lease.check", ALLOWED)) };
    let kind = match check.probe {
        Some(Probe::Http(path)) => CheckKind::http(&path)?,
        Some(Probe::Tcp(true)) => CheckKind::Tcp,
        Some(Probe::Tcp(false)) => return Err(Problem::invalid("lease.check.tcp", false, "true")),
        Some(Probe::Grpc(service)) => CheckKind::grpc(&service)?,
        None => return Err(Problem::missing("lease.check", ALLOWED)),
    };
    let port = check.port.map(|port| u16::try_from(port).map_err(|_| port)).transpose();
    let port = port.map_err(|port| Problem::invalid("lease.check.port", port, "1 to 65535"))?;
    let or = |given: Option<u32>, default: u32| u64::from(given.unwrap_or(default));
    Ok(Check::new(
        kind,
        or(check.interval_ms, CHECK_INTERVAL_MS_DEFAULT),
        or(check.timeout_ms, CHECK_TIMEOUT_MS_DEFAULT),
        or(check.failures, u32::from(CHECK_FAILURES_DEFAULT)),
        or(check.successes, u32::from(CHECK_SUCCESSES_DEFAULT)),
        port,
    )?)
}

pub(crate) fn instance_key(key: &pb::InstanceKey) -> Result<Key, Problem> {
    let service = service(&key.namespace, &key.service)?;
    if key.id.is_empty() {
        return Err(Problem::missing("id", "1 to 255 bytes"));
    }
    let generation = revision("generation", key.generation.as_deref())?;
    Ok((InstanceKey { service, id: InstanceId::new(&key.id)? }, generation))
}

/// What a deregister of this caller counts as.
pub(crate) fn removal_reason(caller: &Caller) -> RemovalReason {
    if caller.is_operator { RemovalReason::Operator } else { RemovalReason::Deregistered }
}

pub(crate) fn register_outcome(at: usize, outcome: Result<Outcome, Problem>, is_brief: bool) -> pb::RegisterOutcome {
    use pb::register_outcome::Outcome as Said;
    let refused = |problem| pb::RegisterOutcome { outcome: Some(problem_of(at, problem)), created: false, ack: 0 };
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(problem) => return refused(problem),
    };
    let Answer::Instance { key, instance: made, created } = outcome.answer else {
        return refused(Problem::new(Code::Conflict, "it was registered, and removed again at once"));
    };
    let said = if is_brief { brief(&key.service, &made) } else { instance(&key.service, &made) };
    pb::RegisterOutcome { outcome: Some(Said::Instance(said)), created, ack: reached(outcome.reached).into() }
}

fn problem_of(at: usize, problem: Problem) -> pb::register_outcome::Outcome {
    pb::register_outcome::Outcome::Problem(item_problem(at, problem))
}

fn item_problem(at: usize, problem: Problem) -> pb::Problem {
    status::message(&status::within(problem, format_args!("items[{at}]")))
}

pub(crate) fn deregister_outcome(at: usize, outcome: Result<Outcome, Problem>) -> pb::DeregisterOutcome {
    match outcome {
        Ok(outcome) => pb::DeregisterOutcome {
            problem: None,
            ack: reached(outcome.reached).into(),
            revision: token(outcome.revision),
        },
        Err(problem) => {
            pb::DeregisterOutcome { problem: Some(item_problem(at, problem)), ack: 0, revision: String::new() }
        }
    }
}

pub(crate) fn renew_outcome(at: usize, outcome: Result<(), Problem>) -> pb::RenewOutcome {
    pb::RenewOutcome { problem: outcome.err().map(|problem| item_problem(at, problem)) }
}
