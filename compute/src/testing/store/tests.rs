use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::sample::{every_kind, identity, log_state, position};
use super::{Fault, FaultyStore, MemoryStore, Odds, Stores, failures, pass};
use crate::model::{LogIdentity, LogState, Position, Row, Rows};
use crate::port::store::{Epoch, LandError, Loaded, PresenceStore, ReadError};
use crate::testing::{ManualClock, SeededChance};

struct Memory;

#[async_trait]
impl Stores for Memory {
    type Store = MemoryStore;

    async fn fresh(&self) -> Arc<MemoryStore> {
        MemoryStore::new()
    }

    async fn reopened(&self, store: Arc<MemoryStore>) -> Option<Arc<MemoryStore>> {
        Some(Arc::new(store.as_ref().clone()))
    }
}

#[tokio::test]
async fn memory_passes_the_suite() {
    pass(&Memory).await;
}

/// One thing that a store gets wrong.
#[derive(Clone, Copy, Debug)]
enum Bug {
    LandsForAnyEpoch,
    ReplacesForAnyEpoch,
    LandsFromAnywhere,
    LeadsWithoutRaising,
    LeadsAnyLog,
    LandsAnyLog,
    LandsBackwards,
    DropsDeletes,
    Drops(&'static str),
    KeepsOldParts,
    GoesBack,
    KeepsTheFirst,
    MergesOnReplace,
    ForgetsTheHash,
    CutsBigBatches,
    FoldsCase,
    TrimsKeys,
    LandsInTwo,
    LandsWhatItRefuses,
    TakesKeysTwice,
    ForgetsOnReopen,
    ForgetsTheEpochOnReopen,
    IsNeverEmpty,
}

struct Bent {
    inner: MemoryStore,
    bug: Bug,
}

struct Bents(Bug);

#[async_trait]
impl Stores for Bents {
    type Store = Bent;

    async fn fresh(&self) -> Arc<Bent> {
        let inner = MemoryStore::default();
        if matches!(self.0, Bug::IsNeverEmpty) {
            inner.lead(identity(7)).await.unwrap();
        }
        Arc::new(Bent { inner, bug: self.0 })
    }

    async fn reopened(&self, store: Arc<Bent>) -> Option<Arc<Bent>> {
        let inner = match self.0 {
            Bug::ForgetsOnReopen => MemoryStore::default(),
            Bug::ForgetsTheEpochOnReopen => {
                let (held, anew) = (store.inner.load().await.unwrap(), MemoryStore::default());
                let log = held.log.unwrap();
                let epoch = anew.lead(log.identity).await.unwrap();
                anew.replace(epoch, held.rows, log).await.unwrap();
                anew
            }
            _ => store.inner.clone(),
        };
        Some(Arc::new(Bent { inner, bug: self.0 }))
    }
}

impl Bent {
    async fn now(&self) -> Option<(Epoch, LogState)> {
        self.inner.mark().await.unwrap()
    }

    async fn bend(&self, mut rows: Rows, upto: LogState) -> Rows {
        match self.bug {
            Bug::DropsDeletes => rows.instances.retain(|row| matches!(row, Row::Put(..))),
            Bug::Drops(kind) => drop_kind(&mut rows, kind),
            Bug::CutsBigBatches => rows.instances.truncate(9_999),
            Bug::FoldsCase => rename(&mut rows, str::to_lowercase),
            Bug::TrimsKeys => rename(&mut rows, |id| id.trim().to_owned()),
            Bug::KeepsOldParts => self.keep_old_parts(&mut rows).await,
            Bug::GoesBack => self.make_room(&rows, upto).await,
            Bug::KeepsTheFirst => {
                let held = self.inner.load().await.unwrap().rows;
                rows.origins.retain(|row| !held.origins.iter().any(|there| there.key() == row.key()));
            }
            Bug::TakesKeysTwice => {
                let mut seen = std::collections::BTreeSet::new();
                rows.origins.retain(|row| seen.insert(*row.key()));
            }
            _ => {}
        }
        rows
    }

