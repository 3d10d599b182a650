//! One life of a node's process, as the world around it sees it: it runs, stands still, or is dead.

use std::sync::Arc;

use super::level::Level;

/// A process does nothing while it stands still: whatever it waits for comes when it goes on.
pub(super) struct Life {
    pub(super) name: Arc<str>,
    /// Of all lives of a run.
    pub(super) number: u64,
    is: Level<Is>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Is {
    Awake,
    Still,
    Dead,
}

impl Life {
    pub(super) fn new(name: Arc<str>, number: u64) -> Arc<Self> {
        Arc::new(Self { name, number, is: Level::new(Is::Awake) })
    }

    /// Stops it, as SIGSTOP does, or lets it go on.
    pub(super) fn stall(&self, is_still: bool) {
        let next = if is_still { Is::Still } else { Is::Awake };
        self.is.change(|is| *is = if *is == Is::Dead { Is::Dead } else { next });
    }

    pub(super) fn die(&self) {
        self.is.change(|is| *is = Is::Dead);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.is.is(|is| *is == Is::Dead)
    }

    pub(super) fn is_still(&self) -> bool {
        self.is.is(|is| *is == Is::Still)
    }

    /// Until it runs; false: it never will again.
    pub(super) async fn runs(&self) -> bool {
        self.is.until(|is| *is != Is::Still).await;
        !self.is_dead()
    }

    /// Until it runs; for ever, if it never will again.
    pub(super) async fn awake(&self) {
        if !self.runs().await {
            std::future::pending::<()>().await;
        }
    }
}
