//! What callers may ask.

use crate::command::{Command, ServicePatch};
use crate::model::{
    Check, CheckKind, InstanceKey, Lease, Namespace, NamespaceSettings, OperatorPatch, Process, Provider, ProviderSpec,
    RemovalReason, SessionId, Set,
};
use crate::port::Chance;

use super::{HOUR_MS, Script, VALID};

impl Script {
    pub(super) fn some_command(&mut self) -> Command {
        let instance = self.some_key();
        match self.below(23) {
            0..=5 => self.some_register(instance),
            6 | 7 => {
                let reason = self.one_of(&[RemovalReason::Deregistered, RemovalReason::Operator]);
                Command::Deregister { instance, generation: None, reason }
            }
            8 => Command::Renew { instance, generation: None },
            9..=12 => Command::Operate { instance, generation: None, patch: self.some_patch() },
            13 => Command::DropOverride { instance },
            14 => self.some_description(),
            15 | 16 => Command::DeleteService { service: self.some_service(), expected: None },
            17 => {
                let namespace = Namespace::new("second").expect(VALID);
                if self.below(3) == 0 {
                    return Command::DeleteNamespace { namespace };
                }
                let description = self.one_of(&["", "the other one"]).into();
                let settings = NamespaceSettings { description, ..NamespaceSettings::default() };
                Command::PutNamespace { namespace, settings }
            }
            18 | 19 => self.some_kept_word(instance),
            _ => self.some_session(),
        }
    }

    fn some_register(&self, instance: InstanceKey) -> Command {
        let session = (!self.sessions.is_empty() && self.below(3) == 0).then(|| self.one_of(&self.sessions));
        let lease = match (session, self.below(4)) {
            (Some(session), _) => Lease::stream(session, 5_000).expect(VALID),
            (None, 0) => Lease::checked(check(), [None, Some(5_000)][self.below(2)]).expect(VALID),
            (None, 1) => Lease::Permanent,
            (None, _) => Lease::DEFAULT,
        };
        let incarnation = self.one_of(&[None, Some("one"), Some("two")]).map(str::to_owned);
        let spec = ProviderSpec { lease, incarnation, ..ProviderSpec::at("10.0.0.1", self.below(3) as u16) };
        let epoch = session.and_then(|id| self.state.session(&id)).map(|session| session.epoch);
        let provider = Box::new(Provider::new(&spec).expect(VALID));
        Command::Register { instance, provider, epoch, generation: None }
    }

    fn some_patch(&self) -> OperatorPatch {
        let keep_ms =
            self.one_of(&[Set::Leave, Set::Clear, Set::To(60_000), Set::To(24 * HOUR_MS), Set::To(24 * HOUR_MS)]);
        let later = self.wall_ms.max(self.state.log().time_ms) + 10_000;
        OperatorPatch {
            isolated: self.one_of(&[Set::Leave, Set::To(true), Set::To(false), Set::Clear]),
            weight: self.one_of(&[Set::Leave, Set::To(5), Set::Clear]),
            expires_at_ms: self.one_of(&[Set::Leave, Set::Leave, Set::To(later), Set::Clear]),
            keep_ms,
            ..OperatorPatch::default()
        }
    }

    /// Mostly where nobody is.
    fn some_kept_word(&self, instance: InstanceKey) -> Command {
        let now_ms = self.wall_ms.max(self.state.log().time_ms);
        let until_ms = self.one_of(&[None, Some(now_ms + 60_000), Some(now_ms + 24 * HOUR_MS)]);
        let only_for = self.one_of(&[None, None, Some("one"), Some("two")]);
        let only_for = only_for.map(|name| Process::named(name).expect(VALID));
        Command::KeepOverride { instance, word: self.some_patch(), until_ms, only_for }
    }

    fn some_description(&self) -> Command {
        let description = Some(self.one_of(&["", "what people buy"]).into());
        let patch = ServicePatch { whole: self.below(2) == 0, description, ..ServicePatch::default() };
        Command::PutService { service: self.some_service(), patch, expected: None }
    }

    fn some_session(&mut self) -> Command {
        if self.sessions.is_empty() || self.below(3) == 0 {
            let session = SessionId(self.chance.bytes());
            self.sessions.push(session);
            return Command::OpenSession { session, grace_ms: 10_000, client: "client".into() };
        }
        let session = self.one_of(&self.sessions);
        if self.below(2) == 0 {
            return Command::AttachSession { session };
        }
        let epoch = self.state.session(&session).map_or(1, |session| session.epoch);
        Command::CloseSession { session, epoch, deregister: self.below(2) == 0 }
    }
}

fn check() -> Check {
    Check::new(CheckKind::Tcp, 5_000, 1_000, 3, 1, None).expect(VALID)
}
