use bytes::Bytes;
use compute::model::Revision;

use crate::http::rfc3339;

/// JSON under construction. What comes out is valid as long as every value inside an object has its key.
pub(crate) struct Json {
    out: Vec<u8>,
    needs_comma: bool,
}

impl Json {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes), needs_comma: false }
    }

    /// One object and nothing else.
    pub(crate) fn of_object(write: impl FnOnce(&mut Self)) -> Bytes {
        let mut json = Self::with_capacity(512);
        json.object(write);
        json.into_bytes()
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        let Self { mut out, .. } = self;
        // What is kept for all readers should not keep room that nobody uses.
        out.shrink_to_fit();
        out.into()
    }

    /// Something that is not JSON, as the frame of an event is.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.needs_comma = false;
    }

    pub(crate) fn object(&mut self, write: impl FnOnce(&mut Self)) {
        self.between(b'{', b'}', write);
    }

    pub(crate) fn list(&mut self, name: &str, write: impl FnOnce(&mut Self)) {
        self.key(name);
        self.between(b'[', b']', write);
    }

    pub(crate) fn texts<'a>(&mut self, name: &str, values: impl Iterator<Item = &'a str>) {
        self.list(name, |json| values.for_each(|value| json.element(|json| json.value(value))));
    }

    /// One value of a list.
    pub(crate) fn element(&mut self, write: impl FnOnce(&mut Self)) {
        self.comma();
        write(self);
        self.needs_comma = true;
    }

    pub(crate) fn key(&mut self, name: &str) {
        self.comma();
        self.string(name);
        self.out.push(b':');
        self.needs_comma = false;
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.key(name);
        self.string(value);
        self.needs_comma = true;
    }

    /// A text that is an element of a list.
    pub(crate) fn value(&mut self, text: &str) {
        self.string(text);
        self.needs_comma = true;
    }

    pub(crate) fn nullable(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(name, value),
            None => self.null(name),
        }
    }

    /// A value by its text form.
    pub(crate) fn shown(&mut self, name: &str, value: &impl std::fmt::Display) {
        self.text(name, &value.to_string());
    }

    pub(crate) fn number(&mut self, name: &str, value: u64) {
        self.key(name);
        self.digits(value);
        self.needs_comma = true;
    }

    pub(crate) fn fraction(&mut self, name: &str, value: f64) {
        self.key(name);
        let text = if value.is_finite() { value.to_string() } else { "0".to_owned() };
        self.out.extend_from_slice(text.as_bytes());
        self.needs_comma = true;
    }

    pub(crate) fn flag(&mut self, name: &str, value: bool) {
        self.key(name);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
        self.needs_comma = true;
    }

    pub(crate) fn null(&mut self, name: &str) {
        self.key(name);
        self.out.extend_from_slice(b"null");
        self.needs_comma = true;
    }

    pub(crate) fn time(&mut self, name: &str, ms: u64) {
        self.key(name);
        self.out.push(b'"');
        rfc3339::write(&mut self.out, ms);
        self.out.push(b'"');
        self.needs_comma = true;
    }

    /// `null` while it is not in the log.
    pub(crate) fn revision(&mut self, name: &str, revision: Revision) {
        if revision == Revision::ZERO {
            return self.null(name);
        }
        self.key(name);
        self.out.push(b'"');
        let position = revision.position();
        self.digits(u64::from(position.generation()));
        self.out.push(b'.');
        self.digits(position.offset());
        self.out.push(b'.');
        self.digits(u64::from(revision.place()));
        self.out.push(b'"');
        self.needs_comma = true;
    }

    fn between(&mut self, open: u8, close: u8, write: impl FnOnce(&mut Self)) {
        self.out.push(open);
        self.needs_comma = false;
        write(self);
        self.out.push(close);
        self.needs_comma = true;
    }

    fn comma(&mut self) {
        if self.needs_comma {
            self.out.push(b',');
        }
    }

    fn digits(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.out.extend_from_slice(&digits[start..]);
    }

    fn string(&mut self, text: &str) {
        self.out.push(b'"');
        let bytes = text.as_bytes();
        let mut plain_from = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
                continue;
            }
            self.out.extend_from_slice(&bytes[plain_from..at]);
            self.escape(*byte);
            plain_from = at + 1;
        }
        self.out.extend_from_slice(&bytes[plain_from..]);
        self.out.push(b'"');
    }

    fn escape(&mut self, byte: u8) {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                return self.out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        };
        self.out.extend_from_slice(&[b'\\', short]);
    }
}
