//! `Session`: register, keep alive, watch and acknowledge on one stream.
//!
//! One task a stream reads, hands over and answers, in rounds: all requests that are here, handed to the registry in
//! one call; all answers and events that are there, written out in one piece. So what a request costs falls as load
//! rises, and nothing is spawned or sent between tasks for a single message.
//!
//! What a peer can make this node hold is bounded: 1,024 unanswered requests, the bytes and items in them, and what it
//! does not read. At a bound the task stops reading, and HTTP/2 makes the peer stop sending.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use compute::model::limits::SESSION_GRACE_MS_DEFAULT;
use compute::model::{Namespace, SessionId};
use http::Response;
use schemas::thuban::v1 as pb;
use schemas::thuban::v1::session_request::Request;
use schemas::wire::Out;

use super::batch::{Batch, Stream};
use super::call::{Call, within};
use super::events::Outgoing;
use super::wire::{Messages, Reply};
use super::{Shared, status};
use crate::admission::Held;
use crate::error::{Code, Problem};
use crate::session::{Opening, Session, check_client};
use outlet::Outlet;

mod asked;
mod direct;
mod outlet;
mod registered;
mod round;

/// Requests without an answer; with so many the server stops reading.
pub const UNANSWERED_MAX: usize = 1_024;
/// Items of theirs, and bytes: with so many it stops too, whatever is in how few requests.
const ITEMS_MAX: usize = 4_096;
const BYTES_MAX: usize = 8 << 20;

/// A node that looks this part of a ping's time too late has stood still, and its own silence is not the client's.
const LATE_PART: u64 = 10;

/// How often the token behind an idle stream is looked at.
const RECHECK: Duration = Duration::from_secs(30);

/// A request that waits for its answer.
struct Pending {
    request_id: u64,
    batch: Batch,
    kind: Kind,
    cost: Cost,
}

enum Kind {
    Register { brief: bool },
    Deregister,
    Renew,
}

/// What unanswered requests take up.
#[derive(Clone, Copy, Default)]
struct Cost {
    requests: usize,
    items: usize,
    bytes: usize,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.items += other.items;
        self.bytes += other.bytes;
    }

    fn take(&mut self, other: Self) {
        self.requests -= other.requests;
        self.items -= other.items;
        self.bytes -= other.bytes;
    }

    fn is_at_limit(self) -> bool {
        self.requests >= UNANSWERED_MAX || self.items >= ITEMS_MAX || self.bytes >= BYTES_MAX
    }
}

/// The requests that wait for their answer.
#[derive(Default)]
struct Unanswered {
    ids: HashSet<u64, foldhash::fast::RandomState>,
    cost: Cost,
}

impl Unanswered {
    fn add(&mut self, request_id: u64, cost: Cost) {
        self.ids.insert(request_id);
        self.cost.add(cost);
    }

    fn take(&mut self, request_id: u64, cost: Cost) {
        self.ids.remove(&request_id);
        self.cost.take(cost);
    }
}

/// How a stream ends.
enum End {
    /// The client is gone; nobody is left to tell.
    Lost,
    /// It will send no more, and has been answered everything.
    HalfClosed,
    Goodbye {
        request_id: u64,
        deregister: bool,
    },
    Refused(Problem),
}

/// A stream whose session is open.
struct Live {
    shared: Arc<Shared>,
    call: Call,
    messages: Messages<Body>,
    session: Session<Pending>,
    /// The namespace of each watch, which its events name.
    watched: HashMap<u64, Watched>,
    stream: Stream,
    out: Outgoing,
    /// Room in which an answer is written before its length is known.
    scratch: Out,
    outlet: Outlet,
    unanswered: Unanswered,
    /// The last request was read; how the stream is to end once all is answered.
    ending: Option<End>,
    tending: Option<Tending>,
}

/// What is known here of a watch.
struct Watched {
    namespace: Namespace,
    _names: Held,
}

/// What a stream is looked after for while it is idle.
struct Tending {
    alarm: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// When that is meant to ring.
    rings_ms: u64,
    /// For a client that asked to be pinged.
    silence: Option<Silence>,
}

/// Since when nothing was heard.
struct Silence {
    heard_ms: u64,
    nonce: u64,
    /// When it was asked for a word. It has its whole time from then on, and from when a node that stood still goes on.
    asked_ms: Option<u64>,
}

