use std::borrow::Cow;
use std::fmt;

/// A value that is not allowed: which field, what it was, what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The field's name as the caller wrote it, e.g. `lease.ttl_ms`.
    pub field: Cow<'static, str>,
    /// What was given, cut to a length that is fit to print.
    pub value: String,
    /// What is allowed, in words.
    pub allowed: Cow<'static, str>,
}

const VALUE_SHOWN_CHARS: usize = 64;

impl Invalid {
    pub fn new(
        field: impl Into<Cow<'static, str>>,
        value: impl fmt::Display,
        allowed: impl Into<Cow<'static, str>>,
    ) -> Self {
        let whole = value.to_string();
        let mut shown: String = whole.chars().take(VALUE_SHOWN_CHARS).flat_map(char::escape_debug).collect();
        if whole.chars().nth(VALUE_SHOWN_CHARS).is_some() {
            shown.push('…');
        }
        Self { field: field.into(), value: shown, allowed: allowed.into() }
    }

    /// The same complaint about a field of an enclosing object: `ttl_ms` becomes `lease.ttl_ms`.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.field = Cow::Owned(format!("{outer}.{}", self.field));
        self
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is \"{}\"; allowed: {}", self.field, self.value, self.allowed)
    }
}

impl std::error::Error for Invalid {}
