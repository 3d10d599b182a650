//! A register, read where it lies in its message: the request that a busy stream is made of, so neither it nor its
//! texts are built first.

use prost::Message;
use schemas::thuban::v1 as pb;
use schemas::wire::{Value, entry, fields};

use crate::grpc::convert::Registration;

/// `SessionRequest { request_id, register }`.
#[derive(Debug, PartialEq)]
pub(super) struct Register<'a> {
    pub(super) request_id: u64,
    pub(super) ack: i32,
    pub(super) brief: bool,
    pub(super) items: Vec<Registration<'a>>,
}

impl<'a> Register<'a> {
    pub(super) fn of(request_id: u64, asked: &'a pb::RegisterRequest) -> Self {
        let items = asked.items.iter().map(Into::into).collect();
        Self { request_id, ack: asked.ack, brief: asked.brief, items }
    }

    /// `None`: it is another request, or one that is seldom written so, or wrong. The generated messages read all of
    /// those, and say what is wrong.
    pub(super) fn read(message: &'a [u8]) -> Option<Self> {
        let (mut request_id, mut register) = (0, None);
        fields(message, |tag, value| {
            match tag {
                1 => request_id = value.number()?,
                3 if register.is_none() => register = Some(value.bytes()?),
                _ => return None,
            }
            Some(())
        })?;
        let mut read = Self { request_id, ack: 0, brief: false, items: Vec::new() };
        fields(register?, |tag, value| {
            match tag {
                1 => read.items.push(item(value.bytes()?)?),
                2 => read.ack = value.number()? as i32,
                3 => read.brief = value.number()? != 0,
                _ => return None,
            }
            Some(())
        })?;
        (read.request_id != 0).then_some(read)
    }
}

fn item(message: &[u8]) -> Option<Registration<'_>> {
    let mut item = Registration::default();
    fields(message, |tag, value| {
        match tag {
            1 => item.namespace = value.text()?,
            2 => item.service = value.text()?,
            3 => item.id = value.text()?,
            4 => item.host = value.text()?,
            5 => item.port = Some(short(value)?),
            6 => item.ports.push(entry(value.bytes()?, 0, |port| short(port).map(u64::from))?),
            7 => item.protocol = value.text()?,
            8 => item.weight = Some(short(value)?),
            9 => item.version = value.text()?,
            10 => item.zone = value.text()?,
            11 => item.region = value.text()?,
            12 => item.metadata.push(entry(value.bytes()?, "", Value::text)?),
            13 if item.lease.is_none() => item.lease = Some(pb::Lease::decode(value.bytes()?).ok()?),
            14 => item.incarnation = Some(value.text()?),
            15 => item.generation = Some(value.text()?),
            _ => return None,
        }
        Some(())
    })?;
    Some(item)
}

/// A number of 32 bits: of a longer one the others do not count.
fn short(value: Value<'_>) -> Option<u32> {
    value.number().map(|number| number as u32)
}

#[cfg(test)]
mod tests;
