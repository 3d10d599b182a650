use compute::command::{Answer as Said, Command, KeptOverride};
use compute::model::{OperatorPatch, Process};
use prost_types::Timestamp;
use schemas::thuban::v1 as pb;

use super::instances::set;
use super::{Admin, Answer, cursor, limit};
use crate::admission::Verb;
use crate::error::{Code, Problem};
use crate::grpc::call::Answered;
use crate::grpc::convert;
use crate::listing;

impl Admin<'_> {
    pub(super) async fn list_overrides(self, asked: pb::ListOverridesRequest) -> Answer {
        let key = convert::service(&asked.namespace, &asked.service)?;
        self.call.identity.may(Verb::Read, &key.namespace)?;
        let limit = limit(asked.limit)?;
        let after = cursor(&asked.cursor)?;
        let admin = self.caught_up(asked.min_revision.as_deref()).await?;
        let (kept, next_cursor) = listing::overrides(admin.registry(), &key, after, limit)?;
        let revision = admin.revision();
        let reply = pb::ListOverridesReply {
            items: kept.iter().map(kept_override).collect(),
            next_cursor: next_cursor.unwrap_or_default(),
            revision: revision.to_string(),
        };
        Ok(Answered::of(&reply).at(revision, 0))
    }

    pub(super) async fn get_override(self, asked: pb::GetOverrideRequest) -> Answer {
        let key = self.instance(&asked.namespace, &asked.service, &asked.id, Verb::Read)?;
        let admin = self.caught_up(asked.min_revision.as_deref()).await?;
        let kept = listing::kept_override(admin.registry(), &key)?;
        Ok(Answered::of(&kept_override(&kept)).at(admin.revision(), 0))
    }

    pub(super) async fn put_override(&self, asked: pb::PutOverrideRequest) -> Answer {
        let ack = convert::ack(asked.ack)?;
        let instance = self.instance(&asked.namespace, &asked.service, &asked.id, Verb::Operate)?;
        let time = |field, at: &Option<Timestamp>| at.as_ref().map(|at| convert::time_ms(field, at)).transpose();
        let word = OperatorPatch {
            isolated: set(asked.isolated),
            weight: set(asked.weight.map(u64::from)),
            note: set(asked.note),
            expires_at_ms: set(time("expires_at", &asked.expires_at)?),
            keep_ms: set(asked.keep_ms.map(u64::from)),
        };
        word.check()?;
        let until_ms = time("kept_until", &asked.kept_until)?;
        let only_for = asked.incarnation.as_deref().map(Process::named).transpose()?;
        let caller = self.call.caller(self.shared);
        let command = Command::KeepOverride { instance, word, until_ms, only_for };
        let outcome = self.registry().submit_one(&caller, ack, command).await?;
        let Said::Override { kept, created } = &outcome.answer else {
            return Err(Problem::new(Code::Conflict, "it was put, and ended at the same moment"));
        };
        let ack = convert::reached(outcome.reached).into();
        let reply = pb::PutOverrideReply { kept: Some(kept_override(kept)), created: *created, ack };
        Ok(self.written(&reply, &outcome))
    }

    pub(super) async fn delete_override(&self, asked: pb::DeleteOverrideRequest) -> Answer {
        let ack = convert::ack(asked.ack)?;
        let instance = self.instance(&asked.namespace, &asked.service, &asked.id, Verb::Operate)?;
        let caller = self.call.caller(self.shared);
        let command = Command::DropOverride { instance };
        Ok(self.deleted(&self.registry().submit_one(&caller, ack, command).await?))
    }
}

fn kept_override(kept: &KeptOverride) -> pb::KeptOverride {
    pb::KeptOverride {
        namespace: kept.instance.service.namespace.as_str().to_owned(),
        service: kept.instance.service.service.as_str().to_owned(),
        id: kept.instance.id.as_str().to_owned(),
        operator: Some(convert::operator(&kept.row.operator)),
        kept_until: Some(convert::time(kept.row.until_ms)),
        same_incarnation_only: kept.row.only_for.is_some(),
        incarnation: match &kept.row.only_for {
            Some(Process::Incarnation(name)) => name.as_ref().to_owned(),
            Some(Process::Session(_)) | None => String::new(),
        },
    }
}
