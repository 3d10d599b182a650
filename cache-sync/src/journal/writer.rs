//! The `Journal` port: hands records to a thread that writes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use compute::model::{Entry, LogIdentity, Position};
use compute::port::Journal;
use compute::port::journal::{Decided, Raised, Record};
use compute::state::Verdict;
use tokio::sync::oneshot;

use super::segments::Segments;
use super::{Config, OpenError, record};

/// Changes that wait to be written; the frames that they are in are held meanwhile.
const WAITING_MAX: usize = 100_000;
/// Written at once, if more waits.
const BATCH_BYTES: usize = 1 << 20;

/// A journal that is being written. Whoever has it closes it: what waits is written then.
pub struct FileJournal {
    words: Sender<Word>,
    waits: Arc<Waits>,
}

enum Word {
    /// And how much it weighs in the queue.
    Record(Record, usize),
    Close(oneshot::Sender<()>),
}

#[derive(Default)]
struct Waits {
    changes: AtomicUsize,
    /// Frames that were left out since the journal said so last.
    lost: AtomicU64,
}

impl FileJournal {
    /// Makes the directory if need be. From here on a failure to write is counted and said, and nothing more.
    pub fn open(config: &Config) -> Result<Arc<Self>, OpenError> {
        let segments = Segments::take(config)?;
        let (words, heard) = channel();
        let waits = Arc::<Waits>::default();
        let writer = Writer { segments, waits: waits.clone(), is_failing: false, has_lost: false };
        let unmade = |source| OpenError::Unmade { path: config.directory.clone(), source };
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run(&heard)).map_err(unmade)?;
        Ok(Arc::new(Self { words, waits }))
    }

    /// Writes what waits; nothing that comes behind this is written.
    pub async fn close(&self) {
        let (done, ended) = oneshot::channel();
        // A thread that is gone has nothing to write.
        if self.words.send(Word::Close(done)).is_ok() {
            let _ = ended.await;
        }
    }

    /// What was left out and is not said in the journal yet.
    #[cfg(test)]
    pub(super) fn has_lost(&self) -> u64 {
        self.waits.lost.load(Ordering::Relaxed)
    }

    /// As much waits as may, until `drain`.
    #[cfg(test)]
    pub(super) fn fill(&self) {
        self.waits.changes.fetch_add(WAITING_MAX, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn drain(&self) {
        self.waits.changes.fetch_sub(WAITING_MAX, Ordering::Relaxed);
    }

    fn hand(&self, record: Record, weight: usize) {
        let before = self.waits.changes.fetch_add(weight, Ordering::Relaxed);
        let is_taken = before < WAITING_MAX && self.words.send(Word::Record(record, weight)).is_ok();
        if !is_taken {
            self.waits.changes.fetch_sub(weight, Ordering::Relaxed);
            self.waits.lose(1);
        }
    }
}

impl Journal for FileJournal {
    fn begun(&self, log: LogIdentity, at: Position) {
        self.hand(Record::Begun { log, at }, 1);
    }

    fn record(&self, entry: &Entry, verdicts: &[Verdict]) {
        let decided = Decided { entry: entry.clone(), verdicts: verdicts.to_vec() };
        self.hand(Record::Decided(decided), verdicts.len().max(1));
    }

    fn raised(&self, raised: Raised) {
        self.hand(Record::Raised(raised), 1);
    }
}

impl Waits {
    fn lose(&self, frames: u64) {
        self.lost.fetch_add(frames, Ordering::Relaxed);
        metrics::counter!("thuban_journal_lost_frames_total").increment(frames);
    }
}

/// The thread's end.
struct Writer {
    segments: Segments,
    waits: Arc<Waits>,
    /// The last write failed, and that was said.
    is_failing: bool,
    /// That something is missing was said.
    has_lost: bool,
}

impl Writer {
    fn run(mut self, words: &Receiver<Word>) {
        let mut batch = Vec::new();
        while let Ok(first) = words.recv() {
            let (mut next, mut frames, mut closes) = (Some(first), 0, None);
            batch.clear();
            let lost = self.waits.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                self.put(&mut batch, &Record::Lost { frames: lost });
            }
            while let Some(word) = next.take() {
                match word {
                    Word::Record(record, weight) => {
                        self.put(&mut batch, &record);
                        self.waits.changes.fetch_sub(weight, Ordering::Relaxed);
                        frames += 1;
                    }
                    Word::Close(done) => closes = Some(done),
                }
                if closes.is_none() && batch.len() < BATCH_BYTES {
                    next = words.try_recv().ok();
                }
            }
            self.write(&batch, frames, lost);
            if let Some(done) = closes {
                // The directory is free before anybody is told; who waited for it may have gone.
                drop(self);
                let _ = done.send(());
                return;
            }
        }
    }

    fn put(&mut self, batch: &mut Vec<u8>, record: &Record) {
        if let Err(error) = record::put(batch, record) {
            tracing::error!(%error, "a frame of the log can't be written into the decision journal");
            self.waits.lose(1);
        }
    }

    fn write(&mut self, batch: &[u8], frames: u64, lost: u64) {
        if batch.is_empty() {
            return;
        }
        match self.segments.write(batch) {
            Ok(()) => {
                if self.is_failing {
                    tracing::info!(lost, "the decision journal is written again");
                } else if lost > 0 && !self.has_lost {
                    self.has_lost = true;
                    tracing::warn!(
                        lost,
                        "decisions came faster than the journal could be written; it says how many are missing"
                    );
                }
                self.is_failing = false;
            }
            Err(error) => {
                // Those of before are counted already.
                self.waits.lost.fetch_add(lost, Ordering::Relaxed);
                self.waits.lose(frames);
                metrics::counter!("thuban_journal_failures_total").increment(1);
                if !self.is_failing {
                    tracing::error!(%error, "the decision journal can't be written; the node goes on without it");
                }
                self.is_failing = true;
            }
        }
    }
}
