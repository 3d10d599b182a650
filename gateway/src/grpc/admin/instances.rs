use compute::command::{Answer as Said, Command};
use compute::error::What;
use compute::model::{InstanceId, InstanceKey, OperatorPatch, Revision, Set};
use compute::registry::Watching;
use compute::watch::Subscription;
use compute::{Error, Registry};
use schemas::thuban::v1 as pb;

use super::{Admin, Answer, Waiting, cursor, limit};
use crate::admission::Verb;
use crate::error::{Code, Problem};
use crate::etag::Etag;
use crate::grpc::call::Answered;
use crate::grpc::convert;
use crate::listing::{self, Spread};

/// What a patch may clear.
const CLEARABLE: &str = "isolated, weight, note, expires_at, keep_ms, each at most once and not set beside it";

impl Admin<'_> {
    pub(super) async fn get_instance(self, asked: pb::GetInstanceRequest) -> Answer {
        let key = self.instance(&asked.namespace, &asked.service, &asked.id, Verb::Read)?;
        let waiting = Waiting::of(asked.if_none_match, asked.wait_ms)?;
        let admin = self.caught_up(asked.min_revision.as_deref()).await?;
        let look = |registry: &Registry, unless: &str| {
            let view = registry.view(&key.service);
            let is_known = match view.get(&key.id).map(|instance| instance.revision) {
                // What is not there has the tag of nothing; HTTP's is that of the view which lacks it.
                None => Etag::of_revision(Revision::ZERO).matches(unless) || Etag::of(&view).matches(unless),
                // Only an overlay knows it, and it may change without a new revision.
                Some(Revision::ZERO) => false,
                Some(revision) => Etag::of_revision(revision).matches(unless),
            };
            (view, is_known)
        };
        let view = admin.found(&key.service, waiting, look).await?;
        if !view.exists() {
            return Err(Error::not_found(What::Service, &key.service).into());
        }
        let found = view.get(&key.id).ok_or_else(|| Error::not_found(What::Instance, &key))?;
        Ok(Answered::of(&convert::instance(&key.service, found)).at(view.revision, view.overlay))
    }

    pub(super) async fn patch_operator(&self, asked: pb::PatchOperatorRequest) -> Answer {
        let ack = convert::ack(asked.ack)?;
        let instance = self.instance(&asked.namespace, &asked.service, &asked.id, Verb::Operate)?;
        let generation = convert::revision("generation", asked.generation.as_deref())?;
        let patch = patch(asked)?;
        patch.check()?;
        let caller = self.call.caller(self.shared);
        let command = Command::Operate { instance, generation, patch };
        let outcome = self.registry().submit_one(&caller, ack, command).await?;
        let Said::Instance { key, instance, .. } = &outcome.answer else {
            return Err(Problem::new(Code::Conflict, "the instance was removed at the same moment"));
        };
        let reply = pb::PatchOperatorReply {
            instance: Some(convert::instance(&key.service, instance)),
            ack: convert::reached(outcome.reached).into(),
        };
        Ok(self.written(&reply, &outcome))
    }

    pub(super) async fn list_subscribers(self, asked: pb::ListSubscribersRequest) -> Answer {
        let key = convert::service(&asked.namespace, &asked.service)?;
        self.call.identity.may(Verb::Read, &key.namespace)?;
        let limit = limit(asked.limit)?;
        let start = cursor(&asked.cursor)?;
        let admin = self.caught_up(asked.min_revision.as_deref()).await?.with_time_for_others()?;
        let Spread { items, next, unanswered } = listing::subscribers(admin.registry(), &key, start, limit).await?;
        let reply = pb::ListSubscribersReply {
            items: items.iter().map(subscriber).collect(),
            next_cursor: next.unwrap_or_default(),
            unanswered: unanswered.iter().map(|name| name.as_ref().to_owned()).collect(),
        };
        Ok(Answered::of(&reply).at(admin.revision(), 0))
    }

    pub(super) fn instance(
        &self,
        namespace: &str,
        service: &str,
        id: &str,
        verb: Verb,
    ) -> Result<InstanceKey, Problem> {
        let service = convert::service(namespace, service)?;
        if id.is_empty() {
            return Err(Problem::missing("id", "1 to 255 bytes"));
        }
        self.call.identity.may(verb, &service.namespace)?;
        Ok(InstanceKey { service, id: InstanceId::new(id)? })
    }
}

/// Each field is set, cleared, or left as it is.
fn patch(asked: pb::PatchOperatorRequest) -> Result<OperatorPatch, Problem> {
    let expires_at_ms = asked.expires_at.as_ref().map(|at| convert::time_ms("expires_at", at)).transpose()?;
    let mut patch = OperatorPatch {
        isolated: set(asked.isolated),
        weight: set(asked.weight.map(u64::from)),
        note: set(asked.note),
        expires_at_ms: set(expires_at_ms),
        keep_ms: set(asked.keep_ms.map(u64::from)),
    };
    for name in &asked.clear {
        let was_left = match name.as_str() {
            "isolated" => clear(&mut patch.isolated),
            "weight" => clear(&mut patch.weight),
            "note" => clear(&mut patch.note),
            "expires_at" => clear(&mut patch.expires_at_ms),
            "keep_ms" => clear(&mut patch.keep_ms),
            _ => false,
        };
        if !was_left {
            return Err(Problem::invalid("clear", name, CLEARABLE));
        }
    }
    Ok(patch)
}

pub(super) fn set<T>(given: Option<T>) -> Set<T> {
    given.map_or(Set::Leave, Set::To)
}

/// False when it was set or cleared already.
fn clear<T>(field: &mut Set<T>) -> bool {
    let was_left = matches!(field, Set::Leave);
    *field = Set::Clear;
    was_left
}

fn subscriber(Watching { node, subscription }: &Watching) -> pb::Subscriber {
    let Subscription { subscriber, sent, acknowledged } = subscription;
    pb::Subscriber {
        client: subscriber.name.as_ref().to_owned(),
        address: subscriber.address.map_or_else(String::new, |address| address.to_string()),
        door: subscriber.door.as_ref().to_owned(),
        node: node.as_ref().to_owned(),
        sent_revision: convert::token(*sent),
        acknowledged_revision: acknowledged.map_or_else(String::new, |revision| revision.to_string()),
    }
}
