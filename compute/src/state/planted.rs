//! Rules that a test has taken out, to see that somebody notices. In a release nothing can: see [`holds`].

/// A rule on which a promise rests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// Who heard a suspect says so.
    Refute,
    /// Nobody is unhealthy before each member has shown the suspicion.
    Barrier,
    /// A removal names the very suspicion, and that stands.
    ExpireFence,
    /// Mass losses are held back.
    Freeze,
    /// What is said of a session, or over its stream, names its newest epoch.
    Epoch,
    /// What is said of an instance names the revision that it was said about.
    Base,
}

#[cfg(any(test, feature = "testing"))]
mod taken {
    use std::cell::Cell;

    use super::Rule;

    thread_local! {
        static OUT: Cell<Option<Rule>> = const { Cell::new(None) };
    }

    /// Runs with a rule out, as far as this thread goes.
    pub fn without<T>(rule: Rule, run: impl FnOnce() -> T) -> T {
        struct Back(Option<Rule>);
        impl Drop for Back {
            fn drop(&mut self) {
                OUT.set(self.0);
            }
        }
        let _back = Back(OUT.replace(Some(rule)));
        run()
    }

    pub(crate) fn holds(rule: Rule) -> bool {
        OUT.get() != Some(rule)
    }
}

#[cfg(any(test, feature = "testing"))]
pub(crate) use taken::holds;
#[cfg(any(test, feature = "testing"))]
pub use taken::without;

#[cfg(not(any(test, feature = "testing")))]
pub(crate) const fn holds(_: Rule) -> bool {
    true
}

#[cfg(any(test, feature = "testing"))]
impl super::State {
    /// As if memory had lost it: no change of the log says that it is gone.
    pub(crate) fn bend(&mut self, key: &crate::model::InstanceKey) {
        let Some(service) = self.services.get_mut(&key.service) else { return };
        let at = service.row().revision;
        let author = crate::model::Author::new("memory", "test");
        let reason = crate::model::RemovalReason::Expired;
        let removal = crate::model::Removal { at_ms: 0, reason, author, revision: at };
        if let Some(lost) = service.remove(&key.id, removal) {
            self.digest = self.digest.minus(lost.digest());
            self.instances -= 1;
        }
    }
}
