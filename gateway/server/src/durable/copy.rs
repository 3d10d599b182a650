//! A node's own copy of a store that it shares: a file that nobody misses. What can't be used of it is removed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use store::sqlite::{OpenError, SqliteStore};

const FILE: &str = "snapshot.sqlite";

/// The copy that there is, or an empty one; `None`, and it is said why: this node keeps none.
pub(super) async fn open(folder: &Path) -> Option<Arc<SqliteStore>> {
    let path = folder.join(FILE);
    let error = match store::sqlite::open(&path).await {
        Ok(copy) => return Some(copy),
        Err(error) => error,
    };
    if matches!(error, OpenError::InUse { .. } | OpenError::Io { .. }) {
        tracing::warn!(%error, "this node keeps no copy of the store: while that is away it can't start");
        return None;
    }
    tracing::warn!(%error, "this node's own copy of the store can't be used, and is discarded");
    for suffix in ["", "-wal", "-shm"] {
        let mut part = path.clone().into_os_string();
        part.push(suffix);
        // One that is not there need not be removed.
        let _ = std::fs::remove_file(PathBuf::from(part));
    }
    let opened = store::sqlite::open(&path).await;
    opened.inspect_err(|error| tracing::warn!(%error, "this node keeps no copy of the store")).ok()
}
