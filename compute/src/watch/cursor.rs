//! One watcher: what it is told next.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use tokio::sync::watch;

use super::account::{Account, Accounts, Acknowledger};
use super::chain::Chain;
use super::hub::{Counted, Held, Standing};
use super::lines::Lines;
use super::pulse::Beat;
use super::scene::{Scene, Step};
use super::slot::Slot;
use super::{Scope, WatchEvent, WatchSpec};
use crate::directory::{Directory, Progress};
use crate::error::Error;
use crate::model::limits::BEHIND_MS_MAX;
use crate::model::{Revision, Selector, ServiceKey};
use crate::port::Clock;
use crate::port::clock::MonoMs;

/// When a watcher looks again that can't be told yet how far the node is.
const LOOK_AGAIN_MS: MonoMs = 100;

type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A stream of events for one watcher.
pub struct Watch {
    counted: Counted,
    follows: Follows,
    directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
    selector: Arc<Selector>,
    slot: Arc<Slot>,
    accounts: Arc<Accounts>,
    /// What the watcher has seen and this node has not yet.
    ahead: Option<Ahead>,
    /// It came with a revision of another history, and was not told so yet. This one is here.
    foreign: Option<Revision>,
    /// The last progress told, and the largest revision of any event.
    progress: Revision,
    sent: Revision,
    /// It resumes, and was not told so by anything yet.
    owes_progress: bool,
    beat: Beat,
    /// Until `.0`. A future of the clock need not be `Sync`, and a watch should be.
    timer: Mutex<Option<(MonoMs, Timer)>>,
    refused: Option<Error>,
}

enum Follows {
    Services(Lines),
    Namespace(Chain),
}

struct Ahead {
    wanted: Revision,
    progress: watch::Receiver<Progress>,
    until: MonoMs,
}

impl Watch {
    pub(super) fn new(
        counted: Counted,
        directory: Arc<Directory>,
        clock: Arc<dyn Clock>,
        slot: Arc<Slot>,
        mut held: Vec<Held>,
        accounts: Arc<Accounts>,
        spec: WatchSpec,
    ) -> Self {
        let now = clock.mono_ms();
        let (mut from, mut ahead, mut foreign) = (spec.from, None, None);
        match from.map(|from| (from, counted.hub.standing_of(from))) {
            Some((wanted, Standing::Ahead)) => {
                ahead = Some(Ahead { wanted, progress: directory.progress(), until: now + BEHIND_MS_MAX });
            }
            Some((_, Standing::Foreign { at })) => {
                foreign = Some(at);
                from = None;
            }
            Some((_, Standing::Behind)) | None => {}
        }
        let follows = match (spec.scope, held.pop()) {
            (Scope::Namespace(namespace), Some(held)) => {
                Follows::Namespace(Chain::new(held, namespace, slot.clone(), from))
            }
            (_, last) => {
                held.extend(last);
                Follows::Services(Lines::new(held, slot.clone(), from))
            }
        };
        Self {
            follows,
            beat: counted.hub.pulse.join(now),
            counted,
            directory,
            clock,
            selector: Arc::new(spec.selector),
            slot,
            accounts,
            ahead,
            foreign,
            progress: Revision::ZERO,
            sent: from.unwrap_or_default(),
            owes_progress: from.is_some(),
            timer: Mutex::new(None),
            refused: None,
        }
    }