/// Answers at once; the session's own task goes on behind the stream.
pub(super) fn session(shared: &Arc<Shared>, call: Call, messages: Messages<Body>) -> Response<Reply> {
    let (outlet, drained) = outlet::pair();
    shared.sessions.spawn(run(Arc::clone(shared), call, messages, outlet));
    Reply::stream(Box::pin(drained))
}

async fn run(shared: Arc<Shared>, call: Call, mut messages: Messages<Body>, outlet: Outlet) {
    let opened = open(&shared, &call, &mut messages, &outlet).await;
    let (session, request_id, pings) = match opened {
        Ok(opened) => opened,
        Err(end) => return finish(end, Outgoing::default(), outlet),
    };
    let mut live = Live::new(shared, call, messages, session, outlet, pings);
    let opened = live.opened(request_id);
    live.out.put(&opened);
    let end = std::future::poll_fn(|cx| live.poll(cx)).await;
    live.close(end).await;
}

/// Waits for the first message, and opens or resumes what it asks for.
async fn open(
    shared: &Shared,
    call: &Call,
    messages: &mut Messages<Body>,
    outlet: &Outlet,
) -> Result<(Session<Pending>, u64, bool), End> {
    let first = first(shared, messages, outlet).await?;
    let pb::SessionRequest { request_id, request: Some(Request::Open(asked)) } = first else {
        let problem = Problem::new(Code::InvalidArgument, "the first message of a session is open");
        return Err(End::Refused(problem.about("request")));
    };
    if request_id == 0 {
        return Err(End::Refused(Problem::invalid("request_id", 0, "above 0")));
    }
    let pings = asked.ping;
    let opening = opening(shared, call, &asked).map_err(|problem| status::within(problem, format_args!("open")));
    // Not given up half-way: what the log has opened must have a holder, or nothing would ever see it lost.
    let opened = match opening {
        Ok(opening) => Session::open(shared.registry.clone(), shared.admission.clone(), opening).await,
        Err(problem) => Err(problem),
    };
    opened.map(|session| (session, request_id, pings)).map_err(End::Refused)
}

async fn first(shared: &Shared, messages: &mut Messages<Body>, outlet: &Outlet) -> Result<pb::SessionRequest, End> {
    let limit = shared.config.open_timeout;
    let first = std::future::poll_fn(|cx| {
        if outlet.is_gone(cx) {
            return Poll::Ready(Ok(None));
        }
        messages.poll_message::<pb::SessionRequest>(cx)
    });
    match within(&*shared.clock, limit, first).await {
        Some(Ok(Some(first))) => Ok(first),
        Some(Ok(None)) => Err(End::Lost),
        Some(Err(unreadable)) => Err(End::Refused(unreadable.into())),
        None => {
            let detail = format!("nothing was opened within {} ms", limit.as_millis());
            Err(End::Refused(Problem::new(Code::RequestTimeout, detail)))
        }
    }
}

fn opening(shared: &Shared, call: &Call, asked: &pb::Open) -> Result<Opening, Problem> {
    call.identity.may_at_all(crate::admission::Verb::Read).or_else(|_| {
        // A session is of use to whoever may register as well as to whoever may watch.
        call.identity.may_at_all(crate::admission::Verb::Register)
    })?;
    let token = match &asked.token {
        None => None,
        Some(token) => match <[u8; 16]>::try_from(token.as_slice()) {
            Ok(token) => Some(SessionId(token)),
            Err(_) => return Err(Problem::invalid("token", format_args!("{} bytes", token.len()), "16 bytes")),
        },
    };
    let mut subscriber = call.subscriber(&shared.session_door);
    if !asked.client.is_empty() {
        check_client(&asked.client)?;
        subscriber.name = asked.client.as_str().into();
    }
    Ok(Opening {
        identity: call.identity.clone(),
        caller: call.identity.caller(&shared.session_door),
        subscriber,
        token,
        grace_ms: asked.grace_ms.unwrap_or(SESSION_GRACE_MS_DEFAULT),
    })
}

