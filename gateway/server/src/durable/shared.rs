//! A log that several nodes share. Which log and which life of it is the node's to find out, when it boots; here its
//! topic is made or checked, and, on somebody's word, emptied of what can't be gone on with.

use std::sync::Arc;

use cache_sync::kafka::{Config as Topic, KafkaTopic, OpenError};
use store::sqlite::SqliteStore;

use super::{RETRY, Store, Surroundings, refused};
use crate::ending::Ending;

/// What to do about a topic that holds what no node of this store has written, or what can't be read. Only somebody who knows whose it is can
/// say so: it is lost.
pub(super) const LOST: &str = "name the topic of this store; if what is in this one is nobody's, stop all nodes, and start \
                               one of them once with --adopt-store: it empties the topic and goes on from what has landed \
                               in the store, and what had not landed is lost";

/// The topic, once it answers. `is_lost`: somebody has said that what is in it may go, and so it may be no log at all.
pub(super) async fn open(
    topic: &Topic,
    is_lost: bool,
    (store, copy): (&Store, &Option<Arc<SqliteStore>>),
    around: &Surroundings<'_>,
) -> Result<Arc<KafkaTopic>, Ending> {
    let log = KafkaTopic::new(topic.clone(), Arc::clone(around.clock));
    loop {
        match log.connect().await {
            Ok(_) => return Ok(log),
            Err(OpenError::NotALog { .. }) if is_lost => return Ok(log),
            Err(error) => {
                if matches!(error, OpenError::Away { .. }) {
                    around.log_is_away(store, copy).await;
                }
                wait_or_end(error, around).await?;
            }
        }
    }
}

/// Forgets all that is in the topic, which somebody has said.
pub(super) async fn empty(log: &KafkaTopic, around: &Surroundings<'_>) -> Result<(), Ending> {
    while let Err(error) = log.empty().await {
        wait_or_end(error, around).await?;
    }
    Ok(())
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
