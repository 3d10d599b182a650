use compute::command::{Answer as Said, Command, ServicePatch};
use compute::error::What;
use compute::model::{Metadata, Revision, ServiceKey, ServiceName, ServiceSettings};
use compute::view::View;
use compute::{Error, Registry};
use schemas::thuban::v1 as pb;

use super::{Admin, Answer, Waiting, cursor, limit, said};
use crate::admission::Verb;
use crate::error::Problem;
use crate::etag::Etag;
use crate::grpc::call::Answered;
use crate::grpc::convert;
use crate::listing::{check_prefix, page};
use crate::precondition::{Conditional, Expected};

impl Admin<'_> {
    pub(super) async fn list_services(self, asked: pb::ListServicesRequest) -> Answer {
        let namespace = convert::namespace(&asked.namespace)?;
        self.call.identity.may(Verb::Read, &namespace)?;
        let limit = limit(asked.limit)?;
        let after = cursor(&asked.cursor)?;
        check_prefix(&asked.prefix)?;
        let admin = self.caught_up(asked.min_revision.as_deref()).await?;
        let names = admin.registry().services(&namespace, &asked.prefix, after, limit + 1)?;
        let (names, next_cursor) = page(names, limit, ServiceName::to_string);
        let keys = names.into_iter().map(|service| ServiceKey { namespace: namespace.clone(), service });
        let views: Vec<_> = keys.map(|key| admin.registry().view(&key)).collect();
        // One may have gone since its name was read.
        let items = views.iter().filter(|view| view.exists()).map(|view| service(view)).collect();
        let overlay = views.iter().map(|view| view.overlay).sum();
        let (revision, next_cursor) = (admin.revision(), next_cursor.unwrap_or_default());
        let reply = pb::ListServicesReply { items, next_cursor, revision: revision.to_string() };
        Ok(Answered::of(&reply).at(revision, overlay))
    }

    pub(super) async fn get_service(self, asked: pb::GetServiceRequest) -> Answer {
        let key = self.named(&asked.namespace, &asked.name, Verb::Read)?;
        let waiting = Waiting::of(asked.if_none_match, asked.wait_ms)?;
        let admin = self.caught_up(asked.min_revision.as_deref()).await?;
        let look = |registry: &Registry, unless: &str| {
            let view = registry.view(&key);
            let settings = view.row.as_ref().map_or(Revision::ZERO, |row| row.settings_revision);
            let is_known = Etag::of_revision(settings).matches(unless);
            (view, is_known)
        };
        let view = admin.found(&key, waiting, look).await?;
        if !view.exists() {
            return Err(Error::not_found(What::Service, &key).into());
        }
        Ok(Answered::of(&service(&view)).at(view.revision, view.overlay))
    }

    pub(super) async fn put_service(&self, asked: pb::PutServiceRequest) -> Answer {
        let key = self.named(&asked.namespace, &asked.name, Verb::Operate)?;
        let patch = ServicePatch {
            whole: true,
            description: Some(asked.description.into()),
            owner: Some(asked.owner.into()),
            metadata: Some(Metadata::new(&asked.metadata)?),
            protect_threshold: Some(asked.protect_threshold),
        };
        self.set(key, patch, asked.if_match.as_deref(), asked.ack).await
    }

    pub(super) async fn update_service(&self, asked: pb::UpdateServiceRequest) -> Answer {
        let key = self.named(&asked.namespace, &asked.name, Verb::Operate)?;
        let metadata = asked.metadata.map(|metadata| Metadata::new(&metadata.entries)).transpose()?;
        let patch = ServicePatch {
            whole: false,
            description: asked.description.map(Into::into),
            owner: asked.owner.map(Into::into),
            metadata,
            protect_threshold: asked.protect_threshold,
        };
        if !self.registry().view(&key).exists() {
            return Err(Error::not_found(What::Service, &key).into());
        }
        self.set(key, patch, asked.if_match.as_deref(), asked.ack).await
    }

    async fn set(&self, key: ServiceKey, patch: ServicePatch, if_match: Option<&str>, ack: i32) -> Answer {
        let ack = convert::ack(ack)?;
        patch.over(&ServiceSettings::default()).check()?;
        let command = |expected| Command::PutService { service: key.clone(), patch: patch.clone(), expected };
        let outcome = self.conditional(&key, if_match).submit(&self.call.caller(self.shared), ack, command).await?;
        let created = matches!(outcome.answer, Said::Service { created: true, .. });
        let view = self.registry().view(&key);
        let ack = convert::reached(outcome.reached).into();
        let reply = pb::PutServiceReply { service: Some(service(&view)), created, ack };
        Ok(self.written(&reply, &outcome))
    }

    pub(super) async fn delete_service(&self, asked: pb::DeleteServiceRequest) -> Answer {
        let ack = convert::ack(asked.ack)?;
        let key = self.named(&asked.namespace, &asked.name, Verb::Operate)?;
        let command = |expected| Command::DeleteService { service: key.clone(), expected };
        let conditional = self.conditional(&key, asked.if_match.as_deref());
        Ok(self.deleted(&conditional.submit(&self.call.caller(self.shared), ack, command).await?))
    }

    fn conditional<'a>(&'a self, service: &'a ServiceKey, if_match: Option<&str>) -> Conditional<'a> {
        Conditional { registry: self.registry(), service, expected: Expected::named(if_match), field: "if_match" }
    }

    fn named(&self, namespace: &str, name: &str, verb: Verb) -> Result<ServiceKey, Problem> {
        let by_name = |wrong: Problem| {
            let is_its = wrong.parts().field.as_deref() == Some("service");
            if is_its { wrong.about("name") } else { wrong }
        };
        let key = convert::service(namespace, name).map_err(by_name)?;
        self.call.identity.may(verb, &key.namespace)?;
        Ok(key)
    }
}

fn service(view: &View) -> pb::Service {
    let (namespace, name) = (view.service.namespace.as_str().to_owned(), view.service.service.as_str().to_owned());
    let counted = pb::Service {
        namespace,
        name,
        instances: view.counts.all,
        healthy: view.counts.healthy,
        isolated: view.counts.isolated,
        revision: convert::token(view.revision),
        digest: view.digest.to_string(),
        empty: convert::empty(view),
        ..pb::Service::default()
    };
    // Only an overlay knows it.
    let Some(row) = &view.row else { return counted };
    pb::Service {
        description: row.settings.description.as_ref().to_owned(),
        owner: row.settings.owner.as_ref().to_owned(),
        metadata: said(&row.settings.metadata),
        protect_threshold: row.settings.protect_threshold,
        created_at: Some(convert::time(row.created_at_ms)),
        etag: Etag::of_revision(row.settings_revision).to_string(),
        implicit: row.implicit,
        ..counted
    }
}
