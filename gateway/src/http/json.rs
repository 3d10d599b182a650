//! Strict JSON: a request's object, read field by field.
//!
//! Each level is scanned into pairs of a key and its raw text, and a field is parsed when it is asked for. So an error
//! always knows the path of its field and the text that was there, a duplicate key is seen, what nobody asked for is
//! unknown, and no depth of nesting costs a stack.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use compute::model::Invalid;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{Code, Problem};

#[cfg(test)]
mod tests;

/// Most fields of one object: far more than any has, and few enough to compare each with each.
const FIELDS_MAX: usize = 256;
/// What errors call the body itself.
const BODY: &str = "body";

/// One object of a request's body.
#[derive(Debug)]
pub(super) struct Object<'a> {
    /// The path to its fields: empty, or `lease.`
    within: String,
    pairs: Vec<Pair<'a>>,
    known: Vec<&'static str>,
}

#[derive(Debug)]
struct Pair<'a> {
    key: Cow<'a, str>,
    raw: &'a RawValue,
    is_taken: bool,
}

impl<'a> Object<'a> {
    /// The object that a body consists of.
    pub(super) fn of_body(body: &'a [u8]) -> Result<Self, Problem> {
        let text = std::str::from_utf8(body).map_err(|e| {
            Problem::invalid(BODY, format!("byte {} is not UTF-8", e.valid_up_to()), "JSON, which is UTF-8 text")
        })?;
        if text.trim_ascii().is_empty() {
            return Err(Problem::missing(BODY, "a JSON object"));
        }
        Self::of_text(text)
    }

    /// The same of a body that need not be there.
    pub(super) fn of_optional_body(body: &'a [u8]) -> Result<Self, Problem> {
        if body.is_empty() {
            return Ok(Self { within: String::new(), pairs: Vec::new(), known: Vec::new() });
        }
        Self::of_body(body)
    }

    /// An item of a list, whose fields are named as if it stood alone.
    pub(super) fn of_item(raw: &'a RawValue) -> Result<Self, Problem> {
        Self::of_text(raw.get())
    }

    fn of_text(text: &'a str) -> Result<Self, Problem> {
        if !text.trim_ascii_start().starts_with('{') {
            return Err(Problem::invalid(BODY, text.trim_ascii(), "a JSON object"));
        }
        let pairs = pairs(text).map_err(|e| not_json(BODY, &e))?;
        Self::new(String::new(), pairs)
    }

    fn new(within: String, pairs: Vec<Pair<'a>>) -> Result<Self, Problem> {
        if pairs.len() > FIELDS_MAX {
            let field = if within.is_empty() { BODY.to_owned() } else { within.trim_end_matches('.').to_owned() };
            let many = format!("more than {FIELDS_MAX} fields");
            return Err(Problem::invalid(field, many, format!("at most {FIELDS_MAX} fields")));
        }
        for (index, pair) in pairs.iter().enumerate() {
            if pairs[..index].iter().any(|earlier| earlier.key == pair.key) {
                let path = format!("{within}{}", shown(&pair.key));
                return Err(Problem::invalid(path, pair.raw.get(), "each key once; this one is there twice"));
            }
        }
        Ok(Self { within, pairs, known: Vec::new() })
    }

    /// Takes a field out; `None` when it is not there.
    fn take(&mut self, name: &'static str) -> Option<&'a RawValue> {
        self.known.push(name);
        let pair = self.pairs.iter_mut().find(|pair| pair.key == name)?;
        pair.is_taken = true;
        Some(pair.raw)
    }

    fn path(&self, name: &str) -> String {
        format!("{}{name}", self.within)
    }

    fn wrong(&self, name: &str, raw: &RawValue, allowed: &'static str) -> Problem {
        Problem::invalid(self.path(name), raw.get(), allowed)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|pair| pair.key == name)
    }

    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        text(raw).map(Some).ok_or_else(|| self.wrong(name, raw, "a string"))
    }

    /// As [`Object::text`]; `null` counts as not there.
    pub(super) fn nullable_text(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        match self.settable(name, "a string or null", text)? {
            Some(None) | None => Ok(None),
            Some(Some(text)) => Ok(Some(text)),
        }
    }

    pub(super) fn whole(&mut self, name: &'static str) -> Result<Option<u64>, Problem> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        whole(raw).map(Some).ok_or_else(|| self.wrong(name, raw, "a whole number, 0 or more"))
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Result<Option<bool>, Problem> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        flag(raw).map(Some).ok_or_else(|| self.wrong(name, raw, "true or false"))
    }

    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<f64>, Problem> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        number(raw).map(Some).ok_or_else(|| self.wrong(name, raw, "a number"))
    }

    /// A field that `null` clears: `Some(None)` is `null`.
    pub(super) fn settable<T>(
        &mut self,
        name: &'static str,
        allowed: &'static str,
        parse: impl Fn(&RawValue) -> Option<T>,
    ) -> Result<Option<Option<T>>, Problem> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        if raw.get() == "null" {
            return Ok(Some(None));
        }
        parse(raw).map(|value| Some(Some(value))).ok_or_else(|| self.wrong(name, raw, allowed))
    }

    pub(super) fn object(&mut self, name: &'static str) -> Result<Option<Object<'a>>, Problem> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        self.inner(name, raw, "an object").map(Some)
    }

    /// As [`Object::object`], for a field that `null` clears.
    pub(super) fn nullable_object(&mut self, name: &'static str) -> Result<Option<Option<Object<'a>>>, Problem> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        if raw.get() == "null" {
            return Ok(Some(None));
        }
        self.inner(name, raw, "an object or null").map(|object| Some(Some(object)))
    }

    fn inner(&self, name: &str, raw: &'a RawValue, allowed: &'static str) -> Result<Object<'a>, Problem> {
        if !raw.get().starts_with('{') {
            return Err(self.wrong(name, raw, allowed));
        }
        let path = self.path(name);
        let pairs = pairs(raw.get()).map_err(|e| not_json(path.clone(), &e))?;
        Object::new(format!("{path}."), pairs)
    }

    /// Complains of a field that has no place in this object.
    pub(super) fn absent(&mut self, name: &'static str, allowed: &'static str) -> Result<(), Problem> {
        match self.take(name) {
            None => Ok(()),
            Some(raw) => Err(self.wrong(name, raw, allowed)),
        }
    }

    /// The elements of a list of `min` to `max`.
    pub(super) fn items(&mut self, name: &'static str, min: usize, max: usize) -> Result<Vec<&'a RawValue>, Problem> {
        let allowed = format!("a list of {min} to {max} items");
        let Some(raw) = self.take(name) else { return Err(Problem::missing(self.path(name), allowed)) };
        if !raw.get().starts_with('[') {
            return Err(Problem::invalid(self.path(name), raw.get(), allowed));
        }
        let Elements { items, count } = serde_json::from_str(raw.get()).map_err(|e| not_json(self.path(name), &e))?;
        if !(min..=max).contains(&count) {
            return Err(Problem::invalid(self.path(name), format!("{count} items"), allowed));
        }
        Ok(items)
    }

    /// Every pair of an object whose keys are the caller's own, and whose values are all of one kind.
    pub(super) fn every<T>(
        self,
        allowed: &'static str,
        parse: impl Fn(&RawValue) -> Option<T>,
    ) -> Result<BTreeMap<String, T>, Problem> {
        let mut all = BTreeMap::new();
        for Pair { key, raw, .. } in &self.pairs {
            let value = parse(raw).ok_or_else(|| self.wrong(&shown(key), raw, allowed))?;
            all.insert(key.clone().into_owned(), value);
        }
        Ok(all)
    }

    /// Complains of the first field that nobody asked for.
    pub(super) fn finish(self) -> Result<(), Problem> {
        match self.pairs.iter().find(|pair| !pair.is_taken) {
            None => Ok(()),
            Some(pair) => Err(unknown(&self.path(&shown(&pair.key)), pair.raw.get(), &self.known)),
        }
    }
}

