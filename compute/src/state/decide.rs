//! Turns a command into a change that names what it rests on, or into an answer that needs none.

use std::sync::Arc;

use crate::command::{Answer, Command, KeptOverride, ServicePatch};
use crate::error::{Error, What};
use crate::model::limits::{
    KEPT_AHEAD_MS_MAX, NAMESPACES_MAX, OVERRIDES_MAX, SESSION_GRACE_MS_MAX, SESSION_GRACE_MS_MIN,
};
use crate::model::{
    Author, Base, Instance, InstanceKey, Invalid, LeaseKind, Namespace, NamespaceSettings, NodeIncarnation, Op,
    OperatorPatch, OverrideRow, Process, Provider, RemovalReason, Revision, ServiceKey, SessionId,
};

use super::State;
use super::planted::{Rule, holds};

/// What a command comes to.
#[derive(Debug)]
pub enum Decision {
    /// Nothing is to change; this is the answer. The lease it names was heard.
    Answer(Answer),
    Append(Op),
    Refuse(Error),
}

/// Who decides, and when.
#[derive(Clone, Copy, Debug)]
pub struct Deciding<'a> {
    pub node: NodeIncarnation,
    pub author: &'a Author,
    /// The wall clock; only times that were promised as such are compared with it.
    pub now_ms: u64,
}

type Result<T = Decision> = std::result::Result<T, Error>;

impl State {
    pub fn decide(&self, command: &Command, by: Deciding<'_>) -> Decision {
        self.decided(command, by).unwrap_or_else(Decision::Refuse)
    }

    fn decided(&self, command: &Command, by: Deciding<'_>) -> Result {
        match command {
            Command::PutNamespace { namespace, settings } => self.decide_put_namespace(namespace, settings),
            Command::DeleteNamespace { namespace } => self.decide_delete_namespace(namespace),
            Command::PutService { service, patch, expected } => self.decide_put_service(service, patch, *expected),
            Command::DeleteService { service, expected } => self.decide_delete_service(service, *expected),
            Command::Register { instance, provider, epoch, generation } => {
                self.decide_register(instance, provider, *epoch, *generation)
            }
            Command::Deregister { instance, generation, reason } => {
                self.decide_deregister(instance, *generation, *reason)
            }
            Command::Renew { instance, generation } => self.decide_renew(instance, *generation),
            Command::Operate { instance, generation, patch } => self.decide_operate(instance, *generation, patch, by),
            Command::KeepOverride { instance, word, until_ms, only_for } => {
                self.decide_keep_override(instance, word, *until_ms, only_for.as_ref(), by)
            }
            Command::DropOverride { instance } => self.decide_drop_override(instance),
            Command::OpenSession { session, grace_ms, client } => {
                open_session(*session, *grace_ms, client.clone(), by.node)
            }
            Command::AttachSession { session } => self.decide_attach(*session, by.node),
            Command::CloseSession { session, epoch, deregister } => self.decide_close(*session, *epoch, *deregister),
        }
    }

    fn base(&self, revision: Option<Revision>) -> Base {
        revision.map_or(Base::Absent(self.position()), Base::At)
    }

    fn decide_put_namespace(&self, name: &Namespace, settings: &NamespaceSettings) -> Result {
        settings.check()?;
        let there = self.namespaces.get(name);
        if there.is_none() && self.namespaces.len() >= NAMESPACES_MAX {
            return Err(Error::Conflict(format!("there are {NAMESPACES_MAX} namespaces, which is as many as may be")));
        }
        if let Some(there) = there
            && there.row.settings == *settings
        {
            let answer = Answer::Namespace { namespace: name.clone(), row: there.row.clone(), created: false };
            return Ok(Decision::Answer(answer));
        }
        let base = self.base(there.map(|n| n.row.revision));
        Ok(Decision::Append(Op::PutNamespace { namespace: name.clone(), settings: settings.clone(), base }))
    }

    fn decide_delete_namespace(&self, name: &Namespace) -> Result {
        let there = self.namespaces.get(name).ok_or_else(|| Error::not_found(What::Namespace, name))?;
        if *name == Namespace::default_namespace() {
            return Err(Error::Conflict("the namespace default always exists".to_owned()));
        }
        if there.services > 0 {
            return Err(Error::Conflict(format!(
                "namespace {name} holds {} services; delete them first",
                there.services
            )));
        }
        Ok(Decision::Append(Op::DeleteNamespace { namespace: name.clone(), base: there.row.revision }))
    }