    async fn keep_old_parts(&self, rows: &mut Rows) {
        for there in self.inner.load().await.unwrap().rows.overrides {
            for row in &mut rows.overrides {
                match (row, &there) {
                    (Row::Put(key, new), Row::Put(held, old)) if key == held && new.only_for.is_none() => {
                        new.only_for.clone_from(&old.only_for);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Deletes what the rows will overwrite, so that no guard sees it.
    async fn make_room(&self, rows: &Rows, upto: LogState) {
        if let Some((epoch, log)) = self.now().await {
            let room = Rows { instances: super::sample::deletes(rows).instances, ..Rows::default() };
            if upto.watermark >= log.watermark {
                // A batch that is refused as a whole is refused here too.
                drop(self.inner.land(epoch, room, log.watermark, log).await);
            }
        }
    }
}

fn drop_kind(rows: &mut Rows, kind: &str) {
    match kind {
        "namespaces" => rows.namespaces.clear(),
        "services" => rows.services.clear(),
        "instances" => rows.instances.clear(),
        "overrides" => rows.overrides.clear(),
        "tombstones" => rows.tombstones.clear(),
        "sessions" => rows.sessions.clear(),
        "suspicions" => rows.suspicions.clear(),
        "freezes" => rows.freezes.clear(),
        "origins" => rows.origins.clear(),
        "members" => rows.members.clear(),
        other => panic!("no kind {other}"),
    }
}

fn rename(rows: &mut Rows, change: impl Fn(&str) -> String) {
    let mut seen = std::collections::BTreeSet::new();
    for row in &mut rows.instances {
        let (Row::Put(key, _) | Row::Delete(key)) = row;
        key.id = crate::model::InstanceId::new(&change(key.id.as_str())).unwrap();
    }
    rows.instances.retain(|row| seen.insert(row.key().clone()));
}

#[async_trait]
impl PresenceStore for Bent {
    async fn load(&self) -> Result<Loaded, ReadError> {
        self.inner.load().await
    }

    async fn lead(&self, identity: LogIdentity) -> Result<Epoch, LandError> {
        match (self.bug, self.now().await) {
            (Bug::LeadsWithoutRaising, Some((epoch, log))) if log.identity == identity => Ok(epoch),
            (Bug::LeadsAnyLog, Some((_, log))) => self.inner.lead(log.identity).await,
            _ => self.inner.lead(identity).await,
        }
    }

    async fn land(&self, epoch: Epoch, rows: Rows, from: Position, upto: LogState) -> Result<(), LandError> {
        let now = self.now().await;
        let rows = self.bend(rows, upto).await;
        let (mut epoch, mut from, mut upto) = (epoch, from, upto);
        match (self.bug, now) {
            (Bug::LandsForAnyEpoch, Some((highest, _))) => epoch = highest,
            (Bug::LandsFromAnywhere, Some((_, log))) => from = log.watermark,
            (Bug::LandsAnyLog, Some((_, log))) => upto.identity = log.identity,
            (Bug::LandsBackwards, Some((_, log))) if upto.watermark < log.watermark => upto = log,
            (Bug::ForgetsTheHash, _) => upto.rolling_hash = 0,
            (Bug::LandsInTwo, Some((highest, log))) if highest == epoch && log.watermark == from => {
                let first = Rows { instances: rows.instances.clone(), ..Rows::default() };
                self.inner.land(epoch, first, from, log).await?;
                tokio::task::yield_now().await;
            }
            (Bug::LandsWhatItRefuses, Some((highest, log))) if from != log.watermark => {
                self.inner.land(highest, rows.clone(), log.watermark, log).await?;
            }
            _ => {}
        }
        self.inner.land(epoch, rows, from, upto).await
    }

    async fn replace(&self, epoch: Epoch, rows: Rows, upto: LogState) -> Result<(), LandError> {
        match (self.bug, self.now().await) {
            (Bug::ReplacesForAnyEpoch, Some((highest, _))) => self.inner.replace(highest, rows, upto).await,
            (Bug::MergesOnReplace, Some((_, log))) => self.inner.land(epoch, rows, log.watermark, upto).await,
            _ => self.inner.replace(epoch, rows, upto).await,
        }
    }

    async fn mark(&self) -> Result<Option<(Epoch, LogState)>, ReadError> {
        self.inner.mark().await
    }
}

#[tokio::test]
async fn the_suite_finds_each_planted_bug() {
    let planted = [
        (Bug::LandsForAnyEpoch, "other_epochs_are_fenced"),
        (Bug::ReplacesForAnyEpoch, "replace_by_another_epoch_is_fenced"),
        (Bug::LandsFromAnywhere, "other_watermarks_are_fenced"),
        (Bug::LandsFromAnywhere, "one_of_two_landings_wins"),
        (Bug::LeadsWithoutRaising, "each_lead_raises_the_epoch"),
        (Bug::LeadsWithoutRaising, "two_leads_get_two_epochs"),
        (Bug::LeadsAnyLog, "another_log_is_refused"),
        (Bug::LandsAnyLog, "rows_of_another_log_are_refused"),
        (Bug::LandsBackwards, "the_mark_never_goes_back"),
        (Bug::DropsDeletes, "deleted_rows_are_gone"),
        (Bug::KeepsOldParts, "parts_can_end"),
        (Bug::GoesBack, "older_rows_change_nothing"),
        (Bug::KeepsTheFirst, "rows_of_the_same_age_overwrite"),
        (Bug::KeepsTheFirst, "rows_are_overwritten_whole"),
        (Bug::MergesOnReplace, "replace_leaves_nothing_else"),
        (Bug::ForgetsTheHash, "every_kind_comes_back"),
        (Bug::CutsBigBatches, "ten_thousand_rows"),
        (Bug::FoldsCase, "keys_are_exact"),
        (Bug::TrimsKeys, "keys_are_exact"),
        (Bug::LandsInTwo, "a_load_sees_one_watermark"),
        (Bug::LandsInTwo, "a_dropped_landing_is_whole_or_nothing"),
        (Bug::LandsWhatItRefuses, "other_watermarks_are_fenced"),
        (Bug::TakesKeysTwice, "a_key_twice_is_refused"),
        (Bug::ForgetsOnReopen, "everything_is_there_after_reopening"),
        (Bug::ForgetsTheEpochOnReopen, "epochs_rise_over_reopening"),
        (Bug::IsNeverEmpty, "an_empty_store_has_no_mark"),
        (Bug::Drops("namespaces"), "every_kind_comes_back"),
        (Bug::Drops("services"), "every_kind_comes_back"),
        (Bug::Drops("instances"), "batches_of_every_size"),
        (Bug::Drops("overrides"), "every_kind_comes_back"),
        (Bug::Drops("tombstones"), "every_kind_comes_back"),
        (Bug::Drops("sessions"), "every_kind_comes_back"),
        (Bug::Drops("suspicions"), "every_kind_comes_back"),
        (Bug::Drops("freezes"), "every_kind_comes_back"),
        (Bug::Drops("origins"), "every_kind_comes_back"),
        (Bug::Drops("members"), "every_kind_comes_back"),
    ];
    for (bug, check) in planted {
        let found = failures(&Bents(bug), |name| name == check).await;
        assert_eq!(found.len(), 1, "{bug:?} is not found by {check}");
    }
}

fn faulty() -> (Arc<FaultyStore<MemoryStore>>, Arc<ManualClock>) {
    let clock = ManualClock::new();
    (FaultyStore::new(MemoryStore::new(), clock.clone(), SeededChance::new(5)), clock)
}

#[tokio::test]
async fn a_standing_fault_lasts_until_healed() {
    let (store, _) = faulty();
    store.stand(Some(Fault::Refuse));
    for _ in 0..3 {
        assert!(matches!(store.lead(identity(1)).await, Err(LandError::Rejected(_))));
        assert!(matches!(store.load().await, Err(ReadError::Away(_))));
    }
    assert_eq!(store.befallen(), 6);
    store.heal().await;
    assert_eq!(store.lead(identity(1)).await.unwrap(), Epoch(1));
    assert_eq!(store.befallen(), 6);
}

#[tokio::test]
async fn a_script_speaks_before_what_stands() {
    let (store, _) = faulty();
    store.stand(Some(Fault::Lose));
    store.script_writes([None, Some(Fault::Refuse)]);
    store.script_reads([None]);
    assert!(store.lead(identity(1)).await.is_ok());
    assert!(matches!(store.lead(identity(1)).await, Err(LandError::Rejected(_))));
    assert!(matches!(store.lead(identity(1)).await, Err(LandError::Unknown(_))));
    assert_eq!(store.mark().await.unwrap().unwrap().0, Epoch(1));
    assert!(matches!(store.mark().await, Err(ReadError::Away(_))));
}

#[tokio::test]
async fn a_late_write_arrives_when_healed() {
    let (store, _) = faulty();
    let epoch = store.lead(identity(1)).await.unwrap();
    let upto = log_state(identity(1), 1);
    store.script_writes([Some(Fault::Late)]);
    let landed = store.land(epoch, every_kind(position(1)), Position::ZERO, upto).await;
    assert!(matches!(landed, Err(LandError::Unknown(_))));
    assert_eq!(store.mark().await.unwrap().unwrap().1.watermark, Position::ZERO);
    store.heal().await;
    assert_eq!(store.mark().await.unwrap().unwrap().1, upto);
}

#[tokio::test]
async fn a_delay_passes_on_the_clock_alone() {
    let (store, clock) = faulty();
    store.script_writes([Some(Fault::Delay(Duration::from_millis(50)))]);
    let mut leading = store.lead(identity(1));
    assert!(futures::poll!(&mut leading).is_pending());
    clock.advance(49);
    assert!(futures::poll!(&mut leading).is_pending());
    assert!(store.inner().mark().await.unwrap().is_none());
    clock.advance(1);
    assert_eq!(leading.await.unwrap(), Epoch(1));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_faults() {
    let odds = Odds { refuse: 150, lose: 150, obscure: 150, late: 150, ..Odds::default() };
    let mut runs = vec![];
    for _ in 0..2 {
        let (store, _) = faulty();
        store.set_odds(odds);
        let mut answers = vec![];
        for _ in 0..200 {
            answers.push(format!("{:?}", store.lead(identity(1)).await));
        }
        assert!((60..180).contains(&store.befallen()), "{} of 200 at odds of 600", store.befallen());
        for kind in ["Refuse", "Lose", "Obscure", "Late", "Ok"] {
            assert!(answers.iter().any(|answer| answer.contains(kind)), "no {kind}");
        }
        runs.push(answers);
    }
    assert_eq!(runs[0], runs[1]);
}
