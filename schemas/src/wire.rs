//! Protobuf's wire format, written straight into bytes and read straight out of them: for what goes by so often that
//! building a message in between would cost more than all the rest. Whoever uses it holds every message to what the
//! generated ones write and read, by a test.

mod fields;

use std::fmt::{Display, Write};

pub use fields::{Value, entry, fields};

/// Bytes that grow. Each field is written as the generated messages would write it: a plain field that has its default
/// value not at all, an optional one whenever it is there, which is what `_some` stands for.
#[derive(Default)]
pub struct Out(Vec<u8>);

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;

impl Out {
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Empty again; the room stays.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn number(&mut self, tag: u32, value: u64) {
        if value != 0 {
            self.number_some(tag, value);
        }
    }

    pub fn number_some(&mut self, tag: u32, value: u64) {
        self.key(tag, VARINT);
        self.varint(value);
    }

    pub fn flag(&mut self, tag: u32, value: bool) {
        self.number(tag, u64::from(value));
    }

    pub fn fixed(&mut self, tag: u32, value: u64) {
        if value != 0 {
            self.fixed_some(tag, value);
        }
    }

    pub fn fixed_some(&mut self, tag: u32, value: u64) {
        self.key(tag, FIXED64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub fn double(&mut self, tag: u32, value: f64) {
        if value != 0.0 {
            self.fixed_some(tag, value.to_bits());
        }
    }

    pub fn text(&mut self, tag: u32, value: &str) {
        self.bytes(tag, value.as_bytes());
    }

    pub fn text_some(&mut self, tag: u32, value: &str) {
        self.bytes_some(tag, value.as_bytes());
    }

    /// A text that is written out here, even when that is empty.
    pub fn shown_some(&mut self, tag: u32, value: impl Display) {
        self.message(tag, |out| write!(Text(&mut out.0), "{value}").expect("memory takes every text"));
    }

    /// A map of texts: a message each, in the order in which they come.
    pub fn pairs<'a>(&mut self, tag: u32, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
        for (key, value) in pairs {
            self.message(tag, |out| {
                out.text(1, key);
                out.text(2, value);
            });
        }
    }

    pub fn bytes(&mut self, tag: u32, value: &[u8]) {
        if !value.is_empty() {
            self.bytes_some(tag, value);
        }
    }

    pub fn bytes_some(&mut self, tag: u32, value: &[u8]) {
        self.key(tag, LENGTH);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// A message, of what `write` writes.
    pub fn message<T>(&mut self, tag: u32, write: impl FnOnce(&mut Self) -> T) -> T {
        self.key(tag, LENGTH);
        let start = self.0.len();
        // Its length is known afterwards. Most are short, and one byte is enough; the others move a little.
        self.0.push(0);
        let written = write(self);
        let length = self.0.len() - start - 1;
        match u8::try_from(length) {
            Ok(short @ 0..0x80) => self.0[start] = short,
            _ => {
                let (mut varint, mut bytes) = ([0; 10], 0);
                put_varint(length as u64, |byte| {
                    varint[bytes] = byte;
                    bytes += 1;
                });
                self.0.splice(start..=start, varint[..bytes].iter().copied());
            }
        }
        written
    }

    fn key(&mut self, tag: u32, wire_type: u64) {
        self.varint(u64::from(tag) << 3 | wire_type);
    }

    fn varint(&mut self, value: u64) {
        put_varint(value, |byte| self.0.push(byte));
    }
}

/// Takes what is formatted.
struct Text<'a>(&'a mut Vec<u8>);

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn put_varint(mut value: u64, mut put: impl FnMut(u8)) {
    while value >= 0x80 {
        put(value as u8 | 0x80);
        value >>= 7;
    }
    put(value as u8);
}
