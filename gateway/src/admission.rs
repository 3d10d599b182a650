//! Who may call, and how much at once: one layer for every door.
//!
//! A door asks three things, in this order: [`Admission::identify`] (whose token is it), [`Identity::may`] (does it
//! allow this, there), [`Admission::enter`] (is there room). Room is counted in lanes, so that an overload sheds new
//! work before it touches renewals, and a reader who waits does not hold up one who does not.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use compute::port::Clock;
use tokio_util::task::AbortOnDropHandle;

use crate::error::{Code, Problem};
use crate::reread;

mod bodies;
mod budget;
mod identity;
mod lanes;
mod rate;
#[cfg(test)]
mod tests;
mod tokens;

pub(crate) use bodies::{BodyBytes, FREE_BYTES as FREE_BODY_BYTES, Reading};
pub use budget::{Budget, Shares};
pub(crate) use budget::{Held, Kind, Spent};
pub use identity::{Identity, Verb};
pub use lanes::{Lane, Permit};
pub use tokens::TokenFileError;

use bodies::Bodies;
use lanes::Lanes;
use tokens::Tokens;

/// Requests under way at the same time, reads and writes together.
pub const IN_FLIGHT_MAX_DEFAULT: usize = 8_192;
/// Writes among them.
pub const WRITES_MAX_DEFAULT: usize = 4_096;
/// Renewals under way, in a lane of their own.
pub const RENEWALS_MAX_DEFAULT: usize = 16_384;
/// Waiting reads and open streams.
pub const WAITING_MAX_DEFAULT: usize = 16_384;
/// Bodies that are being read, and those of one connection where there are many.
pub const BODIES_MAX_DEFAULT: usize = 32_768;
pub const CONNECTION_BODIES_MAX_DEFAULT: usize = 128;
/// What all of them may hold.
pub const BODY_BYTES_MAX_DEFAULT: usize = 256 << 20;
/// How long a body may come as it likes, and how much of it must come from then on.
pub const BODY_GRACE_DEFAULT: Duration = Duration::from_secs(5);
pub const BODY_BYTES_PER_SECOND_DEFAULT: usize = 1 << 10;
/// Names of services in all watches, and in those of one connection.
pub const WATCHED_NAMES_MAX_DEFAULT: usize = 1_000_000;
pub const CONNECTION_NAMES_MAX_DEFAULT: usize = 100_000;
/// How often a file that may change is looked at.
pub const REREAD_DEFAULT: Duration = Duration::from_secs(2);

/// Bounds of bodies that have not come whole.
#[derive(Clone, Debug)]
pub struct BodyLimits {
    pub unfinished_max: usize,
    /// Of one connection, once half of the room is taken.
    pub share_max: usize,
    /// What all of them may hold; a quarter of it is for small ones alone.
    pub bytes_max: usize,
    /// How long one may come as it likes.
    pub grace: Duration,
    /// From then on, on the average since.
    pub bytes_per_second: usize,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            unfinished_max: BODIES_MAX_DEFAULT,
            share_max: CONNECTION_BODIES_MAX_DEFAULT,
            bytes_max: BODY_BYTES_MAX_DEFAULT,
            grace: BODY_GRACE_DEFAULT,
            bytes_per_second: BODY_BYTES_PER_SECOND_DEFAULT,
        }
    }
}

/// What admission may be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may call; `None`: everybody, named `anonymous`, with every right.
    pub tokens: Option<PathBuf>,
    pub in_flight_max: usize,
    pub writes_max: usize,
    pub renewals_max: usize,
    pub waiting_max: usize,
    pub bodies: BodyLimits,
    pub watched_names_max: usize,
    pub connection_names_max: usize,
    /// How often the token file is looked at.
    pub reread: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tokens: None,
            in_flight_max: IN_FLIGHT_MAX_DEFAULT,
            writes_max: WRITES_MAX_DEFAULT,
            renewals_max: RENEWALS_MAX_DEFAULT,
            waiting_max: WAITING_MAX_DEFAULT,
            bodies: BodyLimits::default(),
            watched_names_max: WATCHED_NAMES_MAX_DEFAULT,
            connection_names_max: CONNECTION_NAMES_MAX_DEFAULT,
            reread: REREAD_DEFAULT,
        }
    }
}

/// The layer; cheap to clone, shared by all doors.
#[derive(Clone)]
pub struct Admission {
    shared: Arc<Shared>,
    _rereader: Option<Arc<AbortOnDropHandle<()>>>,
}

struct Shared {
    /// `None`: everybody may.
    tokens: Option<Arc<ArcSwap<Tokens>>>,
    anonymous: Identity,
    lanes: Arc<Lanes>,
    bodies: Arc<Bodies>,
    names: Budget,
    clock: Arc<dyn Clock>,
}

