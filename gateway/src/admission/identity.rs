use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use compute::command::Caller;
use compute::model::{Author, Namespace};

use super::lanes::Lane;
use super::rate::Rate;
use crate::error::{Code, Problem};

/// What a token may allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Look.
    Read,
    /// Register, renew and deregister instances.
    Register,
    /// Set what operators set: namespaces, services, overrides, nodes. Deregisters too, as an operator.
    Operate,
}

impl Verb {
    pub const ALL: [Self; 3] = [Self::Read, Self::Register, Self::Operate];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Register => "register",
            Self::Operate => "operate",
        }
    }
}

/// Who calls, and what they may do.
#[derive(Clone)]
pub struct Identity(Arc<Grant>);

/// One line of the token file.
pub(super) struct Grant {
    pub(super) name: Arc<str>,
    /// SHA-256 of the token; `None`: of nobody's.
    pub(super) digest: Option<[u8; 32]>,
    /// `None`: all.
    pub(super) namespaces: Option<BTreeSet<Namespace>>,
    pub(super) verbs: Vec<Verb>,
    pub(super) rate: Option<Rate>,
    /// Apart from the others, and larger: new work is to run out before what keeps the old alive.
    pub(super) renewal_rate: Option<Rate>,
    /// Renewals of it under way.
    pub(super) renewals: AtomicUsize,
}

impl Identity {
    pub(super) fn new(grant: Grant) -> Self {
        Self(Arc::new(grant))
    }

    pub(super) fn anonymous() -> Self {
        Self::new(Grant {
            name: "anonymous".into(),
            digest: None,
            namespaces: None,
            verbs: Verb::ALL.to_vec(),
            rate: None,
            renewal_rate: None,
            renewals: AtomicUsize::new(0),
        })
    }

    pub(super) fn digest(&self) -> Option<&[u8; 32]> {
        self.0.digest.as_ref()
    }

    /// True when both may do the same under the same name.
    pub(super) fn allows_what(&self, other: &Self) -> bool {
        let (mine, theirs) = (&self.0, &other.0);
        mine.name == theirs.name && mine.namespaces == theirs.namespaces && mine.verbs == theirs.verbs
    }

    pub(super) fn spend(&self, lane: Lane, now_us: u64) -> Result<(), Duration> {
        let rate = if lane == Lane::Renew { &self.0.renewal_rate } else { &self.0.rate };
        rate.as_ref().map_or(Ok(()), |rate| rate.spend(now_us))
    }

    pub(super) fn renewals(&self) -> &AtomicUsize {
        &self.0.renewals
    }

    /// The token's name: the author of every change it makes.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it may do `verb` in `namespace`.
    pub fn may(&self, verb: Verb, namespace: &Namespace) -> Result<(), Problem> {
        self.may_at_all(verb)?;
        if self.sees(namespace) { Ok(()) } else { Err(self.forbidden(format!("in the namespace \"{namespace}\""))) }
    }

    /// Whether it may do `verb` on what belongs to no namespace.
    pub fn may_everywhere(&self, verb: Verb) -> Result<(), Problem> {
        self.may_at_all(verb)?;
        if self.0.namespaces.is_none() { Ok(()) } else { Err(self.forbidden("in all namespaces".to_owned())) }
    }

    /// Whether it may do `verb` anywhere.
    pub fn may_at_all(&self, verb: Verb) -> Result<(), Problem> {
        if self.has(verb) { Ok(()) } else { Err(self.forbidden(format!("at all; it takes {}", verb.as_str()))) }
    }

    /// Whether it may do one of `verbs` anywhere.
    pub fn may_any(&self, verbs: &[Verb]) -> Result<(), Problem> {
        if verbs.iter().any(|verb| self.has(*verb)) {
            return Ok(());
        }
        let names: Vec<_> = verbs.iter().map(|verb| verb.as_str()).collect();
        Err(self.forbidden(format!("at all; it takes {}", names.join(" or "))))
    }

    /// Whether it may remove instances of `namespace`: providers do, and so do operators.
    pub fn may_deregister(&self, namespace: &Namespace) -> Result<(), Problem> {
        let verb = if self.speaks_as_operator() { Verb::Operate } else { Verb::Register };
        self.may(verb, namespace)
    }

    /// True when the namespace is one of its own.
    pub fn sees(&self, namespace: &Namespace) -> bool {
        self.0.namespaces.as_ref().is_none_or(|own| own.contains(namespace))
    }

    /// True when it is an operator's and not a provider's: what it removes counts as removed by an operator.
    pub fn speaks_as_operator(&self) -> bool {
        self.has(Verb::Operate) && !self.has(Verb::Register)
    }

    /// As whom it asks the registry, through `door`.
    pub fn caller(&self, door: &Arc<str>) -> Caller {
        let author = Author { name: Arc::clone(&self.0.name), door: Arc::clone(door) };
        Caller { author, is_operator: self.speaks_as_operator() }
    }

    fn has(&self, verb: Verb) -> bool {
        self.0.verbs.contains(&verb)
    }

    fn forbidden(&self, what: String) -> Problem {
        Problem::new(Code::Forbidden, format!("the token \"{}\" does not allow this {what}", self.name()))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.name()).finish()
    }
}