    fn check_namespace(&self, name: &Namespace) -> Result<()> {
        let there = self.namespaces.contains_key(name);
        if there { Ok(()) } else { Err(Error::not_found(What::Namespace, name)) }
    }

    fn decide_put_service(&self, key: &ServiceKey, patch: &ServicePatch, expected: Option<Revision>) -> Result {
        self.check_namespace(&key.namespace)?;
        let there = self.services.get(key);
        let current = there.map(|s| s.row().settings_revision);
        check_expected(expected, current)?;
        if there.is_none() && !patch.whole {
            return Err(Error::not_found(What::Service, key));
        }
        let old = there.map(|s| s.row().settings.clone()).unwrap_or_default();
        let settings = patch.over(&old);
        settings.check()?;
        if let Some(service) = there
            && settings == old
            && !service.row().implicit
        {
            let answer = Answer::Service { service: key.clone(), row: service.row().clone(), created: false };
            return Ok(Decision::Answer(answer));
        }
        Ok(Decision::Append(Op::PutService { service: key.clone(), settings, base: self.base(current) }))
    }

    fn decide_delete_service(&self, key: &ServiceKey, expected: Option<Revision>) -> Result {
        self.check_namespace(&key.namespace)?;
        let service = self.services.get(key).ok_or_else(|| Error::not_found(What::Service, key))?;
        let current = service.row().settings_revision;
        check_expected(expected, Some(current))?;
        if !service.is_empty() {
            let count = service.counts().all;
            return Err(Error::Conflict(format!("service {key} holds {count} instances; deregister them first")));
        }
        Ok(Decision::Append(Op::DeleteService { service: key.clone(), base: current }))
    }

    fn decide_register(
        &self,
        key: &InstanceKey,
        provider: &Provider,
        epoch: Option<u32>,
        generation: Option<Revision>,
    ) -> Result {
        self.check_namespace(&key.service.namespace)?;
        self.check_epoch(provider, epoch)?;
        let there = self.instance(key);
        match there {
            Some(there) => self.check_generation(there, generation)?,
            None if generation.is_some() => return Err(self.absent(key, generation)),
            None => {}
        }
        if let Some(there) = there
            && there.provider == *provider
        {
            return Ok(self.heard(key, there, |instance| Answer::Instance {
                key: key.clone(),
                instance,
                created: false,
            }));
        }
        let base = self.base(there.map(|i| i.revision));
        let provider = Box::new(provider.clone());
        Ok(Decision::Append(Op::Register { instance: key.clone(), provider, base, epoch }))
    }

    fn check_epoch(&self, provider: &Provider, epoch: Option<u32>) -> Result<()> {
        let Some(id) = provider.lease().session() else { return Ok(()) };
        let session = self.sessions.get(&id).ok_or_else(|| Error::not_found(What::Session, id))?;
        if Some(session.row.epoch) == epoch {
            return Ok(());
        }
        Err(Error::Conflict("another stream has taken this session over".to_owned()))
    }

    /// The provider speaks and nothing changes, unless it is a suspect: then the log must hear it too.
    fn heard(
        &self,
        key: &InstanceKey,
        there: &Arc<Instance>,
        answer: impl FnOnce(Arc<Instance>) -> Answer,
    ) -> Decision {
        match self.suspicions.get(key) {
            Some(suspicion) if holds(Rule::Refute) => {
                let suspicion = suspicion.revision;
                Decision::Append(Op::Refute { instance: key.clone(), suspicion, age_ms: 0 })
            }
            _ => Decision::Answer(answer(there.clone())),
        }
    }

    fn check_generation(&self, there: &Instance, asked: Option<Revision>) -> Result<()> {
        match asked {
            Some(asked) if asked == there.generation => Ok(()),
            Some(asked) if self.is_behind(asked) => Err(self.behind(asked)),
            Some(asked) => Err(Error::GenerationMismatch { asked, current: there.generation }),
            None => Ok(()),
        }
    }

