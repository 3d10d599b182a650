//! What this node does where another one has other instances than it, or where the rows have: see
//! [`repair`](crate::node::repair).

use std::collections::BTreeMap;

use tokio::task::JoinHandle;

use crate::model::{Digest, Entry, NodeIncarnation, Position};
use crate::node::repair::{Rebuilt, Seen, Verdict, decide, go_on, rebuild};
use crate::port::clock::MonoMs;
use crate::state::State;

use super::expiry::Expiry;
use super::member::{Company, Shown};
use super::{Applier, Event};

/// For so long a state may be in the making.
const REBUILD_MAX_MS: MonoMs = 600_000;
/// For so long the others' words are waited for, once this node has its own.
const WORDS_MAX_MS: MonoMs = 120_000;
/// For so long this node goes on showing what it has made, after all have shown theirs: they look for its word, too.
const LINGER_MS: MonoMs = 3_000;
/// From the end of one to the next: what is only alarmed about stays as it is.
const AGAIN_MS: MonoMs = 300_000;

/// A state that is made anew aside, and what the others have shown of theirs.
pub(super) struct Repair {
    aside: Aside,
    began: MonoMs,
    /// Since when it can be compared.
    ready: Option<MonoMs>,
    others: BTreeMap<NodeIncarnation, Seen>,
    /// It is decided, and all have spoken, since then.
    spoken: Option<MonoMs>,
    verdict: Verdict,
}

/// How often, since the node started.
#[derive(Clone, Copy, Default)]
pub(super) struct Repairs {
    /// This node has given up what it had, or has landed everything again.
    pub(super) done: u64,
    /// It was not found out who is right.
    pub(super) undecided: u64,
}

enum Aside {
    Making(JoinHandle<Box<State>>),
    /// As far as the node's own, or further.
    Made(Box<State>),
    /// It is the node's own by now.
    Taken,
}

impl Drop for Repair {
    fn drop(&mut self) {
        if let Aside::Making(task) = &self.aside {
            task.abort();
        }
    }
}

impl Repair {
    /// The state, once it is made; never, if none is in the making. Cancel-safe.
    pub(super) async fn made(repair: &mut Option<Self>) -> Event {
        match repair.as_mut().map(|repair| &mut repair.aside) {
            Some(Aside::Making(task)) => Event::Made(task.await.ok()),
            _ => std::future::pending().await,
        }
    }

    /// What was made anew, as of `at`.
    fn digest(&self, own: &State) -> Option<Digest> {
        match &self.aside {
            Aside::Made(state) if state.position() == own.position() => Some(state.digest()),
            Aside::Taken => Some(own.digest()),
            Aside::Made(_) | Aside::Making(_) => None,
        }
    }

    fn hear(&mut self, node: NodeIncarnation, ours: &Shown, (digest, rebuilt): (Digest, Option<Digest>)) {
        let said = ours.rebuilt.zip(rebuilt);
        let said = said.map(|(ours, theirs)| Rebuilt { is_mine: ours == theirs, is_its_own: theirs == digest });
        let has_mine = digest == ours.digest;
        let seen = self.others.entry(node).or_insert(Seen { has_mine, rebuilt: None });
        *seen = Seen { has_mine, rebuilt: said.or(seen.rebuilt) };
    }
}

impl Applier {
    /// Begins to make the state anew, unless it is under way, or was a moment ago.
    pub(super) fn inquire(&mut self, why: &'static str) {
        let now = self.clock.mono_ms();
        let is_busy = self.repair.is_some() || self.recovering.is_some();
        let Some(company) = self.company.as_ref().filter(|_| !is_busy && now >= self.inquire_at) else { return };
        tracing::warn!(why, "this node makes its state anew aside, from store and log");
        let log = self.state.log();
        let task = tokio::spawn(rebuild(company.parts.clone(), log, log.watermark));
        let (others, verdict) = (BTreeMap::new(), Verdict::Wait);
        self.repair =
            Some(Repair { aside: Aside::Making(task), began: now, ready: None, others, spoken: None, verdict });
    }

    /// What has landed up to `at` is not what this node had there.
    pub(super) fn compare_rows(&mut self, at: Position, rows: Digest) {
        let Some(ours) = self.company.as_ref().and_then(|company| company.shown_at(at)) else {
            metrics::counter!("thuban_rows_uncompared_total").increment(1);
            tracing::debug!(%at, "it is not known any more what this node had there: the rows are not compared");
            return;
        };
        if ours.digest != rows {
            metrics::counter!("thuban_row_divergences_total").increment(1);
            tracing::error!(%at, ours = %ours.digest, %rows, "the store has other instances than this node had");
            self.inquire("the rows differ");
        }
    }

    /// Another node has shown itself at a position at which this one was `ours`.
    pub(super) fn compare_states(&mut self, node: NodeIncarnation, ours: Shown, theirs: (Digest, Option<Digest>)) {
        let (digest, rebuilt) = theirs;
        if digest != ours.digest {
            self.inquire("another node has other instances");
        } else if rebuilt.is_some_and(|rebuilt| rebuilt != digest) {
            self.inquire("another node has made something else of store and log than it has");
        }
        if let Some(repair) = &mut self.repair {
            repair.hear(node, &ours, theirs);
        }
    }

    pub(super) fn rebuilt(&self) -> Option<Digest> {
        self.repair.as_ref()?.digest(&self.state)
    }

