//! `Discover`: the fast path of every reader.
//!
//! Without a condition or a limit it is a lookup, the clone of a pointer to bytes that were encoded by the first who
//! asked, and a write.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use compute::model::{Selector, ServiceKey};
use compute::view::View;
use http::Response;
use hyper::body::Body;
use schemas::thuban::v1 as pb;

use super::call::{Answered, Call, ready};
use super::events::MESSAGE;
use super::wire::{Reply, framed};
use super::{Shared, convert};
use crate::admission::Verb;
use crate::error::Problem;
use crate::etag::{self, Etag};
use crate::listen::OfOneReader;
use crate::listing::DISCOVER_LIMIT_MAX;

/// Less is not worth the mark that it is one reader's.
const FEW_BYTES: u64 = 4 << 10;

/// What is asked, checked.
struct Question {
    service: ServiceKey,
    selector: Selector,
    limit: Option<usize>,
    unless: Option<String>,
    wait: Duration,
}

pub(super) async fn discover(
    shared: &Shared,
    mut call: Call,
    request: pb::DiscoverRequest,
) -> Result<Response<Reply>, Problem> {
    let least = request.min_revision.as_deref().map(|least| etag::revision_of("min_revision", least)).transpose()?;
    let question = Question::of(request)?;
    call.identity.may(Verb::Read, &question.service.namespace)?;
    if least.is_some() || !question.wait.is_zero() {
        call.permit = shared.admission.wait(call.permit)?;
    }
    if let Some(least) = least {
        shared.registry.reach(least).await?;
    }
    let seen = question.unless.as_deref().and_then(etag::seen_in).filter(|seen| shared.registry.is_behind(*seen));
    if let Some(seen) = seen {
        call.permit = shared.admission.wait(call.permit)?;
        shared.registry.catch_up(seen).await;
    }
    if !question.wait.is_zero() && shared.registry.is_stale() {
        // Nothing changes here that could be waited for.
        ready(shared)?;
    }
    let Some(unless) = &question.unless else {
        return Ok(question.mark(answer(shared, &question.view(shared), question.limit).into_response()));
    };
    let found = changed(shared, &question, unless).await;
    let answered = match found {
        Ok(view) => answer(shared, &view, question.limit),
        Err(view) => not_modified(shared, &view),
    };
    Ok(question.mark(answered.into_response()))
}

impl Question {
    fn of(request: pb::DiscoverRequest) -> Result<Self, Problem> {
        let service = convert::service(&request.namespace, &request.service)?;
        let selector = convert::selector(request.filter)?;
        let wait = convert::wait(request.wait_ms, request.if_none_match.is_some())?;
        let limit = match request.limit {
            Some(limit) if !(1..=DISCOVER_LIMIT_MAX).contains(&limit) => {
                return Err(Problem::invalid("limit", limit, format!("1 to {DISCOVER_LIMIT_MAX}")));
            }
            limit => limit.map(|limit| limit as usize),
        };
        Ok(Self { service, selector, limit, unless: request.if_none_match, wait })
    }

    /// As long as nobody else asks the same, what is selected is kept for this reader alone.
    fn mark(&self, mut response: Response<Reply>) -> Response<Reply> {
        if !self.selector.is_everything() && response.body().size_hint().upper() > Some(FEW_BYTES) {
            response.extensions_mut().insert(OfOneReader);
        }
        response
    }

    fn view(&self, shared: &Shared) -> Arc<View> {
        if self.selector.is_everything() {
            shared.registry.view(&self.service)
        } else {
            shared.registry.selected(&self.service, &self.selector)
        }
    }
}

/// The view once it is other than `unless` says; `Err`: it is not, as long as the caller waits.
async fn changed(shared: &Shared, question: &Question, unless: &str) -> Result<Arc<View>, Arc<View>> {
    if question.wait.is_zero() {
        let view = question.view(shared);
        return if Etag::of(&view).matches(unless) { Err(view) } else { Ok(view) };
    }
    // Before the read, so that no change behind it is missed.
    let mut watcher = shared.registry.watcher(&question.service);
    let mut end = pin!(shared.clock.sleep(question.wait));
    let mut draining = pin!(shared.registry.draining());
    loop {
        let view = question.view(shared);
        if !Etag::of(&view).matches(unless) {
            return Ok(view);
        }
        tokio::select! {
            () = watcher.changed() => {}
            () = &mut end => return Err(view),
            // Whoever waits asks again, and another node.
            () = &mut draining => return Err(view),
        }
    }
}

fn answer(shared: &Shared, view: &View, limit: Option<usize>) -> Answered {
    let stale = shared.registry.is_stale();
    let whole = || framed(&convert::discover_reply(view, None, Etag::of(view), stale));
    let frame = match limit.filter(|limit| *limit < view.instances.len()) {
        None => view.encoded.get(MESSAGE, whole),
        cut => framed(&convert::discover_reply(view, cut, Etag::of(view), stale)),
    };
    Answered::encoded(frame).at(view.revision, view.overlay)
}

fn not_modified(shared: &Shared, view: &View) -> Answered {
    let reply = pb::DiscoverReply {
        namespace: view.service.namespace.as_str().to_owned(),
        service: view.service.service.as_str().to_owned(),
        exists: view.exists(),
        not_modified: true,
        revision: view.revision.to_string(),
        digest: view.digest.to_string(),
        etag: Etag::of(view).to_string(),
        protected: view.protected,
        overlay: u64::from(view.overlay),
        stale: shared.registry.is_stale(),
        ..pb::DiscoverReply::default()
    };
    Answered::of(&reply).at(view.revision, view.overlay)
}
