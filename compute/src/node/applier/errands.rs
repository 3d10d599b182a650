//! What this node does for the others beside its own work: it probes where another says that a check has failed, and
//! tells the new owners of leases how old they are. All of it ends with the node.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::model::Op;
use crate::node::checks::probe;
use crate::port::prober::Probed;
use crate::port::{Clock, Peers, Prober};
use crate::state::witness::Opinion;

use super::expiry::HandOver;
use super::member::Company;
use super::{Applier, Event, Item};

/// Second opinions that wait until others have been given. Where more are asked for they are not given, and the owner of
/// the lease decides without them.
const OPINIONS_MAX: usize = 4_096;

pub(super) struct Errands {
    waiting: VecDeque<Opinion>,
    probes: JoinSet<Option<Op>>,
    probes_max: usize,
    tells: JoinSet<()>,
}

impl Errands {
    pub(super) fn new(probes_max: usize) -> Self {
        Self { waiting: VecDeque::new(), probes: JoinSet::new(), probes_max: probes_max.max(1), tells: JoinSet::new() }
    }

    /// Another node says that a check has failed, and this one is asked for its opinion.
    fn ask(&mut self, opinion: Opinion) {
        if self.waiting.len() >= OPINIONS_MAX {
            metrics::counter!("thuban_opinions_lost_total").increment(1);
            return;
        }
        self.waiting.push_back(opinion);
    }

    fn start(&mut self, prober: &Arc<dyn Prober>, clock: &Arc<dyn Clock>) {
        while self.probes.len() < self.probes_max
            && let Some(opinion) = self.waiting.pop_front()
        {
            let (prober, clock) = (prober.clone(), clock.clone());
            self.probes.spawn(async move {
                match probe(&*prober, &*clock, &opinion.instance).await {
                    Probed::Success => Some(opinion.word(true)),
                    Probed::Failure(_) => Some(opinion.word(false)),
                    // This node may not look, and has no opinion.
                    Probed::Forbidden(_) => None,
                }
            });
        }
    }

    /// The next opinion; never, while none is asked for. Cancel-safe.
    pub(super) async fn next(company: &mut Option<Company>) -> Event {
        match company.as_mut().map(|company| &mut company.errands) {
            Some(errands) if !errands.probes.is_empty() => {
                Event::Opinion(errands.probes.join_next().await.and_then(Result::ok).flatten())
            }
            _ => std::future::pending().await,
        }
    }

    /// Tells the new owners how old the leases are. What does not arrive has its full time.
    pub(super) fn hand_over(&mut self, peers: Arc<dyn Peers>, told: HandOver) {
        while self.tells.try_join_next().is_some() {}
        self.tells.spawn(async move {
            let (mut count, mut why) = (0, None);
            for (node, ages) in told {
                let of_it = ages.len();
                if let Err(error) = peers.hand_over(node, ages).await {
                    count += of_it;
                    why = Some(error);
                }
            }
            if let Some(error) = why {
                tracing::warn!(%error, count, "leases changed hands and their ages did not arrive");
            }
        });
    }
}

impl Applier {
    pub(super) fn probe_once(&mut self, opinion: Opinion) {
        let Some(company) = &mut self.company else { return };
        company.errands.ask(opinion);
        company.errands.start(&self.prober, &self.clock);
    }

    pub(super) fn take_opinion(&mut self, opinion: Option<Op>) {
        let author = self.own("check");
        self.staged.extend(opinion.map(|op| Item::Own { op, author }));
        if let Some(company) = &mut self.company {
            company.errands.start(&self.prober, &self.clock);
        }
    }
}
