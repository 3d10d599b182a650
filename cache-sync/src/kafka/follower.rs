//! The thread that follows the end of the topic and shows what comes.
//!
//! It never goes on where it can not know that it is in the same log: behind each interruption it begins with the last
//! frame that it had, and that must be the one that it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use compute::model::Entry;
use compute::port::Clock;
use rdkafka::error::KafkaError;

use super::config::Config;
use super::passed::Passing;
use super::reader::{Polled, Reader};
use super::record::Record;
use super::shown::{Shown, follow_from};

/// The library returns as soon as there is something; this is how soon a stop is heeded.
const POLL_WAIT: Duration = Duration::from_millis(100);
const ROLE: &str = "follower";
/// How long it may stand still before what is known to be there, until it tries with another consumer.
const STALL_MAX_MS: u64 = 3_000;
/// Frames that are shown at once, and their bytes.
const BATCH_FRAMES_MAX: usize = 512;
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(super) struct Follower {
    config: Config,
    clock: Arc<dyn Clock>,
    shown: Arc<Shown>,
    stop: Arc<AtomicBool>,
    reader: Reader,
    /// Kafka's offset of the record that comes next.
    next: u64,
    /// Offset and checksum of the record before it.
    last: Option<(u64, u64)>,
    /// It was interrupted, and the next record is that one again.
    is_rejoining: bool,
    batch: Vec<(Entry, usize)>,
    batch_bytes: usize,
    passing: Passing,
    /// When it last came to a record or to the end, or began anew.
    moved_ms: u64,
    /// Kafka's offset of the end as it was when this began: who has come so far has caught up. The library tells of the
    /// end only when nothing comes for a while, and where others write all the time that is never.
    end_at_start: u64,
}

/// Why it ends.
enum Ended {
    Stopped,
    Unusable(String),
}

impl Follower {
    pub(super) fn new(
        config: &Config,
        clock: &Arc<dyn Clock>,
        shown: &Arc<Shown>,
        stop: &Arc<AtomicBool>,
        ends: (u64, u64),
    ) -> Result<Self, KafkaError> {
        let next = follow_from(ends);
        let reader = Reader::at(next, ROLE, config, clock)?;
        Ok(Self {
            config: config.clone(),
            clock: Arc::clone(clock),
            shown: Arc::clone(shown),
            stop: Arc::clone(stop),
            reader,
            next,
            last: None,
            is_rejoining: false,
            batch: Vec::new(),
            batch_bytes: 0,
            passing: Passing::new(ROLE, clock),
            moved_ms: clock.mono_ms(),
            end_at_start: ends.1,
        })
    }

    pub(super) fn run(mut self) {
        if let Err(Ended::Unusable(why)) = self.follow() {
            self.shown.set_unusable(why);
        }
        self.passing.say(true);
    }

    fn follow(&mut self) -> Result<std::convert::Infallible, Ended> {
        loop {
            self.heed()?;
            let mut polled = self.reader.poll(POLL_WAIT);
            // What else is there already is shown with it.
            while let Polled::Record(record) = polled {
                self.take(*record)?;
                let has_room = self.batch.len() < BATCH_FRAMES_MAX && self.batch_bytes < BATCH_BYTES_MAX;
                polled = if has_room { self.reader.poll(Duration::ZERO) } else { Polled::Nothing };
            }
            self.heed()?;
            self.show()?;
            self.passing.say(false);
            if self.next >= self.end_at_start {
                self.shown.set_caught_up();
            }
            match polled {
                Polled::Nothing => self.watch_stall()?,
                Polled::Record(_) => {}
                Polled::End => {
                    self.moved_ms = self.clock.mono_ms();
                    self.is_rejoining &= self.last.is_some();
                    self.shown.set_caught_up();
                }
                Polled::OutOfRange => self.find_place(None)?,
                Polled::Away(why) => self.rejoin(&why)?,
                Polled::Broken(why) => self.replace(&why)?,
                Polled::Damaged(offset, why) => {
                    return Err(Ended::Unusable(format!("frame {} is damaged: {why}", offset + 1)));
                }
            }
        }
    }

