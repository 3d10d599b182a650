//! What every PresenceStore must do, whatever holds its rows.

mod durable;
mod landing;
mod leading;
mod refusing;
mod replacing;
mod rows;
mod together;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::sample::{identity, log_state, sorted};
use crate::model::{LogIdentity, LogState, Position, Row, Rows};
use crate::port::store::{Epoch, LandError, Loaded, PresenceStore};

/// Makes the stores that the suite tries.
#[async_trait]
pub trait Stores: Send + Sync {
    type Store: PresenceStore;

    /// A new, empty one.
    async fn fresh(&self) -> Arc<Self::Store>;

    /// The same one as another process finds it after this one let it go; `None` when it is not durable.
    async fn reopened(&self, store: Arc<Self::Store>) -> Option<Arc<Self::Store>>;
}

/// A check that a store did not pass.
#[derive(Debug)]
pub struct Failure {
    pub check: &'static str,
    pub detail: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.detail)
    }
}

type Verdict = Result<(), String>;

/// Panics with every check that these stores do not pass.
pub async fn pass<F: Stores>(stores: &F) {
    let failures = failures(stores, |_| true).await;
    let lines: Vec<String> = failures.iter().map(Failure::to_string).collect();
    assert!(lines.is_empty(), "the store fails its suite:\n{}", lines.join("\n"));
}

/// Runs the checks that are wanted by name, each on a store of its own.
pub async fn failures<F: Stores>(stores: &F, wanted: impl Fn(&str) -> bool) -> Vec<Failure> {
    let mut found = vec![];
    macro_rules! checks {
        ($($part:ident: $($check:ident),+;)+) => {
            $($(
                if wanted(stringify!($check)) && let Err(detail) = Box::pin($part::$check(stores)).await {
                    found.push(Failure { check: stringify!($check), detail });
                }
            )+)+
        };
    }
    checks! {
        leading: an_empty_store_has_no_mark, nobody_lands_without_leading, the_first_lead_binds,
            each_lead_raises_the_epoch, another_log_is_refused;
        landing: every_kind_comes_back, rows_are_overwritten_whole, parts_can_end, deleted_rows_are_gone,
            older_rows_change_nothing, rows_of_the_same_age_overwrite, no_rows_move_the_mark;
        rows: batches_of_every_size, ten_thousand_rows, keys_are_exact, the_highest_revision;
        refusing: other_epochs_are_fenced, other_watermarks_are_fenced, the_mark_never_goes_back,
            rows_of_another_log_are_refused, a_key_twice_is_refused;
        replacing: replace_leaves_nothing_else, replace_binds_another_log, replace_by_another_epoch_is_fenced,
            replace_with_a_key_twice_is_refused;
        together: one_of_two_landings_wins, two_leads_get_two_epochs, a_load_sees_one_watermark,
            a_dropped_landing_is_whole_or_nothing, a_dropped_replace_is_whole_or_nothing;
        durable: everything_is_there_after_reopening, epochs_rise_over_reopening, an_unknown_outcome_shows_in_the_mark;
    }
    found
}

const LOG: fn() -> LogIdentity = || identity(7);

fn at(offset: u64) -> LogState {
    log_state(LOG(), offset)
}

/// A fresh store that is bound to [`LOG`], and the epoch to land with.
async fn led<F: Stores>(stores: &F) -> Result<(Arc<F::Store>, Epoch), String> {
    let store = stores.fresh().await;
    let epoch = lead(store.as_ref()).await?;
    Ok((store, epoch))
}

async fn lead(store: &impl PresenceStore) -> Result<Epoch, String> {
    store.lead(LOG()).await.map_err(|e| format!("lead: {e}"))
}

async fn land(store: &impl PresenceStore, epoch: Epoch, rows: Rows, from: u64, upto: u64) -> Verdict {
    let from = if from == 0 { Position::ZERO } else { at(from).watermark };
    store.land(epoch, rows, from, at(upto)).await.map_err(|e| format!("land {from} to {}: {e}", at(upto).watermark))
}

