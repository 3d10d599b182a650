//! A log that several nodes share. Which log and which life of it is the node's to find out, when it boots; here its
//! topic is made or checked, and, on somebody's word, emptied of what is another log's.

use std::sync::Arc;

use cache_sync::kafka::{Config as Topic, Connected, KafkaTopic, OpenError};
use compute::model::LogState;

use store::sqlite::SqliteStore;

use super::{RETRY, Store, Surroundings, refused};
use crate::ending::Ending;

/// What to do about a topic that holds what no node of this store has written. Only somebody who knows whose it is can
/// say so: it is lost.
pub(super) const LOST: &str = "name the topic of this store; if what is in this one is nobody's, stop all nodes, and start \
                               one of them once with --adopt-store: it empties the topic and goes on from what has landed \
                               in the store, and what had not landed is lost";

/// The topic, and whether it was emptied because its log is lost.
pub(super) async fn open(
    topic: &Topic,
    bound: Option<LogState>,
    is_lost: bool,
    landed: (&Store, &Option<Arc<SqliteStore>>),
    around: &Surroundings<'_>,
) -> Result<(Arc<KafkaTopic>, bool), Ending> {
    let log = KafkaTopic::new(topic.clone(), Arc::clone(around.clock));
    loop {
        let mut connected = connect(&log, landed, around).await?;
        let is_foreign = |connected: &Connected| match (bound, connected.found()) {
            (Some(bound), Some((there, _))) => there != bound.identity,
            _ => false,
        };
        if !is_lost || !is_foreign(&connected) {
            return Ok((log, false));
        }
        match connected.empty().await {
            Ok(()) => return Ok((log, true)),
            Err(error) => wait_or_end(error, around).await?,
        }
    }
}

async fn connect(
    log: &KafkaTopic,
    (store, copy): (&Store, &Option<Arc<SqliteStore>>),
    around: &Surroundings<'_>,
) -> Result<Connected, Ending> {
    loop {
        match log.connect().await {
            Ok(connected) => return Ok(connected),
            Err(error) => {
                if matches!(error, OpenError::Away { .. }) {
                    around.log_is_away(store, copy).await;
                }
                wait_or_end(error, around).await?;
            }
        }
    }
}

async fn wait_or_end(error: OpenError, around: &Surroundings<'_>) -> Result<(), Ending> {
    match error {
        OpenError::Away { .. } => {
            tracing::warn!(%error, "the log does not answer, trying again");
            around.stage.enter("waiting for the log to answer");
            around.clock.sleep(RETRY).await;
            Ok(())
        }
        OpenError::OtherLog { .. } | OpenError::TwoLogs { .. } | OpenError::NotALog { .. } => {
            Err(refused(format!("{error}; {LOST}")))
        }
        other => Err(refused(other)),
    }
}
