//! What a target answers, in any pieces: once its start has said something, more of it says nothing else.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

/// Like an answer, or several.
fn answer() -> impl Strategy<Value = Vec<u8>> {
    let pieces = vec![
        "HTTP/1.1 ",
        "HTTP/1.0 ",
        "HTTP/2 ",
        "HTTP/1.",
        "http/1.1 ",
        "200",
        "204",
        "100",
        "101",
        "103",
        "199",
        "301",
        "500",
        "999",
        "000",
        "20",
        "2000",
        "-20",
        " ",
        " OK",
        " \u{e9}",
        "\r\n",
        "\n",
        "\r",
        "\r\n\r\n",
        "a: b\r\n",
        "a:b\n",
        ": x\r\n",
        " folded\r\n",
        "not a header\r\n",
        "\0",
        "\u{16}\u{3}\u{1}",
        "{}",
    ];
    let piece =
        prop_oneof![9 => select(pieces).prop_map(|piece| piece.as_bytes().to_vec()), 1 => vec(any::<u8>(), 0..4)];
    let start =
        select(vec!["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early\r\na: b\r\n"]);
    (start, vec(piece, 0..12)).prop_map(|(start, pieces)| [start.as_bytes(), &pieces.concat()].concat())
}

/// The status as a reader of whole lines would find it.
fn by_line(bytes: &[u8]) -> Option<u16> {
    let bytes = &bytes[bytes.iter().position(|byte| !b"\r\n".contains(byte))?..];
    let line = &bytes[..bytes.iter().position(|byte| *byte == b'\n')?];
    let rest = line.strip_prefix(b"HTTP/1.1 ").or_else(|| line.strip_prefix(b"HTTP/1.0 "))?;
    str::from_utf8(rest.get(..3)?).ok()?.parse().ok()
}

proptest! {
    #[test]
    fn an_answer_says_one_thing_however_it_is_cut(bytes in answer(), cut in any::<Index>()) {
        let cut = cut.index(bytes.len() + 1);
        let (start, whole) = (head(&bytes[..cut]), head(&bytes));
        match start {
            Head::Partial => {}
            other => prop_assert_eq!(whole, other, "{:?} after {} bytes", bytes, cut),
        }
        for (said, of) in [(start, &bytes[..cut]), (whole, &bytes[..])] {
            match said {
                Head::Final(status) => {
                    prop_assert_eq!(by_line(of), Some(status), "{:?}", of);
                    prop_assert!(status < 1_000 && (!(100..200).contains(&status) || status == 101));
                }
                Head::Interim(length) => {
                    prop_assert!((1..=of.len()).contains(&length));
                    prop_assert!(matches!(by_line(of), Some(100 | 102..=199)), "{:?}", of);
                }
                Head::Partial | Head::Garbage => {}
            }
        }
    }

    #[test]
    fn no_bytes_are_too_strange_for_a_probe(bytes in vec(any::<u8>(), 0..200)) {
        if let Head::Final(status) = head(&bytes) {
            prop_assert_eq!(by_line(&bytes), Some(status));
        }
        let _ = is_tls(&bytes);
    }
}
