//! What the applier tells people of itself.

use crate::model::{NodeIncarnation, Position};
use crate::node::Config;
use crate::node::link::{Counted, Freezing, NodeStatus, Readiness};
use crate::state::State;

use super::Applier;

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
        log: log.identity,
        readiness: Readiness::Ready,
        applied: log.watermark,
        landed,
        time_ms: log.time_ms,
        unlanded: state.unlanded(),
        log_away_ms: None,
        store_error: None,
        holding: None,
        isolated: None,
        divergences: 0,
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
        self.ends.link.put_status(|status| {
            status.node = me;
            status.readiness = readiness;
            status.applied = log.watermark;
            status.landed = self.landed;
            status.time_ms = log.time_ms;
            status.unlanded = self.unlanded();
            status.log_away_ms = self.away.map(|away| now - away.since);
            status.store_error.clone_from(&self.store_error);
            status.holding = self.expiry.holding(now);
            status.isolated = self.isolated().map(str::to_owned);
            status.divergences = divergences;
            status.members = members;
            status.freezes = freezes;
            status.counted = counted;
        });
    }

    /// Rows that the store does not have yet, those on their way there too.
    pub(super) fn unlanded(&self) -> usize {
        self.state.unlanded() + self.landing.unwrap_or_default()
    }

    fn counted(&self) -> Counted {
        let leases = self.expiry.counts();
        Counted {
            namespaces: self.state.namespaces().count(),
            services: self.state.service_count(),
            instances: self.state.instance_count(),
            sessions: self.state.session_count(),
            leases_ttl: leases.ttl,
            leases_stream: leases.stream,
            leases_checked: leases.checked,
            leases_permanent: leases.permanent,
            suspects: self.state.suspicions().count(),
            overlay: self.overlay.len(),
        }
    }
}
