mod fuzz;

use super::{number, take};
use crate::row::{Cells, Instances, Kind, Sessions};

#[test]
fn a_number_ends_at_its_comma() {
    for (text, expected, rest) in [
        ("1,2", Some(Some(1)), "2"),
        ("-9223372036854775808,", Some(Some(i64::MIN)), ""),
        (",x", Some(None), "x"),
        ("1.5,", None, ""),
        ("12", None, "12"),
        ("", None, ""),
        ("999999999999999999999999999,", None, "999999999999999999999999999,"),
    ] {
        let mut page = text.as_bytes();
        assert_eq!(number(&mut page), expected, "{text}");
        assert_eq!(page, rest.as_bytes(), "{text}");
    }
}

#[test]
fn rows_are_taken_one_behind_the_other() {
    let mut page = b"3,1,2,7,8,9,2,1,,5,nsasbpr3,1,1,1,7,8,-9,0,1,1,6,abchoREST".as_slice();
    let first = take(&Instances::TABLE, &mut page).unwrap();
    assert_eq!((first.text(0), first.text(1), first.text(2)), (Ok("nsa"), Ok("s"), Ok("bp")));
    assert_eq!((first.int(3), first.int(4), first.int(5)), (Ok(7), Ok(8), Ok(9)));
    assert_eq!((first.blob(6), first.blob(7)), (Ok(b"r3".as_slice()), Ok(b",".as_slice())));
    assert_eq!((first.is_null(7), first.is_null(8)), (Ok(false), Ok(true)));

    let second = take(&Instances::TABLE, &mut page).unwrap();
    assert_eq!((second.text(2), second.int(5)), (Ok("c"), Ok(-9)));
    assert_eq!((second.blob(6), second.blob(8)), (Ok(b"".as_slice()), Ok(b"o".as_slice())));
    assert_eq!(page, b"REST");
}

#[test]
fn what_is_not_whole_is_refused() {
    let whole = "16,1,2,3,4,5,1,6,0123456789abcdefc";
    let mut page = whole.as_bytes();
    let row = take(&Sessions::TABLE, &mut page).unwrap();
    assert_eq!((row.blob(0), row.text(6)), (Ok(b"0123456789abcdef".as_slice()), Ok("c")));
    assert!(page.is_empty());
    for end in 0..whole.len() {
        assert!(take(&Sessions::TABLE, &mut &whole.as_bytes()[..end]).is_err(), "{end}");
    }
    assert!(take(&Sessions::TABLE, &mut b"-1,1,2,3,4,5,1,6,c".as_slice()).is_err());
}
