//! `thuban.v1.Registry`, the calls of one message each.

use compute::command::{Ack, Command, Outcome};
use http::Response;
use prost::Message;
use schemas::thuban::v1 as pb;

use super::batch::Batch;
use super::call::{Answered, Call};
use super::wire::Reply;
use super::{Shared, convert};
use crate::basis;
use crate::error::Problem;

type Refusable<T> = Result<T, Problem>;

pub(super) async fn register(shared: &Shared, call: &Call, request: pb::RegisterRequest) -> Refusable<Response<Reply>> {
    let ack = convert::ack(request.ack)?;
    let (batch, commands) = Batch::register(request.items.iter().map(Into::into), &call.identity, None)?;
    let decided = submit(shared, call, ack, commands).await;
    let overlay = basis::unlogged(&shared.registry, decided.iter().flatten());
    let reply = batch.registered(request.brief, &mut decided.into_iter());
    Ok(answer(shared, &reply, overlay))
}

pub(super) async fn deregister(
    shared: &Shared,
    call: &Call,
    request: pb::DeregisterRequest,
) -> Refusable<Response<Reply>> {
    let ack = convert::ack(request.ack)?;
    let (batch, commands) = Batch::deregister(&request.items, &call.identity, &call.caller(shared))?;
    let decided = submit(shared, call, ack, commands).await;
    let overlay = basis::unlogged(&shared.registry, decided.iter().flatten());
    Ok(answer(shared, &batch.deregistered(&mut decided.into_iter()), overlay))
}

pub(super) async fn renew(shared: &Shared, call: &Call, request: pb::RenewRequest) -> Refusable<Response<Reply>> {
    let (batch, items) = Batch::renew(&request.items, &call.identity)?;
    let decided = shared.registry.renew_all(&call.caller(shared), items).await;
    let mut decided = decided.into_iter().map(|outcome| outcome.map_err(Problem::from));
    Ok(answer(shared, &batch.renewed(&mut decided), 0))
}

/// Behind all that was written, and beyond it as many changes as wait for the log.
fn answer(shared: &Shared, reply: &impl Message, overlay: usize) -> Response<Reply> {
    let applied = shared.registry.progress().applied.last();
    Answered::of(reply).at(applied, u32::try_from(overlay).unwrap_or(u32::MAX)).into_response()
}

async fn submit(shared: &Shared, call: &Call, ack: Ack, commands: Vec<Command>) -> Vec<Refusable<Outcome>> {
    if commands.is_empty() {
        return Vec::new();
    }
    let decided = shared.registry.submit(&call.caller(shared), ack, commands).await;
    decided.into_iter().map(|outcome| outcome.map_err(Problem::from)).collect()
}