    fn heed(&self) -> Result<(), Ended> {
        if self.stop.load(Ordering::Acquire) || self.shown.trouble().is_some() {
            return Err(Ended::Stopped);
        }
        Ok(())
    }

    fn take(&mut self, record: Record) -> Result<(), Ended> {
        self.moved_ms = self.clock.mono_ms();
        if self.is_rejoining
            && let Some((offset, checksum)) = self.last
            && record.offset == offset
        {
            if record.checksum != checksum {
                return Err(Ended::Unusable(format!(
                    "the frame at {} had checksum {checksum:016x} and now has {:016x}: the log was made anew",
                    offset + 1,
                    record.checksum
                )));
            }
            self.is_rejoining = false;
            return Ok(());
        }
        if record.offset != self.next {
            return self.find_place(Some(record.offset));
        }
        let (offset, checksum, bytes) = (record.offset, record.checksum, record.bytes);
        let wrong = |why: String| Ended::Unusable(format!("frame {} is not one of this log: {why}", offset + 1));
        let passed = record.passed(self.shown.generation);
        let entry = record.entry(self.shown.identity, self.shown.generation).map_err(wrong)?;
        if let Some(passed) = passed {
            self.passing.count(passed, offset);
        }
        self.batch.push((entry, bytes));
        self.batch_bytes += bytes;
        self.next = offset + 1;
        self.last = Some((offset, checksum));
        self.is_rejoining = false;
        Ok(())
    }

    fn show(&mut self) -> Result<(), Ended> {
        self.batch_bytes = 0;
        self.shown.push(std::mem::take(&mut self.batch)).map_err(Ended::Unusable)
    }

    /// After an interruption: from the last frame on, which must be what it was.
    fn rejoin(&mut self, why: &str) -> Result<(), Ended> {
        tracing::debug!(why, "the follower is interrupted");
        // Until it has come to a record again, one interruption is as good as many.
        if self.is_rejoining { Ok(()) } else { self.begin_anew() }
    }

    /// More is there than it has come to, and nothing comes: whatever holds the consumer up, another one is not held up
    /// by it.
    fn watch_stall(&mut self) -> Result<(), Ended> {
        let now_ms = self.clock.mono_ms();
        if self.shown.known() <= self.next {
            self.moved_ms = now_ms;
        } else if now_ms.saturating_sub(self.moved_ms) > STALL_MAX_MS {
            return self.replace("it stands still, and there is more");
        }
        Ok(())
    }

    /// The consumer itself is of no more use.
    fn replace(&mut self, why: &str) -> Result<(), Ended> {
        tracing::warn!(why, "the follower begins anew");
        self.begin_anew()
    }

    fn begin_anew(&mut self) -> Result<(), Ended> {
        let from = self.last.map_or(self.next, |(offset, _)| offset);
        let reader = Reader::at(from, ROLE, &self.config, &self.clock);
        let reader = reader.map_err(|error| Ended::Unusable(error.to_string()))?;
        std::mem::replace(&mut self.reader, reader).retire();
        self.is_rejoining = true;
        self.moved_ms = self.clock.mono_ms();
        Ok(())
    }

    /// The next record is not there, or `came` came in its place: trimmed away, or another log.
    fn find_place(&mut self, came: Option<u64>) -> Result<(), Ended> {
        self.show()?;
        let (low, high) = match self.reader.watermarks(self.config.answer_wait_max) {
            Ok(ends) => ends,
            Err(error) => return self.replace(&error.to_string()),
        };
        let wanted = self.next;
        if high < wanted {
            return Err(Ended::Unusable(format!("the log ended at {wanted} and now ends at {high}")));
        }
        if low > wanted {
            // Others trimmed it while this node stood still. Its readers are told.
            let ends = self.shown.observe((low, high), high);
            ends.map_err(Ended::Unusable)?;
            self.next = follow_from((low, high));
            self.last = None;
            self.shown.restart_behind(self.next);
        } else if let Some(came) = came {
            let why = format!("behind {wanted} comes {}: frames are missing or of another log", came + 1);
            return Err(Ended::Unusable(why));
        } else if low == wanted {
            // The last frame is no longer there to be compared.
            self.last = None;
        }
        self.begin_anew()
    }
}
