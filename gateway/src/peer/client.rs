//! A node's way to the others.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use compute::model::{NodeIncarnation, ServiceKey};
use compute::node::Report;
use compute::port::clock::MonoMs;
use compute::port::peers::{Age, PeerError, Reply};
use compute::port::{Clock, Peers};
use compute::watch::Subscription;
use schemas::thuban::peer::v1 as pb;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::convert::{from_reply, from_report, from_subscription, to_services};
use super::gossip::About;
use super::known::Known;
use super::link::{Call, Failure};
use super::parts::parts;
use super::secret::Key;
use super::{Config, Method, SUBSCRIPTIONS_ALL_MAX};

/// What the port allows a call that takes several messages, less what it takes to say so.
const WHOLE_CALL: Duration = Duration::from_millis(950);

/// The other nodes, over gRPC. Connections are made when they are first used.
pub struct GrpcPeers {
    shared: Arc<Shared>,
    _pulses: AbortOnDropHandle<()>,
}

struct Shared {
    config: Config,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    changed: Notify,
}

impl GrpcPeers {
    /// Within a runtime: who is a member is asked from time to time whether it is there.
    pub fn new(config: Config, clock: Arc<dyn Clock>) -> Arc<Self> {
        let known = Mutex::new(Known::new(Key::of_calls(&config.secret)));
        let shared = Arc::new(Shared { config, clock, known, changed: Notify::new() });
        let pulses = tokio::spawn(pulses(Arc::clone(&shared)));
        Arc::new(Self { shared, _pulses: AbortOnDropHandle::new(pulses) })
    }

    /// What gossip says of the others, all that is heard now: where a member is whose address the log does not name,
    /// and who can be asked, but no more, before the log shows it.
    pub fn hear(&self, hints: &[About]) {
        self.shared.known().hear(hints);
        self.shared.changed.notify_one();
    }

    /// Nodes that gossip knows and the log has not shown.
    pub fn hinted(&self) -> Vec<NodeIncarnation> {
        self.shared.known().hinted()
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How old an answer may be of somebody who is there: two questions, of which one was not answered in time.
    fn window_ms(&self) -> MonoMs {
        let timeouts = &self.config.timeouts;
        (2 * timeouts.pulse + timeouts.call).as_millis() as MonoMs
    }

    fn reachable(&self) -> Vec<NodeIncarnation> {
        let (now, window_ms) = (self.clock.mono_ms(), self.window_ms());
        let known = self.known();
        known.links().filter(|link| link.is_reachable(now, window_ms)).map(|link| link.node).collect()
    }

    async fn call<T, F>(
        &self,
        node: NodeIncarnation,
        method: Method,
        work: impl FnOnce(Call) -> F + Send,
    ) -> Result<T, PeerError>
    where
        F: Future<Output = Result<T, Failure>> + Send,
    {
        let link = self.known().link(node, method).ok_or(PeerError::Unknown(node))?;
        let began_us = self.clock.mono_us();
        let outcome = match link.begin(method, &self.config, self.clock.mono_ms()) {
            Ok(call) => {
                let limit = self.config.timeouts.call;
                let mut work = pin!(work(call));
                tokio::select! {
                    biased;
                    outcome = &mut work => outcome,
                    () = self.clock.sleep(limit) => Err(Failure::Late(limit.as_millis())),
                }
            }
            Err(failure) => Err(failure),
        };
        link.ended(outcome.as_ref().err(), &self.config, self.clock.mono_ms());
        let label = outcome.as_ref().err().map_or("ok", Failure::label);
        metrics::counter!("thuban_peer_calls_total", "method" => method.path(), "outcome" => label).increment(1);
        let seconds = self.clock.mono_us().saturating_sub(began_us) as f64 / 1e6;
        metrics::histogram!("thuban_peer_call_seconds", "method" => method.path()).record(seconds);
        outcome.map_err(|failure| {
            let why = format!("{}: {failure}", link.address);
            if failure.is_refusal() { PeerError::Refused(why) } else { PeerError::Away(why) }
        })
    }

    async fn ask(&self, node: NodeIncarnation) -> Result<Reply, PeerError> {
        let work = async |mut call: Call| {
            let answer = call.client.ask(call.request(pb::AskRequest {})).await?;
            Ok(from_reply(&call.proven(answer)?)?)
        };
        self.call(node, Method::Ask, work).await
    }

    async fn tell_heartbeats(&self, node: NodeIncarnation, heard: &[Age]) -> Result<(), PeerError> {
        for part in parts(heard) {
            let message = pb::HeartbeatsRequest { services: to_services(part) };
            let work = async |mut call: Call| {
                let answer = call.client.heartbeats(call.request(message)).await?;
                call.proven(answer).map(drop)
            };
            self.call(node, Method::Heartbeats, work).await?;
        }
        Ok(())
    }
}

/// Asks each member from time to time whether it is there: an answer is what makes it reachable.
async fn pulses(shared: Arc<Shared>) {
    let reachable = metrics::gauge!("thuban_peers_reachable");
    let mut asking = JoinSet::new();
    loop {
        let now = shared.clock.mono_ms();
        let links: Vec<_> = shared.known().links().cloned().collect();
        for link in links.iter().filter(|link| link.take_pulse(now)) {
            let (shared, link) = (Arc::clone(&shared), Arc::clone(link));
            asking.spawn(async move {
                if let Err(error) = shared.ask(link.node).await {
                    tracing::debug!(%error, node = %link.node, "a member does not answer");
                }
                let pulse_ms = shared.config.timeouts.pulse.as_millis() as MonoMs;
                link.pulse_taken(shared.clock.mono_ms() + pulse_ms);
            });
        }
        reachable.set(shared.reachable().len() as f64);
        let next = links.iter().filter_map(|link| link.pulse_at()).min().unwrap_or(MonoMs::MAX);
        tokio::select! {
            () = shared.clock.sleep_until(next.min(now + 1_000)) => {}
            () = shared.changed.notified() => {}
            Some(_) = asking.join_next() => {}
        }
    }
}

#[async_trait]
impl Peers for GrpcPeers {
    fn know(&self, me: NodeIncarnation, members: &[(NodeIncarnation, Arc<str>)]) {
        self.shared.known().know(me, members);
        self.shared.changed.notify_one();
    }

