//! Reads from what has landed, while the change log is away at the start. The node decides nothing: it has no applier, and
//! is not ready. Who reads is told that what it gets is stale.

use std::sync::Arc;

use crate::directory::Directory;
use crate::model::{LogState, NodeIncarnation, Position};
use crate::port::store::{Loaded, PresenceStore, ReadError};
use crate::port::{Chance, Clock};
use crate::registry::{Inner, Registry};
use crate::state::State;
use crate::watch::{Company, Hub};

use super::applier::{first_status, publish_state};
use super::link::{Link, Readiness};
use super::{Config, StartError};

/// From what a node answers that has no log.
pub struct Stale {
    pub store: Arc<dyn PresenceStore>,
    /// This node's own copy of what has landed, for as long as the store is away, too.
    pub snapshot: Option<Arc<dyn PresenceStore>>,
    pub clock: Arc<dyn Clock>,
    pub chance: Arc<dyn Chance>,
}

impl Stale {
    /// Errors: neither the store nor the copy can be read, or what is there is empty or no state.
    pub async fn serve(self, config: &Config) -> Result<Registry, StartError> {
        let (log, loaded) = self.load().await?;
        let state = State::load(loaded, log.identity)?;
        let me = NodeIncarnation(self.chance.number());
        let (directory, hub) = (Arc::new(Directory::new(config.selected)), Hub::new(Company::Among));
        publish_state(&state, &directory, &hub, log.watermark);
        let (instances, rows) = (state.instance_count(), log.watermark);
        tracing::warn!(instances, watermark = %rows, "the change log is away: this node answers stale reads, and nothing else");
        // Nobody listens at the other end, and it is never asked: the node is not ready.
        let (link, _) = Link::new(first_status(config, me, &state, log.watermark));
        link.put_status(|status| {
            status.readiness = Readiness::NotReady(WHY.to_owned());
            status.counted.namespaces = state.namespaces().count();
            status.counted.services = state.service_count();
            status.counted.instances = instances;
        });
        let (heard, peers, is_stale) = (None, None, true);
        let inner = Inner { directory, hub, link, heard, peers, clock: self.clock, chance: self.chance, is_stale };
        Ok(Registry { inner: Arc::new(inner) })
    }

    async fn load(&self) -> Result<(LogState, Loaded), StartError> {
        let error = match held(&*self.store).await {
            Ok(held) => return Ok(held),
            Err(error) => error,
        };
        match &self.snapshot {
            Some(copy) => Ok(held(&**copy).await?),
            None => Err(error.into()),
        }
    }
}

async fn held(store: &dyn PresenceStore) -> Result<(LogState, Loaded), ReadError> {
    let loaded = store.load().await?;
    // Where nothing has landed there is nothing to show, and no list that is empty is true.
    let log = loaded.log.filter(|log| log.watermark != Position::ZERO);
    let log = log.ok_or_else(|| ReadError::Away("nothing has landed in it yet".to_owned()))?;
    Ok((log, loaded))
}

const WHY: &str = "the change log has been away since the start; it answers stale reads, and nothing else";
