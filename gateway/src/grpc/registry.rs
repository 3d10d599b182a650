//! `thuban.v1.Registry`, the calls of one message each.

use compute::command::{Ack, Command, Outcome};
use http::Response;
use schemas::thuban::v1 as pb;

use super::batch::Batch;
use super::call::{Answered, Call};
use super::wire::Reply;
use super::{Shared, convert};
use crate::error::Problem;

type Refusable<T> = Result<T, Problem>;

pub(super) async fn register(shared: &Shared, call: &Call, request: pb::RegisterRequest) -> Refusable<Response<Reply>> {
    let ack = convert::ack(request.ack)?;
    let (batch, commands) = Batch::register(request.items, &call.identity, None)?;
    let decided = submit(shared, call, ack, commands).await;
    let reply = batch.registered(request.brief, &mut decided.into_iter());
    Ok(Answered::of(&reply).into_response())
}

pub(super) async fn deregister(
    shared: &Shared,
    call: &Call,
    request: pb::DeregisterRequest,
) -> Refusable<Response<Reply>> {
    let ack = convert::ack(request.ack)?;
    let (batch, commands) = Batch::deregister(&request.items, &call.identity, &call.caller(shared))?;
    let decided = submit(shared, call, ack, commands).await;
    Ok(Answered::of(&batch.deregistered(&mut decided.into_iter())).into_response())
}

pub(super) async fn renew(shared: &Shared, call: &Call, request: pb::RenewRequest) -> Refusable<Response<Reply>> {
    let (batch, items) = Batch::renew(&request.items, &call.identity)?;
    let decided = shared.registry.renew_all(&call.caller(shared), items).await;
    let mut decided = decided.into_iter().map(|outcome| outcome.map_err(Problem::from));
    Ok(Answered::of(&batch.renewed(&mut decided)).into_response())
}

async fn submit(shared: &Shared, call: &Call, ack: Ack, commands: Vec<Command>) -> Vec<Refusable<Outcome>> {
    if commands.is_empty() {
        return Vec::new();
    }
    let decided = shared.registry.submit(&call.caller(shared), ack, commands).await;
    decided.into_iter().map(|outcome| outcome.map_err(Problem::from)).collect()
}
