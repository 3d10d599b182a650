use super::limits::{KEEP_MS_MAX, NOTE_BYTES_MAX, WEIGHT_MAX};
use super::{Author, Invalid, Revision, text};

/// What an operator set on an instance. It wins over the provider's word and survives a re-register.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Operator {
    pub isolated: Option<bool>,
    pub weight: Option<u16>,
    pub note: Option<Box<str>>,
    /// Log time at which all of it ends.
    pub expires_at_ms: Option<u64>,
    /// How long it outlives the instance, for whoever registers the same id.
    pub keep_ms: u64,
    pub author: Author,
    /// Log time of the last change by an operator.
    pub set_at_ms: u64,
    /// The change that set it; [`Revision::ZERO`] until apply has given it one.
    pub revision: Revision,
}

/// One field of a patch: leave it, clear it, or set it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Set<T> {
    #[default]
    Leave,
    Clear,
    To(T),
}

impl<T> Set<T> {
    fn over(self, old: Option<T>) -> Option<T> {
        match self {
            Self::Leave => old,
            Self::Clear => None,
            Self::To(new) => Some(new),
        }
    }
}

/// What an operator asks to change; fields not named stay as they are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OperatorPatch {
    pub isolated: Set<bool>,
    pub weight: Set<u64>,
    pub note: Set<String>,
    pub expires_at_ms: Set<u64>,
    pub keep_ms: Set<u64>,
}

impl OperatorPatch {
    pub fn check(&self) -> Result<(), Invalid> {
        if let Set::To(weight) = self.weight {
            text::range("weight", weight, 0, u64::from(WEIGHT_MAX))?;
        }
        if let Set::To(note) = &self.note {
            text::prose("note", note, NOTE_BYTES_MAX)?;
        }
        if let Set::To(keep) = self.keep_ms {
            text::range("keep_ms", keep, 0, KEEP_MS_MAX)?;
        }
        Ok(())
    }

    /// The operator's part after this patch; `None` when nothing of it is left. A patch that names nothing changes nothing,
    /// not even who set it.
    pub fn over(self, old: Option<&Operator>, author: &Author, now_ms: u64) -> Result<Option<Operator>, Invalid> {
        self.check()?;
        if self == Self::default() {
            return Ok(old.cloned());
        }
        let expires_at_ms = self.expires_at_ms.over(old.and_then(|o| o.expires_at_ms));
        if let Some(at) = expires_at_ms.filter(|at| *at <= now_ms) {
            return Err(Invalid::new("expires_at", at, "a time in the future"));
        }
        let new = Operator {
            isolated: self.isolated.over(old.and_then(|o| o.isolated)),
            weight: self.weight.over(old.and_then(|o| o.weight.map(u64::from))).map(|w| w as u16),
            note: self.note.over(old.and_then(|o| o.note.as_deref().map(str::to_owned))).map(Into::into),
            expires_at_ms,
            keep_ms: self.keep_ms.over(old.map(|o| o.keep_ms)).unwrap_or(0),
            author: author.clone(),
            set_at_ms: now_ms,
            revision: Revision::ZERO,
        };
        // How long it holds is said by an operator too, and kept for what may be set next.
        let is_bounded = new.expires_at_ms.is_some() || new.keep_ms > 0;
        let says_something = is_bounded || new.isolated.is_some() || new.weight.is_some() || new.note.is_some();
        Ok(says_something.then_some(new))
    }
}