impl Admission {
    /// Reads the token file, if there is one, and follows it from then on. Call it inside a runtime, after the metrics
    /// recorder is in place.
    pub async fn open(config: Config, clock: Arc<dyn Clock>) -> Result<Self, TokenFileError> {
        let lanes = Arc::new(Lanes::new(&config));
        let (tokens, rereader) = match &config.tokens {
            None => (None, None),
            Some(path) => {
                let content = reread::read(path).await.map_err(|source| TokenFileError::unreadable(path, &source))?;
                let first = Tokens::parse(&content).map_err(|wrong| wrong.in_file(path))?;
                let tokens = Arc::new(ArcSwap::from_pointee(first));
                let following = follow(path.clone(), content, Arc::clone(&tokens), Arc::clone(&clock), config.reread);
                (Some(tokens), Some(Arc::new(AbortOnDropHandle::new(tokio::spawn(following)))))
            }
        };
        let names = Budget::new("watched names", Kind::Names, config.watched_names_max, config.connection_names_max);
        names.show();
        let bodies = Bodies::new(config.bodies, Arc::clone(&clock));
        let shared = Shared { tokens, anonymous: Identity::anonymous(), lanes, bodies, names, clock };
        Ok(Self { shared: Arc::new(shared), _rereader: rereader })
    }

    /// Whose request it is. `authorization` is the header or metadata of that name.
    pub fn identify(&self, authorization: Option<&[u8]>) -> Result<Identity, Problem> {
        let Some(tokens) = &self.shared.tokens else { return Ok(self.shared.anonymous.clone()) };
        let Some(authorization) = authorization else {
            return Err(unauthenticated("a token is needed: send the header authorization: Bearer TOKEN"));
        };
        let token = bearer(authorization)
            .ok_or_else(|| unauthenticated("the header authorization is not of the form Bearer TOKEN"))?;
        tokens
            .load()
            .find(token)
            .cloned()
            .ok_or_else(|| unauthenticated("the token is not known here; allowed: a token of this node's token file"))
    }

    /// Whether what was identified still holds: a stream outlives the moment it was opened in.
    pub fn is_current(&self, identity: &Identity) -> bool {
        match &self.shared.tokens {
            None => true,
            Some(tokens) => tokens.load().holds(identity),
        }
    }

    /// True when callers need a token.
    /// How many tokens there are now; `None`: none is asked for.
    pub fn token_count(&self) -> Option<usize> {
        self.shared.tokens.as_ref().map(|tokens| tokens.load().len())
    }

    pub fn asks_for_tokens(&self) -> bool {
        self.shared.tokens.is_some()
    }

    /// Room for one piece of work, until the permit is dropped. To be asked for once the work is here whole.
    pub fn enter(&self, identity: &Identity, lane: Lane) -> Result<Permit, Problem> {
        if let Err(retry_after) = identity.spend(lane, self.shared.clock.mono_us()) {
            let detail = format!("the token \"{}\" has used up its requests for now", identity.name());
            return Err(Problem::new(Code::RateLimited, detail).retry_after(retry_after));
        }
        self.shared.lanes.enter(identity, lane)
    }

    /// Room for a body that has not come whole at once.
    pub(crate) fn read_body(&self, shares: Option<&Arc<Shares>>) -> Result<Reading, Problem> {
        self.shared.bodies.begin(shares)
    }

    /// For the bytes of a body; none yet.
    pub(crate) fn body_bytes(&self) -> BodyBytes {
        self.shared.bodies.bytes()
    }

    /// Room for so many names of services in a watch, until what this gives is dropped.
    pub(crate) fn watch_names(&self, shares: Option<&Arc<Shares>>, names: usize) -> Result<Held, Problem> {
        self.shared.names.take(shares, names).map_err(|spent| match spent {
            Spent::All(_) => spent.overloaded("the names of services in all watches"),
            Spent::Share(max) => {
                let detail = format!("the watches of this connection name more than {max} services");
                Problem::new(Code::TooLarge, detail).about("services").allowing(format!("at most {max} in all of them"))
            }
        })
    }

    /// Exchanges the room of a request for that of one who waits, or of a stream.
    pub fn wait(&self, held: Permit) -> Result<Permit, Problem> {
        drop(held);
        self.shared.lanes.enter(&self.shared.anonymous, Lane::Wait)
    }

    /// Whoever asks for what is open to all.
    pub fn nobody(&self) -> Identity {
        self.shared.anonymous.clone()
    }
}

fn unauthenticated(detail: &str) -> Problem {
    Problem::new(Code::Unauthenticated, detail).about("authorization")
}

/// The token of `Bearer TOKEN`.
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

async fn follow(path: PathBuf, seen: Vec<u8>, tokens: Arc<ArcSwap<Tokens>>, clock: Arc<dyn Clock>, period: Duration) {
    let failures = metrics::counter!("thuban_token_file_failures_total");
    let paths = vec![path.clone()];
    reread::follow(paths, vec![seen], clock, period, |contents| match contents.map(|all| Tokens::parse(&all[0])) {
        Ok(Ok(new)) => {
            tracing::info!(path = %path.display(), tokens = new.len(), "token file reread");
            tokens.store(Arc::new(new));
        }
        Ok(Err(wrong)) => {
            failures.increment(1);
            let error = wrong.in_file(&path);
            tracing::warn!(%error, "token file not taken, the old tokens stay");
        }
        Err(error) => {
            failures.increment(1);
            tracing::warn!(path = %path.display(), %error, "token file not readable, the old tokens stay");
        }
    })
    .await;
}