    /// "Not found" is said only by who has applied what the caller has seen.
    fn absent(&self, key: &InstanceKey, asked: Option<Revision>) -> Error {
        match asked {
            Some(asked) if self.is_behind(asked) => self.behind(asked),
            _ => Error::not_found(What::Instance, key),
        }
    }

    /// Where everything was wiped, callers bring what they saw in a log that this one will never reach.
    fn is_behind(&self, asked: Revision) -> bool {
        asked.position() > self.position() && !asked.position().is_of_another_log(self.position())
    }

    fn behind(&self, wanted: Revision) -> Error {
        Error::Behind { at: self.position().last(), wanted }
    }

    fn found(&self, key: &InstanceKey, generation: Option<Revision>) -> Result<&Arc<Instance>> {
        self.check_namespace(&key.service.namespace)?;
        let there = self.instance(key).ok_or_else(|| self.absent(key, generation))?;
        self.check_generation(there, generation)?;
        Ok(there)
    }

    fn decide_deregister(&self, key: &InstanceKey, generation: Option<Revision>, reason: RemovalReason) -> Result {
        let there = self.found(key, generation)?;
        Ok(Decision::Append(Op::Deregister { instance: key.clone(), generation: there.generation, reason }))
    }

    fn decide_renew(&self, key: &InstanceKey, generation: Option<Revision>) -> Result {
        let there = self.found(key, generation)?;
        match there.lease().kind() {
            LeaseKind::Ttl => Ok(self.heard(key, there, |_| Answer::Renewed)),
            other => Err(Error::LeaseKind(other)),
        }
    }

    fn decide_operate(
        &self,
        key: &InstanceKey,
        generation: Option<Revision>,
        patch: &OperatorPatch,
        by: Deciding<'_>,
    ) -> Result {
        let there = self.found(key, generation)?;
        let now_ms = by.now_ms.max(self.log.time_ms);
        let operator = patch.clone().over(there.operator.as_deref(), by.author, now_ms)?.map(Box::new);
        if operator == there.operator {
            let answer = Answer::Instance { key: key.clone(), instance: there.clone(), created: false };
            return Ok(Decision::Answer(answer));
        }
        let (generation, base) = (there.generation, there.revision);
        Ok(Decision::Append(Op::Operate { instance: key.clone(), generation, base, operator }))
    }

    fn decide_keep_override(
        &self,
        key: &InstanceKey,
        word: &OperatorPatch,
        until_ms: Option<u64>,
        only_for: Option<&Process>,
        by: Deciding<'_>,
    ) -> Result {
        self.check_namespace(&key.service.namespace)?;
        if !self.services.contains_key(&key.service) {
            return Err(Error::not_found(What::Service, &key.service));
        }
        if self.instance(key).is_some() {
            return Err(Error::Conflict(format!("{key} is registered: what an operator sets goes to the instance")));
        }
        let now_ms = by.now_ms.max(self.log.time_ms);
        let kept = kept_until(word, until_ms, only_for, by.author, now_ms)?;
        let there = self.overrides.get(key);
        if let Some(there) = there
            && there.says_the_same_as(&kept)
        {
            let kept = Box::new(KeptOverride { instance: key.clone(), row: there.clone() });
            return Ok(Decision::Answer(Answer::Override { kept, created: false }));
        }
        if there.is_none() && self.overrides.len() >= OVERRIDES_MAX {
            let as_many = format!("{OVERRIDES_MAX} words of operators are kept, which is as many as may be");
            return Err(Error::Conflict(as_many));
        }
        let (absent, over) = (self.position(), there.map(|there| there.operator.revision));
        Ok(Decision::Append(Op::KeepOverride { instance: key.clone(), absent, over, kept: Box::new(kept) }))
    }

    fn decide_drop_override(&self, key: &InstanceKey) -> Result {
        let kept = self.overrides.get(key).ok_or_else(|| Error::not_found(What::Override, key))?;
        Ok(Decision::Append(Op::EndOverride { instance: key.clone(), operator: kept.operator.revision }))
    }

