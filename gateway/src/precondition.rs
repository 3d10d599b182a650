//! Writes of a service that are meant for one state of it: `If-Match`, the same for every door.

use compute::command::{Ack, Caller, Command, Outcome};
use compute::error::What;
use compute::model::{Revision, ServiceKey};
use compute::{Error, Registry};

use crate::error::{Code, Problem};

/// How often a write that any state will do for follows a service that changes meanwhile.
const EXISTING_TRIES_MAX: usize = 8;

/// Which state a write is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Any,
    /// `*`: whatever there is, but something.
    Existing,
    Revision(Revision),
    /// A tag that no state of ours can have.
    Nothing,
}

impl Expected {
    /// What a condition names: the ETag of a service's settings, or `*`. A weak tag names no state for sure.
    pub(crate) fn named(condition: Option<&str>) -> Self {
        let Some(text) = condition.map(str::trim) else { return Self::Any };
        if text == "*" {
            return Self::Existing;
        }
        let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        quoted.and_then(|text| text.parse().ok()).map_or(Self::Nothing, Self::Revision)
    }
}

/// A write of a service, and the condition that came with it in `field`.
pub(crate) struct Conditional<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) service: &'a ServiceKey,
    pub(crate) expected: Expected,
    pub(crate) field: &'static str,
}

impl Conditional<'_> {
    pub(crate) async fn submit(
        &self,
        caller: &Caller,
        ack: Ack,
        command: impl Fn(Option<Revision>) -> Command,
    ) -> Result<Outcome, Problem> {
        let one = |expected| self.registry.submit_one(caller, ack, command(expected));
        match self.expected {
            Expected::Any => Ok(one(None).await?),
            Expected::Revision(revision) => one(Some(revision)).await.map_err(|error| self.refused(error)),
            Expected::Nothing => Err(self.failed("it names no state that the service ever had")),
            Expected::Existing => {
                let mut last = self.absent();
                for _ in 0..EXISTING_TRIES_MAX {
                    let Some(row) = self.registry.view(self.service).row.clone() else { return Err(last) };
                    match one(Some(row.settings_revision)).await.map_err(|error| self.refused(error)) {
                        Err(problem) if problem.code() == Code::PreconditionFailed => last = problem,
                        done => return done,
                    }
                }
                Err(last)
            }
        }
    }

    /// A condition on what is not there does not hold, whatever the registry calls it.
    fn refused(&self, error: Error) -> Problem {
        match error {
            Error::NotFound { what: What::Service, .. } => self.absent(),
            error @ Error::PreconditionFailed { .. } => Problem::from(error).about(self.field),
            error => error.into(),
        }
    }

    fn absent(&self) -> Problem {
        self.failed("there is no such service")
    }

    fn failed(&self, detail: &str) -> Problem {
        Problem::new(Code::PreconditionFailed, format!("{} does not hold: {detail}", self.field)).about(self.field)
    }
}
