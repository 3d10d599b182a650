//! A table for people, and the same as JSON for the next comparison.

use std::fmt::Write as _;

use serde::Serialize;

use crate::machine::Machine;

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub what: String,
    pub figure: f64,
    pub unit: &'static str,
    /// What was asked for, and whether more is better.
    pub gate: Option<Gate>,
    /// Everything else worth keeping.
    pub detail: serde_json::Value,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub enum Gate {
    AtLeast(f64),
    AtMost(f64),
}

impl Line {
    pub fn is_met(&self) -> bool {
        match self.gate {
            Some(Gate::AtLeast(gate)) => self.figure >= gate,
            Some(Gate::AtMost(gate)) => self.figure <= gate,
            None => true,
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    /// Who had which core.
    pub how: &'static str,
    pub lines: Vec<Line>,
}

impl Report {
    pub fn table(&self) -> String {
        let machine = &self.machine;
        let mut out = format!(
            "{} x {}, {} MiB, kernel {}, load {:.2}, commit {}\n{}\n\n",
            machine.cores, machine.cpu, machine.memory_mib, machine.kernel, machine.load, machine.commit, self.how
        );
        let width = self.lines.iter().map(|line| line.what.len()).max().unwrap_or(0);
        for line in &self.lines {
            let gate = match line.gate {
                Some(Gate::AtLeast(gate)) => format!("at least {gate}"),
                Some(Gate::AtMost(gate)) => format!("at most {gate}"),
                None => String::new(),
            };
            let verdict = if line.gate.is_none() {
                ""
            } else if line.is_met() {
                "met"
            } else {
                "NOT MET"
            };
            let figure =
                if line.figure >= 1000.0 { format!("{:.0}", line.figure) } else { format!("{:.2}", line.figure) };
            let _ = writeln!(out, "{:width$}  {figure:>12} {:22} {gate:18} {verdict}", line.what, line.unit);
        }
        out
    }

    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain values")
    }

    /// How many gates are not met.
    pub fn missed(&self) -> usize {
        self.lines.iter().filter(|line| !line.is_met()).count()
    }
}
