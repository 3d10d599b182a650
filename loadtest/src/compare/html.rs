//! The report as one page that needs nothing else: tables, and plots in SVG. It is well-formed XML too.

use std::fmt::Write as _;

use super::Figures;
use super::sheet::{heads, rate, rows, thousands};
use crate::machine::Machine;
use crate::measure::Latency;
use crate::peer::Registry;
use crate::report::{Gate, Line};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1c2733}\
h1,h2{line-height:1.2}table{border-collapse:collapse;font-size:13px}.wide{overflow-x:auto}\
td,th{padding:.25rem .6rem;border-bottom:1px solid #d8dee6;text-align:right;white-space:nowrap}\
td:first-child,th:first-child{text-align:left}.no{color:#b3261e;font-weight:600}.met{color:#1b6e3c}\
svg{display:block;margin:.5rem 0 1.5rem;max-width:100%;height:auto}text{font:13px system-ui,sans-serif;fill:#1c2733}";
const OURS: &str = "#2458a6";
const OTHERS: &str = "#9aa7b5";
const LABELS: f64 = 290.0;
const PLOT: f64 = 560.0;
const ROW: f64 = 26.0;
/// Room for the figure behind a bar.
const BEHIND: f64 = 110.0;

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

fn label(figures: &Figures) -> String {
    format!("{}, {}", figures.name(), figures.durability)
}

fn colour(figures: &Figures) -> &'static str {
    if figures.registry == Registry::Thuban { OURS } else { OTHERS }
}

fn svg(out: &mut String, title: &str, count: usize, draw: impl FnOnce(&mut String)) {
    let (width, height) = (LABELS + PLOT + BEHIND, ROW * count as f64 + 24.0);
    let _ =
        write!(out, "<h2>{0}</h2><svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" role=\"img\" ", escape(title));
    let _ = write!(out, "aria-label=\"{}\" xmlns=\"http://www.w3.org/2000/svg\">", escape(title));
    draw(out);
    out.push_str("</svg>\n");
}

fn row_label(out: &mut String, row: usize, text: &str) -> f64 {
    let middle = ROW * row as f64 + ROW / 2.0;
    let _ =
        write!(out, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>", LABELS - 8.0, middle + 4.0, escape(text));
    middle
}

/// A bar for each that has the figure.
fn bars(out: &mut String, title: &str, all: &[Figures], figure: impl Fn(&Figures) -> Option<f64>) {
    let shown: Vec<_> = all.iter().filter_map(|one| Some((one, figure(one)?))).collect();
    let most = shown.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    if most <= 0.0 {
        return;
    }
    svg(out, title, shown.len(), |out| {
        for (row, (one, value)) in shown.iter().enumerate() {
            let middle = row_label(out, row, &label(one));
            let width = PLOT * value / most;
            let _ = write!(
                out,
                "<rect x=\"{LABELS}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\" fill=\"{}\"/>",
                middle - 9.0,
                18,
                colour(one)
            );
            let _ = write!(
                out,
                "<text x=\"{:.1}\" y=\"{}\">{}</text>",
                LABELS + width + 6.0,
                middle + 4.0,
                thousands(*value)
            );
        }
    });
}

/// From p50 to the longest, on a scale of powers of ten; a line marks p50, p99 and p99.9.
fn spreads(out: &mut String, title: &str, all: &[Figures], latency: impl Fn(&Figures) -> Option<&Latency>) {
    let shown: Vec<_> = all.iter().filter_map(|one| Some((one, latency(one)?))).collect();
    let least = shown.iter().map(|(_, l)| l.p50_ms).fold(f64::INFINITY, f64::min).max(0.001).log10().floor();
    let most = shown.iter().map(|(_, l)| l.max_ms).fold(0.001, f64::max).log10().ceil().max(least + 1.0);
    if shown.is_empty() {
        return;
    }
    let place = |ms: f64| LABELS + PLOT * (ms.max(0.001).log10() - least) / (most - least);
    svg(out, title, shown.len(), |out| {
        let below = ROW * shown.len() as f64;
        for power in least as i32..=most as i32 {
            let (x, ms) = (place(10f64.powi(power)), 10f64.powi(power));
            let _ = write!(out, "<line x1=\"{x:.1}\" y1=\"0\" x2=\"{x:.1}\" y2=\"{below}\" stroke=\"#d8dee6\"/>");
            let _ = write!(out, "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{ms} ms</text>", below + 17.0);
        }
        for (row, (one, latency)) in shown.iter().enumerate() {
            let middle = row_label(out, row, &label(one));
            let (from, to, fill) = (place(latency.p50_ms), place(latency.max_ms), colour(one));
            let _ = write!(
                out,
                "<line x1=\"{from:.1}\" y1=\"{middle}\" x2=\"{to:.1}\" y2=\"{middle}\" stroke=\"{fill}\"/>"
            );
            for (name, ms) in [("p50", latency.p50_ms), ("p99", latency.p99_ms), ("p99.9", latency.p999_ms)] {
                let _ = write!(out, "<circle cx=\"{:.1}\" cy=\"{middle}\" r=\"5\" fill=\"{fill}\">", place(ms));
                let _ = write!(out, "<title>{name} {ms} ms</title></circle>");
            }
            let text = format!("{:.1} / {:.1} ms", latency.p50_ms, latency.p99_ms);
            let _ = write!(out, "<text x=\"{:.1}\" y=\"{}\">{text}</text>", to + 6.0, middle + 4.0);
        }
    });
}

fn grid(out: &mut String, heads: &[String], rows: &[Vec<String>]) {
    out.push_str("<div class=\"wide\"><table><thead><tr>");
    heads.iter().for_each(|head| out.push_str(&format!("<th>{}</th>", escape(head))));
    out.push_str("</tr></thead><tbody>\n");
    for row in rows {
        let cells: String = row.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        let _ = writeln!(out, "<tr>{cells}</tr>");
    }
    out.push_str("</tbody></table></div>\n");
}

fn gates(out: &mut String, lines: &[Line]) {
    out.push_str("<h2>Beside each other</h2><div class=\"wide\"><table><tbody>\n");
    for line in lines {
        let gate = match line.gate {
            Some(Gate::AtLeast(gate)) => format!("at least {gate}"),
            Some(Gate::AtMost(gate)) => format!("at most {gate}"),
            None => String::new(),
        };
        let (class, word) = if line.is_met() { ("met", "met") } else { ("no", "not met") };
        let (what, unit) = (escape(&line.what), escape(line.unit));
        let _ = write!(out, "<tr><td>{what}</td><td>{:.2} {unit}</td><td>{gate}</td>", line.figure);
        let _ = writeln!(out, "<td class=\"{class}\">{word}</td></tr>");
    }
    out.push_str("</tbody></table></div>\n");
}

fn versions(all: &[Figures]) -> String {
    let mut versions: Vec<_> = all.iter().map(|one| format!("{} {}", one.registry.name(), one.version)).collect();
    versions.dedup();
    versions.join(", ")
}

/// The whole page.
pub fn page(machine: &Machine, how: &str, all: &[Figures], lines: &[Line]) -> String {
    let Machine { cpu, cores, memory_mib, kernel, commit, load } = machine;
    let mut out =
        String::from("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/><title>Thuban beside ");
    let _ = write!(
        out,
        "other registries</title><style>{STYLE}</style></head><body>\n<h1>Thuban beside other registries</h1>"
    );
    let measured =
        format!("{cores} x {cpu}, {memory_mib} MiB, kernel {kernel}, load {load:.2}, commit {commit}. {how}.");
    let _ = write!(out, "<p>{}</p><p>{}</p>", escape(&measured), escape(&versions(all)));
    out.push_str(
        "<p>Rates are operations per CPU second of the server process, all its threads, user and system.</p>\n",
    );
    bars(&mut out, "Discover a service of ten, per CPU second", all, |one| rate(one.read.as_ref()));
    bars(&mut out, "Register, one at a time on each connection, per CPU second", all, |one| {
        rate(one.register.as_ref())
    });
    bars(&mut out, "Register, many at a time on a connection, per CPU second", all, |one| rate(one.pipelined.as_ref()));
    spreads(&mut out, "From a change to each subscriber", all, |one| one.changes.as_ref().map(|c| &c.latency));
    spreads(&mut out, "Discover: time to the answer, closed loop", all, |one| one.read.as_ref().map(|r| &r.latency));
    spreads(&mut out, "Register: time to the answer, closed loop", all, |one| {
        one.register.as_ref().map(|r| &r.latency)
    });
    bars(&mut out, "Bytes of memory for each instance", all, |one| one.weight.map(|weight| weight.bytes_each()));
    gates(&mut out, lines);
    out.push_str("<h2>Figures</h2>");
    grid(&mut out, &heads(), &rows(all));
    out.push_str("</body></html>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::super::gates::tests::figures;
    use super::super::{Weight, gates};
    use super::*;
    use crate::target::{Ack, Door};

    /// Every tag is closed by its own, in order; attributes are quoted; nothing stands bare that has a meaning.
    fn check_well_formed(page: &str) -> usize {
        let mut open = Vec::new();
        let mut tags = 0;
        let mut rest = page.strip_prefix("<!DOCTYPE html>\n").expect("a document type");
        while let Some(at) = rest.find('<') {
            check_text(&rest[..at]);
            let end = rest.find('>').expect("a tag ends");
            let tag = &rest[at + 1..end];
            assert!(!tag.contains('<') && tag.matches('"').count().is_multiple_of(2), "<{tag}>");
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "closed by </{name}>");
            } else if !tag.ends_with('/') {
                open.push(tag.split(' ').next().expect("a name"));
            }
            tags += 1;
            rest = &rest[end + 1..];
        }
        assert_eq!((open, rest.trim()), (vec![], ""));
        tags
    }

    fn check_text(text: &str) {
        for after in text.split('&').skip(1) {
            assert!(["amp;", "lt;", "gt;", "quot;"].iter().any(|name| after.starts_with(name)), "a bare & in {text}");
        }
        assert!(!text.contains('>'), "a bare > in {text}");
    }

    fn machine() -> Machine {
        let (cpu, kernel, commit) = ("A & B <fast>".into(), "6.1".into(), "abc".into());
        Machine { cpu, cores: 2, memory_mib: 1, kernel, commit, load: 0.5 }
    }

    #[test]
    fn the_page_is_well_formed_and_has_every_figure() {
        let mut all = vec![
            figures(Registry::Thuban, Door::ThubanHttp, Ack::Disk, 100_000.0, 44_000.0),
            figures(Registry::Etcd, Door::Etcd, Ack::Disk, 4_758.0, 8_558.0),
        ];
        all[1].weight = Some(Weight { idle_bytes: 0, full_bytes: 7_430, instances: 10, descriptors: 9 });
        let page = page(&machine(), "pinned", &all, &gates::lines(&all));
        check_well_formed(&page);
        // Discover and two kinds of register, three spreads, bytes.
        assert_eq!(page.matches("<svg").count(), 7);
        for wanted in ["100,000", "4,758", "8,558", "743", "2.00", "A &amp; B &lt;fast&gt;", "1.0 &lt;&amp;&gt;"] {
            assert!(page.contains(wanted), "{wanted} is not in the page");
        }
        let own = page.replace("http://www.w3.org/2000/svg", "");
        for elsewhere in ["http:", "https:", "src=", "href=", "url(", "<script", "@import"] {
            assert!(!own.contains(elsewhere), "the page needs {elsewhere}");
        }
    }

    #[test]
    fn a_page_of_nothing_known_is_well_formed_too() {
        let mut one = figures(Registry::Etcd, Door::Etcd, Ack::Disk, 1.0, 1.0);
        (one.read, one.register, one.pipelined, one.changes) = (None, None, None, None);
        let page = page(&machine(), "pinned", &[one], &[]);
        assert!(check_well_formed(&page) > 10 && !page.contains("<svg"));
        assert!(!page.contains("NaN") && !page.contains("inf"));
    }
}
