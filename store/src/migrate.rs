//! Which migrations a database lacks, whatever its dialect.

use schemas::migration::Migration;

/// A migration that the database says it has had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Applied {
    pub(crate) number: i64,
    pub(crate) name: String,
}

#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Mismatch {
    /// A later program has been here.
    Newer { found: u32, known: u32 },
    /// It has a past that is not ours.
    Foreign(String),
}

/// What is still to be applied, in order.
pub(crate) fn outstanding<'a>(applied: &[Applied], known: &'a [Migration]) -> Result<&'a [Migration], Mismatch> {
    let highest = applied.iter().map(|had| had.number).max().unwrap_or(0);
    if highest > known.len() as i64 {
        let found = u32::try_from(highest).unwrap_or(u32::MAX);
        return Err(Mismatch::Newer { found, known: known.len() as u32 });
    }
    for (place, had) in applied.iter().enumerate() {
        if had.number != place as i64 + 1 {
            return Err(Mismatch::Foreign(format!("migration {} where {} is due", had.number, place + 1)));
        }
    }
    let (same, outstanding) = known.split_at(applied.len());
    for (had, ours) in applied.iter().zip(same) {
        if had.name != ours.name {
            let detail = format!("migration {} was {:?}, here it is {:?}", ours.number, had.name, ours.name);
            return Err(Mismatch::Foreign(detail));
        }
    }
    Ok(outstanding)
}

#[cfg(test)]
mod tests;
