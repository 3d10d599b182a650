use compute::command::{Ack, Command};
use compute::error::{Error, What};
use compute::model::{InstanceKey, Lease, SessionId};
use compute::registry::Attached;

use super::super::history::{Fate, Held};
use super::provider::people_of;
use super::{Answered, Client, Failed, Live, Phase};
use crate::world::somebody;

/// How a client with a session lives.
#[derive(Clone, Copy, Debug)]
pub(in crate::simulation) struct Habit {
    pub(in crate::simulation) grace_ms: u64,
    /// No stream is kept longer.
    pub(in crate::simulation) longest_ms: u64,
    /// Of 100 streams so many are the last,
    pub(in crate::simulation) dies: u64,
    /// and so many are followed by a time without one, until about when the session's instance is a suspect or falls.
    pub(in crate::simulation) roams: u64,
}

/// A client with a session: its leases live while one of its streams does. It goes to another node when one is lost.
pub(in crate::simulation) struct Streamer {
    pub(in crate::simulation) client: Client,
    pub(in crate::simulation) key: InstanceKey,
    pub(in crate::simulation) habit: Habit,
}

impl Streamer {
    pub(in crate::simulation) async fn run(mut self) {
        self.fate(Fate::Lives { since_ms: self.client.sim.now_ms() });
        let mut session = None;
        while self.client.phase() < Phase::Over {
            let seat = self.client.any_seat();
            match self.attach(seat, session).await {
                Ok(stream) => {
                    session = Some(stream.value.session);
                    let is_registered = self.register(&stream).await;
                    if self.hold(stream, is_registered).await {
                        return;
                    }
                    self.roam().await;
                }
                Err(Failed::Refused(Error::NotFound { what: What::Session, .. })) => session = None,
                Err(failed) => {
                    self.client.sim.tell(|| format!("attach {} failed: {failed:?}", self.key));
                    self.client.sim.pause(30).await;
                }
            }
        }
    }

    async fn attach(&self, seat: usize, session: Option<SessionId>) -> Result<Answered<Attached>, Failed> {
        let grace_ms = self.habit.grace_ms;
        self.client
            .ask(seat, grace_ms / 3, |registry| async move {
                match session {
                    Some(session) => registry.resume_session(&somebody(), session).await,
                    None => registry.open_session(&somebody(), grace_ms as u32, "streamer").await,
                }
            })
            .await
    }

    /// Is without a stream for a while, perhaps.
    async fn roam(&self) {
        let sim = &self.client.sim;
        if self.client.phase() < Phase::Healing && sim.percent(self.habit.roams) {
            let suspect_ms = self.habit.grace_ms / 3 * 2;
            let rest_ms = sim.between(suspect_ms - 300, self.habit.grace_ms + 300);
            self.client.rest(rest_ms, Phase::Healing).await;
        }
    }

    /// Says on its stream who it is: a heartbeat where that is known.
    async fn register(&self, stream: &Answered<Attached>) -> bool {
        let lease = Lease::stream(stream.value.session, 1_500).expect("a good lease");
        let command = Command::Register {
            instance: self.key.clone(),
            provider: Box::new(people_of(1, 1, lease)),
            epoch: Some(stream.value.epoch),
            generation: None,
        };
        let (caller, Live { life, registry }) = (somebody(), &stream.live);
        let asked = async {
            life.awake().await;
            let answer = registry.submit_one(&caller, Ack::Log, command).await;
            life.awake().await;
            answer
        };
        let asked = tokio::time::timeout(std::time::Duration::from_millis(1_000), asked).await;
        let is_there = matches!(&asked, Ok(Ok(outcome)) if outcome.reached >= compute::command::Reached::Log);
        self.client.sim.note("streams", &self.key, stream.value.epoch);
        is_there
    }

    /// Keeps the stream until it breaks. True: the client dies with it, or the run is over.
    async fn hold(&mut self, stream: Answered<Attached>, is_registered: bool) -> bool {
        let sim = self.client.sim.clone();
        let (attached, node, life) = (stream.value, stream.node, stream.live.life.clone());
        let at = {
            let mut told = self.client.history.told();
            let keys = if is_registered { vec![self.key.clone()] } else { Vec::new() };
            told.held.push(Held { keys, node, began_ms: sim.now_ms(), ended_ms: None });
            told.held.len() - 1
        };
        // One whose register came to nothing tries it again on a new stream.
        let for_ms = if is_registered { sim.between(1_000, self.habit.longest_ms) } else { 100 };
        let until_ms = sim.now_ms() + for_ms;
        let mut is_over = false;
        // Its pings tell it that the node is dead, or stands still.
        let mut silent = 0;
        while sim.now_ms() < until_ms && !life.is_dead() && silent < 5 {
            tokio::select! {
                biased;
                () = attached.superseded() => break,
                rests = self.client.rest(100, Phase::Over) => if !rests { is_over = true; break },
            }
            silent = if life.is_still() { silent + 1 } else { 0 };
        }
        let dies = !is_over && self.client.phase() < Phase::Healing && sim.percent(self.habit.dies);
        if !is_over {
            self.client.history.told().held[at].ended_ms = Some(sim.now_ms());
        }
        if dies {
            self.fate(Fate::Silent { since_ms: sim.now_ms() });
        }
        sim.note("lets go", &self.key, u64::from(dies));
        // The node sees it when it runs; that of a dead one is nobody's.
        tokio::spawn(async move {
            if life.runs().await {
                drop(attached);
            }
        });
        dies || is_over
    }

    fn fate(&self, fate: Fate) {
        self.client.history.told().fates.insert(self.key.clone(), fate);
    }
}
