//! Probing `checked` leases: which are due, how many fail in a row, and what is said to the applier about it.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::model::{Instance, InstanceKey, Revision};

/// What the checker must know of leases.
pub(crate) enum CheckEvent {
    /// A checked lease starts, or its check or its generation changed.
    Began {
        key: InstanceKey,
        instance: Arc<Instance>,
    },
    Ended {
        key: InstanceKey,
        generation: Revision,
    },
    /// Its suspicion was refuted or taken back by a register: what was counted before no longer counts.
    Cleared {
        key: InstanceKey,
    },
}

/// The applier's end of the checker.
#[derive(Clone)]
pub(crate) struct Feed {
    events: mpsc::UnboundedSender<CheckEvent>,
}

impl Feed {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<CheckEvent>) {
        let (events, end) = mpsc::unbounded_channel();
        (Self { events }, end)
    }

    pub(crate) fn tell(&self, event: CheckEvent) {
        let _ = self.events.send(event);
    }
}
