//! A request's query, read parameter by parameter as strictly as its body.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::json;
use crate::error::Problem;

#[cfg(test)]
mod tests;

/// Most parameters of one query.
const PARAMETERS_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Query<'a> {
    pairs: Vec<Pair<'a>>,
    known: Vec<&'static str>,
}

#[derive(Debug)]
struct Pair<'a> {
    name: Cow<'a, str>,
    value: Cow<'a, str>,
    is_taken: bool,
}

impl<'a> Query<'a> {
    pub(super) fn read(query: Option<&'a str>) -> Result<Self, Problem> {
        let mut pairs: Vec<Pair<'a>> = Vec::new();
        for part in query.unwrap_or("").split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = decode(name).map_err(|_| Problem::invalid("query", name, NAME_ALLOWED))?;
            let value = decode(value).map_err(|bad| Problem::invalid(json::shown(&name), bad, VALUE_ALLOWED))?;
            if pairs.iter().any(|earlier| earlier.name == name) {
                let allowed = "each parameter once; this one is there twice";
                return Err(Problem::invalid(json::shown(&name), value, allowed));
            }
            pairs.push(Pair { name, value, is_taken: false });
            if pairs.len() > PARAMETERS_MAX {
                let allowed = format!("at most {PARAMETERS_MAX} parameters");
                return Err(Problem::invalid("query", format!("more than {PARAMETERS_MAX} parameters"), allowed));
            }
        }
        Ok(Self { pairs, known: Vec::new() })
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<Cow<'a, str>> {
        // Most queries are empty, and then nothing is said of what is known.
        if self.pairs.is_empty() {
            return None;
        }
        self.known.push(name);
        let pair = self.pairs.iter_mut().find(|pair| pair.name == name)?;
        pair.is_taken = true;
        Some(pair.value.clone())
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Result<Option<bool>, Problem> {
        match self.text(name).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(Problem::invalid(name, other, "true or false")),
        }
    }

    /// A whole number from `min` to `max`.
    pub(super) fn whole(&mut self, name: &'static str, min: u64, max: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = if digits { text.parse::<u64>().ok() } else { None };
        let number = number.filter(|number| (min..=max).contains(number));
        number.map(Some).ok_or_else(|| Problem::invalid(name, &text, format!("a whole number, {min} to {max}")))
    }

    /// All parameters whose name begins with `prefix`, by what follows it.
    pub(super) fn prefixed(&mut self, prefix: &'static str, described: &'static str) -> BTreeMap<String, String> {
        self.known.push(described);
        let mut all = BTreeMap::new();
        for pair in &mut self.pairs {
            if let Some(rest) = pair.name.strip_prefix(prefix) {
                pair.is_taken = true;
                all.insert(rest.to_owned(), pair.value.clone().into_owned());
            }
        }
        all
    }

    /// Complains of the first parameter that nobody asked for.
    pub(super) fn finish(self) -> Result<(), Problem> {
        match self.pairs.iter().find(|pair| !pair.is_taken) {
            None => Ok(()),
            Some(pair) => Err(json::unknown(&json::shown(&pair.name), &pair.value, &self.known)),
        }
    }
}

const NAME_ALLOWED: &str = "parameter names of percent-encoded UTF-8";
const VALUE_ALLOWED: &str = "percent-encoded UTF-8";

/// As forms are encoded: `+` is a space, `%` begins two hexadecimal digits. What can't be decoded is given back.
fn decode(text: &str) -> Result<Cow<'_, str>, String> {
    if !text.bytes().any(|b| b == b'%' || b == b'+') {
        return Ok(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    if !escapes_are_whole(&spaced) {
        return Err(text.to_owned());
    }
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(decoded) => Ok(Cow::Owned(decoded.into_owned())),
        Err(_) => Err(text.to_owned()),
    }
}

/// Every `%` is followed by two hexadecimal digits.
pub(super) fn escapes_are_whole(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        let mut digits = after.bytes();
        let mut next = || digits.next().is_some_and(|b| b.is_ascii_hexdigit());
        next() && next()
    })
}
