//! One client connection: the session that it holds in the log, its leases and its watches, whatever its protocol.
//!
//! A door reads requests off its connection, translates them and hands them in: writes with [`Session::write`], which
//! gathers them until [`Session::flush`] hands them to the registry in one call, so that what came together is decided
//! together. What comes of it all, answers and events in one, is told by [`Session::next`], which a door polls in the
//! same task that reads: no task is spawned for a message or a watch, and nothing is queued without a bound.
//!
//! - Answers come in any order; the tag that was handed in says whose they are.
//! - Events are only asked for while the door has room for one, so a slow client gets the newest state when it reads
//!   again and costs nothing meanwhile. Watches take turns.
//! - Dropping a session is a lost connection: the grace begins. Only [`Session::close`] ends it.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use compute::command::{Ack, Caller, Command, Outcome};
use compute::error::What;
use compute::model::limits::{CLIENT_NAME_BYTES_MAX, SESSION_GRACE_MS_MAX, SESSION_GRACE_MS_MIN};
use compute::model::{InstanceKey, Invalid, Revision, ServiceKey, SessionId};
use compute::registry::Attached;
use compute::watch::{Subscriber, WatchEvent, WatchSpec};
use compute::{Error, Registry};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::admission::{Admission, Identity, Lane};
use crate::error::Problem;

mod watches;

pub use watches::{SESSION_SERVICES_MAX, SESSION_WATCHES_MAX};
use watches::{Said, Watches};

/// What a connection brings to open a session.
#[derive(Clone, Debug)]
pub struct Opening {
    pub identity: Identity,
    pub caller: Caller,
    /// The name that the client gives itself, with its address and the door it came through.
    pub subscriber: Subscriber,
    /// An earlier session to go on with.
    pub token: Option<SessionId>,
    /// How long its leases outlive a lost connection; that of an earlier session stays as it was.
    pub grace_ms: u32,
}

/// What the owner of a session is told.
pub enum Event<T> {
    /// Writes that were flushed together are decided.
    Decided(Decided<T>),
    /// Heartbeats are.
    Renewed(T, Vec<Result<(), Problem>>),
    /// One of its watches has something to say; and where to resume behind it.
    Watched(u64, WatchEvent, Option<Revision>),
    /// One of its watches is over: why, or because the node stops.
    WatchEnded(u64, Option<Error>),
    /// Another stream has taken the session over: this one is to be closed.
    Superseded,
    /// The node drains: the client should go to another one. Told once.
    Drains,
}

/// The outcomes of one flush.
pub struct Decided<T> {
    parts: Vec<(T, usize)>,
    outcomes: Result<Vec<Result<Outcome, Error>>, Problem>,
}

impl<T> Decided<T> {
    /// What each [`Session::write`] has come to.
    pub fn each(self, mut answer: impl FnMut(T, &mut dyn Iterator<Item = Result<Outcome, Problem>>)) {
        match self.outcomes {
            Ok(outcomes) => {
                let mut outcomes = outcomes.into_iter().map(|outcome| outcome.map_err(Problem::from));
                self.parts.into_iter().for_each(|(tag, count)| answer(tag, &mut outcomes.by_ref().take(count)));
            }
            Err(problem) => {
                let refused = |count| std::iter::repeat_n(problem.clone(), count).map(Err);
                self.parts.into_iter().for_each(|(tag, count)| answer(tag, &mut refused(count)));
            }
        }
    }
}

type Deciding<T> = Pin<Box<dyn Future<Output = Event<T>> + Send>>;
type Signal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Writes that wait for a flush.
struct Gathered<T> {
    ack: Ack,
    commands: Vec<Command>,
    parts: Vec<(T, usize)>,
}

impl<T> Default for Gathered<T> {
    fn default() -> Self {
        Self { ack: Ack::default(), commands: Vec::new(), parts: Vec::new() }
    }
}

/// A session that a connection holds. `T` tags requests, so that the door knows whose an answer is.
pub struct Session<T> {
    registry: Registry,
    admission: Admission,
    identity: Identity,
    caller: Caller,
    subscriber: Subscriber,
    superseded: Option<Signal>,
    draining: Option<Signal>,
    deciding: FuturesUnordered<Deciding<T>>,
    gathered: Gathered<T>,
    watches: Watches,
    resumed: bool,
    held: Arc<Attached>,
}

