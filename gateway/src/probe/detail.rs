//! What an operator is told of a probe.

/// Longest detail, in bytes.
const BYTES_MAX: usize = 256;

/// As much of it as fits, without control characters.
pub(super) fn fit(text: &str) -> Box<str> {
    let mut fitting = String::with_capacity(text.len().min(BYTES_MAX));
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        if fitting.len() + c.len_utf8() > BYTES_MAX {
            break;
        }
        fitting.push(c);
    }
    fitting.into()
}

#[cfg(test)]
mod tests;
