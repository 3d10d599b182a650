//! What callers are told once their change was applied, or refused.

use crate::command::{Answer, Command, Outcome, Reached};
use crate::error::Error;
use crate::model::{Frame, Op};
use crate::node::overlay::{shows, subject};
use crate::state::{Applied, Refusal, Verdict};

use super::{Applier, InFlight, InFlightProgress, Item, Source};

/// How often a command is decided again because somebody else was first.
const TRIES_MAX: u32 = 64;

impl Applier {
    /// Answers those who wait for the changes of an applied frame.
    pub(super) fn conclude(&mut self, frame: &Frame, applied: &Applied) {
        if frame.writer != self.me {
            return;
        }
        for (change, verdict) in frame.changes.iter().zip(&applied.verdicts) {
            let Some(source) = self.pending.remove(&change.origin.counter) else { continue };
            match source {
                Source::Caller { ticket, command, created, tries } => match *verdict {
                    Verdict::Applied(revision) => {
                        let answer = self.answer_of(&command, &change.op, created);
                        let outcome = Outcome { answer, reached: Reached::Log, revision };
                        self.calls.answer_applied(ticket, outcome, self.landed, self.clock.mono_ms());
                    }
                    Verdict::Refused(refusal) => {
                        self.metrics.refused(refusal);
                        self.retry(Item::Command { ticket, command, tries: tries + 1, is_sure: false });
                    }
                    Verdict::Duplicate => self.calls.answer(ticket, Err(Error::OutcomeUnknown)),
                },
                Source::Overlay => {
                    if let (true, Some(key)) = (shows(&change.op), subject(&change.op)) {
                        self.overlay.settle(key);
                        self.show_overlay(&key.service);
                    }
                }
                Source::Own => {
                    if let Verdict::Refused(refusal) = *verdict {
                        self.metrics.refused(refusal);
                        self.expiry.refused(&change.op, self.clock.mono_ms());
                    }
                }
            }
        }
        self.land_in_flight(frame);
    }

    /// The frame under way has been seen in the log: the next one may go.
    fn land_in_flight(&mut self, frame: &Frame) {
        let first = |frame: &Frame| frame.changes.first().map(|change| change.origin);
        let ours = self.in_flight.take_if(|f| first(&f.frame) == first(frame));
        if let Some(InFlight { progress, since_us, unsure, .. }) = ours {
            // They came before this frame was appended: what was acknowledged before they asked is applied now.
            for item in unsure.into_iter().rev() {
                if let Item::Command { ticket, command, tries, .. } = item {
                    self.stage_first(Item::Command { ticket, command, tries, is_sure: true });
                }
            }
            if matches!(progress, InFlightProgress::Appending(_)) {
                // The log has shown it before it has answered.
                self.metrics.appended(self.clock.mono_us() - since_us);
            }
            self.log_is_back(self.clock.mono_ms());
        }
    }

    fn answer_of(&self, command: &Command, op: &Op, created: bool) -> Answer {
        match command {
            Command::Renew { .. } => Answer::Renewed,
            _ => self.state.answer(op, created),
        }
    }

    /// Somebody else was first: decide again on what is true now, as long as the caller waits.
    fn retry(&mut self, item: Item) {
        let Item::Command { ticket, tries, .. } = &item else { return };
        if !self.calls.is_waiting(*ticket) {
            return self.calls.answer(*ticket, Err(Error::OutcomeUnknown));
        }
        if *tries > TRIES_MAX {
            let busy = "it changes faster than this request could be decided; try again";
            return self.calls.answer(*ticket, Err(Error::Conflict(busy.to_owned())));
        }
        self.stage_first(item);
    }
}

/// The word for a refusal in metrics.
pub(super) fn refusal_word(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Base => "base",
        Refusal::BaseTooOld => "base_too_old",
        Refusal::Generation => "generation",
        Refusal::Suspicion => "suspicion",
        Refusal::Already => "already",
        Refusal::Epoch => "epoch",
        Refusal::Absent => "absent",
        Refusal::NotEmpty => "not_empty",
        Refusal::Gone => "gone",
        Refusal::Barrier => "barrier",
    }
}
