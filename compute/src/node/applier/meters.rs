//! Numbers for Prometheus. Handles are looked up once: a lookup for each change would cost more than the change.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::model::limits::OVERRIDES_MAX;
use crate::node::Config;
use crate::node::link::{self, Counted, Member};
use crate::node::overlay::OVERLAY_MAX;
use crate::node::report::{Lag, Leases};
use crate::port::clock::MonoMs;
use crate::state::Refusal;

use super::member::Company;
use super::outcome::refusal_word;
use super::{Applier, RENEWALS_STAGED_MAX, STAGED_MAX};

/// Limits by name, in refusals and metrics.
pub(super) const UNLANDED: &str = "rows that wait for the store";
pub(super) const SESSIONS: &str = "sessions of this node";
pub(super) const CHECK_FEED: &str = "health checks that wait to begin";
/// Checked leases of which the checker may not have heard yet; beyond it no more are registered.
pub(super) const CHECK_FEED_MAX: usize = 262_144;

/// Of leases.
const KINDS: [&str; 4] = ["ttl", "stream", "checked", "permanent"];

pub(super) struct Meters {
    changes: Counter,
    frames: Counter,
    frame_changes: Histogram,
    append_seconds: Histogram,
    decide_seconds: Histogram,
    apply_seconds: Histogram,
    publish_seconds: Histogram,
    loop_late_seconds: Histogram,
    unread: Gauge,
    instances: Gauge,
    services: Gauge,
    sessions: Gauge,
    overlay: Gauge,
    unlanded: Gauge,
    landing: Gauge,
    lag: Gauge,
    suspects: Gauge,
    freezes: Gauge,
    tombstones: Gauge,
    kept: Gauge,
    unkept: Counter,
    timers: Gauge,
    calls: Gauge,
    queues: Queues,
    away: Gauge,
    members: Gauge,
    lander: Gauge,
    isolated: Gauge,
    lag_frames: Gauge,
    lag_seconds: Gauge,
    leases: [Gauge; 4],
}

/// How much waits where.
struct Queues {
    requests: Gauge,
    renewals: Gauge,
    releases: Gauge,
    session_words: Gauge,
    check_words: Gauge,
    check_feed: Gauge,
    told: Gauge,
    staged: Gauge,
    staged_renewals: Gauge,
}

impl Queues {
    fn new() -> Self {
        let queue = |name: &'static str| gauge!("thuban_queue_length", "queue" => name);
        let bounded = |name: &'static str, max: usize| {
            gauge!("thuban_queue_limit", "queue" => name).set(max as f64);
            queue(name)
        };
        Self {
            requests: bounded("requests", link::REQUESTS_MAX),
            renewals: bounded("renewals", link::RENEWALS_MAX),
            releases: bounded("releases", link::RELEASES_MAX),
            // One slot for each session and each checked lease.
            session_words: queue("session_words"),
            check_words: queue("check_words"),
            check_feed: bounded("check_feed", CHECK_FEED_MAX),
            told: bounded("told", link::TOLD_MAX),
            staged: bounded("staged", STAGED_MAX),
            staged_renewals: bounded("staged_renewals", RENEWALS_STAGED_MAX),
        }
    }
}

impl Meters {
    pub(super) fn new(config: &Config) -> Self {
        let limit = |name: &'static str, max: usize| gauge!("thuban_limit", "limit" => name).set(max as f64);
        limit(UNLANDED, config.unlanded_max);
        limit(SESSIONS, config.sessions_max);
        limit("writes in the overlay", OVERLAY_MAX);
        limit("probes under way", config.probes_max);
        limit("kept words of operators", OVERRIDES_MAX);
        Self {
            changes: counter!("thuban_changes_applied_total"),
            frames: counter!("thuban_frames_appended_total"),
            frame_changes: histogram!("thuban_frame_changes"),
            append_seconds: histogram!("thuban_append_seconds"),
            decide_seconds: histogram!("thuban_decide_seconds"),
            apply_seconds: histogram!("thuban_apply_seconds"),
            publish_seconds: histogram!("thuban_publish_seconds"),
            loop_late_seconds: histogram!("thuban_loop_late_seconds"),
            unread: gauge!("thuban_log_read_frames"),
            instances: gauge!("thuban_instances"),
            services: gauge!("thuban_services"),
            sessions: gauge!("thuban_sessions"),
            overlay: gauge!("thuban_overlay_changes"),
            unlanded: gauge!("thuban_unlanded_rows"),
            landing: gauge!("thuban_landing_rows"),
            lag: gauge!("thuban_landing_lag_frames"),
            suspects: gauge!("thuban_suspects"),
            freezes: gauge!("thuban_freezes"),
            tombstones: gauge!("thuban_tombstones"),
            kept: gauge!("thuban_kept_overrides"),
            unkept: counter!("thuban_unkept_overrides_total"),
            timers: gauge!("thuban_timers"),
            calls: gauge!("thuban_calls_waiting"),
            queues: Queues::new(),
            away: gauge!("thuban_log_away"),
            members: gauge!("thuban_members"),
            lander: gauge!("thuban_lander"),
            isolated: gauge!("thuban_isolated"),
            lag_frames: gauge!("thuban_log_lag_frames"),
            lag_seconds: gauge!("thuban_log_lag_seconds"),
            leases: KINDS.map(|kind| gauge!("thuban_leases", "kind" => kind)),
        }
    }

