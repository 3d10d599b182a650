//! A log that fails as its test says: by script, by chance, or by standing still.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::model::{Entry, Frame, Position};
use crate::port::Chance;
use crate::port::change_log::{AppendError, Bounds, ChangeLog, Found, Life, LogReadError};

/// How an append goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendFault {
    /// Refused, and not written.
    Refused,
    /// Unknown to the caller, and written.
    Applied,
    /// Unknown to the caller, and lost.
    Lost,
    /// Unknown to the caller, and written later: at [`FaultyLog::deliver_late`], or at some later append when faults
    /// come by chance.
    Late,
}

/// How often what goes wrong, per thousand calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rates {
    pub refused: u64,
    pub applied: u64,
    pub lost: u64,
    pub late: u64,
    /// Of reads and bounds: away.
    pub away: u64,
}

/// Where calls are held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stall {
    /// Appends, before the log has seen them.
    Append,
    /// Appends, when they are written and before the caller hears of it.
    Answer,
    /// Reads, before the log has seen them.
    Read,
}

/// A log between a node and `inner`; what is wrong with it is wrong for this node alone.
pub struct FaultyLog {
    inner: Arc<dyn ChangeLog>,
    plan: Mutex<Plan>,
    gates: watch::Sender<Gates>,
}

#[derive(Default)]
struct Plan {
    /// What the next appends meet; `None`: nothing. Before chance.
    script: VecDeque<Option<AppendFault>>,
    chance: Option<(Arc<dyn Chance>, Rates)>,
    late: VecDeque<Arc<Frame>>,
}

#[derive(Clone, Copy, Default)]
struct Gates {
    away: bool,
    append: bool,
    answer: bool,
    read: bool,
}

impl FaultyLog {
    /// Faithful to `inner` until it is told otherwise.
    pub fn over(inner: Arc<dyn ChangeLog>) -> Arc<Self> {
        Arc::new(Self { inner, plan: Mutex::default(), gates: watch::Sender::new(Gates::default()) })
    }

    /// What the next appends meet, one each, behind what was scripted before.
    pub fn script(&self, faults: impl IntoIterator<Item = Option<AppendFault>>) {
        self.plan().script.extend(faults);
    }

    /// Faults by chance from now on: the same chance and the same calls give the same faults.
    pub fn by_chance(&self, chance: Arc<dyn Chance>, rates: Rates) {
        self.plan().chance = Some((chance, rates));
    }

    /// While away, reads and bounds fail, waiting reads too, and appends are refused.
    pub fn set_away(&self, away: bool) {
        self.gates.send_modify(|gates| gates.away = away);
    }

    pub fn stall(&self, what: Stall) {
        self.gates.send_modify(|gates| *gates.at(what) = true);
    }

    pub fn release(&self, what: Stall) {
        self.gates.send_modify(|gates| *gates.at(what) = false);
    }

    /// Writes what was to come late, in its order; how many frames.
    pub async fn deliver_late(&self) -> Result<usize, AppendError> {
        let mut delivered = 0;
        loop {
            let Some(frame) = self.plan().late.pop_front() else { return Ok(delivered) };
            self.inner.append(frame).await?;
            delivered += 1;
        }
    }

    /// No fault from now on, nothing stalled, and what was to come late is written.
    pub async fn heal(&self) -> Result<(), AppendError> {
        {
            let mut plan = self.plan();
            plan.script.clear();
            plan.chance = None;
        }
        self.gates.send_modify(|gates| *gates = Gates::default());
        self.deliver_late().await.map(|_| ())
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pass(&self, closed: impl Fn(&Gates) -> bool) {
        let mut gates = self.gates.subscribe();
        // The sender lives as long as self, so the only way out is an open gate.
        let _ = gates.wait_for(|gates| !closed(gates)).await;
    }

    /// Until the log is away.
    async fn lost(&self) -> LogReadError {
        let mut gates = self.gates.subscribe();
        let _ = gates.wait_for(|gates| gates.away).await;
        LogReadError::Away("as the test says".into())
    }

    fn read_fault(&self) -> Result<(), LogReadError> {
        let away = |why: &str| Err(LogReadError::Away(why.into()));
        if self.gates.borrow().away {
            return away("as the test says");
        }
        match &self.plan().chance {
            Some((chance, rates)) if chance.below(1_000) < rates.away => away("by chance"),
            _ => Ok(()),
        }
    }
}

impl Gates {
    fn at(&mut self, what: Stall) -> &mut bool {
        match what {
            Stall::Append => &mut self.append,
            Stall::Answer => &mut self.answer,
            Stall::Read => &mut self.read,
        }
    }
}

impl Plan {
    fn next_fault(&mut self) -> Option<AppendFault> {
        if let Some(scripted) = self.script.pop_front() {
            return scripted;
        }
        let (chance, rates) = self.chance.as_ref()?;
        let mut drawn = chance.below(1_000);
        let faults = [
            (AppendFault::Refused, rates.refused),
            (AppendFault::Applied, rates.applied),
            (AppendFault::Lost, rates.lost),
            (AppendFault::Late, rates.late),
        ];
        for (fault, rate) in faults {
            if drawn < rate {
                return Some(fault);
            }
            drawn -= rate;
        }
        None
    }

    /// True when what was to come late comes now.
    fn is_late_due(&self) -> bool {
        !self.late.is_empty() && self.chance.as_ref().is_some_and(|(chance, _)| chance.below(2) == 0)
    }
}

#[async_trait]
impl ChangeLog for FaultyLog {
    async fn bounds(&self) -> Result<Bounds, LogReadError> {
        self.read_fault()?;
        self.inner.bounds().await
    }

    async fn append(&self, frame: Arc<Frame>) -> Result<Position, AppendError> {
        self.pass(|gates| gates.append).await;
        if self.gates.borrow().away {
            return Err(AppendError::Refused("away, as the test says".into()));
        }
        if self.plan().is_late_due() {
            self.deliver_late().await?;
        }
        let unknown = |why: &str| Err(AppendError::Unknown(why.into()));
        let fault = self.plan().next_fault();
        match fault {
            Some(AppendFault::Refused) => Err(AppendError::Refused("as the test says".into())),
            Some(AppendFault::Lost) => unknown("as the test says"),
            Some(AppendFault::Late) => {
                self.plan().late.push_back(frame);
                unknown("as the test says")
            }
            Some(AppendFault::Applied) => {
                self.inner.append(frame).await?;
                self.pass(|gates| gates.answer).await;
                unknown("as the test says")
            }
            None => {
                let position = self.inner.append(frame).await;
                self.pass(|gates| gates.answer).await;
                position
            }
        }
    }

    async fn read(&self, after: Position, max: usize) -> Result<Vec<Entry>, LogReadError> {
        self.pass(|gates| gates.read).await;
        self.read_fault()?;
        tokio::select! {
            biased;
            lost = self.lost() => Err(lost),
            entries = self.inner.read(after, max) => entries,
        }
    }

    async fn trim(&self, upto: Position) -> Result<(), AppendError> {
        if self.gates.borrow().away {
            return Err(AppendError::Refused("away, as the test says".into()));
        }
        self.inner.trim(upto).await
    }

    async fn look(&self) -> Result<Found, LogReadError> {
        self.pass(|gates| gates.read).await;
        self.read_fault()?;
        self.inner.look().await
    }

    async fn follow(&self, life: Life) -> Result<(), LogReadError> {
        self.read_fault()?;
        self.inner.follow(life).await
    }
}
