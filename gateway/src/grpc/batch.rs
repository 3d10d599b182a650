//! Calls that carry many items: each is judged by itself, and answered in its place.

use compute::command::{Caller, Command, Outcome};
use compute::model::SessionId;
use compute::model::limits::BATCH_ITEMS_MAX;
use schemas::thuban::v1 as pb;

use super::convert;
use crate::admission::{Identity, Verb};
use crate::error::Problem;

/// The session whose stream a request came on.
#[derive(Clone, Copy)]
pub(super) struct Stream {
    pub(super) session: SessionId,
    pub(super) epoch: u32,
}

/// A batch after its items were looked at: what may go on, and what is refused already, by place.
pub(super) struct Batch {
    count: usize,
    refused: Vec<(usize, Problem)>,
}

impl Batch {
    /// One of which these were refused.
    #[cfg(test)]
    pub(super) fn with_refused(count: usize, refused: Vec<(usize, Problem)>) -> Self {
        Self { count, refused }
    }

    /// Looks at each item. Fails as a whole only when there are none, or too many.
    fn of<I, C>(
        items: impl ExactSizeIterator<Item = I>,
        mut look: impl FnMut(I) -> Result<C, Problem>,
    ) -> Result<(Self, Vec<C>), Problem> {
        let count = items.len();
        if !(1..=BATCH_ITEMS_MAX).contains(&count) {
            let allowed = format!("1 to {BATCH_ITEMS_MAX} items");
            return Err(Problem::invalid("items", format_args!("{count} items"), allowed));
        }
        let mut refused = Vec::new();
        let mut good = Vec::with_capacity(count);
        for (at, item) in items.enumerate() {
            match look(item) {
                Ok(item) => good.push(item),
                Err(problem) => refused.push((at, problem)),
            }
        }
        Ok((Self { count, refused }, good))
    }

    pub(super) fn register<'a>(
        items: impl ExactSizeIterator<Item = convert::Registration<'a>>,
        identity: &Identity,
        stream: Option<Stream>,
    ) -> Result<(Self, Vec<Command>), Problem> {
        let session = stream.map(|stream| stream.session);
        Self::of(items, |item| {
            let ((instance, generation), provider) = convert::registration(item, session)?;
            identity.may(Verb::Register, &instance.service.namespace)?;
            let epoch = provider.lease().session().and(stream).map(|stream| stream.epoch);
            Ok(Command::Register { instance, provider, epoch, generation })
        })
    }

    pub(super) fn deregister(
        items: &[pb::InstanceKey],
        identity: &Identity,
        caller: &Caller,
    ) -> Result<(Self, Vec<Command>), Problem> {
        let reason = convert::removal_reason(caller);
        Self::of(items.iter(), |item| {
            let (instance, generation) = convert::instance_key(item)?;
            identity.may_deregister(&instance.service.namespace)?;
            Ok(Command::Deregister { instance, generation, reason })
        })
    }

    pub(super) fn renew(items: &[pb::InstanceKey], identity: &Identity) -> Result<(Self, Vec<convert::Key>), Problem> {
        Self::of(items.iter(), |item| {
            let key = convert::instance_key(item)?;
            identity.may(Verb::Register, &key.0.service.namespace)?;
            Ok(key)
        })
    }

    fn outcomes<O, M>(
        self,
        decided: &mut dyn Iterator<Item = Result<O, Problem>>,
        mut say: impl FnMut(usize, Result<O, Problem>) -> M,
    ) -> Vec<M> {
        let mut said = Vec::with_capacity(self.count);
        self.each(decided, |at, outcome| said.push(say(at, outcome)));
        said
    }

    /// Tells every item's outcome in its place, out of those of the items that went on.
    pub(super) fn each<O>(
        self,
        decided: &mut dyn Iterator<Item = Result<O, Problem>>,
        mut tell: impl FnMut(usize, Result<O, Problem>),
    ) {
        let mut refused = self.refused.into_iter().peekable();
        for at in 0..self.count {
            let outcome = match refused.next_if(|(place, _)| *place == at) {
                Some((_, problem)) => Some(Err(problem)),
                None => decided.next(),
            };
            // There is an outcome for each that went on; should one be missing, nothing is known of that item.
            let outcome = outcome.unwrap_or_else(|| Err(compute::Error::OutcomeUnknown.into()));
            tell(at, outcome);
        }
    }

    pub(super) fn registered(
        self,
        is_brief: bool,
        decided: &mut dyn Iterator<Item = Result<Outcome, Problem>>,
    ) -> pb::RegisterReply {
        let items = self.outcomes(decided, |at, outcome| convert::register_outcome(at, outcome, is_brief));
        pb::RegisterReply { items }
    }

    pub(super) fn deregistered(
        self,
        decided: &mut dyn Iterator<Item = Result<Outcome, Problem>>,
    ) -> pb::DeregisterReply {
        pb::DeregisterReply { items: self.outcomes(decided, convert::deregister_outcome) }
    }

    pub(super) fn renewed(self, decided: &mut dyn Iterator<Item = Result<(), Problem>>) -> pb::RenewReply {
        pb::RenewReply { items: self.outcomes(decided, convert::renew_outcome) }
    }
}
