//! What writes: each a transaction of its own, all or nothing, behind the lock of the mark's row.

use compute::model::{LogIdentity, LogState, Position};
use compute::port::store::{Epoch, LandError};

use super::Database;
use super::connections::{Lent, within};
use super::fault::{self, Trouble};
use super::loading::locked_mark;
use super::statement::{BEGIN, CLEARED, COMMIT, ROLLBACK, Sql, arguments, bytes};
use crate::batch::{Batch, SIZES, Sorted, key_cells, pieces, put_cells};
use crate::row::{Cell, Kind, every_kind, mark_cells, tables};

/// What the rows of one statement may take: a quarter of what the smallest server that is accepted takes in a packet.
pub(super) const STATEMENT_BYTES: usize = 1 << 20;

pub(super) async fn lead(db: &Database, identity: LogIdentity) -> Result<Epoch, LandError> {
    let unbound = LogState { identity, watermark: Position::ZERO, time_ms: 0, rolling_hash: 0 };
    transaction(db, async |writing: &mut Writing<'_>| {
        writing.execute(db.statements.mark.claim(), &mark_cells(Epoch(0), &unbound)).await?;
        let (epoch, log) = writing.mark().await?.unwrap_or((Epoch(0), unbound));
        if log.identity != identity {
            return Err(of_another_log(db, log.identity, identity));
        }
        let raised = epoch.0.checked_add(1).map(Epoch);
        let raised = raised.ok_or_else(|| LandError::Rejected("no epoch is left".to_owned()))?;
        writing.put_mark(raised, &log).await?;
        Ok(raised)
    })
    .await
}

pub(super) async fn land(
    db: &Database,
    epoch: Epoch,
    batch: &Batch,
    from: Position,
    upto: LogState,
) -> Result<(), LandError> {
    transaction(db, async |writing: &mut Writing<'_>| {
        let log = writing.led_by(epoch).await?;
        if log.watermark != from {
            return Err(LandError::Fenced { epoch, watermark: log.watermark });
        }
        if log.identity != upto.identity {
            return Err(of_another_log(db, log.identity, upto.identity));
        }
        if upto.watermark < from {
            let detail = format!("watermark {from} can't go back to {}", upto.watermark);
            return Err(LandError::Rejected(detail));
        }
        writing.put_batch(batch).await?;
        writing.put_mark(epoch, &upto).await
    })
    .await
}

pub(super) async fn replace(db: &Database, epoch: Epoch, batch: &Batch, upto: LogState) -> Result<(), LandError> {
    transaction(db, async |writing: &mut Writing<'_>| {
        writing.led_by(epoch).await?;
        writing.clear().await?;
        writing.put_batch(batch).await?;
        writing.put_mark(epoch, &upto).await
    })
    .await
}

fn of_another_log(db: &Database, bound: LogIdentity, asked: LogIdentity) -> LandError {
    LandError::Rejected(format!("{} is bound to log {bound}, not to log {asked}", db.place))
}

/// Commits what `work` did, or undoes it when it failed. A connection on which that does not succeed is given up: the
/// server undoes what was not committed. The commit is sent only when everything before it was answered, so whatever a
/// server does later with a connection that was given up, it does under the lock of the mark's row, and whoever reads
/// the mark waits for it.
async fn transaction<T>(
    db: &Database,
    work: impl AsyncFnOnce(&mut Writing<'_>) -> Result<T, LandError>,
) -> Result<T, LandError> {
    let mut lent = db.connections.lend(BEGIN).await.map_err(|trouble| fault::refused(&db.place, &trouble))?;
    match work(&mut Writing { db, lent: &mut lent }).await {
        Ok(value) => match lent.run(COMMIT).await {
            Ok(()) => {
                lent.give_back();
                Ok(value)
            }
            Err(trouble) => Err(fault::commit(&db.place, &trouble)),
        },
        Err(error) => {
            if lent.run(ROLLBACK).await.is_ok() {
                lent.give_back();
            }
            Err(error)
        }
    }
}

/// An open transaction.
struct Writing<'a> {
    db: &'a Database,
    lent: &'a mut Lent,
}

impl Writing<'_> {
    async fn mark(&mut self) -> Result<Option<(Epoch, LogState)>, LandError> {
        let mark = locked_mark(self.db, self.lent, self.db.statements.mark.read_locked()).await;
        mark.map_err(|unread| LandError::Rejected(unread.to_string()))
    }

    async fn led_by(&mut self, epoch: Epoch) -> Result<LogState, LandError> {
        match self.mark().await? {
            Some((highest, log)) if highest == epoch => Ok(log),
            Some((highest, log)) => Err(LandError::Fenced { epoch: highest, watermark: log.watermark }),
            None => Err(LandError::Fenced { epoch: Epoch(0), watermark: Position::ZERO }),
        }
    }

    async fn put_mark(&mut self, epoch: Epoch, log: &LogState) -> Result<(), LandError> {
        self.execute(self.db.statements.mark.put(), &mark_cells(epoch, log)).await.map(drop)
    }

    async fn clear(&mut self) -> Result<(), LandError> {
        for table in tables() {
            while self.execute(self.db.statements.clear(&table), &[]).await? >= CLEARED {}
        }
        Ok(())
    }

    async fn put_batch(&mut self, batch: &Batch) -> Result<(), LandError> {
        macro_rules! each {
            ($($field:ident: $kind:ident),+) => { $(self.put(&batch.$field).await?;)+ };
        }
        every_kind!(each);
        Ok(())
    }

    async fn put<K: Kind>(&mut self, rows: &Sorted<K>) -> Result<(), LandError> {
        for keys in pieces(&rows.deletes) {
            self.execute(self.db.statements.delete::<K>(keys.len()), &key_cells::<K>(keys)).await?;
        }
        for rows in pieces(&rows.puts) {
            self.put_rows::<K>(rows).await?;
        }
        Ok(())
    }

    /// As one statement, or as several when the rows are large.
    async fn put_rows<K: Kind>(&mut self, rows: &[(K::Key, K::Value)]) -> Result<(), LandError> {
        let cells = put_cells::<K>(rows);
        if bytes(&cells) <= STATEMENT_BYTES {
            return self.execute(self.db.statements.upsert::<K>(rows.len()), &cells).await.map(drop);
        }
        let mut cells = cells.as_slice();
        let width = K::TABLE.width();
        while !cells.is_empty() {
            let fits = |size: &usize| {
                let end = size * width;
                end <= cells.len() && (*size == 1 || bytes(&cells[..end]) <= STATEMENT_BYTES)
            };
            let size = SIZES.into_iter().find(fits).expect("one row is always taken");
            let (piece, rest) = cells.split_at(size * width);
            self.execute(self.db.statements.upsert::<K>(size), piece).await?;
            cells = rest;
        }
        Ok(())
    }

    /// How many rows it touched.
    async fn execute(&mut self, sql: Sql, cells: &[Cell]) -> Result<u64, LandError> {
        let refused = |trouble: Trouble| fault::refused(&self.db.place, &trouble);
        let arguments = arguments(cells).map_err(|error| refused(error.into()))?;
        let limit = self.lent.limit();
        let done = within(limit, sqlx::query_with(sql, arguments).execute(self.lent.sql())).await;
        done.map(|done| done.rows_affected()).map_err(refused)
    }
}