impl<T: Send + 'static> Session<T> {
    /// Opens a session, or takes over the one that `opening` names; one that is unknown or ended is begun anew.
    pub async fn open(registry: Registry, admission: Admission, opening: Opening) -> Result<Self, Problem> {
        check(&opening.subscriber.name, opening.grace_ms)?;
        let resumed = match opening.token {
            Some(token) => match registry.resume_session(&opening.caller, token).await {
                Ok(held) => Some(held),
                Err(Error::NotFound { what: What::Session, .. }) => None,
                Err(error) => return Err(error.into()),
            },
            None => None,
        };
        let is_resumed = resumed.is_some();
        let held = match resumed {
            Some(held) => held,
            None => registry.open_session(&opening.caller, opening.grace_ms, &opening.subscriber.name).await?,
        };
        Ok(Self::hold(registry, admission, opening, held, is_resumed))
    }

    fn hold(registry: Registry, admission: Admission, opening: Opening, held: Attached, resumed: bool) -> Self {
        let Opening { identity, caller, subscriber, .. } = opening;
        let held = Arc::new(held);
        let superseded: Signal = Box::pin({
            let held = held.clone();
            async move { held.superseded().await }
        });
        let draining: Signal = Box::pin({
            let registry = registry.clone();
            async move { registry.draining().await }
        });
        Self {
            registry,
            admission,
            identity,
            caller,
            subscriber,
            superseded: Some(superseded),
            draining: Some(draining),
            deciding: FuturesUnordered::new(),
            gathered: Gathered::default(),
            watches: Watches::default(),
            resumed,
            held,
        }
    }

    /// What names the session, and gives the right to resume it.
    pub fn token(&self) -> SessionId {
        self.held.session
    }

    /// Which of the streams that have held the session this one is.
    pub fn epoch(&self) -> u32 {
        self.held.epoch
    }

    pub fn grace_ms(&self) -> u32 {
        self.held.grace_ms
    }

    /// It was opened before, by another stream.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Gathers writes that are answered together under `tag`.
    pub fn write(&mut self, tag: T, ack: Ack, commands: impl IntoIterator<Item = Command>) {
        if self.gathered.ack != ack {
            self.flush();
            self.gathered.ack = ack;
        }
        let before = self.gathered.commands.len();
        self.gathered.commands.extend(commands);
        self.gathered.parts.push((tag, self.gathered.commands.len() - before));
    }

    /// Hands what was gathered to the registry, as one piece of work.
    pub fn flush(&mut self) {
        if self.gathered.parts.is_empty() {
            return;
        }
        let Gathered { ack, commands, parts } = std::mem::take(&mut self.gathered);
        let (registry, caller) = (self.registry.clone(), self.caller.clone());
        let room = self.admission.enter(&self.identity, Lane::Write);
        self.deciding.push(Box::pin(async move {
            let outcomes = match &room {
                // What is refused item by item already needs no decision.
                Ok(_) if commands.is_empty() => Ok(Vec::new()),
                Ok(_) => Ok(registry.submit(&caller, ack, commands).await),
                Err(problem) => Err(problem.clone()),
            };
            Event::Decided(Decided { parts, outcomes })
        }));
    }

    /// Heartbeats of TTL leases.
    pub fn renew(&mut self, tag: T, items: Vec<(InstanceKey, Option<Revision>)>) {
        let (registry, caller) = (self.registry.clone(), self.caller.clone());
        let room = self.admission.enter(&self.identity, Lane::Renew);
        self.deciding.push(Box::pin(async move {
            let outcomes = match &room {
                Ok(_) => {
                    registry.renew_all(&caller, items).await.into_iter().map(|o| o.map_err(Problem::from)).collect()
                }
                Err(problem) => vec![Err(problem.clone()); items.len()],
            };
            Event::Renewed(tag, outcomes)
        }));
    }

    /// Whether whoever opened it may still do what it could then.
    pub fn is_still_allowed(&self) -> bool {
        self.admission.is_current(&self.identity)
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether an answer is still to come.
    pub fn is_deciding(&self) -> bool {
        !self.deciding.is_empty() || !self.gathered.parts.is_empty()
    }

    /// Begins a watch under a name that the client chose.
    pub fn watch(&mut self, id: u64, spec: WatchSpec) -> Result<(), Problem> {
        let registry = &self.registry;
        self.watches.add(id, spec, |spec| registry.watch(spec))
    }

    /// Ends a watch: no event of it follows. False when there is none of that name.
    pub fn unwatch(&mut self, id: u64) -> bool {
        self.watches.remove(id)
    }

    /// The client says that it has everything up to `revision`; without a service: of all that the watch is of. False
    /// when there is no watch of that name.
    pub fn acknowledge(&mut self, id: u64, service: Option<&ServiceKey>, revision: Revision) -> bool {
        self.watches.acknowledge(id, service, revision)
    }

    /// Who watches here.
    pub fn subscriber(&self) -> &Subscriber {
        &self.subscriber
    }

    /// What happens next. `takes_answers` and `takes_events`: there is room for one. Cancel-safe.
    pub async fn next(&mut self, takes_answers: bool, takes_events: bool) -> Event<T> {
        std::future::poll_fn(|cx| self.poll_next(cx, takes_answers, takes_events)).await
    }

    pub fn poll_next(&mut self, cx: &mut Context<'_>, takes_answers: bool, takes_events: bool) -> Poll<Event<T>> {
        if is_there(&mut self.superseded, cx) {
            return Poll::Ready(Event::Superseded);
        }
        if is_there(&mut self.draining, cx) {
            return Poll::Ready(Event::Drains);
        }
        if takes_answers && let Poll::Ready(Some(event)) = self.deciding.poll_next_unpin(cx) {
            return Poll::Ready(event);
        }
        if takes_events && let Poll::Ready((id, said)) = self.watches.poll_next(cx) {
            return Poll::Ready(match said {
                Said::Event(event, resume) => Event::Watched(id, event, resume),
                Said::Ended(why) => Event::WatchEnded(id, why),
            });
        }
        Poll::Pending
    }

    /// An explicit goodbye. Without `deregister` its instances are left to the grace, as after a loss.
    pub async fn close(self, deregister: bool) -> Result<(), Error> {
        let Self { registry, caller, held, superseded, watches, deciding, .. } = self;
        drop((superseded, watches, deciding));
        match Arc::try_unwrap(held) {
            Ok(held) => registry.close_session(&caller, held, deregister).await,
            // The only other holder was dropped above.
            Err(_) => Err(Error::OutcomeUnknown),
        }
    }
}

