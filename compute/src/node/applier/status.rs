//! What the applier tells of itself: status for people, numbers for Prometheus.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::model::{NodeIncarnation, Position};
use crate::node::Config;
use crate::node::link::{Counted, Freezing, NodeStatus, Readiness};
use crate::port::clock::MonoMs;
use crate::state::{Refusal, State};

use super::Applier;
use super::outcome::refusal_word;

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
        freezes: Vec::new(),
        counted: Counted::default(),
    }
}

/// Handles are looked up once: a lookup for each change would cost more than the change.
pub(super) struct Metrics {
    changes: Counter,
    frames: Counter,
    frame_changes: Histogram,
    append_seconds: Histogram,
    instances: Gauge,
    services: Gauge,
    sessions: Gauge,
    overlay: Gauge,
    unlanded: Gauge,
    lag: Gauge,
    suspects: Gauge,
    freezes: Gauge,
    calls: Gauge,
    staged: Gauge,
    away: Gauge,
}

impl Metrics {
    pub(super) fn new() -> Self {
        Self {
            changes: counter!("thuban_changes_applied_total"),
            frames: counter!("thuban_frames_appended_total"),
            frame_changes: histogram!("thuban_frame_changes"),
            append_seconds: histogram!("thuban_append_seconds"),
            instances: gauge!("thuban_instances"),
            services: gauge!("thuban_services"),
            sessions: gauge!("thuban_sessions"),
            overlay: gauge!("thuban_overlay_changes"),
            unlanded: gauge!("thuban_unlanded_rows"),
            lag: gauge!("thuban_landing_lag_frames"),
            suspects: gauge!("thuban_suspects"),
            freezes: gauge!("thuban_freezes"),
            calls: gauge!("thuban_calls_waiting"),
            staged: gauge!("thuban_commands_staged"),
            away: gauge!("thuban_log_away"),
        }
    }

    pub(super) fn frame(&self, changes: usize) {
        self.frames.increment(1);
        self.frame_changes.record(changes as f64);
    }

    pub(super) fn appended(&self, ms: MonoMs) {
        self.append_seconds.record(ms as f64 / 1000.0);
    }

    pub(super) fn applied(&self, changes: usize) {
        self.changes.increment(changes as u64);
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        counter!("thuban_changes_refused_total", "reason" => refusal_word(refusal)).increment(1);
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
        let readiness = if self.draining { Readiness::Draining } else { self.overload() };
        self.ends.link.put_status(|status| {
            status.readiness = readiness;
            status.applied = log.watermark;
            status.landed = self.landed;
            status.time_ms = log.time_ms;
            status.unlanded = self.state.unlanded();
            status.log_away_ms = self.away.map(|away| now - away.since);
            status.store_error.clone_from(&self.store_error);
            status.holding = self.expiry.holding();
            status.freezes = freezes;
            status.counted = counted;
        });
    }

    /// A store that is behind too far sheds new work; what was accepted is safe in the log.
    fn overload(&self) -> Readiness {
        let unlanded = self.state.unlanded();
        if unlanded < self.config.unlanded_max {
            return Readiness::Ready;
        }
        let error = self.store_error.as_deref().unwrap_or("it is slower than the writes");
        Readiness::NotReady(format!("{unlanded} rows wait for the store ({error})"))
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

    fn gauge(&self, counted: &Counted, freezes: usize) {
        let metrics = &self.metrics;
        metrics.instances.set(counted.instances as f64);
        metrics.services.set(counted.services as f64);
        metrics.sessions.set(counted.sessions as f64);
        metrics.overlay.set(counted.overlay as f64);
        metrics.unlanded.set(self.state.unlanded() as f64);
        metrics.lag.set((self.state.position().offset() - self.landed.offset()) as f64);
        metrics.suspects.set(counted.suspects as f64);
        metrics.freezes.set(freezes as f64);
        metrics.calls.set(self.calls.len() as f64);
        metrics.staged.set(self.staged.len() as f64);
        self.directory.gauge();
        metrics.away.set(f64::from(u8::from(self.away.is_some())));
    }
}
