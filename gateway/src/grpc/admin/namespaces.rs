use compute::command::{Answer as Said, Command};
use compute::model::{Metadata, Namespace, NamespaceRow, NamespaceSettings};
use schemas::thuban::v1 as pb;

use super::{Admin, Answer, cursor, limit, said};
use crate::admission::Verb;
use crate::error::{Code, Problem};
use crate::grpc::call::Answered;
use crate::grpc::convert;
use crate::listing::page;

impl Admin<'_> {
    pub(super) async fn list_namespaces(self, asked: pb::ListNamespacesRequest) -> Answer {
        self.call.identity.may_at_all(Verb::Read)?;
        let limit = limit(asked.limit)?;
        // A cursor is a name that was shown; anything else is behind nothing that exists.
        let mut after = cursor(&asked.cursor)?.and_then(|name| Namespace::new(name).ok());
        let admin = self.caught_up(asked.min_revision.as_deref()).await?;
        let mut shown = Vec::new();
        // A token may see but a few of them, so one look may not fill a page.
        while shown.len() <= limit {
            let some = admin.registry().namespaces(after.as_ref(), limit + 1);
            let Some((last, _)) = some.last() else { break };
            after = Some(last.clone());
            shown.extend(some.into_iter().filter(|(namespace, _)| admin.call.identity.sees(namespace)));
        }
        shown.truncate(limit + 1);
        let (shown, next_cursor) =
            page(shown, limit, |(namespace, _): &(Namespace, NamespaceRow)| namespace.to_string());
        let items = shown.iter().map(|(namespace, row)| self::namespace(namespace, row)).collect();
        let revision = admin.revision();
        let next_cursor = next_cursor.unwrap_or_default();
        let reply = pb::ListNamespacesReply { items, next_cursor, revision: revision.to_string() };
        Ok(Answered::of(&reply).at(revision, 0))
    }

    pub(super) async fn get_namespace(self, asked: pb::GetNamespaceRequest) -> Answer {
        let name = convert::namespace(&asked.name)?;
        self.call.identity.may(Verb::Read, &name)?;
        let admin = self.caught_up(asked.min_revision.as_deref()).await?;
        let row = admin.registry().namespace(&name)?;
        Ok(Answered::of(&namespace(&name, &row)).at(admin.revision(), 0))
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
        Ok(self.written(&reply, &outcome))
    }

    pub(super) async fn delete_namespace(&self, asked: pb::DeleteNamespaceRequest) -> Answer {
        let ack = convert::ack(asked.ack)?;
        let name = convert::namespace(&asked.name).map_err(|wrong| wrong.about("name"))?;
        self.call.identity.may(Verb::Operate, &name)?;
        let caller = self.call.caller(self.shared);
        let command = Command::DeleteNamespace { namespace: name };
        Ok(self.deleted(&self.registry().submit_one(&caller, ack, command).await?))
    }
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
