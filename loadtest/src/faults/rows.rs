//! The table: a row for each fault, for people and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::truth::{Counted, Operation, Wrong};
use crate::machine::Machine;

#[derive(Clone, Debug, Serialize)]
pub struct Table {
    pub machine: Machine,
    pub seed: u64,
    pub rows: Vec<Row>,
    /// How long it took to stop all of it.
    pub stopped_s: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub fault: String,
    /// This machine cannot do it.
    pub is_skipped: bool,
    pub counted: Counted,
    /// From the fault's end until all nodes, the store and the watchers show the same; `None`: they did not.
    pub converged_s: Option<f64>,
    /// All of it.
    pub seconds: f64,
}

const COLUMNS: [(&str, Operation); 4] = [
    ("reads", Operation::Reads),
    ("writes", Operation::Writes),
    ("events", Operation::Events),
    ("retries", Operation::Retries),
];

fn name(wrong: Wrong) -> &'static str {
    match wrong {
        Wrong::RemovedAlive => "removed alive",
        Wrong::UntrueList => "untrue lists",
        Wrong::DeadKept => "dead kept",
        Wrong::WriteLost => "lost writes",
        Wrong::StepBack => "steps back",
        Wrong::BrokenChain => "broken chains",
        Wrong::ToldUnknown => "told unknown",
        Wrong::Unanswered => "unanswered",
        Wrong::Uncured => "uncured",
        Wrong::StaleDecision => "stale decisions",
        Wrong::OtherDecision => "other decisions",
        Wrong::UnprovenRemoval => "unproven removals",
        Wrong::Divergence => "divergences",
        Wrong::Late => "late",
        Wrong::TooLittle => "too little",
    }
}

impl Row {
    pub fn new(fault: &str, counted: Counted, converged: Option<Duration>, took: Duration) -> Self {
        let converged_s = converged.map(|converged| converged.as_secs_f64());
        Self { fault: fault.into(), is_skipped: false, counted, converged_s, seconds: took.as_secs_f64() }
    }

    pub fn skipped(fault: &str) -> Self {
        Self { is_skipped: true, ..Self::new(fault, Counted::default(), None, Duration::ZERO) }
    }

    pub fn is_well(&self) -> bool {
        self.counted.wrong.values().all(|count| *count == 0)
    }

    pub fn line(&self) -> String {
        let mut line = self.fault.clone();
        if self.is_skipped {
            return line + " | SKIPPED";
        }
        for (_, operation) in COLUMNS {
            let _ = write!(line, " | {}", self.counted.operations.get(&operation).unwrap_or(&0));
        }
        let judged = &self.counted.judged;
        let decisions: u64 = judged.decisions.values().sum();
        let _ = write!(line, " | {} | {decisions} | {}", judged.all_lists(), judged.removals);
        for wrong in Wrong::ALL {
            let _ = write!(line, " | {}", self.counted.wrong.get(&wrong).unwrap_or(&0));
        }
        let converged = self.converged_s.map_or_else(|| "never".to_owned(), |seconds| format!("{seconds:.1}"));
        let Counted { no_read_s, no_write_s, no_renewal_s, .. } = self.counted;
        let lasted = self.counted.judged.lasted.as_secs_f64();
        let _ = write!(line, " | {no_read_s:.1} | {no_write_s:.1} | {no_renewal_s:.1} | {lasted:.1} | {converged}");
        let _ = write!(line, " | {:.0}", self.seconds);
        line
    }

    pub fn details(&self) -> String {
        self.counted.examples.iter().map(|example| format!("    {example}\n")).collect()
    }
}

impl Table {
    pub fn new(seed: u64) -> Self {
        Self { machine: Machine::this(), seed, rows: vec![], stopped_s: 0.0 }
    }

    pub fn head() -> String {
        let mut head = "fault".to_owned();
        for (column, _) in COLUMNS {
            let _ = write!(head, " | {column}");
        }
        head += " | lists judged | decisions judged | removals judged";
        for wrong in Wrong::ALL {
            let _ = write!(head, " | {}", name(wrong));
        }
        head + " | no read s | no write s | no renewal s | lasted s | converged s | all s"
    }

    pub fn text(&self) -> String {
        let mut text = format!("commit {}, seed {}\n{}\n", self.machine.commit, self.seed, Self::head());
        for row in &self.rows {
            let _ = writeln!(text, "{}", row.line());
        }
        let _ = writeln!(text, "stopped within {:.1} s", self.stopped_s);
        text
    }

    /// The faults that were not stood.
    pub fn lost(&self) -> Vec<&Row> {
        self.rows.iter().filter(|row| !row.is_well()).collect()
    }
}