/// True once, when the signal has come.
fn is_there(signal: &mut Option<Signal>, cx: &mut Context<'_>) -> bool {
    let came = signal.as_mut().is_some_and(|signal| signal.as_mut().poll(cx).is_ready());
    if came {
        *signal = None;
    }
    came
}

fn check(client: &str, grace_ms: u32) -> Result<(), Invalid> {
    check_client(client)?;
    if !(SESSION_GRACE_MS_MIN..=SESSION_GRACE_MS_MAX).contains(&u64::from(grace_ms)) {
        let allowed = format!("{SESSION_GRACE_MS_MIN} to {SESSION_GRACE_MS_MAX}");
        return Err(Invalid::new("grace_ms", grace_ms, allowed));
    }
    Ok(())
}

/// The name that a client may give itself.
pub fn check_client(client: &str) -> Result<(), Invalid> {
    if !(1..=CLIENT_NAME_BYTES_MAX).contains(&client.len()) || client.chars().any(char::is_control) {
        return Err(Invalid::new("client", client, CLIENT_ALLOWED));
    }
    Ok(())
}

/// The same out of the header or metadata `field`, without the blanks around it.
pub(crate) fn client_of<'a>(field: &'static str, given: &'a [u8]) -> Result<&'a str, Invalid> {
    let name = std::str::from_utf8(given).ok().map(str::trim).filter(|name| check_client(name).is_ok());
    name.ok_or_else(|| Invalid::new(field, String::from_utf8_lossy(given), CLIENT_ALLOWED))
}

const CLIENT_ALLOWED: &str = "1 to 255 bytes of UTF-8 without control characters";

/// A client as the list of subscribers shows it.
pub fn subscriber(client: &str, address: Option<SocketAddr>, door: &str) -> Subscriber {
    Subscriber { name: client.into(), address, door: door.into() }
}
