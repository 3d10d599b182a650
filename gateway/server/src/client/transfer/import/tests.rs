use std::io::Cursor;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::client::target::Target;

/// Everything that `import` does with these bytes, at a node that does not answer; how many lines it came to.
fn import(bytes: &[u8]) -> (Result<(), Failure>, u64) {
    // Bound and never listened on would be better still; this one refuses, because it is closed.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let target = Target::parse(&closed.to_string()).unwrap();
    let node = Node::new(target, None, None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(super::import(Box::new(Cursor::new(bytes.to_vec())), node, &[]))
}

/// Lines as `export` writes them, and others.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let known = select(vec![
        r#"{"kind":"export","format":1}"#,
        r#"{"kind":"export","format":2}"#,
        r#"{"kind":"export","format":3}"#,
        r#"{"kind":"export","format":4}"#,
        r#"{"kind":"end","lines":0,"digest":"0"}"#,
        r#"{"kind":"export"}"#,
        r#"{"kind":"end","lines":0}"#,
        r#"{"kind":"end","lines":1}"#,
        r#"{"kind":"end"}"#,
        r#"{"kind":"instance","provider":{"lease":{"kind":"stream"}}}"#,
        r#"{"kind":"namespace","namespace":"a"}"#,
        r#"{"kind":"service","namespace":7,"service":null,"settings":[]}"#,
        r#"{"kind":"instance","namespace":"a","service":"b","id":"c","provider":7,"operator":[]}"#,
        r#"{"kind":"override","namespace":"a","service":"b","id":"c","operator":7,"kept":[]}"#,
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
fn what_was_changed_on_the_way_is_said_to_be() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let of = |digest: &str| {
        import(
            format!("{{\"kind\":\"export\",\"format\":2}}\n{{\"kind\":\"end\",\"lines\":0,\"digest\":\"{digest}\"}}\n")
                .as_bytes(),
        )
        .0
    };
    assert!(of(empty).is_ok());
    let said = of(&"0".repeat(64)).unwrap_err().to_string();
    assert!(said.starts_with("line 2: it says digest 000") && said.ends_with(empty), "{said}");
}

/// Answers each request with the next status, the last one for ever; how many there were.
async fn answering(statuses: &[u16], lines: &str) -> (Result<(), Failure>, usize) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::parse(&listener.local_addr().unwrap().to_string()).unwrap();
    let (statuses, asked) = (statuses.to_vec(), std::sync::Arc::new(AtomicUsize::new(0)));
    let counted = std::sync::Arc::clone(&asked);
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut came = [0; 4_096];
            while stream.read(&mut came).await.is_ok_and(|bytes| bytes > 0) {
                let at = counted.fetch_add(1, Relaxed).min(statuses.len() - 1);
                let answer = format!("HTTP/1.1 {} x\r\ncontent-length: 2\r\n\r\n{{}}", statuses[at]);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    let ended =
        super::import(Box::new(Cursor::new(lines.as_bytes().to_vec())), Node::new(target, None, None), &[1; 9]).await.0;
    serving.abort();
    (ended, asked.load(Relaxed))
}

/// Three namespaces.
const THREE: &str = r#"{"kind":"export","format":2}
{"kind":"namespace","namespace":"a"}
{"kind":"namespace","namespace":"b"}
{"kind":"namespace","namespace":"c"}
{"kind":"end","lines":3}
"#;

#[tokio::test]
async fn what_a_node_cannot_do_now_is_asked_again() {
    let (ended, asked) = answering(&[201, 503, 429, 504, 201], THREE).await;
    assert!(ended.is_ok(), "{ended:?}");
    assert_eq!(asked, 6);
    // Not for ever.
    let (ended, asked) = answering(&[201, 503], THREE).await;
    assert!(matches!(ended, Err(Failure::Refused(refusal)) if refusal.status == 503));
    assert_eq!(asked, 2 + 9);
    // Nor one that never answered at all: it may be the wrong one.
    assert_eq!(answering(&[503], THREE).await.1, 1);
    // What is wrong with a line does not pass.
    let (ended, asked) = answering(&[201, 400, 201], THREE).await;
    assert!(matches!(ended, Err(Failure::Refused(refusal)) if refusal.status == 400));
    assert_eq!(asked, 3);
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
                let head = ["1", "2", "3"].iter().any(|format| text.starts_with(&format!(r#"{{"kind":"export","format":{format}}}"#)));
                prop_assert!(head && text.contains(r#""kind":"end""#), "{}", text);
            }
            Err(Failure::Usage(said)) => {
                prop_assert!(said.starts_with("line ") || said.starts_with("the last line is not there"), "{}", said);
            }
            Err(other) => prop_assert!(matches!(other, Failure::Unreachable { .. }), "{}", other),
        }
    }
}
