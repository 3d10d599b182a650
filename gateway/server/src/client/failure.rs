use serde_json::Value;

/// Why a command did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The node said no.
    #[error("{0}")]
    Refused(Refusal),
    /// The command can't mean what it says.
    #[error("{0}")]
    Usage(String),
    /// Nobody answered, or not in Thuban's words.
    #[error("{server} can't be reached: {why}")]
    Unreachable { server: String, why: String },
    /// Who reads our output has gone: there is nobody left to tell.
    #[error("the output is closed")]
    OutputClosed,
}

impl Failure {
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable { .. } => 5,
            Self::OutputClosed => 0,
        }
    }

    /// True when it may be over soon: who was served before tries again.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.is_passing(),
            Self::Unreachable { .. } => true,
            Self::Usage(_) | Self::OutputClosed => false,
        }
    }
}

/// A problem document, in the words of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: Option<String>,
    detail: String,
    pub(super) field: Option<String>,
}

impl Refusal {
    pub(super) fn read(status: u16, body: &[u8]) -> Self {
        let document: Value = serde_json::from_slice(body).unwrap_or_default();
        Self::of(status, &document)
    }

    /// Not ready, overloaded, too fast: not what was asked is to blame.
    pub(super) fn is_passing(&self) -> bool {
        self.status >= 500 || self.status == 429
    }

    /// An end that was asked for is not in the time that is allowed.
    pub(super) fn is_about_time(&self) -> bool {
        matches!(self.field.as_deref(), Some("expires_at" | "kept_until"))
    }

    /// Also of one item of a batch, which has no words of its own for the status.
    pub(super) fn of(status: u16, document: &Value) -> Self {
        let text = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
        let detail = text("detail").or_else(|| text("title"));
        let detail = detail.unwrap_or_else(|| "the node gave no reason".to_owned());
        Self { status, code: text("code"), detail, field: text("field") }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "refused with {}", self.status)?;
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        if let Some(field) = self.field.as_ref().filter(|field| !self.detail.contains(field.as_str())) {
            write!(f, ", {field}")?;
        }
        write!(f, ": {}", self.detail)
    }
}
