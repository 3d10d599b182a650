//! What each metric is, for whoever looks at `/metrics`.

use metrics::{describe_counter, describe_gauge, describe_histogram};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

/// Every metric of the program that the recorder takes.
#[rustfmt::skip]
const WORDS: &[(Kind, &str, &str)] = &[
    (Gauge, "thuban_build_info", "Always 1; the label says which version runs."),
    (Gauge, "thuban_config_limit", "A limit as the configuration has it, by its key."),
    (Gauge, "thuban_boot_seconds", "How long loading the store and replaying the log took."),
    (Gauge, "thuban_instances", "Registered instances."),
    (Gauge, "thuban_services", "Services that exist."),
    (Gauge, "thuban_sessions", "Sessions that exist."),
    (Gauge, "thuban_suspects", "Instances under suspicion."),
    (Gauge, "thuban_freezes", "Freezes of expiry that stand."),
    (Gauge, "thuban_tombstones", "Removed instances that are remembered."),
    (Gauge, "thuban_kept_overrides", "Words of operators that outlive their instance."),
    (Gauge, "thuban_timers", "Times at which something ends by itself."),
    (Gauge, "thuban_overlay_changes", "Changes that are shown and not in the log yet."),
    (Gauge, "thuban_calls_waiting", "Calls that wait for their changes to be applied."),
    (Gauge, "thuban_queue_length", "What waits in a queue."),
    (Gauge, "thuban_queue_limit", "What may wait in a queue."),
    (Gauge, "thuban_limit", "A limit of what the node holds."),
    (Gauge, "thuban_held", "What is held of something limited."),
    (Gauge, "thuban_held_limit", "What may be held of something limited."),
    (Gauge, "thuban_in_flight", "Requests under way."),
    (Gauge, "thuban_in_flight_limit", "Requests that may be under way."),
    (Counter, "thuban_shed_total", "Requests refused because a limit was reached."),
    (Counter, "thuban_changes_applied_total", "Changes that were applied."),
    (Counter, "thuban_changes_refused_total", "Changes that apply refused, by why."),
    (Counter, "thuban_frames_appended_total", "Frames that were appended to the log."),
    (Histogram, "thuban_frame_changes", "Changes in a frame."),
    (Histogram, "thuban_append_seconds", "Appending a frame, flushed."),
    (Histogram, "thuban_decide_seconds", "Deciding what was asked meanwhile."),
    (Histogram, "thuban_apply_seconds", "Applying a frame."),
    (Histogram, "thuban_publish_seconds", "Showing what a frame did to readers and watchers."),
    (Histogram, "thuban_loop_late_seconds", "How late the node's own loop was."),
    (Gauge, "thuban_log_away", "1 while the log does not answer."),
    (Gauge, "thuban_log_read_frames", "Frames that were read from the log and are not applied yet."),
    (Gauge, "thuban_log_kept_frames", "Frames behind the watermark that the log keeps."),
    (Counter, "thuban_log_failures_total", "Failures of the file of the log."),
    (Histogram, "thuban_log_commit_seconds", "A commit of the log, flushed."),
    (Histogram, "thuban_log_commit_frames", "Frames in a commit of the log."),
    (Histogram, "thuban_log_checkpoint_seconds", "Emptying the log's write-ahead file."),
    (Gauge, "thuban_unlanded_rows", "Rows that wait for the store."),
    (Gauge, "thuban_landing_rows", "Rows that are being landed."),
    (Gauge, "thuban_landing_lag_frames", "Frames that were applied and have not landed."),
    (Histogram, "thuban_landing_seconds", "Landing a batch in the store."),
    (Counter, "thuban_landed_rows_total", "Rows that have landed."),
    (Counter, "thuban_expiry_holds_total", "Times that expiry was held back, by why."),
    (Gauge, "thuban_expiry_held", "1 while expiry is held back, by why."),
    (Counter, "thuban_leases_spared_total", "Leases that lapsed while expiry was held and have their full time again."),
    (Counter, "thuban_probes_total", "Probes, by what came of them."),
    (Counter, "thuban_probes_late_total", "Probes that began late."),
    (Histogram, "thuban_probe_seconds", "A probe."),
    (Gauge, "thuban_probes_in_flight", "Probes under way."),
    (Gauge, "thuban_probes_scheduled", "Instances that are probed."),
    (Gauge, "thuban_probe_lag_seconds", "How late probes begin."),
    (Gauge, "thuban_watchers", "Watchers."),
    (Gauge, "thuban_watch_slots_dirty", "Watchers that have something to be told."),
    (Gauge, "thuban_watch_window_seconds", "How long changes are gathered before watchers are told."),
    (Gauge, "thuban_watch_history_records", "Changes that are kept for watchers."),
    (Gauge, "thuban_watch_history_bytes", "What the changes kept for watchers take."),
    (Counter, "thuban_watch_deltas_total", "Changes that watchers were told."),
    (Counter, "thuban_watch_deltas_made_total", "Changes that were put together for watchers; the rest was shared."),
    (Counter, "thuban_watch_snapshots_total", "Snapshots that watchers were told."),
    (Counter, "thuban_watch_compacted_total", "Watchers told that a snapshot takes the place of changes."),
    (Counter, "thuban_watch_progress_total", "Times that watchers were told that nothing happened."),
    (Counter, "thuban_watch_merged_total", "Changes that were told together with others."),
    (Gauge, "thuban_selected_entries", "Filtered views that are kept."),
    (Gauge, "thuban_selected_bytes", "What the filtered views take."),
    (Counter, "thuban_selected_hits_total", "Filtered views that were kept already."),
    (Counter, "thuban_selected_misses_total", "Filtered views that had to be made."),
    (Gauge, "thuban_connections", "Open connections of a door."),
    (Counter, "thuban_connections_accepted_total", "Connections that were accepted."),
    (Counter, "thuban_connections_full_total", "Connections beyond the limit."),
    (Counter, "thuban_connections_cut_total", "Connections that the node cut, by why."),
    (Counter, "thuban_accept_failures_total", "Connections that could not be accepted."),
    (Counter, "thuban_tls_handshake_failures_total", "TLS handshakes that failed."),
    (Counter, "thuban_certificate_failures_total", "Times that the certificate files could not be read again."),
    (Counter, "thuban_token_file_failures_total", "Times that the token file could not be read again."),
    (Counter, "thuban_http_requests_total", "HTTP requests, by route and status."),
    (Histogram, "thuban_http_request_seconds", "An HTTP request."),
    (Counter, "thuban_http_panics_total", "HTTP requests that ended in a fault of the program."),
    (Gauge, "thuban_http_streams", "Open streams of events."),
    (Counter, "thuban_slow_bodies_total", "Requests cut because their body came too slowly."),
    (Counter, "thuban_grpc_calls_total", "gRPC calls, by method and status."),
    (Histogram, "thuban_grpc_call_seconds", "A gRPC call."),
    (Counter, "thuban_log_divergences_total", "Times that another node had read other frames from the log."),
    (Counter, "thuban_rejoins_total", "Times that the others took this node for gone, and it joined again."),
    (Counter, "thuban_heartbeats_told_total", "Heartbeats told to the nodes that own the leases."),
    (Counter, "thuban_heartbeats_untold_total", "Heartbeats that could not be told."),
    (Counter, "thuban_told_lost_total", "Calls of other nodes that were lost because too many waited."),
    (Gauge, "thuban_peers_reachable", "Other nodes that answered a moment ago."),
    (Counter, "thuban_peer_calls_total", "Calls to other nodes, by method and outcome."),
    (Histogram, "thuban_peer_call_seconds", "A call to another node."),
    (Counter, "thuban_peer_answers_total", "Calls of other nodes that were answered, by method and outcome."),
    (Counter, "thuban_peer_refused_total", "Calls refused because the caller does not have the cluster's secret."),
    (Gauge, "thuban_gossip_nodes", "Other nodes that gossip knows."),
    (Counter, "thuban_gossip_refused_total", "Datagrams that were not sealed with the cluster's secret."),
    (Counter, "thuban_gossip_send_failures_total", "Datagrams that could not be sent."),
];

pub(super) fn describe() {
    for (kind, name, help) in WORDS {
        match kind {
            Counter => describe_counter!(*name, *help),
            Gauge => describe_gauge!(*name, *help),
            Histogram => describe_histogram!(*name, *help),
        }
    }
}

#[cfg(test)]
mod tests;
