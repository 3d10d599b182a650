//! Times as people and JSON write them, in UTC.

use compute::model::Invalid;

#[cfg(test)]
mod tests;

const DAY_MS: u64 = 86_400_000;
/// The last millisecond of the year 9999: no later one can be written.
const LAST_MS: u64 = 253_402_300_799_999;
const ALLOWED: &str = "an RFC 3339 time from 1970 to 9999, like 2026-01-31T23:59:59Z";

/// `2026-01-31T23:59:59.123Z`, always of this length.
pub(crate) fn write(out: &mut Vec<u8>, ms: u64) {
    let ms = ms.min(LAST_MS);
    let (year, month, day) = date_of(ms / DAY_MS);
    let (seconds, millis) = (ms % DAY_MS / 1_000, ms % 1_000);
    digits(out, year, 4);
    out.push(b'-');
    digits(out, month, 2);
    out.push(b'-');
    digits(out, day, 2);
    out.push(b'T');
    digits(out, seconds / 3_600, 2);
    out.push(b':');
    digits(out, seconds / 60 % 60, 2);
    out.push(b':');
    digits(out, seconds % 60, 2);
    out.push(b'.');
    digits(out, millis, 3);
    out.push(b'Z');
}

fn digits(out: &mut Vec<u8>, number: u64, count: u32) {
    for place in (0..count).rev() {
        out.push(b'0' + (number / 10_u64.pow(place) % 10) as u8);
    }
}

/// Milliseconds since 1970; finer digits are cut off.
pub(crate) fn parse(field: &'static str, text: &str) -> Result<u64, Invalid> {
    read(text).filter(|ms| *ms <= LAST_MS).ok_or_else(|| Invalid::new(field, text, ALLOWED))
}

fn read(text: &str) -> Option<u64> {
    let mut rest = Rest(text.as_bytes());
    let (year, month, day) = (rest.number(4)?, rest.after(b"-")?.number(2)?, rest.after(b"-")?.number(2)?);
    let (hour, minute, second) =
        (rest.after(b"Tt")?.number(2)?, rest.after(b":")?.number(2)?, rest.after(b":")?.number(2)?);
    let in_range = (1..=12).contains(&month) && day >= 1 && hour < 24 && minute < 60 && second < 60;
    if !in_range || day > days_of(year, month) {
        return None;
    }
    let millis = rest.fraction()?;
    let offset_minutes = rest.offset()?;
    let day_number = days_before(year, month) + day as i64 - 1;
    let minutes = (day_number * 24 + hour as i64) * 60 + minute as i64 - offset_minutes;
    let ms = (minutes * 60 + second as i64) * 1_000 + millis as i64;
    rest.0.is_empty().then(|| u64::try_from(ms).ok()).flatten()
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn number(&mut self, count: usize) -> Option<u64> {
        let (front, back) = self.0.split_at_checked(count)?;
        if !front.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.0 = back;
        std::str::from_utf8(front).ok()?.parse().ok()
    }

    fn after(&mut self, any_of: &[u8]) -> Option<&mut Self> {
        let (first, back) = self.0.split_first()?;
        self.0 = back;
        any_of.contains(first).then_some(self)
    }

    fn fraction(&mut self) -> Option<u64> {
        let Some(after) = self.0.strip_prefix(b".") else { return Some(0) };
        let count = after.iter().take_while(|b| b.is_ascii_digit()).count();
        let mut millis = 0;
        for place in 0..3 {
            millis = millis * 10 + after.get(place).filter(|_| place < count).map_or(0, |b| u64::from(b - b'0'));
        }
        self.0 = &after[count..];
        (count > 0).then_some(millis)
    }

    fn offset(&mut self) -> Option<i64> {
        let (sign, back) = self.0.split_first()?;
        self.0 = back;
        let sign = match sign {
            b'Z' | b'z' => return Some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let (hours, minutes) = (self.number(2)?, self.after(b":")?.number(2)?);
        (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) as i64)
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of a month; below 0 before 1970.
fn days_before(year: u64, month: u64) -> i64 {
    let years = year as i64 - 1;
    let leaps = years / 4 - years / 100 + years / 400;
    let until_year = years * 365 + leaps - 719_162;
    until_year + (1..month).map(|month| days_of(year, month) as i64).sum::<i64>()
}

/// Year, month and day of a number of days since 1970.
fn date_of(days: u64) -> (u64, u64, u64) {
    // A first guess of the year is never too late, and a few too early at most.
    let mut year = 1970 + days / 366;
    while days_before(year + 1, 1) <= days as i64 {
        year += 1;
    }
    let mut day = days - days_before(year, 1) as u64;
    let mut month = 1;
    while day >= days_of(year, month) {
        day -= days_of(year, month);
        month += 1;
    }
    (year, month, day + 1)
}