impl Live {
    fn new(
        shared: Arc<Shared>,
        call: Call,
        messages: Messages<Body>,
        session: Session<Pending>,
        outlet: Outlet,
        pings: bool,
    ) -> Self {
        let tending = Tending::begin(&shared, pings);
        Self {
            stream: Stream { session: session.token(), epoch: session.epoch() },
            shared,
            call,
            messages,
            session,
            watched: HashMap::new(),
            out: Outgoing::default(),
            scratch: Out::default(),
            outlet,
            unanswered: Unanswered::default(),
            ending: None,
            tending,
        }
    }

    fn opened(&self, request_id: u64) -> pb::SessionReply {
        let opened = pb::Opened {
            token: self.session.token().0.to_vec(),
            resumed: self.session.is_resumed(),
            epoch: self.session.epoch(),
            grace_ms: self.session.grace_ms(),
            ping_ms: self.ping_ms(),
            node: self.shared.node_name(),
        };
        pb::SessionReply { request_id, reply: Some(pb::session_reply::Reply::Opened(opened)) }
    }

    /// 0: it asked not to be pinged.
    fn ping_ms(&self) -> u32 {
        let pings = self.tending.as_ref().is_some_and(|tending| tending.silence.is_some());
        if pings { self.shared.config.ping_interval.as_millis() as u32 } else { 0 }
    }

    /// Ends the session as `end` says, then the stream.
    async fn close(self, end: End) {
        let Self { session, mut out, outlet, .. } = self;
        let end = match end {
            End::Goodbye { request_id, deregister } => match session.close(deregister).await {
                Ok(()) => {
                    let goodbye = pb::session_reply::Reply::Goodbye(pb::GoodbyeReply {});
                    out.put(&pb::SessionReply { request_id, reply: Some(goodbye) });
                    End::HalfClosed
                }
                Err(error) => {
                    let problem = Problem::from(error);
                    out.put(&asked::refusal(request_id, &problem));
                    End::Refused(problem)
                }
            },
            end => {
                drop(session);
                end
            }
        };
        finish(end, out, outlet);
    }
}

/// Sends what is left, and the status.
fn finish(end: End, mut out: Outgoing, outlet: Outlet) {
    if let End::Refused(problem) = &end {
        out.put(&asked::refusal(0, problem));
    }
    out.take().for_each(|chunk| outlet.push(chunk));
    if let End::Refused(problem) = &end {
        outlet.end(status::status(problem));
    }
}

impl Tending {
    fn begin(shared: &Shared, pings: bool) -> Option<Self> {
        if !pings && !shared.admission.asks_for_tokens() {
            return None;
        }
        let silence = pings.then(|| Silence { heard_ms: shared.clock.mono_ms(), nonce: 0, asked_ms: None });
        let span = if pings { shared.config.ping_interval } else { RECHECK };
        let (alarm, rings_ms) = alarm(shared, span);
        Some(Self { alarm, rings_ms, silence })
    }
}

impl Silence {
    /// What is due after so long a silence: a question, an end, or nothing yet; and when to look again.
    fn look(&mut self, now: u64, late_ms: u64, interval_ms: u64) -> Look {
        let asked_ms = match &mut self.asked_ms {
            Some(asked_ms) => asked_ms,
            None if now.saturating_sub(self.heard_ms) < interval_ms => {
                return Look::Wait((self.heard_ms + interval_ms).saturating_sub(now));
            }
            None => {
                self.asked_ms = Some(now);
                self.nonce += 1;
                return Look::Ask(interval_ms);
            }
        };
        if late_ms > interval_ms / LATE_PART {
            // Its word may be here, and just not read yet.
            *asked_ms = now;
        }
        match (*asked_ms + interval_ms).saturating_sub(now) {
            0 => Look::Over,
            left => Look::Wait(left),
        }
    }
}

enum Look {
    Wait(u64),
    Ask(u64),
    Over,
}

/// And when it rings.
fn alarm(shared: &Shared, span: Duration) -> (Pin<Box<dyn Future<Output = ()> + Send>>, u64) {
    let clock = Arc::clone(&shared.clock);
    let rings_ms = clock.mono_ms() + span.as_millis() as u64;
    (Box::pin(async move { clock.sleep_until(rings_ms).await }), rings_ms)
}

#[cfg(test)]
mod tests;
