use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::suite::{Site, frame, lives, suite};
use super::{AppendFault, FaultyLog, MemoryLog, Rates, Stall};
use crate::model::{Entry, Frame, LogIdentity, Position};
use crate::port::ChangeLog;
use crate::port::change_log::{AppendError, Bounds, LogReadError};
use crate::testing::SeededChance;

const IDENTITY: LogIdentity = LogIdentity([7; 16]);

/// Opens memory logs, behind something that a test puts in front of them.
struct Memory<F> {
    logs: Mutex<HashMap<String, Arc<MemoryLog>>>,
    front: F,
}

fn site<F: Fn(Arc<MemoryLog>) -> Arc<dyn ChangeLog>>(front: F) -> Memory<F> {
    Memory { logs: Mutex::default(), front }
}

#[async_trait]
impl<F: Fn(Arc<MemoryLog>) -> Arc<dyn ChangeLog> + Send + Sync> Site for Memory<F> {
    async fn open(&self, name: &str) -> Arc<dyn ChangeLog> {
        let mut logs = self.logs.lock().unwrap();
        let made = LogIdentity([logs.len() as u8 + 1; 16]);
        let log = logs.entry(name.to_owned()).or_insert_with(|| MemoryLog::new(made));
        (self.front)(Arc::clone(log))
    }

