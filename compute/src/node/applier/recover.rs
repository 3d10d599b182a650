//! The log is lost: this node stops applying, answers readers from what it has and renewals as while the log is away,
//! and goes on from what all of them begin anew from. See [`recovery`](crate::node::recovery).

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::model::{Author, LeaseKind, NodeIncarnation, Removal, RemovalReason, Revision, ServiceKey};
use crate::node::Failure;
use crate::node::bootstrap::Booted;
use crate::node::checks::CheckEvent;
use crate::node::heard::Owned;
use crate::node::link::Told;
use crate::node::recovery::{Recovery, Whole, Word};
use crate::node::roll::Roll;
use crate::port::clock::MonoMs;
use crate::port::peers::Reading;
use crate::state::{Service, State};
use crate::watch::{Publication, Record, Recorded};

use super::expiry::{Expiry, Hold};
use super::{Applier, Event, Item, Source};

/// While the log is away, the others are asked this often whether they found that it is lost.
const ASK_MS: MonoMs = 1_000;

/// On the way to the next life of the log.
pub(super) struct Recovering {
    words: mpsc::Receiver<Word>,
    /// What it waits for.
    pub(super) why: String,
    task: JoinHandle<()>,
}

impl Drop for Recovering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Recovering {
    /// The next word of it; never, if there is none under way. Cancel-safe.
    pub(super) async fn next(recovering: &mut Option<Self>) -> Event {
        match recovering {
            Some(recovering) => Event::Recovery(recovering.words.recv().await),
            None => std::future::pending().await,
        }
    }
}

impl Applier {
    /// This node can read the log no further, and nor can the others for long.
    pub(super) fn recover(&mut self, why: String) {
        let Some(company) = self.company.as_mut().filter(|_| self.recovering.is_none()) else { return };
        tracing::error!(why, applied = %self.state.position(), "the change log is lost; the nodes agree on its next life");
        metrics::counter!("thuban_logs_lost_total").increment(1);
        company.step_down();
        (self.repair, self.lands_whole) = (None, false);
        let others = self.state.members().map(|(node, _)| *node).filter(|node| *node != self.me).collect();
        let (words_in, words) = mpsc::channel(1);
        let recovery = Recovery::of_running(company.parts.clone(), self.me, self.state.log(), others, words_in);
        let task = tokio::spawn(recovery.run());
        self.recovering = Some(Recovering { words, why, task });
        self.log_is_away(self.clock.mono_ms());
        self.set_aside();
        self.put_status();
    }

    /// What was under way may have been applied by another node, and never comes to this one: its callers are told so.
    /// What this node has promised by itself is said again in the next life; what it rests on tells whether it is news.
    fn set_aside(&mut self) {
        self.answer_unknown();
        let in_flight = self.in_flight.take();
        for change in in_flight.iter().flat_map(|f| f.frame.changes.iter().rev()) {
            if let Some(Source::Overlay) = self.pending.remove(&change.origin.counter) {
                self.overlay.put_back(change.author.clone(), change.op.clone());
            }
        }
        self.pending.clear();
        self.staged.retain(|item| matches!(item, Item::Command { .. }));
    }

    /// True: this node goes on, and reads again.
    pub(super) fn take_word(&mut self, word: Option<Word>) -> Result<bool, Failure> {
        match word {
            Some(Word::Whole(reply)) => {
                // Nothing is applied meanwhile. Whoever does not wait for it any more has no use for it.
                let _ = reply.send(Whole { rows: self.state.all_rows(), log: self.state.log() });
                Ok(false)
            }
            Some(Word::Waits(why)) => {
                self.recovering.iter_mut().for_each(|recovering| recovering.why.clone_from(&why));
                self.put_status();
                Ok(false)
            }
            Some(Word::Over(over)) => match *over {
                Ok(booted) => {
                    self.begin_anew(booted);
                    Ok(true)
                }
                Err(error) => Err(self.fail(Failure::Log(error.to_string()))),
            },
            None => Err(self.fail(Failure::Task("the recovery of the log ended".to_owned()))),
        }
    }

    /// From what the store had, and the log behind it.
    fn begin_anew(&mut self, booted: Booted) {
        let now = self.clock.mono_ms();
        let old = std::mem::replace(&mut self.state, booted.state);
        let position = self.state.position();
        tracing::warn!(was = %old.position(), is = %position, "this node goes on in the next life of the log");
        self.recovering = None;
        self.landed_up_to(booted.landed);
        self.publish_anew(&old);
        self.forget_checks(&old);
        if self.state.member(self.me).is_some() {
            self.overlay.rebase(&self.state, old.position());
            self.stay(now);
        } else {
            self.rejoin();
        }
        // It is back when something of this node comes back.
        self.away.iter_mut().for_each(|away| away.retry_at = now);
        self.put_status();
        // A large one takes a while to be taken apart.
        tokio::task::spawn_blocking(move || drop(old));
    }

    /// This node is the member that it was. Its leases have their full time again, its streams go on.
    fn stay(&mut self, now: MonoMs) {
        let members: Vec<NodeIncarnation> = self.state.members().map(|(node, _)| *node).collect();
        self.expiry = Expiry::ready(self.me, &self.state, &self.ends.checks, now);
        self.expiry.hold(Hold::LogAway);
        self.hold_sessions(now);
        let Some(company) = &mut self.company else { return };
        company.roll = Roll::new(self.me, members.into_iter(), now);
        company.forget_shown();
    }

