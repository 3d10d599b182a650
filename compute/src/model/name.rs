use std::fmt;
use std::sync::Arc;

use super::limits::NAME_BYTES_MAX;
use super::{Invalid, text};

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The same text, shared and not copied.
            pub fn shared(&self) -> Arc<str> {
                self.0.clone()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// A tenant's scope. `default` always exists.
    Namespace
}
name! {
    /// A named group of instances that answer the same calls.
    ServiceName
}
name! {
    /// One running provider of a service, unique within it.
    InstanceId
}

const NAME_ALLOWED: &str = "1 to 255 bytes of letters, digits and . - _ @ / : $ #, not . or ..";
const ID_ALLOWED: &str = "1 to 255 bytes of UTF-8 without control characters, not . or ..";

fn check_name(field: &'static str, value: &str) -> Result<(), Invalid> {
    let fits = (1..=NAME_BYTES_MAX).contains(&value.len()) && value != "." && value != "..";
    let letters = |b: u8| b.is_ascii_alphanumeric() || b"._-@/:$#".contains(&b);
    if fits && value.bytes().all(letters) { Ok(()) } else { Err(Invalid::new(field, value, NAME_ALLOWED)) }
}

impl Namespace {
    pub fn new(value: &str) -> Result<Self, Invalid> {
        check_name("namespace", value)?;
        Ok(Self(value.into()))
    }

    /// The namespace that always exists.
    pub fn default_namespace() -> Self {
        Self("default".into())
    }
}

impl ServiceName {
    pub fn new(value: &str) -> Result<Self, Invalid> {
        check_name("service", value)?;
        Ok(Self(value.into()))
    }
}

impl InstanceId {
    pub fn new(value: &str) -> Result<Self, Invalid> {
        let fits = !value.is_empty() && value != "." && value != "..";
        if !fits || text::plain("id", value, NAME_BYTES_MAX).is_err() {
            return Err(Invalid::new("id", value, ID_ALLOWED));
        }
        Ok(Self(value.into()))
    }
}

/// A service and the namespace it lives in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    pub namespace: Namespace,
    pub service: ServiceName,
}

impl ServiceKey {
    pub fn new(namespace: &str, service: &str) -> Result<Self, Invalid> {
        Ok(Self { namespace: Namespace::new(namespace)?, service: ServiceName::new(service)? })
    }

    pub fn instance(&self, id: InstanceId) -> InstanceKey {
        InstanceKey { service: self.clone(), id }
    }

    /// Where the instances of the service begin in an order of keys: no id is empty, so it names none.
    pub(crate) fn first_instance(&self) -> InstanceKey {
        self.instance(InstanceId("".into()))
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.service)
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An instance and the service it belongs to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceKey {
    pub service: ServiceKey,
    pub id: InstanceId,
}

impl InstanceKey {
    pub fn new(namespace: &str, service: &str, id: &str) -> Result<Self, Invalid> {
        Ok(Self { service: ServiceKey::new(namespace, service)?, id: InstanceId::new(id)? })
    }
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.id)
    }
}

impl fmt::Debug for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