    fn decide_attach(&self, session: SessionId, node: NodeIncarnation) -> Result {
        let there = self.sessions.get(&session).ok_or_else(|| Error::not_found(What::Session, session))?;
        let epoch =
            there.row.epoch.checked_add(1).ok_or_else(|| Error::Conflict("the session is worn out".to_owned()))?;
        Ok(Decision::Append(Op::AttachSession { session, node, epoch }))
    }

    fn decide_close(&self, session: SessionId, epoch: u32, deregister: bool) -> Result {
        let there = self.sessions.get(&session).ok_or_else(|| Error::not_found(What::Session, session))?;
        if there.row.epoch != epoch {
            return Err(Error::Conflict("another stream has taken this session over".to_owned()));
        }
        if !deregister && !there.leases.is_empty() {
            return Ok(Decision::Answer(Answer::Removed));
        }
        Ok(Decision::Append(Op::CloseSession { session, epoch, deregister }))
    }

    /// What the caller is told of a change that was applied.
    pub fn answer(&self, op: &Op, created: bool) -> Answer {
        match op {
            Op::PutNamespace { namespace, .. } => match self.namespaces.get(namespace) {
                Some(there) => Answer::Namespace { namespace: namespace.clone(), row: there.row.clone(), created },
                None => Answer::Removed,
            },
            Op::PutService { service, .. } => match self.services.get(service) {
                Some(there) => Answer::Service { service: service.clone(), row: there.row().clone(), created },
                None => Answer::Removed,
            },
            Op::Register { instance: key, .. }
            | Op::Operate { instance: key, .. }
            | Op::Refute { instance: key, .. } => match self.instance(key) {
                Some(instance) => Answer::Instance { key: key.clone(), instance: instance.clone(), created },
                None => Answer::Removed,
            },
            Op::KeepOverride { instance, .. } => match self.overrides.get(instance) {
                Some(row) => {
                    let kept = Box::new(KeptOverride { instance: instance.clone(), row: row.clone() });
                    Answer::Override { kept, created }
                }
                None => Answer::Removed,
            },
            Op::OpenSession { session, .. } | Op::AttachSession { session, .. } => match self.sessions.get(session) {
                Some(there) => {
                    Answer::Session { session: *session, epoch: there.row.epoch, grace_ms: there.row.grace_ms }
                }
                None => Answer::Removed,
            },
            _ => Answer::Removed,
        }
    }
}

fn check_expected(expected: Option<Revision>, current: Option<Revision>) -> Result<()> {
    match expected {
        Some(expected) if Some(expected) != current => {
            Err(Error::PreconditionFailed { current: current.unwrap_or(Revision::ZERO) })
        }
        _ => Ok(()),
    }
}

/// A kept word that is within the limits, and ends in time.
fn kept_until(
    word: &OperatorPatch,
    until_ms: Option<u64>,
    only_for: Option<&Process>,
    author: &Author,
    now_ms: u64,
) -> Result<OverrideRow> {
    let says = "at least one of isolated, weight, note, expires_at and keep_ms";
    let operator = word.clone().over(None, author, now_ms)?.ok_or_else(|| Invalid::new("body", "", says))?;
    let until_ms = match until_ms {
        None if operator.keep_ms == 0 => {
            return Err(Invalid::new("kept_until", "", "a time in the future, or a keep_ms above 0 beside it").into());
        }
        None => now_ms.saturating_add(operator.keep_ms),
        Some(at) if at > now_ms && at <= now_ms.saturating_add(KEPT_AHEAD_MS_MAX) => at,
        Some(at) => return Err(Invalid::new("kept_until", at, "a time in the future, at most 8 days").into()),
    };
    let until_ms = until_ms.min(operator.expires_at_ms.unwrap_or(u64::MAX));
    Ok(OverrideRow { operator, until_ms, only_for: only_for.cloned() })
}

fn open_session(session: SessionId, grace_ms: u32, client: Arc<str>, node: NodeIncarnation) -> Result {
    let allowed = SESSION_GRACE_MS_MIN..=SESSION_GRACE_MS_MAX;
    if !allowed.contains(&u64::from(grace_ms)) {
        return Err(Invalid::new("grace_ms", grace_ms, "1000 to 300000").into());
    }
    Ok(Decision::Append(Op::OpenSession { session, node, grace_ms, client }))
}
