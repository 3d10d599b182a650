//! A round: read what is here, tell what is there, write it out.

use std::task::{Context, Poll};
use std::time::Duration;

use compute::Error;
use schemas::thuban::v1 as pb;
use schemas::thuban::v1::session_reply::Reply;

use super::{End, Kind, Live, Look, Pending, RECHECK, Watched, alarm, registered};
use crate::error::{Code, Problem};
use crate::grpc::status;
use crate::grpc::watch::{revoked, spread};
use crate::session::Event;

/// Rounds without a break; then other tasks have their turn.
const ROUNDS_MAX: usize = 4;
/// Answers and events of one round.
const EVENTS_MAX: usize = 64;
/// What is gathered in a round goes out when it is so much.
const PIECE_BYTES: usize = 64 << 10;

impl Live {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        for _ in 0..ROUNDS_MAX {
            if self.outlet.is_gone(cx) {
                return Poll::Ready(End::Lost);
            }
            let has_read = self.read(cx);
            let has_told = match self.tell(cx) {
                Ok(has_told) => has_told,
                Err(end) => return Poll::Ready(end),
            };
            self.write();
            if let Some(end) = self.tend(cx, has_read) {
                return Poll::Ready(end);
            }
            if !self.session.is_deciding()
                && let Some(end) = self.ending.take()
            {
                return Poll::Ready(end);
            }
            if !has_read && !has_told {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes every request that is here and may be taken, and hands over the writes among them.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        let mut has_read = false;
        let has_room = self.outlet.has_room(cx);
        while has_room && self.can_read() {
            match self.messages.poll_bytes(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(Some(message))) => self.hear(message),
                Poll::Ready(Ok(None)) => self.ending = Some(End::HalfClosed),
                Poll::Ready(Err(unreadable)) if unreadable.is_loss() => self.ending = Some(End::Lost),
                Poll::Ready(Err(unreadable)) => self.ending = Some(End::Refused(unreadable.into())),
            }
            has_read = true;
        }
        if has_read && !self.session.is_still_allowed() {
            self.ending = Some(End::Refused(revoked()));
        }
        self.session.flush();
        has_read
    }

    fn can_read(&self) -> bool {
        self.ending.is_none() && !self.unanswered.cost.is_at_limit() && self.out.gathered.len() < PIECE_BYTES
    }

    /// Takes the answers and events that are there, as long as there is room for them.
    fn tell(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if matches!(self.ending, Some(End::Lost)) {
            return Err(End::Lost);
        }
        let mut has_told = false;
        for _ in 0..EVENTS_MAX {
            let has_room = self.outlet.has_room(cx) && self.out.gathered.len() < PIECE_BYTES;
            let takes_events = has_room && self.ending.is_none();
            let Poll::Ready(event) = self.session.poll_next(cx, has_room, takes_events) else { break };
            self.take(event)?;
            has_told = true;
        }
        Ok(has_told)
    }

    fn take(&mut self, event: Event<Pending>) -> Result<(), End> {
        match event {
            Event::Decided(decided) => decided.each(|pending, outcomes| {
                let Pending { request_id, batch, kind, cost } = pending;
                self.unanswered.take(request_id, cost);
                let reply = match kind {
                    Kind::Register { brief: true } => {
                        return registered::put(&mut self.out, &mut self.scratch, request_id, batch, outcomes);
                    }
                    Kind::Register { brief: false } => Reply::Registered(batch.registered(false, outcomes)),
                    Kind::Deregister => Reply::Deregistered(batch.deregistered(outcomes)),
                    Kind::Renew => Reply::Renewed(batch.renewed(&mut outcomes.map(|outcome| outcome.map(drop)))),
                };
                self.out.put(&pb::SessionReply { request_id, reply: Some(reply) });
            }),
            Event::Renewed(pending, outcomes) => {
                self.unanswered.take(pending.request_id, pending.cost);
                let reply = Reply::Renewed(pending.batch.renewed(&mut outcomes.into_iter()));
                self.out.put(&pb::SessionReply { request_id: pending.request_id, reply: Some(reply) });
            }
            Event::Watched(id, event, resume) => {
                if let Some(Watched { namespace, .. }) = self.watched.get(&id) {
                    self.out.put_session_event(id, namespace, &event, resume);
                }
                if !self.session.is_still_allowed() {
                    return Err(End::Refused(revoked()));
                }
            }
            Event::WatchEnded(_, None) => {
                return Err(End::Refused(Error::NotReady("the node stops".to_owned()).into()));
            }
            Event::WatchEnded(id, Some(why)) => {
                self.watched.remove(&id);
                let ended = Some(status::message(&why.into()));
                let event = pb::SessionEvent { watch_id: id, ended, ..pb::SessionEvent::default() };
                self.out.put(&pb::SessionReply { request_id: 0, reply: Some(Reply::Event(event)) });
            }
            Event::Superseded => {
                let detail = "another stream has taken this session over";
                return Err(End::Refused(Problem::new(Code::SessionTaken, detail)));
            }
            Event::Drains => {
                let after_ms = spread(&self.shared).as_millis() as u32;
                let reply = Some(Reply::Move(pb::Move { after_ms }));
                self.out.put(&pb::SessionReply { request_id: 0, reply });
            }
        }
        Ok(())
    }

    fn write(&mut self) {
        if !self.out.is_empty() {
            self.out.take().for_each(|chunk| self.outlet.push(chunk));
        }
    }

    /// What is due by time: a look at the token, a question to a client that has been silent, and giving up one that
    /// stays so.
    fn tend(&mut self, cx: &mut Context<'_>, has_read: bool) -> Option<End> {
        let can_hear = self.can_read() && self.outlet.has_room(cx);
        let tending = self.tending.as_mut()?;
        if let Some(silence) = &mut tending.silence
            && (has_read || !can_hear)
        {
            // While nothing is read, or nothing can be sent, silence says nothing.
            silence.heard_ms = self.shared.clock.mono_ms();
            silence.asked_ms = None;
        }
        if tending.alarm.as_mut().poll(cx).is_pending() {
            return None;
        }
        if !self.session.is_still_allowed() {
            return Some(End::Refused(revoked()));
        }
        let span = match &mut tending.silence {
            None => RECHECK,
            Some(silence) => {
                let now = self.shared.clock.mono_ms();
                let interval_ms = self.shared.config.ping_interval.as_millis() as u64;
                let span_ms = match silence.look(now, now.saturating_sub(tending.rings_ms), interval_ms) {
                    Look::Over => return Some(End::Refused(silent(interval_ms))),
                    Look::Wait(span_ms) => span_ms,
                    Look::Ask(span_ms) => {
                        let ping = pb::Ping { nonce: silence.nonce };
                        self.out.put(&pb::SessionReply { request_id: 0, reply: Some(Reply::Ping(ping)) });
                        span_ms
                    }
                };
                Duration::from_millis(span_ms.max(1))
            }
        };
        (tending.alarm, tending.rings_ms) = alarm(&self.shared, span);
        // The new alarm is set, and what was put goes out, in another round.
        cx.waker().wake_by_ref();
        None
    }
}

/// For a client that lives after all, and reads it.
fn silent(ms: u64) -> Problem {
    Problem::new(Code::RequestTimeout, format!("no answer to a ping within {ms} ms; resume the session"))
}
