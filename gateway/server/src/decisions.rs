//! `thuban journal`: what a node's decision journal has, as lines of JSON, one for each decision.

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use cache_sync::journal::{Follower, Found};
use clap::Args;
use compute::model::{Change, FreezeScope, Op, Revision};
use compute::port::journal::{Decided, Record};
use compute::state::Verdict;
use serde_json::{Value, json};

#[derive(Args)]
#[command(
    after_help = "Of each change: its revision, the log's time, who asked for it through which door, at which node it was
accepted, what it is, of what, and whether it was applied or why not; `rests_on` has all of it. What the nodes say of
themselves twice a second is left out, unless --all is given.

Examples:
  thuban journal /var/lib/thuban/journal --of default/orders/10.0.0.7:8080
      why was this instance removed?
  thuban journal /var/lib/thuban/journal --of default/orders"
)]
pub(crate) struct Journal {
    /// What --decision-journal of the node names
    directory: PathBuf,
    /// Only of this namespace, service or instance, and of what is in it: NAMESPACE[/SERVICE[/ID]]
    #[arg(long, value_name = "PLACE")]
    of: Option<String>,
    /// Beacons, too
    #[arg(long)]
    all: bool,
}

impl Journal {
    pub(crate) fn show(&self) -> ExitCode {
        let mut out = io::stdout().lock();
        let mut written = Ok(());
        let read = Follower::of(self.directory.clone()).read(|found| {
            for line in self.lines(&found) {
                if written.is_ok() {
                    written = writeln!(out, "{line}");
                }
            }
        });
        let failed = match (read, written) {
            (Err(error), _) => error.to_string(),
            // Whoever reads this may have read enough.
            (Ok(()), Err(error)) if error.kind() != ErrorKind::BrokenPipe => format!("standard output: {error}"),
            _ if !self.directory.is_dir() => format!("there is no directory {}", self.directory.display()),
            _ => return ExitCode::SUCCESS,
        };
        crate::logging::complain(format_args!("error: {failed}"));
        ExitCode::FAILURE
    }

    fn lines(&self, found: &Found) -> Vec<Value> {
        let record = match found {
            Found::Record(record) => record,
            Found::Torn { bytes } => return vec![json!({"torn_bytes": bytes})],
            Found::Missing { segments } => return vec![json!({"missing_files": segments})],
        };
        match &**record {
            Record::Decided(decided) => self.decided(decided),
            Record::Begun { log, at } => vec![json!({"begun_at": at.to_string(), "log": log.to_string()})],
            Record::Raised(raised) => vec![json!({
                "log_lost_behind": raised.from.to_string(), "goes_on_at": raised.next.to_string(), "log": raised.log.to_string()
            })],
            Record::Lost { frames } => vec![json!({"lost_frames": frames})],
        }
    }

    fn decided(&self, decided: &Decided) -> Vec<Value> {
        let Decided { entry, verdicts } = decided;
        let changes = entry.frame.changes.iter().zip(verdicts).zip(0..);
        let shown = changes.filter(|((change, _), _)| self.wants(&change.op));
        shown
            .map(|((change, verdict), at)| line(entry.position.at(at), entry.frame.time_ms, change, *verdict))
            .collect()
    }

    fn wants(&self, op: &Op) -> bool {
        let Some(wanted) = &self.of else { return self.all || !matches!(op, Op::Beacon { .. }) };
        let (_, of) = named(op);
        of.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

fn line(revision: Revision, time_ms: u64, change: &Change, verdict: Verdict) -> Value {
    let Change { origin, author, op } = change;
    let (kind, of) = named(op);
    let verdict = match verdict {
        Verdict::Applied(_) => "applied".to_owned(),
        Verdict::Duplicate => "a repeated one".to_owned(),
        Verdict::Refused(why) => format!("refused: {why:?}"),
    };
    json!({
        "revision": revision.to_string(), "time_ms": time_ms, "change": kind, "of": of, "verdict": verdict,
        "author": &*author.name, "door": &*author.door, "node": origin.node.to_string(), "rests_on": format!("{op:?}"),
    })
}

/// What it is, and of what.
fn named(op: &Op) -> (&'static str, String) {
    match op {
        Op::PutNamespace { namespace, .. } => ("put_namespace", namespace.to_string()),
        Op::DeleteNamespace { namespace, .. } => ("delete_namespace", namespace.to_string()),
        Op::PutService { service, .. } => ("put_service", service.to_string()),
        Op::DeleteService { service, .. } => ("delete_service", service.to_string()),
        Op::CollectService { service, .. } => ("collect_service", service.to_string()),
        Op::Register { instance, .. } => ("register", instance.to_string()),
        Op::Deregister { instance, .. } => ("deregister", instance.to_string()),
        Op::Operate { instance, .. } => ("operate", instance.to_string()),
        Op::KeepOverride { instance, .. } => ("keep_override", instance.to_string()),
        Op::EndOverride { instance, .. } => ("end_override", instance.to_string()),
        Op::Suspect { instance, .. } => ("suspect", instance.to_string()),
        Op::Refute { instance, .. } => ("refute", instance.to_string()),
        Op::Confirm { instance, .. } => ("confirm", instance.to_string()),
        Op::Unhealthy { instance, .. } => ("unhealthy", instance.to_string()),
        Op::Expire { instance, .. } => ("expire", instance.to_string()),
        Op::OpenSession { session, .. } => ("open_session", format!("session {session:?}")),
        Op::AttachSession { session, .. } => ("attach_session", format!("session {session:?}")),
        Op::CloseSession { session, .. } => ("close_session", format!("session {session:?}")),
        Op::Freeze { scope, .. } => ("freeze", scoped(scope)),
        Op::Release { scope, .. } => ("release", scoped(scope)),
        Op::Beacon { name, .. } => ("beacon", format!("node {name}")),
        Op::Gone { node } => ("gone", format!("node {node}")),
    }
}

fn scoped(scope: &FreezeScope) -> String {
    match scope {
        FreezeScope::Node(node) => format!("node {node}"),
        FreezeScope::Service(service) => service.to_string(),
    }
}