/// A key as an error may show it; one without a letter must be seen too.
pub(super) fn shown(key: &str) -> String {
    if key.is_empty() {
        return "\"\"".to_owned();
    }
    key.chars().take(64).flat_map(char::escape_debug).collect()
}

/// A field or parameter that nobody asked for.
pub(super) fn unknown(path: &str, value: &str, known: &[&'static str]) -> Problem {
    let known = if known.is_empty() { "nothing here".to_owned() } else { known.join(", ") };
    let problem = Problem::new(Code::InvalidArgument, format!("{path} is not known here; allowed: {known}"));
    let value = Invalid::new("", value, "").value;
    problem.about(path.to_owned()).of_value(value).allowing(known)
}

fn not_json(field: impl Into<Cow<'static, str>>, error: &serde_json::Error) -> Problem {
    let field = field.into();
    let detail = format!("{field} is not JSON: {error}");
    Problem::new(Code::InvalidArgument, detail).about(field).allowing("JSON")
}

pub(super) fn text(raw: &RawValue) -> Option<String> {
    if raw.get().starts_with('"') { serde_json::from_str(raw.get()).ok() } else { None }
}

pub(super) fn flag(raw: &RawValue) -> Option<bool> {
    match raw.get() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

pub(super) fn number(raw: &RawValue) -> Option<f64> {
    raw.get().parse().ok().filter(|number: &f64| number.is_finite())
}

/// A whole number in whatever form JSON has for it: `100`, `100.0`, `1e2`.
pub(super) fn whole(raw: &RawValue) -> Option<u64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    raw.get().parse().ok().or_else(|| {
        let number = number(raw)?;
        ((0.0..EXACT_MAX).contains(&number) && number.fract() == 0.0).then_some(number as u64)
    })
}

fn pairs(text: &str) -> Result<Vec<Pair<'_>>, serde_json::Error> {
    serde_json::from_str::<Pairs<'_>>(text).map(|pairs| pairs.0)
}

struct Pairs<'a>(Vec<Pair<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::with_capacity(16);
                while let Some(Key(key)) = map.next_key()? {
                    let raw = map.next_value()?;
                    // One more than the limit tells that it was passed; the rest is only scanned.
                    if pairs.len() <= FIELDS_MAX {
                        pairs.push(Pair { key, raw, is_taken: false });
                    }
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// A key, borrowed where it has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Take;
        impl<'de> Visitor<'de> for Take {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E: serde::de::Error>(self, key: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(Take)
    }
}

/// The elements of a list, counted to its end.
struct Elements<'a> {
    items: Vec<&'a RawValue>,
    count: usize,
}

/// Elements that are kept; a longer list is counted only.
const ELEMENTS_KEPT_MAX: usize = 10_000;

impl<'de: 'a, 'a> Deserialize<'de> for Elements<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Elements<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Elements { items: Vec::new(), count: 0 };
                while let Some(raw) = seq.next_element::<&'de RawValue>()? {
                    elements.count = elements.count.checked_add(1).ok_or_else(|| A::Error::custom("too long"))?;
                    if elements.items.len() < ELEMENTS_KEPT_MAX {
                        elements.items.push(raw);
                    }
                }
                Ok(elements)
            }
        }
        deserializer.deserialize_seq(Collect)
    }
}
