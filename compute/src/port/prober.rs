//! Probes of `checked` leases. The domain decides when and what a result means; an adapter speaks the protocols.

use async_trait::async_trait;

use crate::model::Check;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Probed {
    Success,
    /// It answered wrongly, late or not at all; in words fit for an operator, at most 256 bytes.
    Failure(Box<str>),
    /// The target may not be called (link-local, metadata service, outside the allowed networks). Counts as a failure.
    Forbidden(Box<str>),
}

#[async_trait]
pub trait Prober: Send + Sync + 'static {
    /// Probes once, within the check's timeout. `port` is the one in force.
    async fn probe(&self, host: &str, port: u16, check: &Check) -> Probed;
}
