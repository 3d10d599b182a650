//! What is asked of all nodes of a cluster, or of another one than the caller reached.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use crate::command::Caller;
use crate::error::{Error, What};
use crate::model::{FreezeScope, NodeIncarnation, Position, ServiceKey};
use crate::node::{Freezing, Member, NodeStatus, Report};
use crate::port::Peers;
use crate::port::peers::PeerError;
use crate::watch::Subscription;

use super::Registry;

/// How long other nodes have for an answer; all are asked at once.
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// How long a node that starts waits for somebody to say whether it is believed, and between two questions.
const BELIEVED_WITHIN: Duration = Duration::from_secs(3);
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// What a name that nobody has is shown as, at most.
const NAME_SHOWN_MAX: usize = 64;

/// A node of the cluster, as the one that is asked can tell.
#[derive(Clone, Debug)]
pub struct NodeSeen {
    pub node: NodeIncarnation,
    pub name: Arc<str>,
    /// The one that is asked.
    pub is_me: bool,
    /// It lands what all of them apply.
    pub is_lander: bool,
    /// It said that it goes.
    pub leaving: bool,
    /// Log time of its first beacon; `None` where there are none.
    pub joined_ms: Option<u64>,
    pub applied: Position,
    pub landed: Position,
    /// Frames that the one that is asked had applied, and this one not.
    pub lag_frames: u64,
    /// Sessions whose connections it holds, or held last.
    pub sessions: usize,
    /// Those that hold back its leases.
    pub freezes: Vec<Freezing>,
    /// What it alone knows, or why it did not say.
    pub report: Result<Report, PeerError>,
}

impl NodeSeen {
    /// Frames that it has applied and does not know to be in the store: of the lander, the lag of writing.
    pub fn landing_lag_frames(&self) -> u64 {
        self.applied.offset().saturating_sub(self.landed.offset())
    }
}

/// Who watches a service, and through which node.
#[derive(Clone, Debug)]
pub struct Watching {
    pub node: Arc<str>,
    pub subscription: Subscription,
}

/// What all nodes together know.
#[derive(Clone, Debug)]
pub struct Gathered<T> {
    pub items: Vec<T>,
    /// Names of the nodes that did not answer, in order: what they know is missing.
    pub unanswered: Vec<Arc<str>>,
}

impl Registry {
    /// Every node, by name; those that do not answer within half a second as far as the log shows them.
    pub async fn nodes(&self) -> Gathered<NodeSeen> {
        // Before the others are asked: who applies all the time is not behind.
        let (status, furthest) = (self.status(), self.progress().applied);
        let asked = others(&status).map(async |member| {
            let report = self.ask(|peers| async move { peers.report(member.node).await }).await;
            seen(&status, furthest, Some(member), report)
        });
        let mut items = join_all(asked).await;
        let me = status.members.iter().find(|member| member.node == status.node);
        items.push(seen(&status, furthest, me, Ok(self.report_now())));
        items.sort_by(|one, other| (&one.name, one.node).cmp(&(&other.name, other.node)));
        let silent = items.iter().filter(|seen| seen.report.is_err());
        let unanswered = silent.map(|seen| seen.name.clone()).collect();
        Gathered { items, unanswered }
    }

    /// What this node alone knows, as of now.
    pub(crate) fn report_now(&self) -> Report {
        let progress = self.progress();
        Report { applied: progress.applied, landed: progress.landed, ..self.status().report() }
    }

    /// Who watches a service through any node, by name, address and node.
    pub async fn all_subscribers(&self, service: &ServiceKey) -> Gathered<Watching> {
        let status = self.status();
        let asked = others(&status).map(async |member| {
            let asked = self.ask(|peers| async move { peers.subscribers(member.node, service).await }).await;
            (&member.name, asked)
        });
        let mut items = Vec::new();
        let mut unanswered = Vec::new();
        let here = (&status.name, Ok(self.subscribers(service)));
        for (node, there) in join_all(asked).await.into_iter().chain([here]) {
            match there {
                Ok(there) => {
                    items.extend(there.into_iter().map(|subscription| Watching { node: node.clone(), subscription }))
                }
                Err(_) => unanswered.push(node.clone()),
            }
        }
        items.sort_by(|one, other| one.place().cmp(&other.place()));
        unanswered.sort();
        Gathered { items, unanswered }
    }

    /// Whether an answer that speaks of all nodes has to be waited for.
    pub fn has_others(&self) -> bool {
        others(&self.status()).next().is_some()
    }

