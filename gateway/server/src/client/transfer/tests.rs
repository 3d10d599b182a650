use std::io::Cursor;
use std::net::TcpListener;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::client::target::Target;

/// Everything that `import` does with these bytes, at a node that does not answer; how many lines it came to.
fn import(bytes: &[u8]) -> (Result<(), Failure>, u64) {
    // Bound and never listened on would be better still; this one refuses, because it is closed.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let target = Target::parse(&closed.to_string()).unwrap();
    let mut reader = Reader::new(Node::new(target, None, None));
    let mut lines = Lines { input: BufReader::new(Box::new(Cursor::new(bytes.to_vec()))), number: 0 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(async {
        while let Some(line) = lines.next()? {
            reader.line(&line, lines.number).await?;
        }
        reader.end().await
    });
    (ended, lines.number)
}

/// Lines as `export` writes them, and others.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let known = select(vec![
        r#"{"kind":"export","format":1}"#,
        r#"{"kind":"export","format":2}"#,
        r#"{"kind":"export"}"#,
        r#"{"kind":"end","lines":0}"#,
        r#"{"kind":"end","lines":1}"#,
        r#"{"kind":"end"}"#,
        r#"{"kind":"instance","provider":{"lease":{"kind":"stream"}}}"#,
        r#"{"kind":"namespace","namespace":"a"}"#,
        r#"{"kind":"service","namespace":7,"service":null,"settings":[]}"#,
        r#"{"kind":"instance","namespace":"a","service":"b","id":"c","provider":7,"operator":[]}"#,
        r#"{"kind":7}"#,
        "{}",
        "[]",
        "null",
        "7",
        "",
        " ",
        "{",
        "\"",
        "{\"kind\":\"export\",\"format\":1",
        "\u{feff}{}",
        "{\"a\":1,\"a\":2}",
    ]);
    let line = prop_oneof![8 => known.prop_map(|line| line.as_bytes().to_vec()), 1 => vec(any::<u8>(), 0..12)];
    let head = proptest::option::weighted(0.7, Just(br#"{"kind":"export","format":1}"#.to_vec()));
    (head, vec(line, 0..6)).prop_map(|(head, lines)| head.into_iter().chain(lines).collect::<Vec<_>>().join(&b'\n'))
}

#[test]
fn a_whole_export_of_nothing_is_imported() {
    let (ended, read) = import(b"{\"kind\":\"export\",\"format\":1}\n{\"kind\":\"end\",\"lines\":0}\n");
    assert!(ended.is_ok(), "{ended:?}");
    assert_eq!(read, 3);
}

#[test]
fn a_line_without_end_is_not_gathered() {
    let (ended, _) = import(&vec![b' '; (LINE_BYTES_MAX + 2) as usize]);
    assert_eq!(ended.unwrap_err().to_string(), "line 1: longer than 1048576 bytes");
}

#[test]
fn nesting_costs_no_stack() {
    let (ended, _) = import("[".repeat(500_000).as_bytes());
    assert!(ended.unwrap_err().to_string().starts_with("line 1: not JSON: "));
}

proptest! {
    /// It ends well only for what `export` could have written; otherwise the line is named, or the node.
    #[test]
    fn no_lines_are_too_strange(bytes in lines()) {
        match import(&bytes).0 {
            Ok(()) => {
                let text = String::from_utf8(bytes).unwrap();
                prop_assert!(text.starts_with(r#"{"kind":"export","format":1}"#) && text.contains(r#""kind":"end""#), "{}", text);
            }
            Err(Failure::Usage(said)) => {
                prop_assert!(said.starts_with("line ") || said.starts_with("the last line is not there"), "{}", said);
            }
            Err(other) => prop_assert!(matches!(other, Failure::Unreachable { .. }), "{}", other),
        }
    }
}