    /// After the leases of this node were taken from another state: it holds the sessions whose connections it has, and
    /// says whose leases are whose.
    pub(super) fn hold_sessions(&mut self, now: MonoMs) {
        for (session, epoch) in self.ends.link.held() {
            match self.state.session(&session) {
                Some(row) if row.node == self.me && row.epoch == epoch => {
                    self.expiry.session_held(session, epoch, now);
                }
                _ => self.ends.link.session_moved(session, u32::MAX),
            }
        }
        let Some(company) = &self.company else { return };
        company.heard.owned.store(Arc::new(Owned { me: self.me, ownership: self.expiry.ownership().clone() }));
        self.know_members();
    }

    /// Readers and watchers get what differs; whatever does not, keeps its place in their chains.
    pub(super) fn publish_anew(&mut self, old: &State) {
        let at = self.state.position();
        for (namespace, row) in self.state.namespaces() {
            self.directory.put_namespace(namespace, Some(row.clone()));
        }
        let mut publications = Vec::new();
        for (key, service) in self.state.services() {
            let records = records(old.service(key), service, at.last());
            if records.is_empty() {
                self.directory.put_view(self.shown(key));
            } else {
                // A revision that was shown with something else is shown no more, and none goes back.
                let had = old.service(key).map(|had| had.row().revision);
                let view = self.shown_from(key, had.filter(|had| *had >= service.row().revision).map(|_| at.last()));
                publications.push(Publication { view, records });
            }
        }
        for (key, service) in old.services().filter(|(key, _)| self.state.service(key).is_none()) {
            publications.push(Publication { view: self.shown(key), records: removals(service, at.last()) });
        }
        self.hub.publish(&self.directory, &publications, at);
        let kept: BTreeSet<ServiceKey> = old.services_with_kept();
        for service in kept.union(&self.state.services_with_kept()) {
            self.directory.put_kept(service, self.state.kept_overrides(service));
        }
        for (namespace, _) in old.namespaces() {
            if self.state.namespaces().all(|(there, _)| there != namespace) {
                self.directory.put_namespace(namespace, None);
            }
        }
        self.directory.put_applied(at, self.state.log().time_ms);
    }

    /// What is not there any more is not probed any more.
    pub(super) fn forget_checks(&self, old: &State) {
        for (service, entry) in old.services() {
            for instance in entry.instances().iter().filter(|i| i.lease().kind() == LeaseKind::Checked) {
                let key = service.instance(instance.id.clone());
                if self.state.instance(&key).is_none_or(|there| there.generation != instance.generation) {
                    self.ends.checks.tell(CheckEvent::Ended { key, generation: instance.generation });
                }
            }
        }
    }

    /// While the log is only away for this node, another may know that it is lost.
    pub(super) fn ask_whether_lost(&mut self, now: MonoMs) {
        let (is_away, generation) =
            (self.away.is_some() && self.recovering.is_none(), self.state.position().generation());
        let Some(company) = self.company.as_mut().filter(|company| is_away && now >= company.ask_at) else { return };
        company.ask_at = now + ASK_MS;
        let (peers, link) = (company.peers.clone(), self.ends.link.clone());
        let others: Vec<_> = self.state.members().map(|(node, _)| *node).filter(|node| *node != self.me).collect();
        tokio::spawn(async move {
            let answers = futures::future::join_all(others.into_iter().map(|node| peers.ask(node))).await;
            let answers: Vec<_> = answers.into_iter().flatten().collect();
            let is = |reading| answers.iter().any(|reply| reply.reading == reading);
            let is_ahead = answers.iter().any(|reply| reply.applied.generation() > generation);
            if is_ahead || (is(Reading::Stopped) && !is(Reading::Reads)) {
                link.tell(Told::Lost);
            }
        });
    }

    pub(super) fn reading(&self) -> Reading {
        match (&self.recovering, self.away) {
            (Some(_), _) => Reading::Stopped,
            (None, Some(_)) => Reading::Away,
            (None, None) => Reading::Reads,
        }
    }
}

/// What leads from one state of a service to another. Each record is of `at`: of the changes between, the last is told.
fn records(old: Option<&Service>, new: &Service, at: Revision) -> Vec<Record> {
    let record = |what| Record { revision: at, what };
    let Some(old) = old else {
        let all = new.instances().iter().map(|instance| record(Recorded::Put(instance.clone())));
        return std::iter::once(record(Recorded::Service)).chain(all).collect();
    };
    if old.row().revision == new.row().revision && old.row().digest == new.row().digest {
        return Vec::new();
    }
    let is_new = |instance: &&Arc<crate::model::Instance>| {
        old.get(&instance.id).is_none_or(|there| there.revision != instance.revision)
    };
    let put = new.instances().iter().filter(is_new).map(|instance| Recorded::Put(instance.clone()));
    let gone = old.instances().iter().filter(|instance| new.get(&instance.id).is_none());
    let gone =
        gone.map(|instance| Recorded::Removed(instance.id.clone(), removal(new.row().last_removal.as_ref(), at)));
    // Its row is newer, whatever else is.
    std::iter::once(Recorded::Service).chain(put).chain(gone).map(record).collect()
}

fn removals(old: &Service, at: Revision) -> Vec<Record> {
    let gone = old.instances().iter().map(|instance| Recorded::Removed(instance.id.clone(), removal(None, at)));
    gone.chain([Recorded::Service]).map(|what| Record { revision: at, what }).collect()
}

/// The newest removal that is known of a service stands for each that this node has slept over.
fn removal(last: Option<&Removal>, at: Revision) -> Removal {
    let unknown =
        || Removal { at_ms: 0, reason: RemovalReason::Expired, author: Author::new("node", "log"), revision: at };
    last.cloned().unwrap_or_else(unknown)
}
