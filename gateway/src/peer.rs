//! The nodes of one cluster among themselves: `thuban.peer.v1` over gRPC.
//!
//! [`Door`] serves what a node answers its peers, a [`Host`](compute::port::peers::Host); [`GrpcPeers`] is its way to
//! them, the port [`Peers`](compute::port::Peers). Nothing is decided here: what must be agreed on is in the log, and a
//! call that fails is a call that fails.
//!
//! - Who calls, and who is meant, is an incarnation. A node that is not the one that is meant refuses, so that an
//!   address which changed hands is not believed.
//! - Each call and each answer carries a [proof](secret) that its sender has the cluster secret. It is bound to the
//!   method and to both incarnations, so that a proof which was read on the way opens nothing else, and ends with the
//!   life of either node. Without encryption who reads the wire can still repeat it: beyond loopback there is TLS.
//! - Who shows no proof has little time and few places, which it shares with others such as it: it can't keep a node
//!   out. A connection that has carried a call with a proof stands as long as it answers.
//! - [`gossip`] says where nodes are that the log has not shown yet. It decides nothing.
//! - Every call is bounded. A peer that is cut off or stopped is noticed by pings of HTTP/2 and by a small question
//!   twice a second, and asked again with growing pauses.

use std::time::Duration;

mod client;
mod connect;
mod convert;
mod door;
pub mod gossip;
mod known;
mod link;
mod parts;
mod refused;
mod secret;

pub use client::GrpcPeers;
pub use connect::Trust;
pub use door::Door;
pub use secret::{Secret, WrongSecret};

/// A call, from its start to its answer; of many ages, each part by itself.
pub const CALL_TIMEOUT_DEFAULT: Duration = Duration::from_millis(500);
/// A connection: name, TCP and TLS.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_millis(400);
/// Between two questions whether a peer is there.
pub const PULSE_DEFAULT: Duration = Duration::from_millis(500);
/// Until a peer that could not be connected to is asked again: at first, and at most.
pub const BACKOFF_MIN_DEFAULT: Duration = Duration::from_millis(50);
pub const BACKOFF_MAX_DEFAULT: Duration = Duration::from_secs(1);
/// Between two pings of a connection, and until an unanswered one means that the peer is dead.
pub const PING_INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
pub const PING_TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);
/// One message, in bytes.
pub const MESSAGE_BYTES_MAX_DEFAULT: usize = 4 << 20;
/// Calls that a node answers at once.
pub const CALLS_MAX_DEFAULT: usize = 64;
/// In which a call must have come whole.
pub const READ_TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);
/// Connections of the door: each node of a cluster needs one.
pub const CONNECTIONS_MAX_DEFAULT: usize = 256;
/// Of these, on which nobody has shown yet that it has the secret; a quarter at most.
pub const UNPROVEN_MAX_DEFAULT: usize = 64;
/// Until a connection is cut on which nobody has shown it.
pub const PROVE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// HTTP/2 streams of one connection.
pub const STREAMS_MAX_DEFAULT: u32 = 64;

/// Most ages of one message.
pub const AGES_MAX: usize = 8_192;
/// Most subscriptions of one message, and of one answer.
const SUBSCRIPTIONS_MAX: usize = 1_024;
const SUBSCRIPTIONS_ALL_MAX: usize = 131_072;

/// The door and the way to the others may be told this.
#[derive(Clone, Debug)]
pub struct Config {
    /// The same on all nodes of a cluster.
    pub secret: Secret,
    /// Whether the others' doors encrypt, and whom to believe then.
    pub trust: Trust,
    pub timeouts: Timeouts,
    pub limits: Limits,
}

impl Config {
    /// Everything as it is by default, without encryption.
    pub fn new(secret: Secret) -> Self {
        Self { secret, trust: Trust::default(), timeouts: Timeouts::default(), limits: Limits::default() }
    }
}

#[derive(Clone, Debug)]
pub struct Timeouts {
    pub call: Duration,
    pub connect: Duration,
    pub pulse: Duration,
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    pub read: Duration,
    /// From a connection's start to its first call with a proof.
    pub prove: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            call: CALL_TIMEOUT_DEFAULT,
            connect: CONNECT_TIMEOUT_DEFAULT,
            pulse: PULSE_DEFAULT,
            backoff_min: BACKOFF_MIN_DEFAULT,
            backoff_max: BACKOFF_MAX_DEFAULT,
            ping_interval: PING_INTERVAL_DEFAULT,
            ping_timeout: PING_TIMEOUT_DEFAULT,
            read: READ_TIMEOUT_DEFAULT,
            prove: PROVE_TIMEOUT_DEFAULT,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Limits {
    pub message_bytes_max: usize,
    pub calls_max: usize,
    pub connections_max: usize,
    /// Of these, without a proof yet; never more than a quarter, and always one.
    pub unproven_max: usize,
    pub streams_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: MESSAGE_BYTES_MAX_DEFAULT,
            calls_max: CALLS_MAX_DEFAULT,
            connections_max: CONNECTIONS_MAX_DEFAULT,
            unproven_max: UNPROVEN_MAX_DEFAULT,
            streams_max: STREAMS_MAX_DEFAULT,
        }
    }
}

macro_rules! methods {
    ($($name:ident, $path:literal;)*) => {
        /// The calls, by what they ask.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        enum Method {
            $($name,)*
        }

        impl Method {

            fn of(path: &str) -> Option<Self> {
                match path { $($path => Some(Self::$name),)* _ => None }
            }

            fn path(self) -> &'static str {
                match self { $(Self::$name => $path,)* }
            }
        }
    };
}

methods! {
    Ask, "/thuban.peer.v1.Peers/Ask";
    Report, "/thuban.peer.v1.Peers/Report";
    Heartbeats, "/thuban.peer.v1.Peers/Heartbeats";
    HandOver, "/thuban.peer.v1.Peers/HandOver";
    Subscribers, "/thuban.peer.v1.Peers/Subscribers";
    Drain, "/thuban.peer.v1.Peers/Drain";
}