    /// The next event; `None` once the node stops, or when [`Watch::refused`] says why. Cancel-safe. At least every
    /// 10 s there is one.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            if self.counted.hub.fanout().is_closed() || self.refused.is_some() {
                return None;
            }
            if self.ahead.is_some() {
                self.catch_up().await;
                continue;
            }
            if let Some(at) = self.foreign.take() {
                let event = WatchEvent::Compacted(at);
                self.note(&event);
                return Some(event);
            }
            let is_idle = match self.step() {
                Step::Event(event) => {
                    self.note(&event);
                    return Some(event);
                }
                Step::Idle => true,
                Step::Again => false,
            };
            if let Some(event) = self.beat(is_idle) {
                return Some(event);
            }
            if is_idle {
                self.woken().await;
            } else {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Why there will be no event any more, where it is not for the node's end.
    pub fn refused(&self) -> Option<&Error> {
        self.refused.as_ref()
    }

    /// What to bring back as `from` to go on behind the last event. `None`: everything has to be told again.
    ///
    /// Of one service, or of a namespace, that is the revision of the last event. Of several services it may be below,
    /// where one of them was ahead of the others.
    pub fn position(&self) -> Option<Revision> {
        match &self.follows {
            _ if self.ahead.is_some() => Some(self.sent),
            Follows::Services(lines) => lines.safe().map(|safe| safe.min(self.sent)),
            Follows::Namespace(chain) => chain.safe().map(|safe| safe.min(self.sent)),
        }
    }

    /// The watcher says that it has everything up to `revision` of `service`.
    pub fn acknowledge(&self, service: &ServiceKey, revision: Revision) {
        self.acknowledger().acknowledge(service, revision);
    }

    /// The same from elsewhere, while somebody waits for the next event.
    pub fn acknowledger(&self) -> Acknowledger {
        Acknowledger(self.accounts.clone())
    }

    fn step(&mut self) -> Step {
        let scene = Scene {
            hub: &self.counted.hub,
            directory: &self.directory,
            selector: &self.selector,
            progress: self.progress,
        };
        match &mut self.follows {
            Follows::Services(lines) => lines.step(&scene),
            Follows::Namespace(chain) => chain.step(&scene),
        }
    }

    fn safe(&self) -> Option<Revision> {
        match &self.follows {
            Follows::Services(lines) => lines.safe(),
            Follows::Namespace(chain) => chain.safe(),
        }
    }

    fn since(&self) -> Revision {
        match &self.follows {
            Follows::Services(lines) => lines.since(),
            Follows::Namespace(chain) => chain.since(),
        }
    }

    /// Progress, when it is due.
    fn beat(&mut self, is_idle: bool) -> Option<WatchEvent> {
        let now = self.clock.mono_ms();
        let is_due = now >= self.beat.due_ms;
        // That it resumed is known when there is nothing left to tell.
        if !(is_due || self.owes_progress && is_idle) {
            return None;
        }
        // The watcher may have been brought this far, with a word or without one.
        let least = self.sent.max(self.since());
        let Some(safe) = self.safe().filter(|safe| *safe >= least) else {
            // Of several services one is ahead of what is known of the others: not for long.
            self.beat.due_ms = self.beat.due_ms.max(now + LOOK_AGAIN_MS);
            return None;
        };
        let hub = &self.counted.hub;
        let shared = if is_due { hub.pulse.revision(self.beat, hub.covered().min(safe)) } else { safe };
        let revision = if shared < least || shared > safe { safe } else { shared };
        let event = WatchEvent::Progress(revision);
        self.note(&event);
        Some(event)
    }

    fn note(&mut self, event: &WatchEvent) {
        let hub = &self.counted.hub;
        let meters = &hub.meters;
        let account = |service: &ServiceKey| self.accounts.of(service);
        let sent = |to: Option<&Account>, revision: Revision| to.into_iter().for_each(|a| a.sent(revision));
        match event {
            WatchEvent::Snapshot { view, revision, .. } => {
                meters.snapshots.increment(1);
                sent(view.as_ref().and_then(|view| account(&view.service)), *revision);
                self.sent = self.sent.max(*revision);
            }
            WatchEvent::Change(delta) => {
                meters.deltas.increment(1);
                sent(account(&delta.service), delta.to);
                self.sent = self.sent.max(delta.to);
            }
            WatchEvent::Compacted(_) => meters.compacted.increment(1),
            WatchEvent::Progress(revision) => {
                meters.progress.increment(1);
                self.accounts.any().into_iter().for_each(|account| account.sent_of_all(*revision));
                self.progress = *revision;
                self.sent = self.sent.max(*revision);
            }
        }
        self.owes_progress = false;
        self.beat = hub.pulse.next(self.beat, self.clock.mono_ms());
    }

    /// Until there may be something to tell.
    async fn woken(&mut self) {
        let due = self.beat.due_ms;
        let timer = self.timer.get_mut().unwrap_or_else(PoisonError::into_inner);
        if timer.as_ref().is_none_or(|(at, _)| *at != due) {
            let clock = self.clock.clone();
            *timer = Some((due, Box::pin(async move { clock.sleep_until(due).await })));
        }
        let slot = &self.slot;
        poll_fn(|cx| {
            if slot.poll_rung(cx).is_ready() {
                return Poll::Ready(());
            }
            let Some((_, sleep)) = timer else { return Poll::Pending };
            let woken = sleep.as_mut().poll(cx);
            if woken.is_ready() {
                // It is over, and must not be asked again.
                *timer = None;
            }
            woken
        })
        .await;
    }

    /// Until this node has applied what the watcher has seen, but not for ever.
    async fn catch_up(&mut self) {
        let Some(ahead) = &mut self.ahead else { return };
        let wanted = ahead.wanted;
        let reached = tokio::select! {
            reached = ahead.progress.wait_for(|progress| progress.applied.last() >= wanted) => reached.is_ok(),
            () = self.clock.sleep_until(ahead.until) => false,
        };
        if !reached {
            let at = ahead.progress.borrow().applied.last();
            self.refused = Some(Error::Behind { at, wanted });
        }
        self.ahead = None;
    }
}
