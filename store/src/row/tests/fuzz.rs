//! Rows of every kind in which anything may stand: what is taken can be written again, and is the same when it comes
//! back; what is not is refused by table, key and column.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// What is done to a cell.
#[derive(Clone, Debug)]
enum Harm {
    Flip(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
    /// One of its bytes, over and over: lengths and tags that can't be right.
    Fill(Index, u8),
    Become(Thing),
}

#[derive(Clone, Debug)]
enum Thing {
    Null,
    Int(i64),
    Text(String),
    Blob(Vec<u8>),
}

fn harm() -> impl Strategy<Value = Harm> {
    let thing = prop_oneof![
        Just(Thing::Null),
        prop_oneof![any::<i64>(), -2..3_i64, Just(i64::MAX)].prop_map(Thing::Int),
        "\\PC{0,12}".prop_map(Thing::Text),
        vec(any::<u8>(), 0..40).prop_map(Thing::Blob),
    ];
    prop_oneof![
        4 => (any::<Index>(), 1..=255_u8).prop_map(|(at, bits)| Harm::Flip(at, bits)),
        1 => any::<Index>().prop_map(Harm::Cut),
        2 => (any::<Index>(), vec(any::<u8>(), 1..6)).prop_map(|(at, bytes)| Harm::Insert(at, bytes)),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Harm::Fill(at, byte)),
        2 => thing.prop_map(Harm::Become),
    ]
}

fn suffer(cell: &mut Cell, harm: &Harm) {
    if let Harm::Become(thing) = harm {
        *cell = match thing.clone() {
            Thing::Null => Cell::Null,
            Thing::Int(number) => Cell::Int(number),
            Thing::Text(text) => Cell::Text(text.into()),
            Thing::Blob(bytes) => Cell::Blob(bytes),
        };
        return;
    }
    match cell {
        Cell::Blob(bytes) => spoil(bytes, harm),
        Cell::Text(text) => {
            let mut bytes = text.as_bytes().to_vec();
            spoil(&mut bytes, harm);
            *cell = Cell::Text(String::from_utf8_lossy(&bytes).into());
        }
        Cell::Int(number) => {
            let mut bytes = number.to_le_bytes().to_vec();
            spoil(&mut bytes, harm);
            bytes.resize(8, 0);
            *number = i64::from_le_bytes(bytes.try_into().unwrap());
        }
        Cell::Null => {}
    }
}

fn spoil(bytes: &mut Vec<u8>, harm: &Harm) {
    let end = bytes.len() + 1;
    match harm {
        Harm::Flip(at, bits) => {
            if let Some(byte) = bytes.get_mut(at.index(end)) {
                *byte ^= bits;
            }
        }
        Harm::Cut(at) => bytes.truncate(at.index(end)),
        Harm::Insert(at, more) => drop(bytes.splice(at.index(end)..at.index(end), more.iter().copied())),
        Harm::Fill(at, byte) => bytes[at.index(end)..].fill(*byte),
        Harm::Become(_) => {}
    }
}

/// Spoils what a checksum is of, and makes it good again: what is behind it must not rely on it.
fn sealed_after(cells: &mut Vec<Cell>, harms: &[(Index, Harm)]) {
    cells.pop();
    for (at, harm) in harms {
        let at = at.index(cells.len());
        suffer(&mut cells[at], harm);
    }
    seal(cells, 0, &mut vec![]);
}

/// Spoils a row, and holds what is read of it against the rules.
fn check<K: Kind>(rows: &[Row<K::Key, K::Value>], row: &Index, harms: &[(Index, Harm)]) -> Result<(), TestCaseError>
where
    Row<K::Key, K::Value>: PartialEq + Debug,
{
    let mut cells = held::<K>(row.get(rows));
    sealed_after(&mut cells.0, harms);
    match decode::<K>(&cells, &mut Names::default()) {
        Ok(read) => {
            let again = decode::<K>(&held::<K>(&read), &mut Names::default());
            prop_assert_eq!(again, Ok(read));
        }
        Err(wrong) => {
            prop_assert!(wrong.starts_with(&format!("table {}, key ", K::TABLE.name)), "{}", wrong);
            prop_assert!(wrong.contains(", column "), "{}", wrong);
            prop_assert!(wrong.len() < 4_096 && !wrong.contains(char::is_control), "{:?}", wrong);
        }
    }
    Ok(())
}

fn part<P: Part + Clone + PartialEq + Debug>(blob: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(read) = P::from_blob(blob) {
        let written = read.to_blob();
        let again = P::from_blob(&written);
        prop_assert_eq!(again.as_ref(), Ok(&read));
        prop_assert_eq!(again.map(|again| again.to_blob()), Ok(written));
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_spoilt_row_gets_past_the_checks(row in any::<Index>(), harms in vec((any::<Index>(), harm()), 1..4)) {
        let rows = every_kind(position(77));
        check::<Namespaces>(&rows.namespaces, &row, &harms)?;
        check::<Services>(&rows.services, &row, &harms)?;
        check::<Instances>(&rows.instances, &row, &harms)?;
        check::<Overrides>(&rows.overrides, &row, &harms)?;
        check::<Tombstones>(&rows.tombstones, &row, &harms)?;
        check::<Sessions>(&rows.sessions, &row, &harms)?;
        check::<Suspicions>(&rows.suspicions, &row, &harms)?;
        check::<Freezes>(&rows.freezes, &row, &harms)?;
        check::<Origins>(&rows.origins, &row, &harms)?;
        check::<Members>(&rows.members, &row, &harms)?;
    }

    #[test]
    fn any_blob_is_a_part_or_none(blob in vec(prop_oneof![any::<u8>(), 8..35_u8, 0..4_u8], 0..60)) {
        use compute::model::*;
        part::<NamespaceSettings>(&blob)?;
        part::<ServiceSettings>(&blob)?;
        part::<Provider>(&blob)?;
        part::<Process>(&blob)?;
        part::<Lease>(&blob)?;
        part::<Check>(&blob)?;
        part::<Author>(&blob)?;
        part::<Operator>(&blob)?;
        part::<Health>(&blob)?;
        part::<Removal>(&blob)?;
        part::<Cause>(&blob)?;
    }

    #[test]
    fn no_spoilt_mark_gets_past_the_checks(harms in vec((any::<Index>(), harm()), 1..4)) {
        let mut cells = mark_cells(Epoch(3), &log_state(LogIdentity([9; 16]), 5));
        sealed_after(&mut cells, &harms);
        match mark(&Held(cells)) {
            Ok((epoch, log)) => prop_assert_eq!(mark(&Held(mark_cells(epoch, &log))), Ok((epoch, log))),
            Err(wrong) => prop_assert!(wrong.starts_with("table presence_mark: "), "{}", wrong),
        }
    }
}
