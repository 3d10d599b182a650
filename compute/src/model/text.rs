//! Checks that several names share.

use super::Invalid;

/// At most `max` bytes of UTF-8 without control characters.
pub(super) fn plain(field: &'static str, value: &str, max: usize) -> Result<(), Invalid> {
    if value.len() > max {
        return Err(Invalid::new(field, value, format!("at most {max} bytes")));
    }
    if has_control(value, |_| false) {
        return Err(Invalid::new(field, value, "no control characters"));
    }
    Ok(())
}

/// As [`plain`], but line breaks and tabs are fine: text that people write.
pub(super) fn prose(field: &'static str, value: &str, max: usize) -> Result<(), Invalid> {
    if value.len() > max {
        return Err(Invalid::new(field, value, format!("at most {max} bytes")));
    }
    if has_control(value, |c| matches!(c, '\n' | '\r' | '\t')) {
        return Err(Invalid::new(field, value, "no control characters but line breaks and tabs"));
    }
    Ok(())
}

/// Most texts are ASCII, whose bytes are looked at many at a time.
fn has_control(value: &str, is_fine: fn(char) -> bool) -> bool {
    let is_plain = value.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'));
    !is_plain && value.chars().any(|c| c.is_control() && !is_fine(c))
}

pub(super) fn range(field: &'static str, value: u64, min: u64, max: u64) -> Result<u64, Invalid> {
    if (min..=max).contains(&value) { Ok(value) } else { Err(Invalid::new(field, value, format!("{min} to {max}"))) }
}
