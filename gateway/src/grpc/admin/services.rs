use compute::Error;
use compute::command::{Ack, Answer as Said, Command, Outcome, ServicePatch};
use compute::error::What;
use compute::model::{Metadata, Revision, ServiceKey, ServiceSettings};
use compute::view::View;
use schemas::thuban::v1 as pb;

use super::namespaces::deleted;
use super::{Admin, Answer, limit, page, said};
use crate::admission::Verb;
use crate::error::{Code, Problem};
use crate::etag::{self, Etag};
use crate::grpc::call::Answered;
use crate::grpc::convert;

/// How often a write under `*` is tried while others change the same service.
const EXISTING_TRIES_MAX: usize = 8;

impl Admin<'_> {
    pub(super) fn list_services(&self, asked: pb::ListServicesRequest) -> Answer {
        let namespace = convert::namespace(&asked.namespace)?;
        self.call.identity.may(Verb::Read, &namespace)?;
        let limit = limit(asked.limit)?;
        let after = Some(asked.cursor.as_str()).filter(|cursor| !cursor.is_empty());
        let names = self.registry().services(&namespace, &asked.prefix, after, limit + 1)?;
        let (names, next_cursor) = page(names, limit, ToString::to_string);
        let keys = names.into_iter().map(|service| ServiceKey { namespace: namespace.clone(), service });
        let views: Vec<_> = keys.map(|key| self.registry().view(&key)).collect();
        // One may have gone since its name was read.
        let items = views.iter().filter(|view| view.exists()).map(|view| service(view)).collect();
        let revision = self.revision();
        let reply = pb::ListServicesReply { items, next_cursor, revision: revision.to_string() };
        Ok(Answered::of(&reply).at(revision, 0))
    }

    pub(super) async fn get_service(&self, asked: pb::GetServiceRequest) -> Answer {
        let key = self.named(&asked.namespace, &asked.name, Verb::Read)?;
        self.caught_up(asked.min_revision.as_deref()).await?;
        let view = self.registry().view(&key);
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
        let outcome = self.conditionally(&key, if_match, ack, command).await?;
        let created = matches!(outcome.answer, Said::Service { created: true, .. });
        let view = self.registry().view(&key);
        let ack = convert::reached(outcome.reached).into();
        let reply = pb::PutServiceReply { service: Some(service(&view)), created, ack };
        Ok(Answered::of(&reply).at(outcome.revision, view.overlay))
    }

    pub(super) async fn delete_service(&self, asked: pb::DeleteServiceRequest) -> Answer {
        let ack = convert::ack(asked.ack)?;
        let key = self.named(&asked.namespace, &asked.name, Verb::Operate)?;
        let command = |expected| Command::DeleteService { service: key.clone(), expected };
        Ok(deleted(&self.conditionally(&key, asked.if_match.as_deref(), ack, command).await?))
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

    /// Submits a write of a service under the condition that came with it: a tag, or `*`, which is whatever stands.
    async fn conditionally(
        &self,
        key: &ServiceKey,
        if_match: Option<&str>,
        ack: Ack,
        command: impl Fn(Option<Revision>) -> Command,
    ) -> Result<Outcome, Problem> {
        let caller = self.call.caller(self.shared);
        let one = |expected| self.registry().submit_one(&caller, ack, command(expected));
        let absent = || Problem::new(Code::PreconditionFailed, "there is no such service").about("if_match");
        let conditional = |error: Error| match error {
            // A condition on what is not there does not hold, whatever the registry calls it.
            Error::NotFound { what: What::Service, .. } => absent(),
            error => Problem::from(error).about("if_match"),
        };
        match if_match {
            None => Ok(one(None).await?),
            Some("*") => {
                let mut last = absent();
                for _ in 0..EXISTING_TRIES_MAX {
                    let Some(row) = self.registry().view(key).row.clone() else { return Err(absent()) };
                    match one(Some(row.settings_revision)).await {
                        Err(error @ Error::PreconditionFailed { .. }) => last = conditional(error),
                        done => return done.map_err(conditional),
                    }
                }
                Err(last)
            }
            Some(tag) => one(Some(etag::revision_of("if_match", tag)?)).await.map_err(conditional),
        }
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
