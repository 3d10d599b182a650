//! The answer to a register that asks for no more than where its instances stand: the one that a busy stream is made
//! of, so it is written without building its messages.

use compute::command::{Answer, Outcome};
use compute::model::{Instance, InstanceKey, Revision};
use prost::Message;
use schemas::wire::Out;

use crate::error::Problem;
use crate::grpc::batch::Batch;
use crate::grpc::convert;
use crate::grpc::events::Outgoing;

/// Puts `SessionReply { request_id, registered }` of brief outcomes.
pub(super) fn put(
    outgoing: &mut Outgoing,
    scratch: &mut Out,
    request_id: u64,
    batch: Batch,
    outcomes: &mut dyn Iterator<Item = Result<Outcome, Problem>>,
) {
    scratch.clear();
    scratch.number(1, request_id);
    scratch.message(3, |out| batch.each(outcomes, |at, outcome| item(out, at, outcome)));
    outgoing.put_encoded(scratch.as_bytes());
}

/// `RegisterReply.items`, one of them.
fn item(out: &mut Out, at: usize, outcome: Result<Outcome, Problem>) {
    match outcome {
        Ok(Outcome { answer: Answer::Instance { key, instance: made, created }, reached, .. }) => {
            out.message(1, |out| {
                out.message(1, |out| instance(out, &key, &made));
                out.flag(3, created);
                out.number(4, convert::reached(reached) as u64);
            })
        }
        other => out.bytes_some(1, &convert::register_outcome(at, other, true).encode_to_vec()),
    }
}

/// `Instance`, as [`convert::brief`] makes it.
fn instance(out: &mut Out, key: &InstanceKey, instance: &Instance) {
    out.text(1, key.service.namespace.as_str());
    out.text(2, key.service.service.as_str());
    out.text(3, instance.id.as_str());
    for (tag, revision) in [(23, instance.generation), (24, instance.revision)] {
        if revision != Revision::ZERO {
            out.shown_some(tag, revision);
        }
    }
    out.flag(25, instance.revision == Revision::ZERO);
}

#[cfg(test)]
mod tests;
