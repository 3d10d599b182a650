//! Reading a message where it lies, for the few that are read so often that building them first would cost more than
//! what is done with them.

use super::{FIXED64, LENGTH, VARINT};

/// The value of a field, as it lies in the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    Number(u64),
    /// A text, bytes, or a message.
    Bytes(&'a [u8]),
    /// Of a type that only an unknown field has here.
    Other,
}

impl<'a> Value<'a> {
    pub fn number(self) -> Option<u64> {
        if let Self::Number(number) = self { Some(number) } else { None }
    }

    pub fn bytes(self) -> Option<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// `None` also when it is no UTF-8.
    pub fn text(self) -> Option<&'a str> {
        self.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }
}

/// Hands every field of `message` to `take`, in its order. `None` when `take` said so, or when it is no message: what is
/// wrong with it, the generated ones tell.
pub fn fields<'a>(mut message: &'a [u8], mut take: impl FnMut(u32, Value<'a>) -> Option<()>) -> Option<()> {
    while !message.is_empty() {
        let key = u32::try_from(varint(&mut message)?).ok()?;
        let value = match u64::from(key & 7) {
            VARINT => Value::Number(varint(&mut message)?),
            LENGTH => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (bytes, rest) = message.split_at_checked(length)?;
                message = rest;
                Value::Bytes(bytes)
            }
            FIXED64 => {
                message = message.get(8..)?;
                Value::Other
            }
            _ => return None,
        };
        take(key >> 3, value)?;
    }
    Some(())
}

/// A map's entry of two texts, or of a text and a number: what is left out is empty, or 0.
pub fn entry<'a, V: Copy>(message: &'a [u8], none: V, read: impl Fn(Value<'a>) -> Option<V>) -> Option<(&'a str, V)> {
    let (mut key, mut value) = ("", none);
    fields(message, |tag, given| {
        match tag {
            1 => key = given.text()?,
            2 => value = read(given)?,
            _ => return None,
        }
        Some(())
    })?;
    Some((key, value))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        // The tenth has room for one bit.
        if place == 9 && *first > 1 {
            return None;
        }
        value |= u64::from(first & 0x7f) << (7 * place);
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
