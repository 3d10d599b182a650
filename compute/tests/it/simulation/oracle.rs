//! What must hold in every run, whatever went wrong: a file for each promise.

mod dead;
mod fences;
mod landing;
mod leases;
mod mass;
mod quiet;
mod reads;
mod watches;
mod writes;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use compute::model::{Entry, LogIdentity, Position};
use compute::node::NodeStatus;
use compute::port::Journal;
use compute::port::journal::Raised;
use compute::state::Verdict;
use compute::testing::journal::Decided;
use compute::view::View;

use super::calm::is_calm;
use super::history::Told;
use super::ports::Landed;
use super::sim::Sim;

pub(super) use dead::KEPT_MS_MAX;
use fences::Truth;
pub(super) use landing::LANDED_MS;

/// The journal of all nodes: each frame once, and a word if two of them decided it otherwise.
pub(super) struct Ledger {
    sim: Sim,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    decided: Vec<Decided>,
    wrong: Vec<String>,
}

/// All that is known of a run when it is over.
pub(super) struct Evidence<'a> {
    pub(super) told: &'a Told,
    pub(super) decided: &'a [Decided],
    /// When each frame was appended, by offset.
    pub(super) appended_ms: &'a [u64],
    pub(super) landed: &'a [Landed],
    /// When nothing went wrong any more, and when it was over.
    pub(super) healed_ms: u64,
    pub(super) over_ms: u64,
    /// It was over because all was as it should be.
    pub(super) is_calm: bool,
    /// What each node shows at the end.
    pub(super) shown: &'a [Shown],
}

/// A node at the end, and its view of each service.
pub(super) struct Shown {
    pub(super) node: Arc<str>,
    pub(super) views: Vec<Arc<View>>,
    pub(super) status: NodeStatus,
}

impl Evidence<'_> {
    fn appended_ms(&self, decided: &Decided) -> u64 {
        self.read_ms(decided.entry.position)
    }

    /// When the frame there was to be read.
    fn read_ms(&self, position: Position) -> u64 {
        self.appended_ms.get((position.offset() as usize).wrapping_sub(1)).copied().unwrap_or(u64::MAX)
    }
}

/// Everything that is wrong with a run.
pub(super) fn judge(evidence: &Evidence<'_>) -> Vec<String> {
    let mut wrong = evidence.told.wrong.clone();
    wrong.extend(leases::check(evidence));
    wrong.extend(mass::check(evidence));
    wrong.extend(writes::check(evidence));
    let truth = match Truth::of(evidence.decided, evidence.landed) {
        Ok(truth) => truth,
        Err(broken) => {
            wrong.push(format!("fence: {broken}"));
            return wrong;
        }
    };
    wrong.extend(landing::check(evidence, &truth));
    wrong.extend(dead::check(evidence, &truth));
    wrong.extend(reads::check(evidence, &truth));
    wrong.extend(watches::check(evidence, &truth));
    wrong.extend(quiet::check(evidence, &truth));
    wrong
}

impl Ledger {
    pub(super) fn new(sim: Sim) -> Arc<Self> {
        Arc::new(Self { sim, book: Mutex::default() })
    }

    pub(super) fn wrong(&self, what: String) {
        self.sim.tell(|| what.clone());
        self.book().wrong.push(what);
    }

    /// What all decided, and what was wrong while they did.
    pub(super) fn close(&self) -> (Vec<Decided>, Vec<String>) {
        let mut book = self.book();
        (std::mem::take(&mut book.decided), std::mem::take(&mut book.wrong))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for Ledger {
    fn begun(&self, _: LogIdentity, _: Position) {}

    fn raised(&self, raised: Raised) {
        self.wrong(format!("nobody loses the log in a run: {raised:?}"));
    }

    fn record(&self, entry: &Entry, verdicts: &[Verdict]) {
        let mut book = self.book();
        let at = entry.position.offset() as usize - 1;
        match book.decided.get(at) {
            Some(before) if before.entry.checksum != entry.checksum => {
                let wrong = format!("two nodes read different frames at {}", entry.position);
                book.wrong.push(wrong);
            }
            Some(before) if before.verdicts != verdicts => {
                let (one, other) = (&before.verdicts, verdicts);
                let wrong = format!("agreement: at {} one decided {one:?}, another {other:?}", entry.position);
                book.wrong.push(wrong);
            }
            Some(_) => {}
            None if at == book.decided.len() => {
                if !entry.frame.changes.iter().all(|change| is_calm(&change.op)) {
                    self.sim.calm().stir(self.sim.now_ms());
                }
                let decided = Decided { entry: entry.clone(), verdicts: verdicts.to_vec() };
                self.sim.tell(|| {
                    let pairs = entry.frame.changes.iter().zip(verdicts);
                    let beside = |v: &Verdict| if v.is_applied() { String::new() } else { format!("{v:?} ") };
                    let words = pairs.map(|(change, verdict)| format!(" {}{:?};", beside(verdict), change.op));
                    format!("first applied {}{}", entry.position, words.collect::<String>())
                });
                book.decided.push(decided);
            }
            None => {
                let wrong = format!("nobody applied what is before {}", entry.position);
                book.wrong.push(wrong);
            }
        }
    }
}