    /// The state aside is made; where it is behind this node by now, it goes on, and aims ahead.
    pub(super) fn take_made(&mut self, made: Option<Box<State>>) {
        let now = self.clock.mono_ms();
        let (Some(repair), Some(company)) = (&mut self.repair, &self.company) else { return };
        let (Some(state), own) = (made, self.state.log()) else {
            return self.end_repair("the task that made the state anew has ended");
        };
        let (at, own_at) = (state.position(), own.watermark);
        if at.generation() != own_at.generation() {
            return self.end_repair("the log began its next life");
        }
        repair.aside = if at >= own_at {
            repair.ready = Some(now);
            Aside::Made(state)
        } else {
            let missing = own_at.offset() - at.offset();
            let ahead = Position::new(own_at.generation(), own_at.offset().saturating_add(missing));
            let task = go_on(company.parts.clone(), state, own, ahead.unwrap_or(own_at));
            Aside::Making(tokio::spawn(task))
        };
    }

    /// The state aside reads what the node's own has read. Where it can't, it was made of something else: the node goes on.
    pub(super) fn follow_aside(&mut self, entry: &Entry) {
        let followed = match self.repair.as_mut().map(|repair| &mut repair.aside) {
            Some(Aside::Made(state)) if state.position() < entry.position => state.apply(entry).map(drop),
            _ => Ok(()),
        };
        if let Err(broken) = followed {
            tracing::warn!(%broken, "the state that was made anew aside can't follow the log");
            self.end_repair("the state that was made anew can't follow the log");
        }
    }

    /// Looks whether it is decided what is to be done.
    pub(super) fn judge_repair(&mut self, now: MonoMs) {
        let lands = self.company.as_ref().is_some_and(Company::lands);
        let others: Vec<NodeIncarnation> =
            self.state.members().map(|(node, _)| *node).filter(|node| *node != self.me).collect();
        let Some(repair) = &mut self.repair else { return };
        let Some(ready) = repair.ready else {
            if now >= repair.began + REBUILD_MAX_MS {
                self.end_repair("the state could not be made anew");
            }
            return;
        };
        let seen: Vec<_> = others.iter().map(|node| repair.others.get(node).copied()).collect();
        let is_over = now >= ready + WORDS_MAX_MS;
        if repair.verdict == Verdict::Wait
            && let Some(made) = repair.digest(&self.state)
        {
            repair.verdict = decide(made == self.state.digest(), lands, &seen, is_over);
            match repair.verdict {
                Verdict::Wait => return,
                Verdict::LandAgain => {
                    tracing::error!(
                        "all nodes have the same and the store something else: this node lands all of it again"
                    );
                    self.lands_whole = true;
                }
                Verdict::Alarm(why) => self.alarm(why),
                verdict => tracing::warn!(?verdict, "what this node has was compared with store and log"),
            }
        }
        let Some(repair) = &mut self.repair else { return };
        if is_over || seen.iter().all(|seen| seen.is_some_and(|seen| seen.rebuilt.is_some())) {
            let spoken = *repair.spoken.get_or_insert(now);
            if now >= spoken + LINGER_MS && !matches!(repair.verdict, Verdict::Wait | Verdict::Swap) {
                self.close_repair();
            }
        }
    }

    fn end_repair(&mut self, why: &'static str) {
        self.alarm(why);
        self.close_repair();
    }

    /// Nothing was or can be done.
    fn alarm(&mut self, why: &'static str) {
        self.repairs.undecided += 1;
        metrics::counter!("thuban_repairs_undecided_total").increment(1);
        tracing::error!(
            why,
            "what this node has differs from what others have, or from the store, and is not repaired"
        );
    }

    fn close_repair(&mut self) {
        let repair = self.repair.take();
        self.inquire_at = self.clock.mono_ms() + AGAIN_MS;
        // A large one takes a while to be taken apart.
        tokio::task::spawn_blocking(move || drop(repair));
    }

    /// Before an entry is applied: if it was decided so, what was made anew takes the place of the state, which comes
    /// back. Both are of the same position; what follows is applied to the new one.
    pub(super) fn swap(&mut self) -> Option<State> {
        let at = self.state.position();
        let repair = self.repair.as_mut().filter(|repair| repair.verdict == Verdict::Swap)?;
        if !matches!(&repair.aside, Aside::Made(state) if state.position() == at) {
            return None;
        }
        let Aside::Made(state) = std::mem::replace(&mut repair.aside, Aside::Taken) else { return None };
        // It is shown for as long as the others may need it.
        (repair.verdict, repair.spoken) = (Verdict::Whole, None);
        self.repairs.done += 1;
        metrics::counter!("thuban_repairs_total", "what" => "state").increment(1);
        let old = std::mem::replace(&mut self.state, *state);
        tracing::error!(
            %at, had = %old.digest(), has = %self.state.digest(),
            "this node had other instances than store and log say, as another node has them; it goes on from those"
        );
        self.state.share_cells(&old);
        self.state.landed(self.landed);
        // What it has landed may be what it had.
        self.lands_whole = self.company.as_ref().is_some_and(Company::lands);
        self.own_leases_anew();
        Some(old)
    }

    /// Every lease of this node has its full time again; what it owes as a witness it still owes.
    fn own_leases_anew(&mut self) {
        let now = self.clock.mono_ms();
        let fresh = Expiry::ready(self.me, &self.state, &self.ends.checks, now);
        let old = std::mem::replace(&mut self.expiry, fresh);
        self.expiry.go_on_from(old);
        self.hold_sessions(now);
    }

    /// Readers and watchers get what differs, in one go; what was there before goes.
    pub(super) fn publish_swapped(&mut self, old: State) {
        self.publish_anew(&old);
        self.forget_checks(&old);
        self.put_status();
        tokio::task::spawn_blocking(move || drop(old));
    }

    /// What has landed is the whole state, if it was sent as that.
    pub(super) fn landed_whole(&mut self) {
        if std::mem::take(&mut self.landing_whole) {
            self.lands_whole = false;
            self.repairs.done += 1;
            metrics::counter!("thuban_repairs_total", "what" => "rows").increment(1);
        }
    }
}
