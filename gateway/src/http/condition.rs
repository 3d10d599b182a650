//! Conditional and waiting reads, and conditional writes.

use std::time::Duration;

use compute::model::limits::{NAME_BYTES_MAX, WAIT_MS_MAX};
use compute::model::{Revision, ServiceKey};
use compute::node::Readiness;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue};

use super::App;
use super::answer::{Basis, CLIENT};
use super::gate::Call;
use super::query::Query;
use crate::error::Problem;
use crate::etag::{self, revision_of};
pub(super) use crate::precondition::Expected;

/// Answers that a drain lets go of early come within this time, so that their clients do not all come back at once.
const DRAIN_SPREAD_MS: u64 = 1_000;

/// When a read is to be answered.
#[derive(Debug, Default)]
pub(super) struct Reading {
    unless: Option<String>,
    wait: Option<Duration>,
    least: Option<Revision>,
    /// What the reader calls itself.
    client: Option<HeaderValue>,
}

/// What a read came to.
pub(super) struct Found<T> {
    /// `Err`: nothing that the reader does not have.
    pub(super) what: Result<(T, Basis), Basis>,
    /// It was held back on purpose.
    pub(super) has_waited: bool,
}

impl Reading {
    /// Of a read that can be waited on.
    pub(super) fn of(query: &mut Query<'_>, headers: &HeaderMap) -> Result<Self, Problem> {
        let mut reading = Self::at_once(query, headers)?;
        reading.wait = query.whole("wait_ms", 0, WAIT_MS_MAX)?.map(Duration::from_millis);
        if reading.wait.is_some() && reading.unless.is_none() {
            let allowed = "only beside the header If-None-Match, with the ETag of an earlier answer";
            return Err(Problem::invalid("wait_ms", "without If-None-Match", allowed));
        }
        Ok(reading)
    }

    /// Of a read that can only be conditional.
    pub(super) fn at_once(query: &mut Query<'_>, headers: &HeaderMap) -> Result<Self, Problem> {
        let least = query.text("min_revision").map(|text| revision_of("min_revision", &text)).transpose()?;
        let client = headers.get(CLIENT).cloned();
        Ok(Self { unless: text_of(headers, IF_NONE_MATCH)?, wait: None, least, client })
    }

    /// Waits until this node has applied what the reader has seen.
    pub(super) async fn reach(&self, app: &App, call: &mut Call) -> Result<(), Problem> {
        if let Some(least) = self.least
            && app.registry.progress().applied.last() < least
        {
            call.wait(app)?;
            app.registry.reach(least).await?;
        }
        // Whoever brings the tag of another node's answer is not to be shown what was before it.
        let seen = self.unless.as_deref().and_then(etag::seen_in).filter(|seen| app.registry.is_behind(*seen));
        if let Some(seen) = seen {
            call.wait(app)?;
            app.registry.catch_up(seen).await;
        }
        Ok(())
    }

    /// Whether the reader has it already.
    pub(super) fn has(&self, basis: &Basis) -> bool {
        self.unless.as_ref().is_some_and(|unless| basis.matches(unless))
    }

    /// Looks, and looks again on each change of `service`, until what is found is new or the time is up.
    pub(super) async fn run<T>(
        &self,
        app: &App,
        call: &mut Call,
        service: &ServiceKey,
        look: impl Fn() -> (T, Basis),
    ) -> Result<Found<T>, Problem> {
        self.reach(app, call).await?;
        let Some(wait) = self.wait.filter(|wait| !wait.is_zero()) else {
            let (content, basis) = look();
            let what = if self.has(&basis) { Err(basis) } else { Ok((content, basis)) };
            return Ok(Found { what, has_waited: false });
        };
        // Before the first look: no change behind it is missed.
        let subscriber = call.subscriber_called(app, self.client.as_ref())?;
        let mut watcher = app.registry.watcher_as(service, subscriber);
        let (content, mut basis) = look();
        if !self.has(&basis) {
            return Ok(Found { what: Ok((content, basis)), has_waited: false });
        }
        if let Readiness::NotReady(why) = app.registry.readiness() {
            // Nothing changes here that could be waited for.
            return Err(compute::Error::NotReady(why).into());
        }
        if app.registry.readiness() == Readiness::Draining {
            return Err(compute::Error::NotReady("it drains, and holds no reads; use another node".to_owned()).into());
        }
        call.wait(app)?;
        let mut time_is_up = app.clock.sleep(wait);
        loop {
            tokio::select! {
                () = watcher.changed() => {
                    let (content, new) = look();
                    if !self.has(&new) {
                        return Ok(Found { what: Ok((content, new)), has_waited: true });
                    }
                    basis = new;
                }
                () = &mut time_is_up => return Ok(Found { what: Err(basis), has_waited: true }),
                () = app.registry.draining() => {
                    app.clock.sleep(Duration::from_millis(app.chance.below(DRAIN_SPREAD_MS))).await;
                    return Ok(Found { what: Err(basis), has_waited: true });
                }
            }
        }
    }
}

impl Expected {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        refuse_if_none_match(headers)?;
        Ok(Self::named(text_of(headers, IF_MATCH)?.as_deref()))
    }

    /// For writes that no condition can be kept for.
    pub(super) fn refuse(headers: &HeaderMap) -> Result<(), Problem> {
        match Self::of(headers)? {
            Self::Any => Ok(()),
            _ => Err(Problem::invalid("if-match", "given", "nothing: this request knows no condition")),
        }
    }
}

/// A write that would ignore it would overwrite what it was told to spare.
fn refuse_if_none_match(headers: &HeaderMap) -> Result<(), Problem> {
    match text_of(headers, IF_NONE_MATCH)? {
        None => Ok(()),
        Some(text) => Err(Problem::invalid("if-none-match", text, "nothing: it is a condition of reads")),
    }
}

/// All lines of a header as one.
fn text_of(headers: &HeaderMap, name: http::HeaderName) -> Result<Option<String>, Problem> {
    let mut whole: Option<String> = None;
    for value in headers.get_all(&name) {
        let text = value.to_str().map_err(|_| {
            let shown = String::from_utf8_lossy(value.as_bytes()).into_owned();
            Problem::invalid(name.as_str().to_owned(), shown, "an ETag that Thuban gave")
        })?;
        whole = Some(whole.map_or_else(|| text.to_owned(), |so_far| format!("{so_far}, {text}")));
    }
    Ok(whole)
}

/// `generation`, from the query or, where there is one, from the body; both must say the same.
pub(super) fn generation(from_query: Option<&str>, from_body: Option<&str>) -> Result<Option<Revision>, Problem> {
    if let (Some(query), Some(body)) = (from_query, from_body)
        && query != body
    {
        return Err(Problem::invalid("generation", query, "the same in query and body, or only in one"));
    }
    let Some(text) = from_query.or(from_body) else { return Ok(None) };
    if text.len() > NAME_BYTES_MAX {
        return Err(Problem::invalid("generation", text, "a generation that Thuban gave"));
    }
    let generation =
        text.parse().map_err(|_| Problem::invalid("generation", text, "a generation that Thuban gave, like 1.42.0"))?;
    Ok(Some(generation))
}
