//! The TOML file: flat keys, and `[door.NAME]` tables.

use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::keys::{self, KEYS, Key, nearest};
use super::settings::{Origin, Said, Setting, no_such_door, words};
use super::wrong::Wrong;

/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

pub(super) fn read(path: &Path, wrongs: &mut Vec<Wrong>) -> Said {
    match text(path) {
        Ok(text) => parse(path, &text, wrongs),
        Err(why) => {
            wrongs.push(Wrong::File { path: path.to_owned(), line: None, why });
            Said::new()
        }
    }
}

fn text(path: &Path) -> Result<String, String> {
    use std::io::Read;
    let unreadable = |error: std::io::Error| format!("the configuration file can't be read: {error}");
    let mut content = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(unreadable)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("the configuration file is larger than {FILE_BYTES_MAX} bytes"));
    }
    String::from_utf8(content).map_err(|_| "the configuration file is not UTF-8".to_owned())
}

fn parse(path: &Path, text: &str, wrongs: &mut Vec<Wrong>) -> Said {
    let mut reading = Reading { path, text, wrongs, said: Said::new() };
    let (table, errors) = DeTable::parse_recoverable(text);
    let is_broken = !errors.is_empty();
    for error in errors {
        reading.wrong(error.span().unwrap_or_default(), error.message().to_owned());
    }
    for (name, value) in table.get_ref() {
        // What the parser took for a key where it lost its way is none.
        if !is_broken || keys::find(name.get_ref()).is_some() {
            reading.key(name.get_ref(), value.get_ref(), name.span());
        }
    }
    reading.said
}

struct Reading<'a> {
    path: &'a Path,
    text: &'a str,
    wrongs: &'a mut Vec<Wrong>,
    said: Said,
}

impl Reading<'_> {
    fn key(&mut self, name: &str, value: &DeValue<'_>, at: Range<usize>) {
        if let Some(key) = keys::find(name) {
            match raw(key, value) {
                Ok(words) => {
                    let origin = self.origin(at);
                    self.said.insert(key.name, Setting { words, origin });
                }
                Err(why) => self.wrong(at, format!("{name} {why}")),
            }
        } else if let ("door", DeValue::Table(doors)) = (name, value) {
            self.doors(doors);
        } else {
            let nearest = nearest(name, KEYS.iter().map(|key| key.name)).map(str::to_owned);
            let origin = self.origin(at).to_string();
            self.wrongs.push(Wrong::Unknown { name: name.to_owned(), origin, nearest });
        }
    }

    fn doors(&mut self, doors: &DeTable<'_>) {
        for (door, transports) in doors {
            let name = format!("door.{}", door.get_ref());
            let Some(transports) = transports.get_ref().as_table() else {
                self.wrong(door.span(), format!("{name} is a table of http, grpc, udp, tcp"));
                continue;
            };
            for (transport, value) in transports {
                let value = value.get_ref().as_str().unwrap_or_default();
                let wrong =
                    no_such_door(&format!("{name}.{}", transport.get_ref()), value, self.origin(transport.span()));
                self.wrongs.push(wrong);
            }
        }
    }

    fn origin(&self, at: Range<usize>) -> Origin {
        Origin::File { path: self.path.to_owned(), line: self.line(at.start) }
    }

    fn wrong(&mut self, at: Range<usize>, why: String) {
        self.wrongs.push(Wrong::File { path: self.path.to_owned(), line: Some(self.line(at.start)), why });
    }

    fn line(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count()
    }
}

fn raw(key: &Key, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    match value {
        DeValue::Array(array) if key.is_list() => array.iter().map(|word| scalar(word.get_ref())).collect(),
        value => scalar(value).map(|text| words(key, &text)),
    }
    .map_err(|found| {
        let wanted = if key.is_list() { "a string or an array of strings" } else { "a string, a number or a boolean" };
        format!("is {found}; allowed: {wanted}")
    })
}

fn scalar(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Boolean(truth) => Ok(truth.to_string()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|_| "a number that is too large".to_owned()),
        other => Err(format!("of type {}", other.type_str())),
    }
}