    pub(super) fn frame(&self, changes: usize) {
        self.frames.increment(1);
        self.frame_changes.record(changes as f64);
    }

    pub(super) fn decided(&self, us: u64) {
        self.decide_seconds.record(seconds(us));
    }

    pub(super) fn appended(&self, us: u64) {
        self.append_seconds.record(seconds(us));
    }

    /// Frames that the log had for this node at once: more than one or two is a tail that it is behind of.
    pub(super) fn unread(&self, frames: usize) {
        self.unread.set(frames as f64);
    }

    pub(super) fn applied(&self, changes: usize, apply_us: u64, publish_us: u64) {
        self.changes.increment(changes as u64);
        self.apply_seconds.record(seconds(apply_us));
        self.publish_seconds.record(seconds(publish_us));
    }

    /// Words of operators that would have outlived their instances, had there been room.
    pub(super) fn unkept(&self, words: usize) {
        self.unkept.increment(words as u64);
    }

    pub(super) fn late(&self, ms: MonoMs) {
        self.loop_late_seconds.record(ms as f64 / 1_000.0);
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        counter!("thuban_changes_refused_total", "reason" => refusal_word(refusal)).increment(1);
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1_000_000.0
}

impl Applier {
    pub(super) fn gauge(&self, counted: &Counted, freezes: usize) {
        let meters = &self.metrics;
        meters.instances.set(counted.instances as f64);
        meters.services.set(counted.services as f64);
        meters.sessions.set(counted.sessions as f64);
        meters.overlay.set(counted.overlay as f64);
        meters.unlanded.set(self.unlanded() as f64);
        meters.landing.set(self.landing.unwrap_or_default() as f64);
        // The store may be ahead of a node that has just taken the landing role and still reads.
        meters.lag.set(self.state.position().offset().saturating_sub(self.landed.offset()) as f64);
        meters.suspects.set(counted.suspects as f64);
        meters.freezes.set(freezes as f64);
        meters.tombstones.set(self.state.tombstone_count() as f64);
        meters.kept.set(self.state.kept_count() as f64);
        meters.timers.set(self.state.timer_count() as f64);
        meters.calls.set(self.calls.len() as f64);
        meters.away.set(f64::from(u8::from(self.away.is_some())));
        let (queues, lanes) = (&meters.queues, &self.ends.lanes);
        queues.requests.set(lanes.requests.len() as f64);
        queues.renewals.set(lanes.renewals.len() as f64);
        queues.releases.set((lanes.releases.len() + self.releasing.len()) as f64);
        queues.session_words.set(lanes.sessions.len() as f64);
        queues.check_words.set(lanes.checks.len() as f64);
        queues.check_feed.set(self.ends.checks.len() as f64);
        queues.told.set(lanes.told.len() as f64);
        queues.staged.set(self.staged.len() as f64);
        queues.staged_renewals.set(self.renewals.len() as f64);
        self.directory.gauge();
    }

    /// What the members are told of each other, of this one.
    pub(super) fn gauge_company(&self, members: &[Member], lag: Lag, leases: &Leases) {
        let (meters, is) = (&self.metrics, |yes: bool| f64::from(u8::from(yes)));
        // Alone it is no member, and lands what it applies.
        meters.members.set(members.len().max(1) as f64);
        meters.lander.set(is(self.company.as_ref().is_none_or(Company::lands)));
        meters.isolated.set(is(self.isolated().is_some()));
        meters.lag_frames.set(lag.frames as f64);
        meters.lag_seconds.set(lag.ms as f64 / 1_000.0);
        let counts = [leases.ttl, leases.stream, leases.checked, leases.permanent];
        meters.leases.iter().zip(counts).for_each(|(gauge, count)| gauge.set(count as f64));
    }
}
