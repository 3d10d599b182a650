//! Callers that wait: which commands of a call are still open, and what it will be answered.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use crate::command::{Ack, Caller, Outcome, Reached};
use crate::error::Error;
use crate::keyed::Keyed;
use crate::model::Position;
use crate::port::clock::MonoMs;

use super::link::Request;

/// How long `ack=store` waits for the landing before it is answered `log`.
const STORE_WAIT_MS: MonoMs = 5_000;

/// One command of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ticket {
    call: u64,
    index: usize,
}

struct Call {
    caller: Caller,
    ack: Ack,
    outcomes: Vec<Option<Result<Outcome, Error>>>,
    open: usize,
    reply: oneshot::Sender<Vec<Result<Outcome, Error>>>,
}

/// All calls that are not answered yet.
#[derive(Default)]
pub(super) struct Calls {
    next: u64,
    calls: Keyed<u64, Call>,
    /// Outcomes that wait for the store: by position, then until when.
    parked: BTreeMap<(Position, u64), Parked>,
}

struct Parked {
    ticket: Ticket,
    outcome: Outcome,
    until: MonoMs,
}

impl Calls {
    /// Takes a request in; its commands come back with their tickets.
    pub(super) fn open(&mut self, request: Request) -> impl Iterator<Item = (Ticket, crate::command::Command)> + use<> {
        let id = self.next;
        self.next += 1;
        let count = request.commands.len();
        let call = Call {
            caller: request.caller,
            ack: request.ack,
            outcomes: (0..count).map(|_| None).collect(),
            open: count,
            reply: request.reply,
        };
        if count == 0 {
            let _ = call.reply.send(Vec::new());
        } else {
            self.calls.insert(id, call);
        }
        let commands = request.commands.into_iter().enumerate();
        commands.map(move |(index, command)| (Ticket { call: id, index }, command))
    }

    pub(super) fn caller(&self, ticket: Ticket) -> Option<&Caller> {
        self.calls.get(&ticket.call).map(|call| &call.caller)
    }

    pub(super) fn ack(&self, ticket: Ticket) -> Ack {
        self.calls.get(&ticket.call).map_or(Ack::Log, |call| call.ack)
    }

    /// False when the caller has gone: nobody would hear of a retry.
    pub(super) fn is_waiting(&self, ticket: Ticket) -> bool {
        self.calls.get(&ticket.call).is_some_and(|call| !call.reply.is_closed())
    }

    /// One command is done; the call is answered when all are.
    pub(super) fn answer(&mut self, ticket: Ticket, outcome: Result<Outcome, Error>) {
        let Some(call) = self.calls.get_mut(&ticket.call) else { return };
        let Some(slot) = call.outcomes.get_mut(ticket.index).filter(|slot| slot.is_none()) else { return };
        *slot = Some(outcome);
        call.open -= 1;
        if call.open == 0
            && let Some(call) = self.calls.remove(&ticket.call)
        {
            let _ = call.reply.send(call.outcomes.into_iter().flatten().collect());
        }
    }

    /// As [`Calls::answer`], but a caller that asked for the store waits until `outcome` has landed there.
    pub(super) fn answer_applied(&mut self, ticket: Ticket, outcome: Outcome, landed: Position, now: MonoMs) {
        let position = outcome.revision.position();
        if self.ack(ticket) != Ack::Store {
            return self.answer(ticket, Ok(outcome));
        }
        if position <= landed {
            return self.answer(ticket, Ok(Outcome { reached: Reached::Store, ..outcome }));
        }
        self.next += 1;
        let parked = Parked { ticket, outcome, until: now + STORE_WAIT_MS };
        self.parked.insert((position, self.next), parked);
    }

    /// Everything up to `landed` is in the store.
    pub(super) fn landed(&mut self, landed: Position) {
        while let Some(first) = self.parked.first_entry()
            && first.key().0 <= landed
        {
            let Parked { ticket, outcome, .. } = first.remove();
            self.answer(ticket, Ok(Outcome { reached: Reached::Store, ..outcome }));
        }
    }

    /// Those who have waited long enough for the store are told how far it came.
    pub(super) fn give_up_on_store(&mut self, now: MonoMs) {
        let late: Vec<_> = self.parked.iter().filter(|(_, p)| p.until <= now).map(|(key, _)| *key).collect();
        for key in late {
            if let Some(Parked { ticket, outcome, .. }) = self.parked.remove(&key) {
                self.answer(ticket, Ok(outcome));
            }
        }
    }

    pub(super) fn wants_store(&self) -> bool {
        !self.parked.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }
}
