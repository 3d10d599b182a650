mod fuzz;
mod written;

use std::fmt::Debug;

use compute::model::{LogIdentity, LogState, Row, Rows};
use compute::port::store::Epoch;
use compute::testing::store::sample::{every_kind, log_state, position};

use super::*;

/// Cells as a database would give them back.
struct Held(Vec<Cell>);

impl Cells for Held {
    fn int(&self, at: usize) -> Result<i64, Wrong> {
        match &self.0[at] {
            Cell::Int(value) => Ok(*value),
            other => Err(format!("{other:?} is no number")),
        }
    }

    fn text(&self, at: usize) -> Result<&str, Wrong> {
        match &self.0[at] {
            Cell::Text(value) => Ok(value),
            other => Err(format!("{other:?} is no text")),
        }
    }

    fn blob(&self, at: usize) -> Result<&[u8], Wrong> {
        match &self.0[at] {
            Cell::Blob(value) => Ok(value),
            other => Err(format!("{other:?} is no blob")),
        }
    }

    fn is_null(&self, at: usize) -> Result<bool, Wrong> {
        Ok(self.0[at] == Cell::Null)
    }
}

fn held<K: Kind>(row: &Row<K::Key, K::Value>) -> Held {
    let Row::Put(key, value) = row else { panic!("samples are puts") };
    let mut cells = vec![];
    K::write_key(key, &mut cells);
    assert_eq!(cells.len(), K::TABLE.key.len());
    K::write_value(value, &mut cells);
    seal(&mut cells, 0, &mut vec![]);
    assert_eq!(cells.len(), K::TABLE.width());
    Held(cells)
}

fn comes_back<K: Kind>(rows: &[Row<K::Key, K::Value>])
where
    Row<K::Key, K::Value>: PartialEq + Debug,
{
    assert!(!rows.is_empty());
    for row in rows {
        assert_eq!(decode::<K>(&held::<K>(row), &mut Names::default()).as_ref(), Ok(row));
    }
}

#[test]
fn every_kind_of_row_comes_back_from_its_cells() {
    let rows = every_kind(position(77));
    let Rows { namespaces, services, instances, overrides, tombstones, sessions, suspicions, freezes, .. } = rows;
    let Rows { origins, members, .. } = every_kind(position(77));
    comes_back::<Namespaces>(&namespaces);
    comes_back::<Services>(&services);
    comes_back::<Instances>(&instances);
    comes_back::<Overrides>(&overrides);
    comes_back::<Tombstones>(&tombstones);
    comes_back::<Sessions>(&sessions);
    comes_back::<Suspicions>(&suspicions);
    comes_back::<Freezes>(&freezes);
    comes_back::<Origins>(&origins);
    comes_back::<Members>(&members);
}

#[test]
fn the_mark_comes_back_from_its_cells() {
    let log = LogState { rolling_hash: u64::MAX, ..log_state(LogIdentity([9; 16]), 5) };
    assert_eq!(mark(&Held(mark_cells(Epoch(u64::MAX), &log))), Ok((Epoch(u64::MAX), log)));
    let mut short = mark_cells(Epoch(1), &log);
    short[2] = Cell::Blob(vec![1; 15]);
    assert_eq!(mark(&Held(short)), Err("table presence_mark: 15 bytes, not 16".to_owned()));
}

#[test]
fn the_guard_is_a_column_that_rises_with_the_revision() {
    fn guard<K: Kind>(rows: Vec<Row<K::Key, K::Value>>) -> Cell {
        let at = K::TABLE.columns().position(|column| column.name == K::TABLE.guard).expect("the guard is a column");
        held::<K>(&rows[0]).0.swap_remove(at)
    }
    let guards = |rows: Rows| {
        [
            guard::<Namespaces>(rows.namespaces),
            guard::<Services>(rows.services),
            guard::<Instances>(rows.instances),
            guard::<Overrides>(rows.overrides),
            guard::<Tombstones>(rows.tombstones),
            guard::<Sessions>(rows.sessions),
            guard::<Suspicions>(rows.suspicions),
            guard::<Freezes>(rows.freezes),
            guard::<Origins>(rows.origins),
            guard::<Members>(rows.members),
        ]
    };
    for (old, new) in guards(every_kind(position(5))).into_iter().zip(guards(every_kind(position(6)))) {
        let (Cell::Int(old), Cell::Int(new)) = (old, new) else { panic!("guards are numbers") };
        assert!(0 < old && old < new, "{old} {new}");
    }
}

/// Each cell of each row, replaced by each of these, must give the value back or be refused by name; never a panic.
#[test]
fn nothing_in_a_cell_gets_past_the_checks() {
    fn spoil<K: Kind>(rows: &[Row<K::Key, K::Value>]) -> usize {
        let spoilt = [
            Cell::Null,
            Cell::Int(-1),
            Cell::Int(i64::MIN),
            Cell::Text("".into()),
            Cell::Text("\u{0}..".into()),
            Cell::Blob(vec![]),
            Cell::Blob(vec![0xff; 40]),
        ];
        let mut refused = 0;
        for row in rows {
            for (at, column) in K::TABLE.columns().enumerate() {
                for cell in &spoilt {
                    let mut cells = held::<K>(row);
                    cells.0[at] = cell.clone();
                    if let Err(wrong) = decode::<K>(&cells, &mut Names::default()) {
                        assert!(wrong.starts_with(&format!("table {}, key ", K::TABLE.name)), "{wrong}");
                        assert!(wrong.contains(", column "), "{}: {wrong}", column.name);
                        refused += 1;
                    }
                }
            }
        }
        refused
    }
    let rows = every_kind(position(77));
    for refused in [
        spoil::<Namespaces>(&rows.namespaces),
        spoil::<Services>(&rows.services),
        spoil::<Instances>(&rows.instances),
        spoil::<Overrides>(&rows.overrides),
        spoil::<Tombstones>(&rows.tombstones),
        spoil::<Sessions>(&rows.sessions),
        spoil::<Suspicions>(&rows.suspicions),
        spoil::<Freezes>(&rows.freezes),
        spoil::<Origins>(&rows.origins),
        spoil::<Members>(&rows.members),
    ] {
        assert!(refused >= 10, "{refused}");
    }
}

