//! No dead instance is kept beyond the contract's bound.

use std::time::Duration;

use super::super::truth::{Known, Seen, Since};

pub fn kept(known: &Known, seen: &Seen, since: Since, bound: Duration) -> Option<String> {
    let (Some(died_at), Since::At(since)) = (known.died_at, since) else { return None };
    let late = seen.asked.saturating_duration_since(died_at.max(since));
    if late <= bound || !seen.listed.contains_key(&known.id) {
        return None;
    }
    let (service, id, by) = (&known.service, &known.id, &seen.by);
    Some(format!("{service}/{id} is dead and there {:.1} s after it had to count, for {by}", late.as_secs_f64()))
}
