//! The contracts of Thuban, and nothing else: what travels over the wire, what is written to the change log and to the
//! store's blobs, and the SQL that makes the store's tables. No logic, no I/O, no domain types: whoever uses a message
//! converts it by hand at its own edge.
//!
//! - [`thuban::v1`]: the public gRPC API, messages with clients and servers.
//! - [`Prepared`]: what servers answer with where the same bytes go to many: a message, or its encoding made before.
//! - [`thuban::change::v1`]: the frame of the change log and the bodies that the store keeps as blobs. They are read
//!   again after years, so fields are only ever added; the golden files under `tests/` hold every version to that.
//! - [`thuban::peer::v1`]: what the nodes of a cluster say to each other, messages with clients.
//! - [`wire`]: the format of protobuf, for messages that are written without being built.
//! - [`migration`]: the SQL of each dialect, in order.
//! - [`FILE_DESCRIPTOR_SET`]: for gRPC reflection.
//!
//! Invariants: maps are ordered, so the same value gives the same bytes; byte fields are `Vec<u8>`, because a decoded
//! `Bytes` keeps the whole buffer alive that it came in; everything is compiled at build time by protox, without protoc.

pub mod migration;
mod prepared;
pub mod wire;

pub use prepared::Prepared;

#[allow(
    clippy::all,
    clippy::large_futures,
    clippy::too_many_lines,
    clippy::unwrap_used,
    missing_docs,
    rustdoc::all,
    unreachable_pub
)]
pub mod thuban {
    //! The packages, laid out as in `proto/`.

    /// The public gRPC API.
    pub mod v1 {
        tonic::include_proto!("thuban.v1");
        include!(concat!(env!("OUT_DIR"), "/servers/thuban.v1.rs"));
    }

    pub mod change {
        //! What is written down.

        /// The change log's frames and the store's blobs.
        pub mod v1 {
            tonic::include_proto!("thuban.change.v1");
        }
    }

    pub mod peer {
        //! Between nodes.

        /// The calls of one node to another.
        pub mod v1 {
            tonic::include_proto!("thuban.peer.v1");
        }
    }
}

/// All files of `proto/` and what they import, encoded as a `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
