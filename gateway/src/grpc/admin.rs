//! `thuban.v1.Admin`: what people and tools do. Each call is the twin of an HTTP route.

use axum::body::Body;
use compute::Registry;
use compute::model::{Metadata, Revision};
use http::Response;
use std::collections::BTreeMap;

use super::Shared;
use super::call::{Answered, Call, only};
use super::method::Method;
use super::wire::{Messages, Reply};
use crate::error::{Code, Problem};
use crate::etag;

mod instances;
mod namespaces;
mod nodes;
mod services;

/// Items of a page, unless said otherwise, and at most.
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// What an answer is made of: the message, and the state that it shows.
type Answer = Result<Answered, Problem>;

pub(super) async fn answer(
    shared: &Shared,
    call: &Call,
    method: Method,
    messages: Messages<Body>,
) -> Result<Response<Reply>, Problem> {
    let admin = Admin { shared, call };
    let answered = match method {
        Method::ListNamespaces => admin.list_namespaces(only(shared, messages).await?),
        Method::GetNamespace => admin.get_namespace(only(shared, messages).await?).await,
        Method::PutNamespace => admin.put_namespace(only(shared, messages).await?).await,
        Method::DeleteNamespace => admin.delete_namespace(only(shared, messages).await?).await,
        Method::ListServices => admin.list_services(only(shared, messages).await?),
        Method::GetService => admin.get_service(only(shared, messages).await?).await,
        Method::PutService => admin.put_service(only(shared, messages).await?).await,
        Method::UpdateService => admin.update_service(only(shared, messages).await?).await,
        Method::DeleteService => admin.delete_service(only(shared, messages).await?).await,
        Method::GetInstance => admin.get_instance(only(shared, messages).await?).await,
        Method::PatchOperator => admin.patch_operator(only(shared, messages).await?).await,
        Method::ListOverrides => admin.list_overrides(only(shared, messages).await?).await,
        Method::DeleteOverride => admin.delete_override(only(shared, messages).await?).await,
        Method::ListSubscribers => admin.list_subscribers(only(shared, messages).await?),
        Method::ListNodes => admin.list_nodes(only(shared, messages).await?),
        Method::GetStatus => admin.get_status(only(shared, messages).await?),
        Method::DrainNode => admin.drain_node(only(shared, messages).await?),
        Method::ReleaseFreeze => admin.release_freeze(only(shared, messages).await?).await,
        other => Err(Problem::new(Code::PathNotFound, format!("no such method: {}", other.path()))),
    };
    answered.map(Answered::into_response)
}

/// One call's way to the registry.
struct Admin<'a> {
    shared: &'a Shared,
    call: &'a Call,
}

impl Admin<'_> {
    fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// This node's position, as every answer from its state names it.
    fn revision(&self) -> Revision {
        self.registry().progress().applied.last()
    }

    /// Waits until the node has applied what the caller has seen.
    async fn caught_up(&self, least: Option<&str>) -> Result<(), Problem> {
        if let Some(least) = least {
            self.registry().reach(etag::revision_of("min_revision", least)?).await?;
        }
        Ok(())
    }
}

/// How many items a page holds.
fn limit(asked: u32) -> Result<usize, Problem> {
    match asked as usize {
        0 => Ok(LIMIT_DEFAULT),
        limit if limit <= LIMIT_MAX => Ok(limit),
        _ => Err(Problem::invalid("limit", asked, format!("1 to {LIMIT_MAX}"))),
    }
}

/// Cuts what was asked for with one too many, and names where the next page begins.
fn page<T>(mut items: Vec<T>, limit: usize, name: impl FnOnce(&T) -> String) -> (Vec<T>, String) {
    if items.len() <= limit {
        return (items, String::new());
    }
    items.truncate(limit);
    let next_cursor = items.last().map(name).unwrap_or_default();
    (items, next_cursor)
}

fn said(metadata: &Metadata) -> BTreeMap<String, String> {
    metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
