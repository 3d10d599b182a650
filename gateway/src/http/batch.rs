//! Many writes in one request: independent of each other, applied in order.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use compute::command::{Ack, Answer, Command, Outcome, Reached};
use compute::model::limits::BATCH_ITEMS_MAX;
use compute::model::{InstanceKey, Revision};
use http::{Request, StatusCode};
use serde_json::value::RawValue;

use super::answer::Basis;
use super::condition::{Expected, generation};
use super::encode::Json;
use super::gate::Call;
use super::json::Object;
use super::query::Query;
use super::schema::{self, WriteRefusals};
use super::{App, BODY_BYTES_MAX, body, instances, outcome, registration};
use crate::admission::Verb;
use crate::basis;
use crate::error::{Code, Problem};

/// Register many instances
///
/// Items are independent, and one bad item harms no other; the same key twice is applied in order.
#[utoipa::path(
    post, path = "/v1/batch/register", operation_id = "batch_register", tag = "batch",
    params(schema::Acknowledged), request_body = schema::BatchRegistration,
    responses((status = 200, description = "An outcome for each item, in order", body = schema::BatchOutcome), WriteRefusals)
)]
pub(super) async fn batch_register(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let batch = Batch::read(request).await?;
    batch.write(&app, register).await
}

/// Deregister many instances
#[utoipa::path(
    post, path = "/v1/batch/deregister", operation_id = "batch_deregister", tag = "batch",
    params(schema::Acknowledged), request_body = schema::BatchOfKeys,
    responses((status = 200, description = "An outcome for each item, in order", body = schema::BatchOutcome), WriteRefusals)
)]
pub(super) async fn batch_deregister(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let batch = Batch::read(request).await?;
    batch.write(&app, deregister).await
}

/// Renew the TTL leases of many instances
#[utoipa::path(
    post, path = "/v1/batch/renew", operation_id = "batch_renew", tag = "batch",
    request_body = schema::BatchOfKeys,
    responses((status = 200, description = "An outcome for each item, in order", body = schema::BatchOutcome), WriteRefusals)
)]
pub(super) async fn batch_renew(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let batch = Batch::read(request).await?;
    Query::read(batch.query.as_deref())?.finish()?;
    let mut renewals = Vec::new();
    let mut results: Vec<Option<Problem>> = Vec::new();
    for item in batch.items()? {
        match renewal(&batch.call, item) {
            Ok(renewal) => {
                renewals.push(renewal);
                results.push(None);
            }
            Err(problem) => results.push(Some(problem)),
        }
    }
    let renewed = app.registry.renew_all(&batch.call.caller(&app), renewals).await;
    let renewed = renewed.into_iter().map(|result| result.map(|()| done()).map_err(Problem::from));
    let results = in_places(results, renewed);
    Ok(answer(&app, &results, Ack::Log))
}

/// A batch that has been read to its end.
struct Batch {
    call: Call,
    query: Option<String>,
    body: Bytes,
}

impl Batch {
    async fn read(request: Request<Body>) -> Result<Self, Problem> {
        let (mut parts, unread) = request.into_parts();
        let body = body::whole(unread).await?;
        Expected::refuse(&parts.headers)?;
        Ok(Self { call: Call::of(&mut parts)?, query: parts.uri.query().map(str::to_owned), body })
    }

    fn items(&self) -> Result<Vec<&RawValue>, Problem> {
        let mut envelope = Object::of_body(&self.body)?;
        let items = envelope.items("items", 1, BATCH_ITEMS_MAX)?;
        envelope.finish()?;
        Ok(items)
    }

    /// Submits the items that can be read, in order, and puts the others' problems in their places.
    async fn write(
        &self,
        app: &App,
        command_of: impl Fn(&Call, &RawValue) -> Result<Command, Problem>,
    ) -> Result<Response, Problem> {
        let mut query = Query::read(self.query.as_deref())?;
        let ack = outcome::ack(&mut query)?;
        query.finish()?;
        let mut commands = Vec::new();
        let mut results: Vec<Option<Problem>> = Vec::new();
        for item in self.items()? {
            match command_of(&self.call, item) {
                Ok(command) => {
                    commands.push(command);
                    results.push(None);
                }
                Err(problem) => results.push(Some(problem)),
            }
        }
        let submitted = if commands.is_empty() {
            Vec::new()
        } else {
            app.registry.submit(&self.call.caller(app), ack, commands).await
        };
        let submitted = submitted.into_iter().map(|result| result.map_err(Problem::from));
        let results = in_places(results, submitted);
        Ok(answer(app, &results, ack))
    }
}

/// What became of the items that were fit, in the places of those that were refused at once.
fn in_places(
    refused: Vec<Option<Problem>>,
    mut done: impl Iterator<Item = Result<Outcome, Problem>>,
) -> Vec<Result<Outcome, Problem>> {
    let mut next = || done.next().unwrap_or_else(|| Err(outcome::unexpected()));
    refused.into_iter().map(|refused| refused.map_or_else(&mut next, Err)).collect()
}

fn done() -> Outcome {
    Outcome { answer: Answer::Renewed, reached: Reached::Log, revision: Revision::ZERO }
}

/// Behind all that was written, and beyond it as many changes as wait for the log.
fn answer(app: &App, results: &[Result<Outcome, Problem>], asked: Ack) -> Response {
    let mut json = Json::with_capacity(64 + results.len() * 96);
    json.object(|json| {
        json.list("items", |json| {
            for result in results {
                json.element(|json| outcome::item(json, result, asked));
            }
        });
    });
    let basis = Basis::of_state(app, basis::unlogged(&app.registry, results.iter().flatten()));
    basis.json(StatusCode::OK, json.into_bytes())
}

/// One item may be as large as a request of its own.
fn object_of(item: &RawValue) -> Result<Object<'_>, Problem> {
    if item.get().len() > BODY_BYTES_MAX {
        let detail = format!("the item is larger than {BODY_BYTES_MAX} bytes");
        return Err(Problem::new(Code::TooLarge, detail).about("body"));
    }
    Object::of_item(item)
}

fn register(call: &Call, item: &RawValue) -> Result<Command, Problem> {
    let mut object = object_of(item)?;
    let provider = registration::provider(&mut object)?;
    let own_id = format!("{}:{}", provider.host(), provider.port());
    let instance = registration::key_of_item(&mut object, Some(own_id))?;
    let generation = generation(None, object.nullable_text("generation")?.as_deref())?;
    object.finish()?;
    call.may(Verb::Register, &instance.service.namespace)?;
    Ok(Command::Register { instance, provider: Box::new(provider), epoch: None, generation })
}

fn deregister(call: &Call, item: &RawValue) -> Result<Command, Problem> {
    let (instance, generation) = key(item)?;
    call.identity.may_deregister(&instance.service.namespace)?;
    Ok(Command::Deregister { instance, generation, reason: instances::removal_reason(call) })
}

fn renewal(call: &Call, item: &RawValue) -> Result<(InstanceKey, Option<Revision>), Problem> {
    let (instance, generation) = key(item)?;
    call.may(Verb::Register, &instance.service.namespace)?;
    Ok((instance, generation))
}

fn key(item: &RawValue) -> Result<(InstanceKey, Option<Revision>), Problem> {
    let mut object = object_of(item)?;
    let instance = registration::key_of_item(&mut object, None)?;
    let generation = generation(None, object.nullable_text("generation")?.as_deref())?;
    object.finish()?;
    Ok((instance, generation))
}
