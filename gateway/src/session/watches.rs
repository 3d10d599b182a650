use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use compute::Error;
use compute::model::{Revision, ServiceKey};
use compute::watch::{Acknowledger, Scope, Watch, WatchEvent, WatchSpec};
use futures::future::{AbortHandle, Abortable, Aborted};
use futures::stream::{FuturesUnordered, StreamExt};

use crate::error::Problem;

/// Most watches of one session.
pub const SESSION_WATCHES_MAX: usize = 1_000;
/// Most services that all watches of one session name together.
pub const SESSION_SERVICES_MAX: usize = 100_000;

/// A watch that waits for its next event, and is handed back with it.
type Turn = Abortable<Pin<Box<dyn Future<Output = (u64, Watch, Option<WatchEvent>)> + Send>>>;

/// The watches of one session. Each waits by itself and is queued when it wakes, so they take turns, and a wake-up
/// costs the same however many there are.
#[derive(Default)]
pub(super) struct Watches {
    turns: FuturesUnordered<Turn>,
    kept: HashMap<u64, Kept>,
    services: usize,
}

struct Kept {
    end: AbortHandle,
    acknowledger: Acknowledger,
    services: usize,
}

/// How many services a watch counts for.
fn services(scope: &Scope) -> usize {
    match scope {
        Scope::Services(services) => services.len(),
        Scope::Namespace(_) => 1,
    }
}

/// What one watch has said.
pub(super) enum Said {
    /// An event, and where to resume behind it.
    Event(WatchEvent, Option<Revision>),
    /// It is over: the node stops, or why else.
    Ended(Option<Error>),
}

impl Watches {
    pub(super) fn add(
        &mut self,
        id: u64,
        spec: WatchSpec,
        begin: impl FnOnce(WatchSpec) -> Result<Watch, Error>,
    ) -> Result<(), Problem> {
        let services = services(&spec.scope);
        if id == 0 || self.kept.contains_key(&id) {
            return Err(Problem::invalid("watch_id", id, "above 0, and of no other watch of this session"));
        }
        if self.kept.len() >= SESSION_WATCHES_MAX {
            let allowed = format!("at most {SESSION_WATCHES_MAX} watches of one session");
            return Err(Problem::invalid("watch_id", id, allowed));
        }
        if self.services + services > SESSION_SERVICES_MAX {
            let allowed = format!("at most {SESSION_SERVICES_MAX} services in all watches of one session");
            return Err(Problem::invalid("watch.services", self.services + services, allowed));
        }
        let watch = begin(spec)?;
        let (end, _) = AbortHandle::new_pair();
        self.services += services;
        self.kept.insert(id, Kept { end, acknowledger: watch.acknowledger(), services });
        self.wait(id, watch);
        Ok(())
    }

    pub(super) fn remove(&mut self, id: u64) -> bool {
        let Some(kept) = self.kept.remove(&id) else { return false };
        self.services -= kept.services;
        kept.end.abort();
        true
    }

    pub(super) fn acknowledge(&mut self, id: u64, service: Option<&ServiceKey>, revision: Revision) -> bool {
        let Some(kept) = self.kept.get(&id) else { return false };
        match service {
            Some(service) => kept.acknowledger.acknowledge(service, revision),
            None => {
                kept.acknowledger.acknowledge_all(revision);
                true
            }
        }
    }

    /// What any of them says next.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(u64, Said)> {
        loop {
            match ready!(self.turns.poll_next_unpin(cx)) {
                Some(Ok((id, watch, Some(event)))) => {
                    let resume = watch.position();
                    self.wait(id, watch);
                    return Poll::Ready((id, Said::Event(event, resume)));
                }
                Some(Ok((id, watch, None))) => {
                    self.remove(id);
                    return Poll::Ready((id, Said::Ended(watch.refused().cloned())));
                }
                Some(Err(Aborted)) => {}
                // None waits; there may be one later.
                None => return Poll::Pending,
            }
        }
    }

    fn wait(&mut self, id: u64, mut watch: Watch) {
        let Some(kept) = self.kept.get_mut(&id) else { return };
        let (end, registration) = AbortHandle::new_pair();
        kept.end = end;
        let turn = Box::pin(async move {
            let event = watch.next().await;
            (id, watch, event)
        });
        self.turns.push(Abortable::new(turn, registration));
    }
}
