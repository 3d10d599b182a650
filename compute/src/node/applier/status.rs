//! What the applier tells people of itself.

use crate::model::{NodeIncarnation, Position};
use crate::node::Config;
use crate::node::link::{Counted, Freezing, NodeStatus, Readiness};
use crate::node::report::{Lag, Leases};
use crate::port::clock::MonoMs;
use crate::port::peers::Reading;
use crate::state::State;

use super::{Applier, InFlightProgress};

/// The status before the applier runs.
pub(in crate::node) fn first_status(
    config: &Config,
    node: NodeIncarnation,
    state: &State,
    landed: Position,
) -> NodeStatus {
    let log = state.log();
    NodeStatus {
        name: config.name.clone(),
        node,
        version: config.version.clone(),
        addresses: config.addresses.clone(),
        log: log.identity,
        readiness: Readiness::Ready,
        applied: log.watermark,
        landed,
        lag: Lag::default(),
        time_ms: log.time_ms,
        unlanded: state.unlanded(),
        log_away_ms: None,
        store_error: None,
        reading: Reading::default(),
        holding: None,
        isolated: None,
        divergences: 0,
        repairs: 0,
        unrepaired: 0,
        members: Vec::new(),
        freezes: Vec::new(),
        counted: Counted::default(),
    }
}

impl Applier {
    pub(super) fn put_status(&self) {
        let log = self.state.log();
        let now = self.clock.mono_ms();
        let counted = self.counted();
        let freezes: Vec<_> = self
            .state
            .freezes()
            .map(|(scope, freeze)| Freezing {
                scope: scope.clone(),
                since_ms: freeze.since_ms,
                lapsed: freeze.lapsed,
                of: freeze.of,
            })
            .collect();
        self.gauge(&counted, freezes.len());
        // Whether it drains the link knows by itself.
        let readiness = self.unready.clone().map_or(Readiness::Ready, Readiness::NotReady);
        let (me, members, divergences) = (self.me, self.members(), self.divergences());
        let lag = self.lag(now);
        self.gauge_company(&members, lag, &counted.leases);
        self.ends.link.put_status(|status| {
            status.node = me;
            status.readiness = readiness;
            status.applied = log.watermark;
            status.landed = self.landed;
            status.lag = lag;
            status.time_ms = log.time_ms;
            status.unlanded = self.unlanded();
            status.log_away_ms = self.away.map(|away| now - away.since);
            status.store_error.clone_from(&self.store_error);
            status.reading = self.reading();
            let lost = self.recovering.as_ref().map(|lost| format!("the change log is lost: {}", lost.why));
            status.holding = lost.or_else(|| self.expiry.holding(now));
            status.isolated = self.isolated().map(str::to_owned);
            status.divergences = divergences;
            (status.repairs, status.unrepaired) = (self.repairs.done, self.repairs.undecided);
            status.members = members;
            status.freezes = freezes;
            status.counted = counted;
        });
    }

    /// By this node's own newest frame in the log.
    fn lag(&self, now: MonoMs) -> Lag {
        let in_flight = self.in_flight.as_ref();
        let unseen = in_flight.and_then(|f| match f.progress {
            InFlightProgress::Appended { at, known_since } => Some((at.offset(), known_since)),
            InFlightProgress::Appending(_) | InFlightProgress::Unknown { .. } => None,
        });
        let frames = unseen.map_or(0, |(at, _)| at.saturating_sub(self.state.position().offset()));
        let since = self.away.map(|away| away.since).or(unseen.map(|(_, since)| since));
        Lag { frames, ms: since.map_or(0, |since| now.saturating_sub(since)) }
    }

    /// Rows that the store does not have yet, those on their way there too.
    pub(super) fn unlanded(&self) -> usize {
        // What other nodes may have to land, too, stays with the state until it has landed.
        let taken = self.landing.filter(|_| self.company.is_none());
        self.state.unlanded() + taken.unwrap_or_default()
    }

    fn counted(&self) -> Counted {
        let leases = self.expiry.counts();
        Counted {
            namespaces: self.state.namespaces().count(),
            services: self.state.service_count(),
            instances: self.state.instance_count(),
            sessions: self.state.session_count(),
            suspects: self.state.suspicions().count(),
            leases: Leases {
                ttl: leases.ttl,
                stream: leases.stream,
                checked: leases.checked,
                permanent: leases.permanent,
                suspects: leases.suspects + leases.unhealthy,
            },
            overlay: self.overlay.len(),
        }
    }
}
