//! `thuban.v1.Admin`: what people and tools do. Each call is the twin of an HTTP route.

use axum::body::Body;
use compute::Registry;
use compute::command::Outcome;
use compute::model::limits::NAME_BYTES_MAX;
use compute::model::{Metadata, Revision, ServiceKey};
use http::Response;
use prost::Message;
use schemas::thuban::v1 as pb;
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use super::call::{Answered, Call, only};
use super::method::Method;
use super::wire::{Messages, Reply};
use super::{Shared, convert};
use crate::basis;
use crate::error::{Code, Problem};
use crate::etag;
use crate::listing::{PAGE_DEFAULT, PAGE_MAX};

mod instances;
mod namespaces;
mod nodes;
mod overrides;
mod services;

/// What an answer is made of: the message, and the state that it shows.
type Answer = Result<Answered, Problem>;

pub(super) async fn answer(
    shared: &Shared,
    call: Call,
    method: Method,
    messages: Messages<Body>,
) -> Result<Response<Reply>, Problem> {
    let admin = Admin { shared, call };
    let answered = match method {
        Method::ListNamespaces => admin.list_namespaces(only(shared, messages).await?).await,
        Method::GetNamespace => admin.get_namespace(only(shared, messages).await?).await,
        Method::PutNamespace => admin.put_namespace(only(shared, messages).await?).await,
        Method::DeleteNamespace => admin.delete_namespace(only(shared, messages).await?).await,
        Method::ListServices => admin.list_services(only(shared, messages).await?).await,
        Method::GetService => admin.get_service(only(shared, messages).await?).await,
        Method::PutService => admin.put_service(only(shared, messages).await?).await,
        Method::UpdateService => admin.update_service(only(shared, messages).await?).await,
        Method::DeleteService => admin.delete_service(only(shared, messages).await?).await,
        Method::GetInstance => admin.get_instance(only(shared, messages).await?).await,
        Method::PatchOperator => admin.patch_operator(only(shared, messages).await?).await,
        Method::ListOverrides => admin.list_overrides(only(shared, messages).await?).await,
        Method::GetOverride => admin.get_override(only(shared, messages).await?).await,
        Method::PutOverride => admin.put_override(only(shared, messages).await?).await,
        Method::DeleteOverride => admin.delete_override(only(shared, messages).await?).await,
        Method::ListSubscribers => admin.list_subscribers(only(shared, messages).await?).await,
        Method::ListNodes => admin.list_nodes(only(shared, messages).await?).await,
        Method::GetStatus => admin.get_status(only(shared, messages).await?).await,
        Method::DrainNode => admin.drain_node(only(shared, messages).await?).await,
        Method::ReleaseFreeze => admin.release_freeze(only(shared, messages).await?).await,
        other => Err(Problem::new(Code::PathNotFound, format!("no such method: {}", other.path()))),
    };
    answered.map(Answered::into_response)
}

/// One call's way to the registry.
struct Admin<'a> {
    shared: &'a Shared,
    call: Call,
}

impl Admin<'_> {
    fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// This node's position, as every answer from its state names it.
    fn revision(&self) -> Revision {
        self.registry().progress().applied.last()
    }

    /// The answer to a write.
    fn written(&self, reply: &impl Message, outcome: &Outcome) -> Answered {
        let overlay = basis::unlogged(self.registry(), [outcome]);
        let revision = basis::revision(self.registry(), outcome);
        Answered::of(reply).at(revision, u32::try_from(overlay).unwrap_or(u32::MAX))
    }

    /// The answer to every delete that is not about an instance.
    fn deleted(&self, outcome: &Outcome) -> Answered {
        let revision = convert::token(outcome.revision);
        self.written(&pb::DeleteReply { ack: convert::reached(outcome.reached).into(), revision }, outcome)
    }

    /// Waits until the node has applied what the caller has seen.
    async fn caught_up(mut self, least: Option<&str>) -> Result<Self, Problem> {
        let Some(least) = least.map(|least| etag::revision_of("min_revision", least)).transpose()? else {
            return Ok(self);
        };
        if self.revision() < least {
            self.call.permit = self.shared.admission.wait(self.call.permit)?;
            self.registry().reach(least).await?;
        }
        Ok(self)
    }

    /// With the room of one who waits, where the answer is gathered from all nodes.
    fn with_time_for_others(mut self) -> Result<Self, Problem> {
        if self.registry().has_others() {
            self.call.permit = self.shared.admission.wait(self.call.permit)?;
        }
        Ok(self)
    }

    /// Looks, and looks again on each change of `service`, until what is found is not what the caller has, or the time
    /// is up: then it is what the caller has.
    async fn found<T>(
        mut self,
        service: &ServiceKey,
        waiting: Waiting,
        look: impl Fn(&Registry, &str) -> (T, bool),
    ) -> Result<T, Problem> {
        let Waiting { unless, wait } = waiting;
        if let Some(seen) = etag::seen_in(&unless).filter(|seen| self.registry().is_behind(*seen)) {
            self.call.permit = self.shared.admission.wait(self.call.permit)?;
            self.registry().catch_up(seen).await;
        }
        // Before the first look: no change behind it is missed.
        let mut watcher = self.registry().watcher(service);
        let (found, is_known) = look(self.registry(), &unless);
        if wait.is_zero() || !is_known {
            return Ok(found);
        }
        self.call.permit = self.shared.admission.wait(self.call.permit)?;
        let mut end = pin!(self.shared.clock.sleep(wait));
        let mut draining = pin!(self.shared.registry.draining());
        loop {
            let is_over = tokio::select! {
                () = watcher.changed() => false,
                () = &mut end => true,
                // Whoever waits asks again, and another node.
                () = &mut draining => true,
            };
            let (found, is_known) = look(self.registry(), &unless);
            if is_over || !is_known {
                return Ok(found);
            }
        }
    }
}

/// What a caller has already, and for how long it waits for something else.
struct Waiting {
    unless: String,
    wait: Duration,
}

impl Waiting {
    fn of(unless: Option<String>, wait_ms: u32) -> Result<Self, Problem> {
        Ok(Self { wait: convert::wait(wait_ms, unless.is_some())?, unless: unless.unwrap_or_default() })
    }
}

/// How many items a page holds.
fn limit(asked: u32) -> Result<usize, Problem> {
    match asked as usize {
        0 => Ok(PAGE_DEFAULT),
        limit if limit <= PAGE_MAX => Ok(limit),
        _ => Err(Problem::invalid("limit", asked, format!("1 to {PAGE_MAX}"))),
    }
}

/// The place behind which a page begins, if it is not the first.
fn cursor(given: &str) -> Result<Option<&str>, Problem> {
    match given.len() {
        0 => Ok(None),
        1..=NAME_BYTES_MAX => Ok(Some(given)),
        _ => Err(Problem::invalid("cursor", given, "the next_cursor of the page before")),
    }
}

fn said(metadata: &Metadata) -> BTreeMap<String, String> {
    metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