    /// Whether the members that live do not believe this node, and none does: it is with them in the log, and they can tell
    /// it nothing. Why, in words. It takes until one has answered either way, or for [`BELIEVED_WITHIN`].
    pub async fn disbelieved(&self) -> Option<String> {
        self.inner.peers.as_ref()?;
        let end = self.inner.clock.mono_ms() + BELIEVED_WITHIN.as_millis() as u64;
        loop {
            let status = self.status();
            let is_member = status.members.iter().any(|member| member.node == status.node);
            let ask = |node| self.ask(move |peers| async move { peers.ask(node).await });
            let answers = join_all(others(&status).map(|other| ask(other.node))).await;
            if answers.iter().any(Result::is_ok) || (is_member && answers.is_empty()) {
                return None;
            }
            let refusal = answers.into_iter().find_map(|answer| match answer {
                Err(PeerError::Refused(why)) => Some(why),
                _ => None,
            });
            if refusal.is_some() || self.inner.clock.mono_ms() >= end {
                return refusal;
            }
            self.inner.clock.sleep(ASK_AGAIN).await;
        }
    }

    /// Asks a node, by its name or incarnation, to take nothing new and to send its clients elsewhere.
    pub async fn drain_node(&self, wanted: &str) -> Result<(), Error> {
        let status = self.status();
        match named(&status, wanted)? {
            None => self.drain(),
            Some(other) => {
                let drained = self.ask(|peers| async move { peers.drain(other.node).await }).await;
                drained.map_err(|error| away(&other.name, error))?;
            }
        }
        Ok(())
    }

    /// An operator's word: what holds back leases of a node, by its name or incarnation, is frozen no more. It goes through
    /// the log, so that node need not be there. How many freezes it ended.
    pub async fn release_freezes(&self, caller: &Caller, wanted: &str) -> Result<usize, Error> {
        let node = named(&self.status(), wanted)?.map(|other| other.node);
        self.inner.link.release_freezes(caller, node).await
    }

    async fn ask<T, F>(&self, call: impl FnOnce(Arc<dyn Peers>) -> F) -> Result<T, PeerError>
    where
        F: Future<Output = Result<T, PeerError>>,
    {
        let Some(peers) = self.inner.peers.clone() else { return Err(PeerError::Away("there are no others".into())) };
        tokio::select! {
            biased;
            answer = call(peers) => answer,
            () = self.inner.clock.sleep(ANSWER_MAX) => {
                Err(PeerError::Away(format!("no answer within {} ms", ANSWER_MAX.as_millis())))
            }
        }
    }
}

impl Watching {
    fn place(&self) -> impl Ord + '_ {
        let Subscription { subscriber, .. } = &self.subscription;
        (&subscriber.name, subscriber.address, &subscriber.door, &self.node)
    }
}

fn away(node: &str, error: PeerError) -> Error {
    let why = match error {
        PeerError::Away(why) | PeerError::Refused(why) => why,
        PeerError::Unknown(_) => "it is no member any more".to_owned(),
    };
    Error::NodeAway { node: node.to_owned(), why }
}

fn others(status: &NodeStatus) -> impl Iterator<Item = &Member> {
    status.members.iter().filter(|member| member.node != status.node)
}

/// The other node that is meant; `None`: this one. Of two of one name, as after a quick restart, it is the one that came
/// last.
fn named<'a>(status: &'a NodeStatus, wanted: &str) -> Result<Option<&'a Member>, Error> {
    let is_meant = |name: &str, node: NodeIncarnation| wanted == name || wanted == node.to_string();
    if is_meant(&status.name, status.node) {
        return Ok(None);
    }
    let meant = others(status).filter(|member| is_meant(&member.name, member.node));
    let newest = meant.max_by_key(|member| member.joined);
    let shown = || wanted.chars().take(NAME_SHOWN_MAX).flat_map(char::escape_debug).collect::<String>();
    newest.map(Some).ok_or_else(|| Error::not_found(What::Node, shown()))
}

fn seen(
    status: &NodeStatus,
    furthest: Position,
    member: Option<&Member>,
    report: Result<Report, PeerError>,
) -> NodeSeen {
    let node = member.map_or(status.node, |member| member.node);
    let is_me = node == status.node;
    let shown = member.map(|member| (member.applied, member.landed)).unwrap_or_default();
    let (applied, landed) = report.as_ref().map_or(shown, |report| (report.applied, report.landed));
    let own_lag = report.as_ref().map_or(0, |report| report.lag.frames);
    let is_its_own = |scope: &FreezeScope| match scope {
        FreezeScope::Service(_) => true,
        FreezeScope::Node(frozen) => *frozen == node || status.members.is_empty(),
    };
    NodeSeen {
        node,
        name: member.map_or(&status.name, |member| &member.name).clone(),
        is_me,
        is_lander: member.map_or(status.members.is_empty(), |member| member.is_lander),
        leaving: member.is_some_and(|member| member.leaving),
        joined_ms: member.map(|member| member.joined_ms),
        applied,
        landed,
        lag_frames: own_lag.max(furthest.offset().saturating_sub(applied.offset())),
        sessions: member.map_or(status.counted.sessions, |member| member.sessions),
        freezes: status.freezes.iter().filter(|freezing| is_its_own(&freezing.scope)).cloned().collect(),
        report,
    }
}
