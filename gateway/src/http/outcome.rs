//! What a write came to, as an answer of its own and as an item of a batch's.

use axum::response::Response;
use compute::command::{Ack, Answer, Outcome, Reached};
use compute::model::{Instance, InstanceKey, Revision};
use http::StatusCode;

use super::answer::Basis;
use super::encode::{self, Json};
use super::query::Query;
use super::{App, problem};
use crate::basis;
use crate::error::{Code, Problem};

/// How far the caller wants a write to come.
pub(super) fn ack(query: &mut Query<'_>) -> Result<Ack, Problem> {
    match query.text("ack").as_deref() {
        None | Some("log") => Ok(Ack::Log),
        Some("memory") => Ok(Ack::Memory),
        Some("store") => Ok(Ack::Store),
        Some(other) => Err(Problem::invalid("ack", other, "memory, log or store")),
    }
}

fn word(reached: Reached) -> &'static str {
    match reached {
        Reached::Overlay => "overlay",
        Reached::Memory => "memory",
        Reached::Log => "log",
        Reached::Store => "store",
    }
}

fn is_enough(reached: Reached, asked: Ack) -> bool {
    let wanted = match asked {
        Ack::Memory => Reached::Memory,
        Ack::Log => Reached::Log,
        Ack::Store => Reached::Store,
    };
    reached >= wanted
}

/// A status, and how far it came where that is less than was asked.
#[derive(Clone, Copy)]
pub(super) struct Verdict {
    pub(super) status: StatusCode,
    pub(super) short: Option<Reached>,
}

impl Verdict {
    pub(super) fn of(outcome: &Outcome, asked: Ack, done: StatusCode) -> Self {
        if is_enough(outcome.reached, asked) {
            Self { status: done, short: None }
        } else {
            Self { status: StatusCode::ACCEPTED, short: Some(outcome.reached) }
        }
    }

    pub(super) fn ack_field(self, json: &mut Json) {
        if let Some(reached) = self.short {
            json.text("ack", word(reached));
        }
    }
}

/// Made now, or there before.
pub(super) fn done(created: bool) -> StatusCode {
    if created { StatusCode::CREATED } else { StatusCode::OK }
}

/// The answer to a write that leaves an instance.
pub(super) fn of_instance(app: &App, outcome: &Outcome, asked: Ack) -> Result<Response, Problem> {
    let Answer::Instance { key, instance, created } = &outcome.answer else { return Err(unexpected()) };
    let verdict = Verdict::of(outcome, asked, done(*created));
    let body = Json::of_object(|json| {
        encode::instance_fields(json, &key.service, instance);
        verdict.ack_field(json);
    });
    let overlay = basis::unlogged(&app.registry, [outcome]);
    let basis = instance_basis(app, instance, overlay, &body);
    let basis = if verdict.short.is_some() { basis.weak() } else { basis };
    Ok(basis.json(verdict.status, body))
}

/// What an answer with one instance rests on; `overlay`: how many changes of this node are not in the log yet, as far as
/// the instance is one of them.
pub(super) fn instance_basis(app: &App, instance: &Instance, overlay: usize, body: &[u8]) -> Basis {
    if instance.revision != Revision::ZERO && overlay == 0 {
        return Basis::of_revision(instance.revision, 0);
    }
    Basis::of_content(app, body, overlay.max(1))
}

/// What the answer to a write of settings rests on; `revision`: of their last change, if it is known.
pub(super) fn settings_basis(app: &App, outcome: &Outcome, revision: Revision) -> Basis {
    if revision == Revision::ZERO { basis(app, outcome) } else { Basis::of_revision(revision, 0) }
}

/// What the answer to a write rests on that leaves no instance.
fn basis(app: &App, outcome: &Outcome) -> Basis {
    let overlay = basis::unlogged(&app.registry, [outcome]);
    Basis::of_revision(basis::revision(&app.registry, outcome), overlay)
}

/// The answer to a write that has not come as far as was asked, and leaves no instance.
pub(super) fn accepted(app: &App, outcome: &Outcome, verdict: Verdict) -> Response {
    let body = Json::of_object(|json| {
        verdict.ack_field(json);
        json.revision("revision", outcome.revision);
    });
    basis(app, outcome).weak().json(verdict.status, body)
}

/// The answer to a write that leaves nothing.
pub(super) fn of_removal(app: &App, outcome: &Outcome, asked: Ack) -> Response {
    let verdict = Verdict::of(outcome, asked, StatusCode::NO_CONTENT);
    if verdict.short.is_some() { accepted(app, outcome, verdict) } else { basis(app, outcome).no_content() }
}

/// One item of a batch.
pub(super) fn item(json: &mut Json, result: &Result<Outcome, Problem>, asked: Ack) {
    json.object(|json| match result {
        Err(refused) => problem::fields(json, refused),
        Ok(outcome) => item_fields(json, outcome, asked),
    });
}

fn item_fields(json: &mut Json, outcome: &Outcome, asked: Ack) {
    let finished = match &outcome.answer {
        Answer::Instance { created, .. } => done(*created),
        _ => StatusCode::NO_CONTENT,
    };
    let verdict = Verdict::of(outcome, asked, finished);
    json.number("status", u64::from(verdict.status.as_u16()));
    verdict.ack_field(json);
    if let Answer::Instance { key, instance, .. } = &outcome.answer {
        json.key("instance");
        encode::instance(json, &key.service, instance);
    }
}

/// A command was answered with what belongs to another.
pub(super) fn unexpected() -> Problem {
    Problem::new(Code::Internal, "the registry answered something else than was asked")
}

/// The instance as it is now, with the key it was asked for by.
pub(super) fn shown(key: &InstanceKey, instance: &Instance) -> bytes::Bytes {
    Json::of_object(|json| encode::instance_fields(json, &key.service, instance))
}
