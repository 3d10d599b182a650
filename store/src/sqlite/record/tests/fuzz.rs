//! Pages of rows: those that SQLite makes come back value by value, and of any other bytes nothing is taken that is not
//! in them.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::{Found, take};
use crate::row::{Holds, Kind, Names, Table, decode, every_kind, tables};

type Value = Option<(i64, Vec<u8>)>;

fn value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), -1..2_i64];
    proptest::option::weighted(0.9, (number, vec(any::<u8>(), 0..12)))
}

/// A row as the statement of a load puts it together: of each value the number, or the bytes.
fn put(table: &Table, values: &[Value], page: &mut Vec<u8>) {
    let mut texts = Vec::new();
    for (column, value) in table.columns().zip(values) {
        match (value, column.holds) {
            (None, _) => {}
            (Some((number, _)), Holds::Number) => page.extend(number.to_string().bytes()),
            (Some((_, bytes)), Holds::Bytes) => {
                page.extend(bytes.len().to_string().bytes());
                texts.extend_from_slice(bytes);
            }
        }
        page.push(b',');
    }
    page.extend(texts);
}

/// Takes rows until there are no more; whatever comes, they are no more than the bytes.
fn drain(table: &Table, page: &[u8]) -> usize {
    let (mut rest, mut rows) = (page, 0);
    while !rest.is_empty() {
        let before = rest.len();
        let Ok(record) = take(table, &mut rest) else { break };
        let bytes: usize =
            record.0.iter().map(|found| if let Found::Bytes(bytes) = found { bytes.len() } else { 0 }).sum();
        assert_eq!(record.0.len(), table.width());
        assert!(bytes + table.width() <= before - rest.len(), "each value is in the page once");
        rows += 1;
    }
    rows
}

/// A page that may be anything, as rows of a kind.
fn read<K: Kind>(mut page: &[u8]) {
    while let Ok(record) = take(&K::TABLE, &mut page) {
        if let Err(wrong) = decode::<K>(&record, &mut Names::default()) {
            assert!(wrong.starts_with(&format!("table {}, key ", K::TABLE.name)), "{wrong}");
        }
    }
}

proptest! {
    #[test]
    fn what_is_put_together_comes_apart(table in any::<Index>(), rows in vec(vec(value(), 12), 1..4)) {
        let tables = tables();
        let table = table.get(&tables);
        let mut page = Vec::new();
        rows.iter().for_each(|row| put(table, row, &mut page));
        let mut rest = &page[..];
        for row in &rows {
            let record = take(table, &mut rest).unwrap();
            for ((column, value), found) in table.columns().zip(row).zip(&record.0) {
                match (value, found) {
                    (None, Found::Null) => {}
                    (Some((number, _)), Found::Number(found)) if column.holds == Holds::Number => {
                        prop_assert_eq!(number, found);
                    }
                    (Some((_, bytes)), Found::Bytes(found)) if column.holds == Holds::Bytes => {
                        prop_assert_eq!(&bytes[..], *found);
                    }
                    _ => prop_assert!(false, "column {} came back as something else", column.name),
                }
            }
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn no_page_is_too_strange(
        table in any::<Index>(),
        row in vec(value(), 12),
        hits in vec((any::<Index>(), prop_oneof![any::<u8>(), b'0'..=b'9', Just(b','), Just(b'-')]), 0..5),
        cut in any::<Index>(),
    ) {
        let tables = tables();
        let table = table.get(&tables);
        let mut page = Vec::new();
        put(table, &row, &mut page);
        put(table, &row, &mut page);
        for (at, byte) in hits {
            let at = at.index(page.len());
            page[at] = byte;
        }
        prop_assert!(drain(table, &page) <= page.len() / table.width());
        prop_assert!(drain(table, &page[..cut.index(page.len())]) <= page.len() / table.width());
    }

    #[test]
    fn no_bytes_are_too_strange(page in vec(prop_oneof![any::<u8>(), b'0'..=b'9', Just(b',')], 0..120)) {
        for table in &tables() {
            let _ = drain(table, &page);
        }
        macro_rules! each {
            ($($field:ident: $kind:ident),+) => { $(read::<crate::row::$kind>(&page);)+ };
        }
        every_kind!(each);
    }
}