/// The store holds exactly this.
async fn holds(store: &impl PresenceStore, epoch: Epoch, log: LogState, rows: &Rows) -> Verdict {
    let mark = store.mark().await.map_err(|e| format!("mark: {e}"))?;
    ensure(mark == Some((epoch, log)), || format!("mark is {mark:?}, not {:?}", (epoch, log)))?;
    let loaded = store.load().await.map_err(|e| format!("load: {e}"))?;
    is(loaded, Some(log), rows)
}

fn is(loaded: Loaded, log: Option<LogState>, rows: &Rows) -> Verdict {
    ensure(loaded.log == log, || format!("loaded at {:?}, not at {log:?}", loaded.log))?;
    let found = sorted(loaded.rows);
    let wanted = sorted(rows.clone());
    same("namespaces", &found.namespaces, &wanted.namespaces)?;
    same("services", &found.services, &wanted.services)?;
    same("instances", &found.instances, &wanted.instances)?;
    same("overrides", &found.overrides, &wanted.overrides)?;
    same("tombstones", &found.tombstones, &wanted.tombstones)?;
    same("sessions", &found.sessions, &wanted.sessions)?;
    same("suspicions", &found.suspicions, &wanted.suspicions)?;
    same("freezes", &found.freezes, &wanted.freezes)?;
    same("origins", &found.origins, &wanted.origins)?;
    same("members", &found.members, &wanted.members)
}

fn same<K: PartialEq + fmt::Debug, V: PartialEq + fmt::Debug>(
    table: &str,
    found: &[Row<K, V>],
    wanted: &[Row<K, V>],
) -> Verdict {
    if let Some((found, wanted)) = found.iter().zip(wanted).find(|(found, wanted)| found != wanted) {
        return Err(format!("{table}: {found:?}, not {wanted:?}"));
    }
    ensure(found.len() == wanted.len(), || format!("{table}: {} rows, not {}", found.len(), wanted.len()))
}

fn fenced<T: fmt::Debug>(answer: Result<T, LandError>, epoch: Epoch, watermark: Position) -> Verdict {
    match answer {
        Err(LandError::Fenced { epoch: e, watermark: w }) if (e, w) == (epoch, watermark) => Ok(()),
        other => Err(format!("{other:?}, not fenced at epoch {} and {watermark}", epoch.0)),
    }
}

fn rejected<T: fmt::Debug>(answer: Result<T, LandError>) -> Verdict {
    match answer {
        Err(LandError::Rejected(_)) => Ok(()),
        other => Err(format!("{other:?}, not rejected")),
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// The same rows, one kind at a time.
fn kinds(rows: Rows) -> Vec<(&'static str, Rows)> {
    vec![
        ("namespaces", Rows { namespaces: rows.namespaces, ..Rows::default() }),
        ("services", Rows { services: rows.services, ..Rows::default() }),
        ("instances", Rows { instances: rows.instances, ..Rows::default() }),
        ("overrides", Rows { overrides: rows.overrides, ..Rows::default() }),
        ("tombstones", Rows { tombstones: rows.tombstones, ..Rows::default() }),
        ("sessions", Rows { sessions: rows.sessions, ..Rows::default() }),
        ("suspicions", Rows { suspicions: rows.suspicions, ..Rows::default() }),
        ("freezes", Rows { freezes: rows.freezes, ..Rows::default() }),
        ("origins", Rows { origins: rows.origins, ..Rows::default() }),
        ("members", Rows { members: rows.members, ..Rows::default() }),
    ]
}

/// The rows with the first row of each kind twice.
fn doubled(mut rows: Rows) -> Rows {
    fn double<K: Clone, V: Clone>(rows: &mut Vec<Row<K, V>>) {
        rows.extend(rows.first().cloned());
    }
    double(&mut rows.namespaces);
    double(&mut rows.services);
    double(&mut rows.instances);
    double(&mut rows.overrides);
    double(&mut rows.tombstones);
    double(&mut rows.sessions);
    double(&mut rows.suspicions);
    double(&mut rows.freezes);
    double(&mut rows.origins);
    double(&mut rows.members);
    rows
}
