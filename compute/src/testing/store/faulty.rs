//! A store that fails as stores do.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::model::{LogIdentity, LogState, Position, Rows};
use crate::port::store::{Epoch, LandError, Loaded, PresenceStore, ReadError};
use crate::port::{Chance, Clock};

/// What befalls one call. A read has one way to fail, [`ReadError::Away`]: every fault but [`Fault::Delay`] is that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// [`LandError::Rejected`], and nothing was written: a full disk.
    Refuse,
    /// [`LandError::Unknown`], and nothing was written: the request was lost.
    Lose,
    /// [`LandError::Unknown`], though it was written: the answer was lost.
    Obscure,
    /// [`LandError::Unknown`], and it is written after the next write that gets through, or at
    /// [`FaultyStore::deliver`]: the request was held up on the way.
    Late,
    /// It takes this long on the clock, and then gets through.
    Delay(Duration),
}

/// How often each fault befalls a call of a seeded store, of 1,000.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Odds {
    pub refuse: u16,
    pub lose: u16,
    pub obscure: u16,
    pub late: u16,
    pub delay: u16,
    /// No delay is longer.
    pub delay_max: Duration,
}

type Held<S> = Box<dyn FnOnce(Arc<S>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// Wraps a store and fails its calls: by script, by odds from a seed, or all of them until told otherwise.
pub struct FaultyStore<S: ?Sized> {
    inner: Arc<S>,
    clock: Arc<dyn Clock>,
    chance: Arc<dyn Chance>,
    plan: Mutex<Plan>,
    late: Mutex<Vec<Held<S>>>,
}

#[derive(Default)]
struct Plan {
    odds: Odds,
    standing: Option<Fault>,
    writes: VecDeque<Option<Fault>>,
    reads: VecDeque<Option<Fault>>,
    befallen: u64,
}

impl<S: PresenceStore + ?Sized> FaultyStore<S> {
    /// Without faults until they are asked for; with the same `chance` the same ones.
    pub fn new(inner: Arc<S>, clock: Arc<dyn Clock>, chance: Arc<dyn Chance>) -> Arc<Self> {
        Arc::new(Self { inner, clock, chance, plan: Mutex::default(), late: Mutex::default() })
    }

    pub fn inner(&self) -> &Arc<S> {
        &self.inner
    }

    /// From now on each call that no script speaks for fails at these odds.
    pub fn set_odds(&self, odds: Odds) {
        self.plan().odds = odds;
    }

    /// Every call that no script speaks for has this fault, until `None`.
    pub fn stand(&self, fault: Option<Fault>) {
        self.plan().standing = fault;
    }

    /// What befalls the next writes (`lead`, `land`, `replace`) in turn; `None`: nothing.
    pub fn script_writes(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.plan().writes.extend(faults);
    }

    /// What befalls the next reads (`load`, `mark`) in turn; `None`: nothing.
    pub fn script_reads(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.plan().reads.extend(faults);
    }

    /// No fault any more; what is held up arrives.
    pub async fn heal(&self) {
        let befallen = self.plan().befallen;
        *self.plan() = Plan { befallen, ..Plan::default() };
        self.deliver().await;
    }

    /// The writes that are held up arrive now.
    pub async fn deliver(&self) {
        let late = std::mem::take(&mut *lock(&self.late));
        for write in late {
            write(self.inner.clone()).await;
        }
    }

    /// How many calls had a fault.
    pub fn befallen(&self) -> u64 {
        self.plan().befallen
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        lock(&self.plan)
    }

    fn next(&self, script: fn(&mut Plan) -> &mut VecDeque<Option<Fault>>) -> Option<Fault> {
        let mut plan = self.plan();
        let fault = match script(&mut plan).pop_front() {
            Some(scripted) => scripted,
            None => plan.standing.or_else(|| plan.odds.draw(self.chance.as_ref())),
        };
        plan.befallen += u64::from(fault.is_some());
        fault
    }

    async fn read<T, F>(&self, call: F) -> Result<T, ReadError>
    where
        F: Future<Output = Result<T, ReadError>> + Send,
    {
        match self.next(|plan| &mut plan.reads) {
            None => call.await,
            Some(Fault::Delay(span)) => {
                self.clock.sleep(span).await;
                call.await
            }
            Some(fault) => Err(ReadError::Away(format!("injected: {fault:?}"))),
        }
    }

    async fn write<T, F>(&self, call: impl FnOnce(Arc<S>) -> F + Send + 'static) -> Result<T, LandError>
    where
        F: Future<Output = Result<T, LandError>> + Send + 'static,
    {
        match self.next(|plan| &mut plan.writes) {
            None => {}
            Some(Fault::Delay(span)) => self.clock.sleep(span).await,
            Some(Fault::Refuse) => return Err(LandError::Rejected("injected: Refuse".to_owned())),
            Some(Fault::Lose) => return Err(LandError::Unknown("injected: Lose".to_owned())),
            Some(Fault::Obscure) => {
                // Whether it was written or refused, the caller does not hear.
                drop(call(self.inner.clone()).await);
                return Err(LandError::Unknown("injected: Obscure".to_owned()));
            }
            Some(Fault::Late) => {
                lock(&self.late).push(Box::new(move |inner| Box::pin(async move { drop(call(inner).await) })));
                return Err(LandError::Unknown("injected: Late".to_owned()));
            }
        }
        let answer = call(self.inner.clone()).await;
        self.deliver().await;
        answer
    }
}

impl Odds {
    fn draw(self, chance: &dyn Chance) -> Option<Fault> {
        let mut left = chance.below(1_000);
        let kinds = [
            (self.refuse, Fault::Refuse),
            (self.lose, Fault::Lose),
            (self.obscure, Fault::Obscure),
            (self.late, Fault::Late),
        ];
        for (odds, fault) in kinds {
            match left.checked_sub(u64::from(odds)) {
                None => return Some(fault),
                Some(rest) => left = rest,
            }
        }
        let longest = self.delay_max.as_millis() as u64;
        (left < u64::from(self.delay)).then(|| Fault::Delay(Duration::from_millis(chance.below(longest + 1))))
    }
}

#[async_trait]
impl<S: PresenceStore + ?Sized> PresenceStore for FaultyStore<S> {
    async fn load(&self) -> Result<Loaded, ReadError> {
        self.read(self.inner.load()).await
    }

    async fn lead(&self, identity: LogIdentity) -> Result<Epoch, LandError> {
        self.write(move |inner| async move { inner.lead(identity).await }).await
    }

    async fn land(&self, epoch: Epoch, rows: Rows, from: Position, upto: LogState) -> Result<(), LandError> {
        self.write(move |inner| async move { inner.land(epoch, rows, from, upto).await }).await
    }

    async fn replace(&self, epoch: Epoch, rows: Rows, upto: LogState) -> Result<(), LandError> {
        self.write(move |inner| async move { inner.replace(epoch, rows, upto).await }).await
    }

    async fn mark(&self) -> Result<Option<(Epoch, LogState)>, ReadError> {
        self.read(self.inner.mark()).await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
