//! What the figures of one run say beside each other, against what is asked for.

use serde_json::{Value, json};

use super::Figures;
use crate::measure::Run;
use crate::peer::Registry;
use crate::report::{Gate, Line};
use crate::target::{Ack, Door};

type Rate = fn(&Figures) -> Option<f64>;

fn per_cpu(run: Option<&Run>) -> Option<f64> {
    run.map(|run| run.per_cpu_second).filter(|rate| *rate > 0.0)
}

fn read(figures: &Figures) -> Option<f64> {
    per_cpu(figures.read.as_ref())
}

fn register(figures: &Figures) -> Option<f64> {
    per_cpu(figures.register.as_ref())
}

fn pipelined(figures: &Figures) -> Option<f64> {
    per_cpu(figures.pipelined.as_ref())
}

/// Changes a second, were one to follow the other: so that, as of the others, more is better.
fn pace(figures: &Figures) -> Option<f64> {
    figures.changes.as_ref().map(|changes| 1_000.0 / changes.latency.p50_ms.max(0.001))
}

/// The most of those that `is_meant` names.
fn best(all: &[Figures], rate: Rate, is_meant: impl Fn(&Figures) -> bool) -> Option<f64> {
    all.iter().filter(|figures| is_meant(figures)).filter_map(rate).max_by(f64::total_cmp)
}

fn ratio(what: String, ours: Option<f64>, theirs: Option<f64>, gate: f64) -> Option<Line> {
    let (ours, theirs) = ours.zip(theirs)?;
    let detail = json!({"thuban": ours, "other": theirs});
    Some(Line { what, figure: ours / theirs, unit: "times as much", gate: Some(Gate::AtLeast(gate)), detail })
}

pub(super) fn lines(all: &[Figures]) -> Vec<Line> {
    let mut lines = Vec::new();
    let ours = best(all, register, |f| f.door == Door::ThubanGrpc && f.ack == Ack::Disk);
    let puts = best(all, register, |f| f.door == Door::Etcd);
    lines.extend(ratio("register on the log, gRPC, beside etcd's put".into(), ours, puts, 4.0));
    let mut others: Vec<Registry> = all.iter().map(|f| f.registry).filter(|one| *one != Registry::Thuban).collect();
    others.dedup();
    lines.extend(others.into_iter().flat_map(|other| ahead(all, other)));
    lines.extend(all.iter().filter(|f| f.registry == Registry::Thuban).map(own_reads));
    lines
}

/// The best door of each, at the same acknowledgement.
fn ahead(all: &[Figures], other: Registry) -> Vec<Line> {
    let theirs = |rate| best(all, rate, |f| f.registry == other);
    let Some(ack) = all.iter().find(|f| f.registry == other).map(|f| f.ack) else { return vec![] };
    let ours = |rate| best(all, rate, |f| f.registry == Registry::Thuban && f.ack == ack);
    let reads = best(all, read, |f| f.registry == Registry::Thuban);
    let name = other.name();
    let compared = [
        (format!("discover, ahead of {name}"), reads, theirs(read)),
        (format!("register one at a time, ahead of {name}"), ours(register), theirs(register)),
        (format!("register many at a time, ahead of {name}"), ours(pipelined), theirs(pipelined)),
        (format!("change to subscriber, p50, ahead of {name}"), ours(pace), theirs(pace)),
    ];
    compared.into_iter().filter_map(|(what, ours, theirs)| ratio(what, ours, theirs, 1.0)).collect()
}

fn own_reads(figures: &Figures) -> Line {
    let reads = figures.own_reads;
    Line {
        what: format!(
            "{} ({}): reads of own writes that missed, of {}",
            figures.name(),
            figures.durability,
            reads.reads
        ),
        figure: reads.missed as f64,
        unit: "",
        gate: Some(Gate::AtMost(0.0)),
        detail: Value::Null,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Changes, OwnReads};
    use super::*;
    use crate::measure::Latency;

    fn run(per_cpu_second: f64) -> Run {
        let latency = Latency { p50_ms: 1.0, p99_ms: 4.0, p999_ms: 8.0, max_ms: 9.0 };
        let (operations, cpu_us_each) = (10, 1e6 / per_cpu_second);
        Run { operations, seconds: 1.0, per_second: per_cpu_second, per_cpu_second, cpu_us_each, latency }
    }

    pub(crate) fn figures(registry: Registry, door: Door, ack: Ack, read: f64, register: f64) -> Figures {
        let latency = Latency { p50_ms: 2.0, p99_ms: 5.0, p999_ms: 6.0, max_ms: 7.0 };
        Figures {
            registry,
            version: "1.0 <&>".into(),
            door,
            ack,
            durability: registry.durability(ack),
            read: Some(run(read)),
            read_bytes: Some(1_700),
            register: Some(run(register)),
            register_bytes: Some(700),
            pipelined: door.can_pipeline().then(|| run(register * 5.0)),
            changes: Some(Changes { watchers: 100, changes: 60, latency, cpu_us_each: 30.0 }),
            own_reads: OwnReads { reads: 10_000, missed: 0 },
            weight: None,
        }
    }

    fn figure(lines: &[Line], what: &str) -> (f64, bool) {
        let line = lines.iter().find(|line| line.what == what).unwrap_or_else(|| panic!("no line {what}: {lines:?}"));
        (line.figure, line.is_met())
    }

    #[test]
    fn like_is_held_against_like() {
        let mut all = vec![
            figures(Registry::Thuban, Door::ThubanHttp, Ack::Disk, 100_000.0, 44_000.0),
            figures(Registry::Thuban, Door::ThubanHttp, Ack::Memory, 1.0, 60_000.0),
            figures(Registry::Thuban, Door::ThubanGrpc, Ack::Disk, 70_000.0, 40_000.0),
            figures(Registry::Thuban, Door::ThubanSession, Ack::Disk, 1.0, 40_000.0),
            figures(Registry::Etcd, Door::Etcd, Ack::Disk, 20_000.0, 10_000.0),
        ];
        all[1].own_reads.missed = 3;
        let lines = lines(&all);
        assert_eq!(figure(&lines, "register on the log, gRPC, beside etcd's put"), (4.0, true));
        // In memory is not held against what is on a disk.
        assert_eq!(figure(&lines, "register one at a time, ahead of etcd"), (4.4, true));
        assert_eq!(figure(&lines, "register many at a time, ahead of etcd"), (4.0, true));
        let missed = "thuban HTTP (memory): reads of own writes that missed, of 10000";
        assert_eq!(figure(&lines, missed), (3.0, false));
    }

    #[test]
    fn what_nobody_knows_the_cpu_of_is_in_no_ratio() {
        let mut other = figures(Registry::Etcd, Door::Etcd, Ack::Disk, 1.0, 1.0);
        for run in [&mut other.read, &mut other.register, &mut other.pipelined] {
            *run = run.take().map(|run| Run { per_cpu_second: 0.0, ..run });
        }
        let all = [figures(Registry::Thuban, Door::ThubanGrpc, Ack::Disk, 9.0, 9.0), other];
        let lines = lines(&all);
        assert!(lines.iter().all(|line| !line.what.starts_with("register") && !line.what.starts_with("discover")));
        assert_eq!(figure(&lines, "change to subscriber, p50, ahead of etcd"), (1.0, true));
    }
}
