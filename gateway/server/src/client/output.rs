//! What goes to standard output: a table for people or JSON for programs.

use std::io::{ErrorKind, Write};

use serde_json::Value;

use super::failure::Failure;
use super::{Shape, json};

/// A column: its head, and the place of its value in an item.
pub(super) type Column = (&'static str, &'static str);

#[derive(Clone, Copy)]
pub(super) struct Output {
    shape: Shape,
}

impl Output {
    pub(super) fn new(shape: Shape) -> Self {
        Self { shape }
    }

    pub(super) fn is_json(self) -> bool {
        self.shape == Shape::Json
    }

    /// One line, as it is.
    pub(super) fn line(self, line: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        let written = writeln!(out, "{line}").and_then(|()| out.flush());
        written.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Usage(format!("standard output can't be written: {error}")),
        })
    }

    /// A document: a line for each of its parts, or the document itself.
    pub(super) fn document(self, document: &Value) -> Result<(), Failure> {
        if self.is_json() {
            return self.line(&document.to_string());
        }
        let mut lines = Vec::new();
        flatten("", document, &mut lines);
        let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        lines.iter().try_for_each(|(name, value)| self.line(format!("{name:width$}  {value}").trim_end()))
    }

    /// That something is gone; the node itself says nothing, unless less was reached than was asked.
    pub(super) fn removed(self, what: &str, answered: &Value) -> Result<(), Failure> {
        match (self.is_json(), answered) {
            (true, Value::Null) => Ok(()),
            (true, answered) => self.document(answered),
            (false, Value::Null) => self.line(&format!("removed {}", cell(what))),
            (false, answered) => {
                self.line(&format!("removed {} (ack: {})", cell(what), cell(&json::text(answered, "/ack"))))
            }
        }
    }

    /// Items, one a line; `document` is what holds them.
    pub(super) fn items(self, document: &Value, columns: &[Column]) -> Result<(), Failure> {
        if self.is_json() {
            return self.line(&document.to_string());
        }
        let heads = columns.iter().map(|(head, _)| (*head).to_owned()).collect::<Vec<_>>();
        let row = |item: &Value| columns.iter().map(|(_, place)| cell(&json::text(item, place))).collect();
        let rows: Vec<Vec<String>> = std::iter::once(heads).chain(json::items(document).iter().map(row)).collect();
        let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..columns.len()).map(width).collect();
        rows.iter().try_for_each(|row| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            self.line(cells.collect::<Vec<_>>().join("  ").trim_end())
        })
    }
}

/// What a node or a provider wrote must not move the cursor of who reads it.
pub(super) fn cell(text: &str) -> String {
    let shown: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if shown.is_empty() { "-".to_owned() } else { shown }
}

fn flatten(name: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    let inside = |part: &str| if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") };
    match value {
        Value::Object(parts) if !parts.is_empty() => {
            parts.iter().for_each(|(part, value)| flatten(&inside(part), value, lines));
        }
        Value::Array(parts) if !parts.is_empty() => {
            parts.iter().enumerate().for_each(|(at, value)| flatten(&inside(&at.to_string()), value, lines));
        }
        Value::Object(_) | Value::Array(_) | Value::Null => lines.push((name.to_owned(), "-".to_owned())),
        Value::String(text) => lines.push((name.to_owned(), cell(text))),
        other => lines.push((name.to_owned(), other.to_string())),
    }
}