    async fn close(&self, name: &str) {
        let mut logs = self.logs.lock().unwrap();
        let reopened = logs[name].reopen();
        logs.insert(name.to_owned(), reopened);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_passes() {
    suite(&site(|log| log)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faulty_without_faults_passes() {
    suite(&site(|log| FaultyLog::over(log))).await.unwrap();
}

/// A mistake that a log could be built with.
#[derive(Clone, Copy)]
enum Bug {
    /// Counts from 1 again when it is opened.
    PositionsReused,
    AnotherIdentity,
    FirstOfBatchLost,
    WrittenTwice,
    WaiterNotWoken,
    /// A read moves a cursor, also when it is dropped.
    CursorInLog,
    TrimmedUnnoticed,
    LastTrimmed,
    LimitsIgnored,
    EndUnchecked,
    ChecksumOfPlace,
    ReadBackwards,
}

struct Planted {
    inner: Arc<MemoryLog>,
    bug: Bug,
    cursor: Mutex<Position>,
    before: Position,
}

impl Planted {
    fn over(inner: Arc<MemoryLog>, bug: Bug) -> Arc<Self> {
        let before = inner.followed().bounds(&inner.topic.borrow()).unwrap().last;
        Arc::new(Self { inner, bug, cursor: Mutex::new(Position::ZERO), before })
    }
}

#[async_trait]
impl ChangeLog for Planted {
    async fn bounds(&self) -> Result<Bounds, LogReadError> {
        let bounds = self.inner.bounds().await?;
        Ok(match self.bug {
            Bug::AnotherIdentity => Bounds { identity: LogIdentity([self.before.offset() as u8; 16]), ..bounds },
            Bug::LastTrimmed => Bounds { trimmed: bounds.trimmed.next(), ..bounds },
            _ => bounds,
        })
    }

    async fn append(&self, frame: Arc<Frame>) -> Result<Position, AppendError> {
        let append = |frame| self.inner.append(frame);
        match self.bug {
            Bug::PositionsReused => {
                let position = append(frame).await?;
                Ok(Position::new(1, position.offset() - self.before.offset()).unwrap())
            }
            Bug::WrittenTwice => {
                append(Arc::clone(&frame)).await?;
                append(frame).await
            }
            Bug::AnotherIdentity => {
                let (identity, _) = self.inner.followed().life;
                append(Arc::new(Frame { identity, ..(*frame).clone() })).await
            }
            Bug::LimitsIgnored if frame.changes.len() > 4096 => {
                append(Arc::new(Frame { changes: vec![], ..(*frame).clone() })).await
            }
            _ => append(frame).await,
        }
    }

    async fn read(&self, after: Position, max: usize) -> Result<Vec<Entry>, LogReadError> {
        match self.bug {
            Bug::CursorInLog => {
                let from = *self.cursor.lock().unwrap();
                let entries = self.inner.read(from.max(after), max).await?;
                *self.cursor.lock().unwrap() = entries[entries.len() - 1].position;
                return Ok(entries);
            }
            Bug::WaiterNotWoken if self.inner.bounds().await?.last == after => std::future::pending().await,
            Bug::TrimmedUnnoticed => {
                let trimmed = self.inner.bounds().await?.trimmed;
                return self.inner.read(after.max(trimmed), max).await;
            }
            Bug::EndUnchecked if self.inner.bounds().await?.has_behind(after).is_err() => std::future::pending().await,
            _ => {}
        }
        let mut entries = self.inner.read(after, max).await?;
        match self.bug {
            Bug::FirstOfBatchLost if entries.len() > 5 => drop(entries.remove(0)),
            Bug::ReadBackwards => entries.reverse(),
            Bug::ChecksumOfPlace => entries.iter_mut().for_each(|entry| entry.checksum = entry.position.packed()),
            _ => {}
        }
        Ok(entries)
    }

    async fn trim(&self, upto: Position) -> Result<(), AppendError> {
        self.inner.trim(upto).await
    }
}

async fn broken_by(bug: Bug) -> &'static str {
    tokio::time::pause();
    let planted = site(move |log| Planted::over(log, bug));
    suite(&planted).await.expect_err("the suite saw nothing").rule
}

#[tokio::test]
async fn the_suite_sees_planted_bugs() {
    let order = "frames are read as they were written, in order, each once";
    let cases = [
        (Bug::PositionsReused, "everything is there after a reopen"),
        (Bug::AnotherIdentity, "a new log is empty, and its readers wait"),
        (Bug::FirstOfBatchLost, order),
        (Bug::WrittenTwice, order),
        (Bug::ReadBackwards, order),
        (Bug::WaiterNotWoken, "a read is woken by an append"),
        (Bug::CursorInLog, order),
        (Bug::TrimmedUnnoticed, "what is trimmed says so"),
        (Bug::LastTrimmed, "a new log is empty, and its readers wait"),
        (Bug::LimitsIgnored, "a frame beyond the limits is refused whole"),
        (Bug::EndUnchecked, "a position that the log does not reach is unusable"),
        (Bug::ChecksumOfPlace, "the same bytes have the same checksum, others another"),
    ];
    for (bug, rule) in cases {
        assert_eq!(broken_by(bug).await, rule);
        tokio::time::resume();
    }
}

fn faulty() -> (Arc<MemoryLog>, Arc<FaultyLog>) {
    let inner = MemoryLog::new(IDENTITY);
    (Arc::clone(&inner), FaultyLog::over(inner))
}

async fn seeds(log: &MemoryLog) -> Vec<u64> {
    if log.bounds().await.unwrap().last == Position::ZERO {
        return Vec::new();
    }
    log.read(Position::ZERO, 1_000).await.unwrap().iter().map(|entry| entry.frame.writer.0).collect()
}

#[tokio::test]
async fn scripted_appends_fail_as_scripted() {
    let (inner, log) = faulty();
    log.script([Some(AppendFault::Refused), Some(AppendFault::Applied), None, Some(AppendFault::Lost)]);
    log.script([Some(AppendFault::Late)]);
    assert!(matches!(log.append(frame(IDENTITY, 1)).await, Err(AppendError::Refused(_))));
    assert!(matches!(log.append(frame(IDENTITY, 2)).await, Err(AppendError::Unknown(_))));
    assert!(log.append(frame(IDENTITY, 3)).await.is_ok());
    assert!(matches!(log.append(frame(IDENTITY, 4)).await, Err(AppendError::Unknown(_))));
    assert!(matches!(log.append(frame(IDENTITY, 5)).await, Err(AppendError::Unknown(_))));
    assert!(log.append(frame(IDENTITY, 6)).await.is_ok());
    assert_eq!(seeds(&inner).await, [2, 3, 6]);
    assert_eq!(log.deliver_late().await.unwrap(), 1);
    assert_eq!(seeds(&inner).await, [2, 3, 6, 5]);
}

#[tokio::test]
async fn away_ends_a_waiting_read_and_refuses_appends() {
    let (inner, log) = faulty();
    let mut waiting = Box::pin(log.read(Position::ZERO, 1));
    assert!(futures::poll!(&mut waiting).is_pending());
    log.set_away(true);
    assert!(matches!(waiting.await, Err(LogReadError::Away(_))));
    assert!(matches!(log.bounds().await, Err(LogReadError::Away(_))));
    assert!(matches!(log.append(frame(IDENTITY, 1)).await, Err(AppendError::Refused(_))));
    assert!(matches!(log.trim(Position::ZERO).await, Err(AppendError::Refused(_))));
    log.set_away(false);
    log.append(frame(IDENTITY, 2)).await.unwrap();
    assert_eq!(seeds(&inner).await, [2]);
}

#[tokio::test]
async fn stalled_calls_go_on_when_released() {
    let (inner, log) = faulty();
    log.stall(Stall::Append);
    let mut append = Box::pin(log.append(frame(IDENTITY, 1)));
    assert!(futures::poll!(&mut append).is_pending());
    assert_eq!(seeds(&inner).await, [0; 0]);
    log.stall(Stall::Answer);
    log.release(Stall::Append);
    assert!(futures::poll!(&mut append).is_pending());
    assert_eq!(seeds(&inner).await, [1]);
    log.stall(Stall::Read);
    let mut read = Box::pin(log.read(Position::ZERO, 1));
    assert!(futures::poll!(&mut read).is_pending());
    log.heal().await.unwrap();
    assert_eq!(append.await.unwrap(), read.await.unwrap()[0].position);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_faults() {
    async fn run(seed: u64) -> (Vec<String>, Vec<u64>) {
        let (inner, log) = faulty();
        let rates = Rates { refused: 100, applied: 100, lost: 100, late: 100, away: 200 };
        log.by_chance(SeededChance::new(seed), rates);
        let mut seen = Vec::new();
        for n in 0..200 {
            seen.push(format!("{:?}", log.append(frame(IDENTITY, n)).await));
            seen.push(format!("{:?}", log.bounds().await));
        }
        log.heal().await.unwrap();
        (seen, seeds(&inner).await)
    }
    let (seen, written) = run(1).await;
    assert_eq!((seen.clone(), written.clone()), run(1).await);
    assert_ne!(seen, run(2).await.0);
    for word in ["Refused", "Unknown", "Away", "Ok(1."] {
        assert!(seen.iter().any(|s| s.contains(word)), "no {word} in {seen:?}");
    }
    let late = written.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!(late > 0 && written.len() > 100 && written.len() < 190, "{late} late of {}", written.len());
}

#[tokio::test]
async fn handles_of_one_topic_pass() {
    let one = MemoryLog::new(IDENTITY);
    let other = one.handle();
    let late = one.handle();
    let write_late = async |seed| {
        late.follow((IDENTITY, 1)).await.unwrap();
        late.append(frame(IDENTITY, seed)).await.unwrap();
    };
    lives(&*one, &*other, IDENTITY, async || one.make_anew(), write_late).await.unwrap();
}

#[tokio::test]
async fn a_log_that_lost_its_end_is_noticed() {
    let (inner, log) = faulty();
    for n in 0..5 {
        log.append(frame(IDENTITY, n)).await.unwrap();
    }
    let third = Position::new(1, 3).unwrap();
    inner.lose_behind(third);
    assert_eq!(inner.bounds().await.unwrap().last, third);
    assert!(matches!(log.read(third.next(), 1).await, Err(LogReadError::Unusable(_))));
}
