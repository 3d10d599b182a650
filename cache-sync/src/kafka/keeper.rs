//! The thread that asks where the topic begins and ends: for those who want to know, and each second, because a topic
//! that was lost or made anew shows itself there even to a node that neither reads nor writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use compute::model::Entry;
use compute::port::Clock;
use compute::port::change_log::{Bounds, LogReadError};
use rdkafka::producer::Producer as _;
use tokio::sync::oneshot;

use super::config::Config;
use super::older::Read;
use super::reader::watermarks;
use super::shown::Shown;
use super::topic::{self, Admin};
use super::writer::Writer;

/// Questions that wait; beyond it they are told that the log is away.
const ASKED_MAX: usize = 4_096;
const TICK: Duration = Duration::from_secs(1);
/// From one look at an old frame to the next.
const CHECK_MS: u64 = 5_000;
/// A broker that has just started, or stood still, may not know for seconds what it has; one that says so for 15 s
/// knows. Until then the log is away, which harms nobody.
const WRONG_MS: u64 = 15_000;
const WRONG_TICK: Duration = Duration::from_millis(500);

pub(super) type Ask = oneshot::Sender<Result<Bounds, LogReadError>>;

pub(super) struct Keeper {
    config: Config,
    shown: Arc<Shown>,
    writer: Arc<Writer>,
    admin: Arc<Admin>,
    stop: Arc<AtomicBool>,
    asked: Receiver<Ask>,
    /// Since when the topic is not there, or not what it was, each time that a broker was asked.
    wrong_since: Option<u64>,
    reads: SyncSender<Read>,
    clock: Arc<dyn Clock>,
    checked_ms: u64,
    /// Offset and checksum of the last frame that is known to be of the log that was opened.
    proven: Option<(u64, u64)>,
    /// A frame that is being looked at: what it was, and what will say what it is.
    check: Option<Check>,
}

struct Check {
    was: (u64, u64),
    /// What was shown last when it was asked for: of the same log, if that frame is what it was.
    last: (u64, u64),
    is: oneshot::Receiver<Result<Vec<Entry>, LogReadError>>,
}

impl Keeper {
    pub(super) fn new(
        config: &Config,
        clock: &Arc<dyn Clock>,
        shown: &Arc<Shown>,
        writer: &Arc<Writer>,
        admin: &Arc<Admin>,
        stop: &Arc<AtomicBool>,
        reads: SyncSender<Read>,
    ) -> (Self, SyncSender<Ask>) {
        let (sender, asked) = sync_channel(ASKED_MAX);
        let (shown, writer) = (Arc::clone(shown), Arc::clone(writer));
        let (admin, stop) = (Arc::clone(admin), Arc::clone(stop));
        let config = config.clone();
        let (clock, checked_ms) = (Arc::clone(clock), clock.mono_ms());
        let (wrong_since, proven, check) = (None, None, None);
        (
            Self { config, shown, writer, admin, stop, asked, wrong_since, reads, clock, checked_ms, proven, check },
            sender,
        )
    }

    pub(super) fn run(mut self) {
        while !self.stop.load(Ordering::Acquire) {
            let wait = if self.wrong_since.is_some() { WRONG_TICK } else { TICK };
            let first = match self.asked.recv_timeout(wait) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // All who asked before the broker is asked get its answer.
            let asked: Vec<Ask> = first.into_iter().chain(self.asked.try_iter()).collect();
            let answer = self.bounds();
            for ask in asked {
                // Nobody hears the answer to a question that was dropped.
                let _ = ask.send(answer.clone());
            }
            self.admin.drop_idle();
            self.check();
        }
    }

    /// Looks whether the frame that was last a while ago is still the one that it was.
    fn check(&mut self) {
        if let Some(mut check) = self.check.take() {
            match check.is.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => {
                    self.check = Some(check);
                    return;
                }
                Ok(Ok(entries)) if entries.first().is_some_and(|entry| entry.checksum != check.was.1) => {
                    let why = format!("the frame at {} is another than it was: the log was made anew", check.was.0);
                    self.shown.set_unusable(why);
                }
                Ok(Err(LogReadError::Unusable(why))) => self.shown.set_unusable(why),
                Ok(Ok(_) | Err(LogReadError::Trimmed { .. })) => self.proven = Some(check.last),
                // Nobody knows now. What came meanwhile is not believed for that: the same is looked at again.
                Ok(Err(LogReadError::Away(_))) | Err(oneshot::error::TryRecvError::Closed) => {}
            }
        }
        let now_ms = self.clock.mono_ms();
        if now_ms.saturating_sub(self.checked_ms) < CHECK_MS {
            return;
        }
        self.checked_ms = now_ms;
        // The follower may go over from one topic to the other between two looks, even before the first one; then the
        // last frame is the other's, and only one from before tells.
        let (Some(was), Some(last)) = (self.proven.or_else(|| self.shown.first()), self.shown.last()) else { return };
        if was.0 <= self.shown.trimmed() {
            self.proven = Some(last);
            return;
        }
        let (reply, is) = oneshot::channel();
        // When too many wait there, it is looked at next time.
        if self.reads.try_send(Read { after: was.0 - 1, max: 1, is_check: true, reply }).is_ok() {
            self.check = Some(Check { was, last, is });
        }
    }

    fn bounds(&mut self) -> Result<Bounds, LogReadError> {
        if let Some(trouble) = self.shown.trouble() {
            return Err(trouble.error());
        }
        let live = self.writer.current();
        let known_before = self.shown.known();
        let wait = self.config.answer_wait_max;
        let wrong = match watermarks(live.producer.client(), self.config.topic(), wait) {
            Ok(ends) => match self.shown.observe(ends, known_before) {
                Ok(bounds) => {
                    self.wrong_since = None;
                    return Ok(bounds);
                }
                Err(why) => why,
            },
            Err(error) => {
                let why = live.context.explain(&error);
                if !topic::is_gone(live.producer.client(), self.config.topic(), wait) {
                    self.wrong_since = None;
                    return Err(LogReadError::Away(why));
                }
                format!("topic {} is gone", self.config.topic())
            }
        };
        let now_ms = self.clock.mono_ms();
        let since = *self.wrong_since.get_or_insert(now_ms);
        if now_ms.saturating_sub(since) < WRONG_MS {
            return Err(LogReadError::Away(wrong));
        }
        self.shown.set_unusable(wrong.clone());
        Err(LogReadError::Unusable(wrong))
    }
}
