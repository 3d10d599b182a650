//! The table for a terminal: a line for each protocol and acknowledgement.

use std::fmt::Write as _;

use super::Figures;
use crate::measure::Run;

const HEADS: &[&str] = &[
    "",
    "acknowledged by",
    "read/CPU-s",
    "p99 ms",
    "register/CPU-s",
    "p99 ms",
    "CPU-s/M",
    "many/CPU-s",
    "change p50",
    "p99 ms",
    "missed",
    "MiB idle",
    "B each",
    "fds",
    "B read",
    "B reg",
];

/// `-` of what is not known.
pub(super) fn shown<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

/// Thousands apart, as people read them.
pub(super) fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Operations per CPU second, of a process that is known.
pub(super) fn rate(run: Option<&Run>) -> Option<f64> {
    run.map(|run| run.per_cpu_second).filter(|rate| *rate > 0.0)
}

fn cells(figures: &Figures) -> Vec<String> {
    let ms = |value: f64| format!("{value:.2}");
    let p99 = |run: Option<&Run>| shown(run.map(|run| run.latency.p99_ms), ms);
    let (read, register) = (figures.read.as_ref(), figures.register.as_ref());
    let (changes, weight) = (figures.changes.as_ref(), figures.weight);
    let mib = |bytes: u64| format!("{:.0}", bytes as f64 / f64::from(1 << 20));
    vec![
        figures.name(),
        figures.durability.to_owned(),
        shown(rate(read), thousands),
        p99(read),
        shown(rate(register), thousands),
        p99(register),
        shown(rate(register), |rate| format!("{:.1}", 1e6 / rate)),
        shown(rate(figures.pipelined.as_ref()), thousands),
        shown(changes.map(|changes| changes.latency.p50_ms), ms),
        shown(changes.map(|changes| changes.latency.p99_ms), ms),
        format!("{}/{}", figures.own_reads.missed, figures.own_reads.reads),
        shown(weight.map(|weight| weight.idle_bytes), mib),
        shown(weight, |weight| thousands(weight.bytes_each())),
        shown(weight, |weight| weight.descriptors.to_string()),
        shown(figures.read_bytes, |bytes| bytes.to_string()),
        shown(figures.register_bytes, |bytes| bytes.to_string()),
    ]
}

pub(super) fn heads() -> Vec<String> {
    HEADS.iter().map(|head| (*head).to_owned()).collect()
}

pub(super) fn rows(all: &[Figures]) -> Vec<Vec<String>> {
    all.iter().map(cells).collect()
}

pub fn table(all: &[Figures]) -> String {
    let lines: Vec<_> = std::iter::once(heads()).chain(rows(all)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..HEADS.len()).map(width).collect();
    let mut out = String::new();
    for line in &lines {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            // Words to the left, figures to the right.
            let _ = if column < 2 { write!(out, "{cell:width$}  ") } else { write!(out, "{cell:>width$}  ") };
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::gates::tests::figures;
    use super::*;
    use crate::peer::Registry;
    use crate::target::{Ack, Door};

    #[test]
    fn figures_stand_below_their_heads() {
        let mut other = figures(Registry::ZooKeeper, Door::ZooKeeper, Ack::Disk, 39_285.0, 31_075.0);
        other.changes = None;
        let all = [figures(Registry::Thuban, Door::ThubanHttp, Ack::Disk, 1_234_567.0, 950.0), other];
        let text = table(&all);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        let end = lines[0].find("read/CPU-s").expect("a head") + "read/CPU-s".len();
        assert!(lines[1][..end].ends_with(" 1,234,567") && lines[2][..end].ends_with(" 39,285"), "{text}");
        assert!(lines[2].starts_with("zookeeper    fsync (transaction log)") && lines[2].contains(" - "), "{text}");
        assert_eq!(thousands(999.6), "1,000");
    }
}
