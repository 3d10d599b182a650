//! The connections to one database: so many at most, each used by one transaction at a time.
//!
//! Not the driver's pool: that one hides why no connection came behind its own time limit, hands out a connection
//! whose transaction somebody dropped half way, and needs a round trip to find out that one has died. Here a connection
//! is kept only by who says that it is quiet, and the statement that begins its next transaction finds out whether it
//! lives.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::fault::{Fault, Trouble};
use super::settings::{Limits, Settings, Tls};

/// Each table has eight, and there are some besides; more than the driver keeps by itself.
const STATEMENTS_KEPT: usize = 256;

pub(super) struct Connections {
    options: MySqlConnectOptions,
    tls: Tls,
    pub(super) limits: Limits,
    /// Closed with the store.
    places: Arc<Semaphore>,
    /// The one that was used last is taken first: what lies below it the server ends.
    idle: Mutex<Vec<MySqlConnection>>,
}

impl Connections {
    pub(super) fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            options: settings.options().statement_cache_capacity(STATEMENTS_KEPT).disable_statement_logging(),
            tls: settings.tls.clone(),
            limits: settings.limits,
            places: Arc::new(Semaphore::new(settings.limits.connections)),
            idle: Mutex::default(),
        })
    }

    /// A connection on which `first` has been run, which must do no harm when it is run twice.
    pub(super) async fn lend(self: &Arc<Self>, first: &'static str) -> Result<Lent, Trouble> {
        let place = timeout(self.limits.connect, self.places.clone().acquire_owned()).await;
        let place = place.map_err(|_| Trouble::Crowded(self.limits.connections))?.map_err(|_| Trouble::Closed)?;
        let Some(connection) = self.take_idle() else { return self.anew(first, place).await };
        let mut lent = Lent { connection, home: self.clone(), place };
        match lent.run(first).await {
            Ok(()) => Ok(lent),
            // The server ended it while it was idle.
            Err(Trouble::Sql(error)) if Fault::of_error(&error) == Fault::Away => self.anew(first, lent.place).await,
            Err(trouble) => Err(trouble),
        }
    }

    async fn anew(self: &Arc<Self>, first: &'static str, place: OwnedSemaphorePermit) -> Result<Lent, Trouble> {
        // The others were idle for longer still.
        self.kept().clear();
        let connection = within(self.limits.connect, self.connect()).await?;
        let mut lent = Lent { connection, home: self.clone(), place };
        lent.run(first).await?;
        Ok(lent)
    }

    /// A session that means what the statements here mean, however the server is set.
    async fn connect(&self) -> Result<MySqlConnection, sqlx::Error> {
        // The driver does not say which it can't read, nor that it is a file.
        self.tls.are_there().map_err(|wrong| sqlx::Error::Configuration(wrong.into()))?;
        let mut connection = self.options.connect().await?;
        let (idle_s, lock_s) = (self.limits.idle.as_secs(), (self.limits.statement / 2).as_secs().max(1));
        connection.execute(AssertSqlSafe(session_text(idle_s, lock_s))).await?;
        connection.execute(ISOLATION).await?;
        Ok(connection)
    }

    fn take_idle(&self) -> Option<MySqlConnection> {
        self.kept().pop()
    }

    fn kept(&self) -> MutexGuard<'_, Vec<MySqlConnection>> {
        // A push or a pop that panicked has left a whole list.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what is idle; what is lent ends when it comes back, and nothing is lent any more.
    pub(super) async fn close(&self) {
        self.places.close();
        let idle = std::mem::take(&mut *self.kept());
        for connection in idle {
            farewell(connection, self.limits.connect).await;
        }
    }
}

/// Not the servers' own variable for it: they call it by different names.
pub(super) const ISOLATION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ";

/// Strict: what does not fit its column is an error and not cut off.
pub(super) fn session_text(idle_s: u64, lock_s: u64) -> String {
    format!(
        "SET sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', autocommit = 1, completion_type = 0, \
         sql_safe_updates = 0, wait_timeout = {idle_s}, lock_wait_timeout = {lock_s}, \
         innodb_lock_wait_timeout = {lock_s}, NAMES utf8mb4"
    )
}

/// Ends a session as the server likes it; when that fails the socket closes all the same.
async fn farewell(connection: MySqlConnection, limit: Duration) {
    if let Err(trouble) = within(limit, connection.close()).await {
        tracing::debug!(?trouble, "a connection to the store was not closed cleanly");
    }
}

/// A connection that nobody else has. Dropped, its socket is closed, and the server undoes what was begun on it.
pub(super) struct Lent {
    connection: MySqlConnection,
    home: Arc<Connections>,
    place: OwnedSemaphorePermit,
}

impl Lent {
    pub(super) fn sql(&mut self) -> &mut MySqlConnection {
        &mut self.connection
    }

    pub(super) fn limit(&self) -> Duration {
        self.home.limits.statement
    }

    /// A statement without arguments whose answer has no rows.
    pub(super) async fn run(&mut self, sql: &'static str) -> Result<(), Trouble> {
        within(self.home.limits.statement, self.connection.execute(sql)).await?;
        Ok(())
    }

    /// No transaction is open on it.
    pub(super) fn give_back(self) {
        let Self { connection, home, place } = self;
        if !home.places.is_closed() {
            home.kept().push(connection);
        }
        drop(place);
    }

    pub(super) async fn end(self) {
        farewell(self.connection, self.home.limits.connect).await;
    }
}

/// A call that is not answered in time is dropped, and its connection with it.
pub(super) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Trouble> {
    match timeout(limit, call).await {
        Ok(answer) => answer.map_err(Trouble::Sql),
        Err(_) => Err(Trouble::Late(limit)),
    }
}
