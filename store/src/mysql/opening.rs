//! From settings to a store: a server that fits, and tables of our making at the schema of this build.

use std::sync::Arc;
use std::time::Duration;

use compute::port::store::ReadError;
use schemas::migration::{Migration, mysql::PRESENCE};
use sqlx::mysql::{MySqlDatabaseError, MySqlRow};
use tokio::sync::{Mutex, OnceCell};
use twox_hash::XxHash3_64;

use super::connections::{Connections, Lent, within};
use super::fault::{Fault, Trouble, told};
use super::landing::STATEMENT_BYTES;
use super::settings::Settings;
use super::statement::{NOTHING, Statements};
use super::{Database, MysqlStore, loading};
use crate::migrate::{Applied, Mismatch, outstanding};
use crate::row::Cells as _;

/// How long a node waits while another one migrates.
const MIGRATION_WAIT_S: u64 = 60;
/// For all statements of one migration.
const MIGRATION: Duration = Duration::from_secs(300);
const PACKET_BYTES_MIN: u64 = 4 * STATEMENT_BYTES as u64;
const NO_SUCH_TABLE: u16 = 1146;

/// The tables that say which migrations were applied, and none of them is a migration.
const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS `presence_schema` (`number` BIGINT NOT NULL, \
                      `name` VARBINARY(255) NOT NULL, PRIMARY KEY (`number`)) ENGINE = InnoDB";
const APPLIED: &str = "SELECT `number`, `name` FROM `presence_schema` ORDER BY `number`";
const APPLY: &str = "INSERT INTO `presence_schema` (`number`, `name`) VALUES (?, ?)";
/// A table that is called like ours.
const NAMESAKE: &str = "SELECT CAST(`table_name` AS BINARY) FROM `information_schema`.`tables` \
                        WHERE `table_schema` = DATABASE() AND LEFT(`table_name`, 9) = 'presence_' \
                        ORDER BY `table_name` LIMIT 1";
const LOCK: &str = "SELECT CAST(GET_LOCK(?, ?) AS SIGNED)";
const FITNESS: &str = "SELECT CAST(@@max_allowed_packet AS SIGNED), CAST(@@innodb_flush_log_at_trx_commit AS SIGNED)";

/// For the tests: what this file says to a server.
#[cfg(test)]
pub(super) const TEXTS: [&str; 6] = [SCHEMA, APPLIED, APPLY, NAMESAKE, LOCK, FITNESS];

/// Why a database can't be a store. Only [`OpenError::Away`] may go away by waiting.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the store is away: {0}")]
    Away(String),
    /// Credentials, privileges, certificates, or a server that takes no writes.
    #[error("the store refuses this node: {0}")]
    Denied(String),
    #[error(
        "{place} has schema {found}, this program knows up to {known}: start the program that wrote it, or a later one"
    )]
    NewerSchema { place: String, found: u32, known: u32 },
    #[error("{place} belongs to another program ({detail}): name another database")]
    Foreign { place: String, detail: String },
    #[error("the store is damaged: {0}")]
    Damaged(String),
    #[error("the server of {place} does not fit: {detail}")]
    Unfit { place: String, detail: String },
}

impl From<OpenError> for ReadError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Away(detail) => Self::Away(detail),
            other => Self::Unusable(other.to_string()),
        }
    }
}

/// Opens the store in this database, or makes its tables.
pub async fn open(settings: &Settings) -> Result<Arc<MysqlStore>, OpenError> {
    let store = open_later(settings);
    store.database.prepared().await?;
    loading::mark(&store.database).await.map_err(|unread| match unread {
        ReadError::Away(detail) => OpenError::Away(detail),
        ReadError::Unusable(detail) => OpenError::Damaged(detail),
    })?;
    Ok(store)
}

/// Asks nobody: the first call that reaches the server does what [`open`] does. For a node that can start without its
/// store.
pub fn open_later(settings: &Settings) -> Arc<MysqlStore> {
    let database = Database {
        place: settings.to_string(),
        connections: Connections::new(settings),
        statements: Statements::new(),
        ready: OnceCell::new(),
        turn: Arc::default(),
        load: Mutex::default(),
    };
    Arc::new(MysqlStore { database: Arc::new(database) })
}

impl Database {
    /// Once; an attempt that failed is made again by the next call.
    pub(super) async fn prepared(&self) -> Result<(), OpenError> {
        self.ready.get_or_try_init(|| Box::pin(self.prepare())).await.copied()
    }

    async fn prepare(&self) -> Result<(), OpenError> {
        let mut lent = self.connections.lend(NOTHING).await.map_err(|trouble| self.wrong(&trouble))?;
        self.fits(&mut lent).await?;
        let had = self.applied(&mut lent).await?;
        let done = match &had {
            Some(applied) => self.outstanding(applied)?.is_empty(),
            None => false,
        };
        if done {
            lent.give_back();
        } else {
            self.migrate(&mut lent).await?;
            // The lock goes with its session.
            lent.end().await;
        }
        Ok(())
    }

    fn wrong(&self, trouble: &Trouble) -> OpenError {
        let detail = told(&self.place, trouble);
        match Fault::of(trouble) {
            Fault::Away | Fault::Contended | Fault::Full | Fault::Other => OpenError::Away(detail),
            Fault::Denied | Fault::ReadOnly => OpenError::Denied(detail),
            Fault::Corrupt | Fault::Altered => OpenError::Damaged(detail),
        }
    }