    fn reachable(&self) -> Vec<NodeIncarnation> {
        self.shared.reachable()
    }

    async fn ask(&self, node: NodeIncarnation) -> Result<Reply, PeerError> {
        self.shared.ask(node).await
    }

    async fn report(&self, node: NodeIncarnation) -> Result<Report, PeerError> {
        let work = async |mut call: Call| {
            let answer = call.client.report(call.request(pb::ReportRequest {})).await?;
            Ok(from_report(call.proven(answer)?)?)
        };
        self.shared.call(node, Method::Report, work).await
    }

    async fn subscribers(&self, node: NodeIncarnation, service: &ServiceKey) -> Result<Vec<Subscription>, PeerError> {
        let asked =
            pb::SubscribersRequest { namespace: service.namespace.to_string(), service: service.service.to_string() };
        let work = async |mut call: Call| {
            let answer = call.client.subscribers(call.request(asked)).await?;
            let mut stream = call.proven(answer)?;
            let mut named = Vec::new();
            while let Some(part) = stream.message().await? {
                for subscription in part.subscriptions {
                    named.push(from_subscription(subscription)?);
                }
                named.truncate(SUBSCRIPTIONS_ALL_MAX);
            }
            Ok(named)
        };
        self.shared.call(node, Method::Subscribers, work).await
    }

    async fn drain(&self, node: NodeIncarnation) -> Result<(), PeerError> {
        let work = async |mut call: Call| {
            let answer = call.client.drain(call.request(pb::DrainRequest {})).await?;
            call.proven(answer).map(drop)
        };
        self.shared.call(node, Method::Drain, work).await
    }

    async fn heartbeats(&self, node: NodeIncarnation, heard: Vec<Age>) -> Result<(), PeerError> {
        tokio::select! {
            biased;
            told = self.shared.tell_heartbeats(node, &heard) => told,
            () = self.shared.clock.sleep(WHOLE_CALL) => {
                let within = WHOLE_CALL.as_millis();
                Err(PeerError::Away(format!("it did not take all {} heartbeats within {within} ms", heard.len())))
            }
        }
    }

    async fn hand_over(&self, node: NodeIncarnation, ages: Vec<Age>) -> Result<(), PeerError> {
        for part in parts(&ages) {
            let message = pb::HandOverRequest { services: to_services(part) };
            let work = async |mut call: Call| {
                let answer = call.client.hand_over(call.request(message)).await?;
                call.proven(answer).map(drop)
            };
            self.shared.call(node, Method::HandOver, work).await?;
        }
        Ok(())
    }
}
