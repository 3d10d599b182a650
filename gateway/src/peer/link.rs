//! The way to one peer: its connection, how it went of late, and what a call carries.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use compute::model::NodeIncarnation;
use compute::port::clock::MonoMs;
use schemas::thuban::peer::v1::peers_client::PeersClient;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use super::convert::Odd;
use super::secret::{FROM, Key, PROOF, TO, Way, incarnation};
use super::{Config, Method, connect};

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("its address is not known")]
    NoAddress,
    #[error("{0}")]
    Address(String),
    #[error("it could not be reached, and is asked again in {0} ms")]
    Waits(MonoMs),
    #[error("{0}; it is asked again in {1} ms")]
    Refuses(String, MonoMs),
    #[error("no answer within {0} ms")]
    Late(u128),
    #[error("{} ({})", .0.message(), .0.code())]
    Status(Box<Status>),
    #[error("who answers does not show that it has the cluster secret")]
    Unproven,
    #[error("its answer is none of a peer: {0}")]
    Odd(#[from] Odd),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl Failure {
    /// Who answers is there, and does not believe this node.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Refuses(..) => true,
            Self::Status(status) => status.code() == Code::Unauthenticated,
            _ => false,
        }
    }

    /// For metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::NoAddress | Self::Address(_) => "no_address",
            Self::Waits(_) | Self::Refuses(..) => "waits",
            Self::Late(_) => "timeout",
            Self::Unproven => "unproven",
            Self::Odd(_) => "odd_answer",
            Self::Status(status) => match status.code() {
                Code::Unauthenticated => "unauthenticated",
                Code::FailedPrecondition => "another_node",
                Code::ResourceExhausted => "overloaded",
                Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => "refused",
                _ => "unavailable",
            },
        }
    }

    /// The peer is there, and refused this call for what it was.
    fn is_of_the_call(&self) -> bool {
        matches!(self.label(), "overloaded" | "refused")
    }
}

/// How it went of late.
#[derive(Default)]
struct Record {
    answered: Option<MonoMs>,
    /// Failures since the last answer.
    failures: u32,
    retry_at: MonoMs,
    /// What it said when it last refused this node, if nothing else has come of a call since.
    refusal: Option<String>,
    pulse_at: MonoMs,
    is_asked: bool,
}

pub(super) struct Link {
    pub(super) me: NodeIncarnation,
    pub(super) node: NodeIncarnation,
    pub(super) address: Arc<str>,
    key: Key,
    channel: OnceLock<Result<Channel, String>>,
    record: Mutex<Record>,
}

impl Link {
    pub(super) fn new(me: NodeIncarnation, node: NodeIncarnation, address: Arc<str>, key: Key) -> Arc<Self> {
        Arc::new(Self { me, node, address, key, channel: OnceLock::new(), record: Mutex::default() })
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call that may be made now.
    pub(super) fn begin(self: &Arc<Self>, method: Method, config: &Config, now: MonoMs) -> Result<Call, Failure> {
        if self.address.is_empty() {
            return Err(Failure::NoAddress);
        }
        let waits = self.record().retry_at.saturating_sub(now);
        if waits > 0 {
            let refusal = self.record().refusal.clone();
            return Err(refusal.map_or(Failure::Waits(waits), |why| Failure::Refuses(why, waits)));
        }
        let channel = self.channel.get_or_init(|| connect::channel(&self.address, config));
        let channel = channel.as_ref().map_err(|wrong| Failure::Address(wrong.clone()))?;
        let client = PeersClient::new(channel.clone()).max_decoding_message_size(config.limits.message_bytes_max);
        Ok(Call { client, method, link: Arc::clone(self) })
    }

    /// Notes how a call went.
    pub(super) fn ended(&self, failure: Option<&Failure>, config: &Config, now: MonoMs) {
        let mut record = self.record();
        match failure {
            None => {
                record.answered = Some(now);
                record.failures = 0;
                record.retry_at = 0;
                record.refusal = None;
            }
            Some(Failure::Waits(_) | Failure::Refuses(..)) => {}
            Some(failure) if failure.is_of_the_call() => {}
            Some(failure) => {
                record.refusal = failure.is_refusal().then(|| failure.to_string());
                let doubled = config.timeouts.backoff_min.saturating_mul(1 << record.failures.min(16));
                record.failures = record.failures.saturating_add(1);
                record.retry_at = now + doubled.min(config.timeouts.backoff_max).as_millis() as MonoMs;
            }
        }
    }

    /// Answered within `window_ms`, and has failed at nothing since.
    pub(super) fn is_reachable(&self, now: MonoMs, window_ms: MonoMs) -> bool {
        let record = self.record();
        record.failures == 0 && record.answered.is_some_and(|at| now.saturating_sub(at) <= window_ms)
    }

    /// True when it is time to ask whether the peer is there; then somebody does.
    pub(super) fn take_pulse(&self, now: MonoMs) -> bool {
        let mut record = self.record();
        let is_due = !record.is_asked && record.pulse_at.max(record.retry_at) <= now;
        record.is_asked |= is_due;
        is_due
    }

    pub(super) fn pulse_taken(&self, next_at: MonoMs) {
        let mut record = self.record();
        record.is_asked = false;
        record.pulse_at = if record.failures > 0 { record.retry_at } else { next_at };
    }

    /// When somebody has to ask; `None` while somebody does.
    pub(super) fn pulse_at(&self) -> Option<MonoMs> {
        let record = self.record();
        (!record.is_asked).then(|| record.pulse_at.max(record.retry_at))
    }
}

/// One call to a peer.
pub(super) struct Call {
    pub(super) client: PeersClient<Channel>,
    method: Method,
    link: Arc<Link>,
}

impl Call {
    /// The message with what shows who sends it, to whom.
    pub(super) fn request<M>(&self, message: M) -> Request<M> {
        let Link { me, node, key, .. } = &*self.link;
        let mut headers = http::HeaderMap::with_capacity(3);
        headers.insert(FROM, incarnation(*me));
        headers.insert(TO, incarnation(*node));
        headers.insert(PROOF, key.proof(Way::Call, self.method.path(), *me, *node));
        let mut request = Request::new(message);
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        request
    }

    /// What was answered, if it is the peer's own word.
    pub(super) fn proven<R>(&self, answer: Response<R>) -> Result<R, Failure> {
        let Link { me, node, key, .. } = &*self.link;
        let (metadata, answer, _) = answer.into_parts();
        let headers = metadata.into_headers();
        let proves = key.proves(headers.get(&PROOF), Way::Answer, self.method.path(), *node, *me);
        proves.then_some(answer).ok_or(Failure::Unproven)
    }
}
