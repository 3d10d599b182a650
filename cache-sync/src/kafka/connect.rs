//! From an address to a log: what is in the topic is looked at first, then the log is bound to one identity.

use std::sync::Arc;
use std::time::Duration;

use compute::model::{LogGeneration, LogIdentity};
use compute::port::Clock;
use rdkafka::consumer::Consumer as _;
use tokio::runtime::Handle;

use super::KafkaLog;
use super::config::Config;
use super::error::{OpenError, why};
use super::reader::{Polled, Reader};
use super::topic::{self, Admin, away};

pub(super) use compute::port::change_log::Life;

const POLL_WAIT: Duration = Duration::from_millis(100);
/// Records at either end among which a frame must be: a topic that is not ours may hold any number, and is not read
/// through.
const EDGE_RECORDS_MAX: u64 = 100_000;

/// A topic that is fit for a log, and what is in it.
pub struct Connected {
    pub(super) config: Config,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) admin: Arc<Admin>,
    found: Found,
}

/// What a topic holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Found {
    /// Kafka's offset of the first record, and of the next one.
    pub(super) ends: (u64, u64),
    /// Of whom the first and the last frame are.
    lives: Option<(Life, Life)>,
}

impl Connected {
    pub(super) async fn to(config: &Config, clock: &Arc<dyn Clock>) -> Result<Self, OpenError> {
        let admin = Arc::new(Admin::new(config, clock));
        let found = look(config, clock, &admin, true).await?;
        Ok(Self { config: config.clone(), clock: Arc::clone(clock), admin, found })
    }

    /// What the topic holds, as the port has it.
    pub(super) fn all_found(&self) -> compute::port::change_log::Found {
        let Found { ends: (trimmed, last), lives } = self.found;
        compute::port::change_log::Found { trimmed, last, lives }
    }

    /// Which log is in the topic, by its last frame; `None`: there is no frame, though there may be records of others.
    pub fn found(&self) -> Option<(LogIdentity, LogGeneration)> {
        self.found.lives.map(|(_, last)| last)
    }

    /// Which log the topic begins with: another one only if two were written into it.
    pub fn found_first(&self) -> Option<(LogIdentity, LogGeneration)> {
        self.found.lives.map(|(first, _)| first)
    }

    /// Whether nothing was ever trimmed away.
    pub fn starts_at_zero(&self) -> bool {
        self.found.ends.0 == 0
    }

    /// The log, as one of this identity and generation: those of the frames that are there, or, when there is none,
    /// of those that will be written. Ready to append and to read when this returns.
    pub async fn bind(self, identity: LogIdentity, generation: LogGeneration) -> Result<Arc<KafkaLog>, OpenError> {
        if !(1..=127).contains(&generation) {
            return Err(OpenError::Generation { found: generation });
        }
        let found = look(&self.config, &self.clock, &self.admin, false).await?;
        let (topic, wanted) = (self.config.topic().to_owned(), (identity, generation));
        match found.lives {
            Some((first, last)) if first.0 != last.0 => return Err(OpenError::TwoLogs { topic, first, last }),
            // Frames of earlier lives may be there.
            Some((_, found)) if found.0 != identity || found.1 > generation => {
                return Err(OpenError::OtherLog { topic, found, wanted });
            }
            _ => {}
        }
        KafkaLog::start(self, wanted, found.ends).await
    }
}

/// Forgets every record that there is, whatever it is: what a lost log leaves behind, before the next generation is
/// bound. Offsets go on.
pub(super) async fn empty(config: &Config, clock: &Arc<dyn Clock>) -> Result<(), OpenError> {
    let not_emptied = |why: String| OpenError::NotEmptied { topic: config.topic().into(), why };
    let admin = Arc::new(Admin::new(config, clock));
    let (low, high) = with(config, clock, &admin, true, |look| look.ends()).await?;
    if low < high {
        admin.trim(high).await.map_err(|error| not_emptied(why(&error)))?;
    }
    match look(config, clock, &admin, false).await?.lives {
        None => Ok(()),
        Some((first, _)) => Err(not_emptied(format!("log {}, generation {}, is written again", first.0, first.1))),
    }
}

/// Looks at the topic. The first time, it is made or checked.
async fn look(config: &Config, clock: &Arc<dyn Clock>, admin: &Arc<Admin>, is_first: bool) -> Result<Found, OpenError> {
    with(config, clock, admin, is_first, |look| look.found()).await
}

/// Asks of the topic, off the runtime's threads.
async fn with<T: Send + 'static>(
    config: &Config,
    clock: &Arc<dyn Clock>,
    admin: &Arc<Admin>,
    is_first: bool,
    ask: fn(&Look<'_>) -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    let (config, clock, admin) = (config.clone(), Arc::clone(clock), Arc::clone(admin));
    let runtime = Handle::current();
    let looked = tokio::task::spawn_blocking(move || {
        let until_ms = clock.mono_ms() + config.connect_wait_max.as_millis() as u64;
        let reader = || Reader::new("connect", &config, &clock).map_err(|error| away(&config, why(&error)));
        let mut look = Look { config: &config, clock: &clock, reader: reader()?, until_ms };
        if is_first {
            look.reach()?;
            let is_made = topic::ensure(look.reader.inner().client(), &admin, &runtime, until_ms)?;
            if is_made {
                // Who has once been told that there is no such topic believes it for a while.
                look.reader = reader()?;
            }
        }
        ask(&look)
    });
    looked.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

struct Look<'a> {
    config: &'a Config,
    clock: &'a Arc<dyn Clock>,
    reader: Reader,
    until_ms: u64,
}