    async fn fits(&self, lent: &mut Lent) -> Result<(), OpenError> {
        let found = self.answer(lent, sqlx::query(FITNESS)).await?;
        let number = |at| found.int(at).map_err(|wrong| OpenError::Away(format!("{}: {wrong}", self.place)));
        let (packet, flush) = (number(0)?, number(1)?);
        if (packet as u64) < PACKET_BYTES_MIN {
            let detail = format!("max_allowed_packet is {packet}, at least {PACKET_BYTES_MIN} is needed");
            return Err(OpenError::Unfit { place: self.place.clone(), detail });
        }
        if flush != 1 {
            tracing::warn!(
                store = %self.place,
                innodb_flush_log_at_trx_commit = flush,
                "a power cut may cost the store what it has landed last: set it to 1"
            );
        }
        Ok(())
    }

    /// `None`: no program of ours has been here.
    async fn applied(&self, lent: &mut Lent) -> Result<Option<Vec<Applied>>, OpenError> {
        let rows = within(lent.limit(), sqlx::query(APPLIED).fetch_all(lent.sql())).await;
        let rows = match rows {
            Ok(rows) => rows,
            Err(Trouble::Sql(error)) if is_no_such_table(&error) => return Ok(None),
            Err(trouble) => return Err(self.wrong(&trouble)),
        };
        let read = |row: &MySqlRow| Ok(Applied { number: row.int(0)?, name: row.text(1)?.to_owned() });
        let applied = rows.iter().map(read).collect::<Result<_, String>>();
        applied.map(Some).map_err(|wrong| self.foreign(format!("its presence_schema: {wrong}")))
    }

    fn outstanding(&self, applied: &[Applied]) -> Result<&'static [Migration], OpenError> {
        outstanding(applied, PRESENCE).map_err(|mismatch| match mismatch {
            Mismatch::Newer { found, known } => OpenError::NewerSchema { place: self.place.clone(), found, known },
            Mismatch::Foreign(detail) => self.foreign(detail),
        })
    }

    fn foreign(&self, detail: String) -> OpenError {
        OpenError::Foreign { place: self.place.clone(), detail }
    }

    /// Under a lock of the server's that two nodes can't both have, looking again behind it. These servers commit each
    /// change of a table by itself: what a node that died has left half done is done again.
    async fn migrate(&self, lent: &mut Lent) -> Result<(), OpenError> {
        self.lock(lent).await?;
        let applied = match self.applied(lent).await? {
            Some(applied) => applied,
            None => {
                self.no_namesake(lent).await?;
                lent.run(SCHEMA).await.map_err(|trouble| self.wrong(&trouble))?;
                vec![]
            }
        };
        for migration in self.outstanding(&applied)? {
            let step = within(MIGRATION, sqlx::raw_sql(migration.sql).execute(lent.sql())).await;
            step.map_err(|trouble| self.wrong(&trouble))?;
            let had = sqlx::query(APPLY).bind(i64::from(migration.number)).bind(migration.name.as_bytes());
            let had = within(lent.limit(), had.execute(lent.sql())).await;
            had.map_err(|trouble| self.wrong(&trouble))?;
            tracing::info!(store = %self.place, number = migration.number, name = migration.name, "schema migrated");
        }
        Ok(())
    }

    /// The name is the server's, for all its databases, and must not be long: this one's goes in as a hash.
    async fn lock(&self, lent: &mut Lent) -> Result<(), OpenError> {
        let database = self.place.rsplit('/').next().unwrap_or_default();
        let name = format!("thuban.presence_schema.{:016x}", XxHash3_64::oneshot(database.as_bytes()));
        let query = sqlx::query(LOCK).bind(name).bind(MIGRATION_WAIT_S as i64);
        let limit = Duration::from_secs(MIGRATION_WAIT_S) + lent.limit();
        let row = within(limit, query.fetch_one(lent.sql())).await.map_err(|trouble| self.wrong(&trouble))?;
        match row.int(0) {
            Ok(1) => Ok(()),
            _ => Err(OpenError::Away(format!("{}: another node changes its tables", self.place))),
        }
    }

    async fn no_namesake(&self, lent: &mut Lent) -> Result<(), OpenError> {
        let query = sqlx::query(NAMESAKE);
        let row = within(lent.limit(), query.fetch_optional(lent.sql())).await;
        match row.map_err(|trouble| self.wrong(&trouble))? {
            Some(row) => {
                let name = row.text(0).unwrap_or("presence_?");
                Err(self.foreign(format!("it has a table {name}, and no presence_schema")))
            }
            None => Ok(()),
        }
    }

    async fn answer(
        &self,
        lent: &mut Lent,
        query: sqlx::query::Query<'_, sqlx::MySql, sqlx::mysql::MySqlArguments>,
    ) -> Result<MySqlRow, OpenError> {
        within(lent.limit(), query.fetch_one(lent.sql())).await.map_err(|trouble| self.wrong(&trouble))
    }
}

fn is_no_such_table(error: &sqlx::Error) -> bool {
    let told = error.as_database_error().and_then(|told| told.try_downcast_ref::<MySqlDatabaseError>());
    told.is_some_and(|told| told.number() == NO_SUCH_TABLE)
}
