//! What the process costs, as `/proc` tells it: read when somebody asks for the metrics.

use std::fmt::Write;
use std::fs;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::config::{Config, Settings};

mod words;

/// Bounds of the latency histograms, in seconds.
const SECONDS: &[f64] =
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Bounds of every other histogram: counts and bytes.
const SIZES: &[f64] = &[1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0];
/// What the kernel counts processor time in, on every Linux that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Takes every metric of the process from now on.
pub(crate) fn record() -> Result<PrometheusHandle, BuildError> {
    let seconds = Matcher::Suffix("_seconds".to_owned());
    let builder = PrometheusBuilder::new().set_buckets(SIZES)?.set_buckets_for_metric(seconds, SECONDS)?;
    let handle = builder.install_recorder()?;
    words::describe();
    metrics::gauge!("thuban_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

/// Shows the limits as they were configured, and of connections what is in force.
pub(crate) fn show_limits(settings: &Settings, config: &Config) {
    for (key, limit) in settings.limits() {
        metrics::gauge!("thuban_config_limit", "key" => key).set(limit);
    }
    metrics::gauge!("thuban_config_limit", "key" => "connections_max").set(config.listen.connections_max as f64);
}

/// The process's own figures, as Prometheus text.
pub(crate) fn text() -> String {
    let mut text = String::new();
    let mut say = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            // A String takes everything.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
    };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let bytes = |field| number_after(&status, field).map(|kib| kib * 1_024.0);
    say("process_resident_memory_bytes", "gauge", "Memory that the process has.", bytes("VmRSS:"));
    say("process_virtual_memory_bytes", "gauge", "Address space that the process has.", bytes("VmSize:"));
    say(
        "thuban_log_lines_lost_total",
        "counter",
        "Log lines that could not be written to standard error.",
        Some(crate::logging::lost() as f64),
    );
    say("process_threads", "gauge", "Threads of the process.", number_after(&status, "Threads:"));
    say(
        "process_open_fds",
        "gauge",
        "Files and connections that the process has open.",
        fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count() as f64),
    );
    say(
        "process_max_fds",
        "gauge",
        "Files and connections that the process may have open.",
        number_after(&limits, "Max open files"),
    );
    say("process_cpu_seconds_total", "counter", "Processor time that the process took.", cpu_seconds(&stat));
    say(
        "process_start_time_seconds",
        "gauge",
        "When the process was started, in seconds since 1970.",
        start_seconds(&stat),
    );
    text
}

fn number_after(text: &str, field: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The fields behind the program's name, which may hold anything; the first of them is the third of the line.
fn fields(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(") ")?.1.split_whitespace().collect())
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    let fields = fields(stat)?;
    let ticks = |at: usize| fields.get(at - 3)?.parse::<f64>().ok();
    Some((ticks(14)? + ticks(15)?) / TICKS_PER_SECOND)
}

fn start_seconds(stat: &str) -> Option<f64> {
    let since_boot = fields(stat)?.get(22 - 3)?.parse::<f64>().ok()? / TICKS_PER_SECOND;
    let kernel = fs::read_to_string("/proc/stat").ok()?;
    Some(number_after(&kernel, "btime")? + since_boot)
}
