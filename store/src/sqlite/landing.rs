//! What writes: each a transaction of its own, all or nothing.

use compute::model::{LogIdentity, LogState, Position};
use compute::port::store::{Epoch, LandError};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Executor as _};

use super::fault;
use super::loading::read_mark;
use super::statement::{Sql, arguments};
use super::{File, Held};
use crate::batch::{Batch, Sorted, key_cells, pieces, put_cells};
use crate::row::{Cell, Kind, every_kind, mark_cells, tables};

pub(super) async fn lead(file: &File, held: Held, identity: LogIdentity) -> Result<Epoch, LandError> {
    let unbound = LogState { identity, watermark: Position::ZERO, time_ms: 0, rolling_hash: 0 };
    transaction(file, held, async |writing: &mut Writing<'_>| {
        let (epoch, log) = writing.mark().await?.unwrap_or((Epoch(0), unbound));
        if log.identity != identity {
            let path = file.path.display();
            let detail = format!("{path} is bound to log {}, not to log {identity}", log.identity);
            return Err(LandError::Rejected(detail));
        }
        let raised = epoch.0.checked_add(1).map(Epoch);
        let raised = raised.ok_or_else(|| LandError::Rejected("no epoch is left".to_owned()))?;
        writing.put_mark(raised, &log).await?;
        Ok(raised)
    })
    .await
}

pub(super) async fn land(
    file: &File,
    held: Held,
    epoch: Epoch,
    batch: &Batch,
    from: Position,
    upto: LogState,
) -> Result<(), LandError> {
    transaction(file, held, async |writing: &mut Writing<'_>| {
        let log = writing.led_by(epoch).await?;
        if log.watermark != from {
            return Err(LandError::Fenced { epoch, watermark: log.watermark });
        }
        if log.identity != upto.identity {
            let path = file.path.display();
            let detail = format!("{path} is bound to log {}, not to log {}", log.identity, upto.identity);
            return Err(LandError::Rejected(detail));
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

pub(super) async fn replace(
    file: &File,
    held: Held,
    epoch: Epoch,
    batch: &Batch,
    upto: LogState,
) -> Result<(), LandError> {
    transaction(file, held, async |writing: &mut Writing<'_>| {
        writing.led_by(epoch).await?;
        writing.clear().await?;
        writing.put_batch(batch).await?;
        writing.put_mark(epoch, &upto).await
    })
    .await
}

/// Commits what `work` did, or rolls it back when it failed. A connection that can't do so is given up: closing it
/// rolls back, whatever state it was in.
async fn transaction<T>(
    file: &File,
    mut held: Held,
    work: impl AsyncFnOnce(&mut Writing<'_>) -> Result<T, LandError>,
) -> Result<T, LandError> {
    let refused = |error: sqlx::Error| fault::refused(&file.path, &error);
    let connection = file.connected(&mut held).await.map_err(refused)?;
    let done = match connection.execute("BEGIN IMMEDIATE").await {
        Ok(_) => work(&mut Writing { file, connection }).await,
        Err(error) => Err(refused(error)),
    };
    let (ended, whole) = match done {
        Ok(value) => match connection.execute("COMMIT").await {
            Ok(_) => (Ok(value), true),
            Err(error) => (Err(fault::commit(&file.path, &error)), false),
        },
        // Also when nothing was begun: then this fails, and the connection goes.
        Err(error) => (Err(error), connection.execute("ROLLBACK").await.is_ok()),
    };
    if !whole
        && let Some(broken) = held.connection.take()
        && let Err(error) = broken.close().await
    {
        tracing::warn!(path = %file.path.display(), %error, "a broken connection to the store did not close cleanly");
    }
    ended
}

/// An open transaction.
struct Writing<'a> {
    file: &'a File,
    connection: &'a mut SqliteConnection,
}

impl Writing<'_> {
    async fn mark(&mut self) -> Result<Option<(Epoch, LogState)>, LandError> {
        let mark = read_mark(self.file, self.connection).await;
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
        self.execute(self.file.statements.put_mark(), mark_cells(epoch, log)).await
    }

    async fn clear(&mut self) -> Result<(), LandError> {
        for table in tables() {
            self.execute(self.file.statements.clear(&table), vec![]).await?;
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
            self.execute(self.file.statements.delete::<K>(keys.len()), key_cells::<K>(keys)).await?;
        }
        for rows in pieces(&rows.puts) {
            self.execute(self.file.statements.upsert::<K>(rows.len()), put_cells::<K>(rows)).await?;
        }
        Ok(())
    }

    async fn execute(&mut self, sql: Sql, cells: Vec<Cell>) -> Result<(), LandError> {
        let refused = |error| fault::refused(&self.file.path, &error);
        let arguments = arguments(cells).map_err(refused)?;
        sqlx::query_with(sql, arguments).execute(&mut *self.connection).await.map_err(refused)?;
        Ok(())
    }
}