impl Look<'_> {
    /// Waits until a broker answers, listening to what the library says meanwhile.
    fn reach(&self) -> Result<(), OpenError> {
        loop {
            match self.reader.inner().client().fetch_metadata(Some(self.config.topic()), Duration::from_secs(1)) {
                Ok(_) => return Ok(()),
                Err(error) => {
                    // What it says comes by polling.
                    self.reader.poll(POLL_WAIT);
                    if self.is_over() {
                        return Err(away(self.config, self.reader.context.explain(&error)));
                    }
                }
            }
        }
    }

    /// Kafka's offset of the first record, and of the next one.
    fn ends(&self) -> Result<(u64, u64), OpenError> {
        loop {
            match self.reader.watermarks(self.config.answer_wait_max) {
                Ok(ends) => return Ok(ends),
                Err(error) if self.is_over() => return Err(away(self.config, self.reader.context.explain(&error))),
                Err(_) => {}
            }
        }
    }

    fn found(&self) -> Result<Found, OpenError> {
        loop {
            let ends = self.ends()?;
            if let Some(lives) = self.lives(ends)? {
                return Ok(Found { ends, lives });
            }
            if self.is_over() {
                return Err(away(self.config, format!("what it has from {} to {} does not come", ends.0, ends.1)));
            }
        }
    }

    /// Of whom the first and the last frame are; `None`: they were trimmed away meanwhile.
    #[allow(clippy::type_complexity, reason = "the outer is whether there is an answer, the inner the answer")]
    fn lives(&self, (low, high): (u64, u64)) -> Result<Option<Option<(Life, Life)>>, OpenError> {
        let edge = high.min(low + EDGE_RECORDS_MAX);
        let first = match self.lives_between(low, edge, true)? {
            None => return Ok(None),
            Some(Some((first, _))) => first,
            Some(None) if edge == high => return Ok(Some(None)),
            Some(None) => return Err(self.no_frame(low)),
        };
        // Further back only where what is at the end is foreign.
        let mut back = 1;
        while back <= EDGE_RECORDS_MAX {
            match self.lives_between(high.saturating_sub(back).max(low), high, false)? {
                None => return Ok(None),
                Some(Some((_, last))) => return Ok(Some(Some((first, last)))),
                Some(None) => back *= 10,
            }
        }
        Err(self.no_frame(high.saturating_sub(EDGE_RECORDS_MAX)))
    }

    /// Of whom the first and the last frame from `next` to before `end` are, or the first one alone; `None`: they were
    /// trimmed away meanwhile.
    #[allow(clippy::type_complexity, reason = "the outer is whether there is an answer, the inner the answer")]
    fn lives_between(
        &self,
        mut next: u64,
        end: u64,
        is_first_enough: bool,
    ) -> Result<Option<Option<(Life, Life)>>, OpenError> {
        let mut lives = None;
        if next >= end {
            return Ok(Some(lives));
        }
        let reader = Reader::at(next, "connect", self.config, self.clock);
        let reader = reader.map_err(|error| away(self.config, why(&error)))?;
        loop {
            match reader.poll(POLL_WAIT) {
                Polled::Record(record) if record.offset == next => {
                    if let Some(life) = record.life() {
                        lives = Some((lives.map_or(life, |(first, _)| first), life));
                    }
                    next += 1;
                    if next >= end || (is_first_enough && lives.is_some()) {
                        return Ok(Some(lives));
                    }
                }
                Polled::Record(record) => {
                    return Err(self.not_a_log(record.offset, format!("comes where {next} is asked for")));
                }
                Polled::Damaged(offset, why) => return Err(self.not_a_log(offset, why)),
                Polled::OutOfRange | Polled::End => return Ok(None),
                Polled::Broken(why) => return Err(away(self.config, why)),
                Polled::Nothing | Polled::Away(_) if self.is_over() => {
                    let last = reader.context.last_error().unwrap_or_else(|| "no answer in time".into());
                    return Err(away(self.config, last));
                }
                Polled::Nothing | Polled::Away(_) => {}
            }
        }
    }

    fn not_a_log(&self, offset: u64, why: String) -> OpenError {
        OpenError::NotALog { topic: self.config.topic().to_owned(), offset, why }
    }

    fn no_frame(&self, from: u64) -> OpenError {
        self.not_a_log(from, format!("neither it nor the next {EDGE_RECORDS_MAX} are frames of any node"))
    }

    fn is_over(&self) -> bool {
        self.clock.mono_ms() >= self.until_ms
    }
}