/// As [`nothing_in_a_cell_gets_past_the_checks`], one bit at a time, for what is in the blobs.
#[test]
fn no_flipped_bit_of_a_blob_panics() {
    let rows = every_kind(position(77));
    let mut refused = 0;
    for row in &rows.instances {
        let whole = held::<Instances>(row);
        for at in 0..whole.0.len() {
            let Cell::Blob(blob) = &whole.0[at] else { continue };
            // Of a long blob the beginning, where its structure is, and then one bit in a few.
            for bit in (0..blob.len() * 8).filter(|bit| *bit < 512 || bit.is_multiple_of(97)) {
                let mut cells = Held(whole.0.clone());
                let Cell::Blob(spoilt) = &mut cells.0[at] else { continue };
                spoilt[bit / 8] ^= 1 << (bit % 8);
                refused += usize::from(decode::<Instances>(&cells, &mut Names::default()).is_err());
            }
        }
    }
    assert!(refused > 1_000, "{refused}");
}

/// Whatever is turned in a row, a bit of a number or of a text: it does not come back as truth.
#[test]
fn a_turned_bit_anywhere_in_a_row_is_found() {
    fn turned(cell: &Cell) -> Vec<Cell> {
        match cell {
            Cell::Int(value) => (0..64).map(|bit| Cell::Int(value ^ (1 << bit))).collect(),
            Cell::Text(text) => (0..text.len())
                .step_by(1 + text.len() / 32)
                .filter_map(|at| {
                    let mut bytes = text.as_bytes().to_vec();
                    bytes[at] ^= 1;
                    Some(Cell::Text(String::from_utf8(bytes).ok()?.into()))
                })
                .collect(),
            // Of a long blob one in a few.
            Cell::Blob(blob) => (0..blob.len() * 8)
                .filter(|bit| *bit < 256 || bit.is_multiple_of(1 + blob.len() / 8))
                .map(|bit| {
                    let mut bytes = blob.clone();
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    Cell::Blob(bytes)
                })
                .chain([Cell::Null])
                .collect(),
            Cell::Null => vec![Cell::Blob(vec![])],
        }
    }
    fn all<K: Kind>(rows: &[Row<K::Key, K::Value>])
    where
        Row<K::Key, K::Value>: Debug,
    {
        for row in rows {
            let whole = held::<K>(row);
            for at in 0..whole.0.len() {
                for cell in turned(&whole.0[at]) {
                    let mut cells = Held(whole.0.clone());
                    cells.0[at] = cell;
                    assert!(decode::<K>(&cells, &mut Names::default()).is_err(), "cell {at} of {row:?}");
                }
            }
        }
    }
    let rows = every_kind(position(77));
    all::<Namespaces>(&rows.namespaces);
    all::<Services>(&rows.services);
    all::<Instances>(&rows.instances);
    all::<Overrides>(&rows.overrides);
    all::<Tombstones>(&rows.tombstones);
    all::<Sessions>(&rows.sessions);
    all::<Suspicions>(&rows.suspicions);
    all::<Freezes>(&rows.freezes);
    all::<Origins>(&rows.origins);
    all::<Members>(&rows.members);
    let whole = mark_cells(Epoch(3), &log_state(LogIdentity([9; 16]), 5));
    // The first column is always 1.
    for at in 1..whole.len() {
        for cell in turned(&whole[at]) {
            let mut cells = whole.clone();
            cells[at] = cell;
            assert!(mark(&Held(cells.clone())).is_err(), "{cells:?}");
        }
    }
}

#[test]
fn what_is_wrong_names_table_key_and_column() {
    let instances = every_kind(position(77)).instances;
    let mut cells = held::<Instances>(&instances[0]);
    cells.0[6] = Cell::Blob(vec![0x08]);
    let wrong = decode::<Instances>(&cells, &mut Names::default()).err().unwrap();
    let place = "table presence_instance, key default/service-000001/ttl, column provider: ";
    assert!(wrong.starts_with(place), "{wrong}");

    cells = held::<Instances>(&instances[0]);
    cells.0[0] = Cell::Text("no such\nname".into());
    let wrong = decode::<Instances>(&cells, &mut Names::default()).err().unwrap();
    assert!(wrong.contains("key no such\\nname/service-000001/ttl"), "{wrong}");
}

#[test]
fn a_session_id_is_not_shown_whole() {
    let mut cells = held::<Sessions>(&every_kind(position(77)).sessions[2]);
    cells.0[2] = Cell::Int(-1);
    let wrong = decode::<Sessions>(&cells, &mut Names::default()).err().unwrap();
    let shown = "table presence_session, key abababab…, column epoch: ";
    assert!(wrong.starts_with(shown) && !wrong.contains("ababababab"), "{wrong}");
}

#[test]
fn rows_of_one_service_share_its_names() {
    let mut names = Names::default();
    let one = names.service("default", "orders").unwrap();
    let two = names.service("default", "orders").unwrap();
    assert_eq!(one.service.as_str().as_ptr(), two.service.as_str().as_ptr());
    assert_eq!(one.namespace.as_str().as_ptr(), two.namespace.as_str().as_ptr());
    assert_ne!(names.service("other", "orders").unwrap(), one);
    assert!(names.service("default", "no good").is_err());
}
