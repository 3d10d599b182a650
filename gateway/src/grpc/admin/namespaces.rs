use compute::command::{Answer as Said, Command, Outcome};
use compute::model::{Metadata, Namespace, NamespaceRow, NamespaceSettings};
use schemas::thuban::v1 as pb;

use super::{Admin, Answer, limit, page, said};
use crate::admission::Verb;
use crate::error::{Code, Problem};
use crate::grpc::call::Answered;
use crate::grpc::convert;

impl Admin<'_> {
    pub(super) fn list_namespaces(&self, asked: pb::ListNamespacesRequest) -> Answer {
        self.call.identity.may_at_all(Verb::Read)?;
        let limit = limit(asked.limit)?;
        let mut after = cursor(&asked.cursor)?;
        let mut shown = Vec::new();
        // A token may see but a few of them, so one look may not fill a page.
        while shown.len() <= limit {
            let some = self.registry().namespaces(after.as_ref(), limit + 1);
            let Some((last, _)) = some.last() else { break };
            after = Some(last.clone());
            shown.extend(some.into_iter().filter(|(namespace, _)| self.call.identity.sees(namespace)));
        }
        shown.truncate(limit + 1);
        let (shown, next_cursor) = page(shown, limit, |(namespace, _)| namespace.to_string());
        let items = shown.iter().map(|(namespace, row)| self::namespace(namespace, row)).collect();
        let revision = self.revision();
        let reply = pb::ListNamespacesReply { items, next_cursor, revision: revision.to_string() };
        Ok(Answered::of(&reply).at(revision, 0))
    }

    pub(super) async fn get_namespace(&self, asked: pb::GetNamespaceRequest) -> Answer {
        let name = convert::namespace(&asked.name)?;
        self.call.identity.may(Verb::Read, &name)?;
        self.caught_up(asked.min_revision.as_deref()).await?;
        let row = self.registry().namespace(&name)?;
        Ok(Answered::of(&namespace(&name, &row)).at(self.revision(), 0))
    }

    pub(super) async fn put_namespace(&self, asked: pb::PutNamespaceRequest) -> Answer {
        let ack = convert::ack(asked.ack)?;
        let name = convert::namespace(&asked.name).map_err(|wrong| wrong.about("name"))?;
        self.call.identity.may(Verb::Operate, &name)?;
        let metadata = Metadata::new(&asked.metadata)?;
        let settings = NamespaceSettings { description: asked.description.into(), metadata };
        settings.check()?;
        let caller = self.call.caller(self.shared);
        let command = Command::PutNamespace { namespace: name, settings };
        let outcome = self.registry().submit_one(&caller, ack, command).await?;
        let Said::Namespace { namespace: name, row, created } = &outcome.answer else {
            return Err(Problem::new(Code::Conflict, "it was put, and deleted again at once"));
        };
        let ack = convert::reached(outcome.reached).into();
        let reply = pb::PutNamespaceReply { namespace: Some(namespace(name, row)), created: *created, ack };
        Ok(Answered::of(&reply).at(outcome.revision, 0))
    }

    pub(super) async fn delete_namespace(&self, asked: pb::DeleteNamespaceRequest) -> Answer {
        let ack = convert::ack(asked.ack)?;
        let name = convert::namespace(&asked.name).map_err(|wrong| wrong.about("name"))?;
        self.call.identity.may(Verb::Operate, &name)?;
        let caller = self.call.caller(self.shared);
        let command = Command::DeleteNamespace { namespace: name };
        Ok(deleted(&self.registry().submit_one(&caller, ack, command).await?))
    }
}

/// The answer to every delete that is not about an instance.
pub(super) fn deleted(outcome: &Outcome) -> Answered {
    let revision = convert::token(outcome.revision);
    let reply = pb::DeleteReply { ack: convert::reached(outcome.reached).into(), revision };
    Answered::of(&reply).at(outcome.revision, 0)
}

fn cursor(given: &str) -> Result<Option<Namespace>, Problem> {
    if given.is_empty() {
        return Ok(None);
    }
    let wrong = |_| Problem::invalid("cursor", given, "empty, or the next_cursor of a page");
    Namespace::new(given).map(Some).map_err(wrong)
}

fn namespace(name: &Namespace, row: &NamespaceRow) -> pb::Namespace {
    pb::Namespace {
        name: name.as_str().to_owned(),
        description: row.settings.description.as_ref().to_owned(),
        metadata: said(&row.settings.metadata),
        created_at: Some(convert::time(row.created_at_ms)),
        revision: convert::token(row.revision),
    }
}
