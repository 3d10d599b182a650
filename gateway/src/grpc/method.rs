//! Every call that this door answers, by its path.

use crate::admission::Lane;

macro_rules! methods {
    ($($name:ident, $path:literal, $lane:ident, $size:ident;)*) => {
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Method {
            $($name,)*
        }

        impl Method {
            pub(super) const ALL: &'static [Self] = &[$(Self::$name,)*];

            pub(super) fn of(path: &str) -> Option<Self> {
                match path { $($path => Some(Self::$name),)* _ => None }
            }

            pub(super) fn path(self) -> &'static str {
                match self { $(Self::$name => $path,)* }
            }

            /// Which room a call takes.
            pub(super) fn lane(self) -> Lane {
                match self { $(Self::$name => Lane::$lane,)* }
            }

            pub(super) fn size(self) -> Size {
                match self { $(Self::$name => Size::$size,)* }
            }
        }
    };
}

/// What a call asks for before it is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Needs {
    /// Open to everybody, whatever the node is at.
    Nothing,
    /// A token; it is about the node itself, ready or not.
    Token,
    /// A token, and a node that is ready.
    State,
}

impl Method {
    pub(super) fn needs(self) -> Needs {
        match self {
            Self::HealthCheck | Self::HealthWatch => Needs::Nothing,
            Self::ListNodes | Self::GetStatus | Self::DrainNode => Needs::Token,
            _ => Needs::State,
        }
    }
}

/// How large a message may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Size {
    /// One thing.
    Single,
    /// Up to 1,000 items.
    Batch,
    /// Up to 10,000 names.
    Names,
}

methods! {
    Register, "/thuban.v1.Registry/Register", Write, Batch;
    Deregister, "/thuban.v1.Registry/Deregister", Write, Batch;
    Renew, "/thuban.v1.Registry/Renew", Renew, Batch;
    Discover, "/thuban.v1.Registry/Discover", Read, Single;
    Watch, "/thuban.v1.Registry/Watch", Wait, Names;
    Session, "/thuban.v1.Registry/Session", Wait, Batch;

    ListNamespaces, "/thuban.v1.Admin/ListNamespaces", Read, Single;
    GetNamespace, "/thuban.v1.Admin/GetNamespace", Read, Single;
    PutNamespace, "/thuban.v1.Admin/PutNamespace", Write, Single;
    DeleteNamespace, "/thuban.v1.Admin/DeleteNamespace", Write, Single;
    ListServices, "/thuban.v1.Admin/ListServices", Read, Single;
    GetService, "/thuban.v1.Admin/GetService", Read, Single;
    PutService, "/thuban.v1.Admin/PutService", Write, Single;
    UpdateService, "/thuban.v1.Admin/UpdateService", Write, Single;
    DeleteService, "/thuban.v1.Admin/DeleteService", Write, Single;
    GetInstance, "/thuban.v1.Admin/GetInstance", Read, Single;
    PatchOperator, "/thuban.v1.Admin/PatchOperator", Write, Single;
    ListOverrides, "/thuban.v1.Admin/ListOverrides", Read, Single;
    GetOverride, "/thuban.v1.Admin/GetOverride", Read, Single;
    PutOverride, "/thuban.v1.Admin/PutOverride", Write, Single;
    DeleteOverride, "/thuban.v1.Admin/DeleteOverride", Write, Single;
    ListSubscribers, "/thuban.v1.Admin/ListSubscribers", Read, Single;
    ListNodes, "/thuban.v1.Admin/ListNodes", Read, Single;
    GetStatus, "/thuban.v1.Admin/GetStatus", Read, Single;
    DrainNode, "/thuban.v1.Admin/DrainNode", Write, Single;
    ReleaseFreeze, "/thuban.v1.Admin/ReleaseFreeze", Write, Single;

    HealthCheck, "/grpc.health.v1.Health/Check", Read, Single;
    HealthWatch, "/grpc.health.v1.Health/Watch", Wait, Single;
}
