//! Frames that are no longer in memory, read on a thread of its own: the follower is not held up by them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use compute::model::{Entry, Position};
use compute::port::Clock;
use compute::port::change_log::LogReadError;
use tokio::sync::oneshot;

use super::config::Config;
use super::error::why;
use super::passed::Passing;
use super::reader::{Polled, Reader};
use super::record::Passed;
use super::shown::Shown;

/// Reads that wait; beyond it they are told that the log is away.
const READS_QUEUED_MAX: usize = 256;
/// Bytes of one answer, but for a single frame that is larger.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Consumers, so that this many can read at different places without taking each other's.
const READERS_MAX: usize = 4;
/// How long the consumers are kept for the next read.
const IDLE_MAX: Duration = Duration::from_secs(10);
const POLL_WAIT: Duration = Duration::from_millis(100);
const ROLE: &str = "older frames";

/// A read of what is behind an offset of the log, which is Kafka's offset of its first frame.
pub(super) struct Read {
    pub(super) after: u64,
    pub(super) max: usize,
    /// Nothing is read behind it: it only asks whether that frame is still the one that it was.
    pub(super) is_check: bool,
    pub(super) reply: oneshot::Sender<Result<Vec<Entry>, LogReadError>>,
}

pub(super) struct Older {
    config: Config,
    clock: Arc<dyn Clock>,
    shown: Arc<Shown>,
    stop: Arc<AtomicBool>,
    reads: Receiver<Read>,
    /// Consumers and the offset that each comes to next, the longest unused first.
    readers: Vec<(Reader, u64)>,
    passing: Passing,
    /// Kafka's offsets between which a record that is passed over was not counted yet: this has not come so far, and
    /// where the other ends the follower began, which counts its own.
    uncounted: Range<u64>,
}

impl Older {
    pub(super) fn new(
        config: &Config,
        clock: &Arc<dyn Clock>,
        shown: &Arc<Shown>,
        stop: &Arc<AtomicBool>,
    ) -> (Self, SyncSender<Read>) {
        let (sender, reads) = sync_channel(READS_QUEUED_MAX);
        let (config, clock) = (config.clone(), Arc::clone(clock));
        let (shown, stop) = (Arc::clone(shown), Arc::clone(stop));
        let (passing, uncounted) = (Passing::new(ROLE, &clock), 0..shown.known().saturating_sub(1));
        (Self { config, clock, shown, stop, reads, readers: Vec::new(), passing, uncounted }, sender)
    }

    pub(super) fn run(mut self) {
        while !self.stop.load(Ordering::Acquire) {
            self.passing.say(self.readers.is_empty());
            let read = match self.readers.is_empty() {
                true => self.reads.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => self.reads.recv_timeout(IDLE_MAX),
            };
            match read {
                Ok(read) if read.reply.is_closed() => {}
                Ok(read) => {
                    let answer = self.read(read.after, read.max, read.is_check);
                    // Nobody hears the answer to a read that was dropped.
                    let _ = read.reply.send(answer);
                }
                Err(RecvTimeoutError::Timeout) => self.readers.drain(..).for_each(|(reader, _)| reader.retire()),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.passing.say(true);
    }

    fn read(&mut self, after: u64, max: usize, is_check: bool) -> Result<Vec<Entry>, LogReadError> {
        // A check is of what the broker has now, not of what a consumer had from it before.
        let kept = self.readers.iter().position(|(_, next)| *next == after && !is_check);
        let reader = match kept {
            Some(place) => self.readers.remove(place).0,
            None => Reader::at(after, ROLE, &self.config, &self.clock).map_err(away)?,
        };
        match self.collect(&reader, after, max) {
            Ok(entries) if is_check => {
                reader.retire();
                Ok(entries)
            }
            Ok(entries) => {
                let next = entries.last().map_or(after, |entry| entry.position.offset());
                self.readers.push((reader, next));
                if self.readers.len() > READERS_MAX {
                    self.readers.remove(0).0.retire();
                }
                Ok(entries)
            }
            Err(error) => {
                reader.retire();
                Err(error)
            }
        }
    }

    /// At least one frame behind `after`, and what else is there at once.
    fn collect(&mut self, reader: &Reader, after: u64, max: usize) -> Result<Vec<Entry>, LogReadError> {
        // A consumer that is new has to find the broker first.
        let until_ms = self.clock.mono_ms() + self.config.answer_wait_max.as_millis() as u64 + 3_000;
        let (mut entries, mut bytes): (Vec<Entry>, usize) = (Vec::new(), 0);
        let mut last_why = "no answer in time".to_owned();
        while entries.len() < max && bytes < ANSWER_BYTES_MAX {
            let wait = if entries.is_empty() { POLL_WAIT } else { Duration::ZERO };
            match reader.poll(wait) {
                Polled::Record(record) if record.offset == after + entries.len() as u64 => {
                    bytes += record.bytes;
                    let offset = record.offset;
                    let wrong = |why: String| unusable(format!("frame {} is not of this log: {why}", offset + 1));
                    let passed = record.passed(self.shown.generation);
                    entries.push(record.entry(self.shown.identity, self.shown.generation).map_err(wrong)?);
                    self.count(passed, offset);
                }
                Polled::Record(record) => {
                    return Err(self.missing(reader, after + entries.len() as u64, Some(record.offset)));
                }
                Polled::Damaged(offset, why) => {
                    return Err(unusable(format!("frame {} is damaged: {why}", offset + 1)));
                }
                Polled::OutOfRange => return Err(self.missing(reader, after + entries.len() as u64, None)),
                Polled::Broken(why) => return Err(LogReadError::Away(why)),
                Polled::Away(why) => last_why = why,
                Polled::Nothing | Polled::End if !entries.is_empty() => break,
                Polled::Nothing | Polled::End => {}
            }
            if entries.is_empty() && (self.clock.mono_ms() >= until_ms || self.stop.load(Ordering::Acquire)) {
                return Err(LogReadError::Away(last_why));
            }
        }
        Ok(entries)
    }

    fn count(&mut self, passed: Option<Passed>, offset: u64) {
        if !self.uncounted.contains(&offset) {
            return;
        }
        self.uncounted.start = offset + 1;
        if let Some(passed) = passed {
            self.passing.count(passed, offset);
        }
    }

    /// Why the record at Kafka's offset `wanted` did not come.
    fn missing(&self, reader: &Reader, wanted: u64, came: Option<u64>) -> LogReadError {
        let (low, high) = match reader.watermarks(self.config.answer_wait_max) {
            Ok(ends) => ends,
            Err(error) => return LogReadError::Away(why(&error)),
        };
        if low > wanted {
            return LogReadError::Trimmed { trimmed: self.shown.position(low).unwrap_or(Position::ZERO) };
        }
        if high < wanted {
            return unusable(format!("the log ended behind {wanted} and now ends at {high}"));
        }
        match came {
            Some(came) => unusable(format!("behind {wanted} comes {}: frames are missing", came + 1)),
            None => LogReadError::Away(format!("the broker did not find {}", wanted + 1)),
        }
    }
}

fn away(error: rdkafka::error::KafkaError) -> LogReadError {
    LogReadError::Away(why(&error))
}

fn unusable(why: String) -> LogReadError {
    LogReadError::Unusable(why)
}
