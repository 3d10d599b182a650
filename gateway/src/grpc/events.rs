//! What a watch tells, as messages: encoded once for all who are told the same.

use bytes::{BufMut, Bytes, BytesMut};
use compute::model::{Namespace, Revision};
use compute::view::Format;
use compute::watch::WatchEvent;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use schemas::thuban::v1 as pb;

use super::convert;
use super::wire::{put_framed, put_header, unframed};

/// Under which a view or a change is kept as a message.
pub(super) const MESSAGE: Format = Format("grpc");
/// Under which a view keeps its snapshot encoded: the parts as frames, without the revision they are told at.
const SNAPSHOT: Format = Format("grpc.snapshot");
/// Bytes that are shared are copied into the buffer of what goes out up to this size; beyond it they go by themselves.
const COPIED_MAX: usize = 16 << 10;

/// `SessionReply.event`, and the fields of `SessionEvent`.
const REPLY_EVENT: u32 = 12;
const WATCH_ID: u32 = 1;
const EVENT: u32 = 2;

/// One message: what is of this watcher alone, and what all share. Together they are its bytes, for fields of protobuf
/// may come in any order.
struct Told {
    own: Vec<u8>,
    shared: Bytes,
}

impl Told {
    /// What nobody shares.
    fn alone(namespace: &Namespace, message: pb::WatchEvent) -> Self {
        let message = pb::WatchEvent { namespace: namespace.as_str().to_owned(), ..message };
        Self { own: message.encode_to_vec(), shared: Bytes::new() }
    }
}

/// What goes out, in order: small messages gathered in one buffer, large ones as they are.
#[derive(Default)]
pub(super) struct Outgoing {
    pub(super) gathered: BytesMut,
    pub(super) chunks: Vec<Bytes>,
}

impl Outgoing {
    pub(super) fn put(&mut self, message: &impl Message) {
        put_framed(&mut self.gathered, message);
    }

    /// A message that is encoded already.
    pub(super) fn put_encoded(&mut self, message: &[u8]) {
        put_header(&mut self.gathered, message.len());
        self.gathered.extend_from_slice(message);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.gathered.is_empty() && self.chunks.is_empty()
    }

    /// Everything that was put, in order.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Bytes> {
        let last = self.gathered.split().freeze();
        let last = (!last.is_empty()).then_some(last);
        std::mem::take(&mut self.chunks).into_iter().chain(last)
    }

    /// An event of the watch that a call is of.
    pub(super) fn put_event(&mut self, namespace: &Namespace, event: &WatchEvent, resume: Option<Revision>) {
        each(namespace, event, resume, |told| {
            put_header(&mut self.gathered, told.own.len() + told.shared.len());
            self.put_told(told);
        });
    }

    /// An event of one of a session's watches: `SessionReply { event: SessionEvent { watch_id, event } }`.
    pub(super) fn put_session_event(
        &mut self,
        watch_id: u64,
        namespace: &Namespace,
        event: &WatchEvent,
        resume: Option<Revision>,
    ) {
        each(namespace, event, resume, |told| {
            let bytes = told.own.len() + told.shared.len();
            let named = key_len(WATCH_ID) + encoded_len_varint(watch_id);
            let inner = named + key_len(EVENT) + encoded_len_varint(bytes as u64) + bytes;
            let outer = key_len(REPLY_EVENT) + encoded_len_varint(inner as u64) + inner;
            let out = &mut self.gathered;
            put_header(out, outer);
            out.reserve(outer - bytes);
            encode_key(REPLY_EVENT, WireType::LengthDelimited, out);
            encode_varint(inner as u64, out);
            encode_key(WATCH_ID, WireType::Varint, out);
            encode_varint(watch_id, out);
            encode_key(EVENT, WireType::LengthDelimited, out);
            encode_varint(bytes as u64, out);
            self.put_told(told);
        });
    }

    fn put_told(&mut self, told: Told) {
        self.gathered.extend_from_slice(&told.own);
        if told.shared.len() <= COPIED_MAX {
            self.gathered.reserve(told.shared.len());
            self.gathered.put_slice(&told.shared);
            return;
        }
        let before = self.gathered.split().freeze();
        self.chunks.extend([before, told.shared]);
    }
}

/// The messages that tell of one event.
fn each(namespace: &Namespace, event: &WatchEvent, resume: Option<Revision>, mut tell: impl FnMut(Told)) {
    let resume_revision = resume.map_or_else(String::new, convert::token);
    let own = |revision: String| pb::WatchEvent { revision, resume_revision, ..pb::WatchEvent::default() };
    match event {
        WatchEvent::Progress(revision) => {
            let message = pb::WatchEvent { event: Some(convert::progress()), ..own(revision.to_string()) };
            tell(Told::alone(namespace, message));
        }
        WatchEvent::Compacted(revision) => {
            let message = pb::WatchEvent { event: Some(convert::compacted()), ..own(revision.to_string()) };
            tell(Told::alone(namespace, message));
        }
        WatchEvent::Snapshot { view: None, revision, .. } => {
            let message = pb::WatchEvent { event: Some(convert::nothing()), ..own(revision.to_string()) };
            tell(Told::alone(namespace, message));
        }
        WatchEvent::Snapshot { view: Some(view), revision, complete } => {
            let framed_parts = || {
                let mut frames = BytesMut::new();
                convert::snapshot_parts(view, *complete).iter().for_each(|part| put_framed(&mut frames, part));
                frames.freeze()
            };
            // That of a namespace is complete only with its last service, which is another for each who asks.
            let parts = if *complete { view.encoded.get(SNAPSHOT, framed_parts) } else { framed_parts() };
            let mut parts = unframed(parts).peekable();
            // Nothing can be resumed from before the last part.
            let last = own(revision.to_string()).encode_to_vec();
            let before = pb::WatchEvent { revision: revision.to_string(), ..pb::WatchEvent::default() }.encode_to_vec();
            while let Some(shared) = parts.next() {
                let own = if parts.peek().is_some() { before.clone() } else { last.clone() };
                tell(Told { own, shared });
            }
        }
        WatchEvent::Change(delta) => {
            let encode = || convert::delta(delta).encode_to_vec().into();
            let shared = delta.encoded.get(MESSAGE, encode);
            tell(Told { own: own(String::new()).encode_to_vec(), shared });
        }
    }
}

#[cfg(test)]
mod tests;
