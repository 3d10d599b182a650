use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{DecodeContext, WireType, encode_key, encode_varint, encoded_len_varint, key_len, skip_field};
use prost::{DecodeError, Message};

use crate::thuban::v1::{SessionEvent, SessionReply};

/// A message, or the bytes of one that were encoded before and are shared by all who are sent the same.
///
/// The generated servers answer with it where that pays: `discover`, `watch` and `session`.
#[derive(Clone, Debug)]
pub enum Prepared<T> {
    Message(T),
    /// What makes one message when put together: `own`, for this receiver alone, then `shared`. Fields of protobuf may
    /// come in any order and from several pieces, so each part may hold some of the fields.
    Encoded {
        own: Bytes,
        shared: Bytes,
    },
}

impl<T> Prepared<T> {
    /// The whole message as it was encoded before.
    pub fn shared(shared: Bytes) -> Self {
        Self::Encoded { own: Bytes::new(), shared }
    }
}

impl Prepared<SessionReply> {
    /// The reply that carries an encoded [`WatchEvent`](crate::thuban::v1::WatchEvent) to one watch of a session.
    pub fn event(watch_id: u64, event: Bytes) -> Self {
        let header = SessionEvent { watch_id, ..SessionEvent::default() }.encode_to_vec();
        let event_len = event.len();
        let inner = header.len() + key_len(EVENT_TAG) + encoded_len_varint(event_len as u64) + event_len;
        let mut own = Vec::with_capacity(32);
        encode_key(REPLY_EVENT_TAG, WireType::LengthDelimited, &mut own);
        encode_varint(inner as u64, &mut own);
        own.extend_from_slice(&header);
        encode_key(EVENT_TAG, WireType::LengthDelimited, &mut own);
        encode_varint(event_len as u64, &mut own);
        Self::Encoded { own: own.into(), shared: event }
    }
}

/// `SessionReply.event` and `SessionEvent.event`.
const REPLY_EVENT_TAG: u32 = 12;
const EVENT_TAG: u32 = 2;

impl<T> From<T> for Prepared<T> {
    fn from(message: T) -> Self {
        Self::Message(message)
    }
}

impl<T: Default> Default for Prepared<T> {
    fn default() -> Self {
        Self::Message(T::default())
    }
}

impl<T: Message + Default> Message for Prepared<T> {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        match self {
            Self::Message(message) => message.encode_raw(buf),
            Self::Encoded { own, shared } => {
                buf.put_slice(own);
                buf.put_slice(shared);
            }
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        if let Self::Encoded { own, shared } = self {
            *self = Self::Message(T::decode(std::mem::take(own).chain(std::mem::take(shared)))?);
        }
        match self {
            Self::Message(message) => message.merge_field(tag, wire_type, buf, ctx),
            Self::Encoded { .. } => skip_field(wire_type, tag, buf, ctx),
        }
    }

    fn encoded_len(&self) -> usize {
        match self {
            Self::Message(message) => message.encoded_len(),
            Self::Encoded { own, shared } => own.len() + shared.len(),
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}
