//! What a node may answer, were it no node, and what a person may write.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::client::failure::Refusal;
use crate::client::json as documents;
use crate::client::secret;
use crate::client::transfer;
use crate::client::watch::Event;

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let pieces = vec![
        "event: snapshot",
        "event:change",
        "id: 1.2.3",
        "id",
        "data: {\"a\":\"ü\"}",
        "data:",
        "data",
        "data: x",
        ": comment",
        "retry: 500",
        "retry: 18446744073709551615",
        "retry: -1",
        "retry: x",
        "event",
        "\n",
        "\n",
        "\r\n",
        "\n\n",
        "\r",
        ":",
        "nonsense: 1",
        "\u{feff}",
    ];
    let piece =
        prop_oneof![12 => select(pieces).prop_map(|piece| piece.as_bytes().to_vec()), 1 => vec(any::<u8>(), 0..4)];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// As a reader of whole lines would have it.
fn by_line(bytes: &[u8]) -> Vec<Event> {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(&[][..], |at| &bytes[..at]);
    let mut events = Vec::new();
    let mut event = Event::default();
    let lines = whole.split(|byte| *byte == b'\n').filter(|_| bytes.contains(&b'\n'));
    for line in lines {
        let line = String::from_utf8_lossy(line).trim_end_matches('\r').to_owned();
        let (name, value) = line.split_once(':').map_or((&*line, ""), |(name, value)| (name, value));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match name {
            "" if line.is_empty() => {
                let event = std::mem::take(&mut event);
                events.extend(Some(event).filter(|event| !event.body.is_empty()));
            }
            "event" => event.kind = value,
            "id" => event.id = Some(value),
            "data" if event.body.is_empty() => event.body = value,
            "data" => event.body = format!("{}\n{value}", event.body),
            _ => {}
        }
    }
    events
}

fn document() -> impl Strategy<Value = serde_json::Value> {
    let names = || {
        select(vec![
            "items",
            "empty",
            "reason",
            "last_removed_at",
            "detail",
            "title",
            "code",
            "field",
            "status",
            "lease",
            "kind",
            "provider",
            "weight",
            "provider_weight",
            "operator",
            "keep_ms",
            "metadata",
            "host",
        ])
    };
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|truth| json!(truth)),
        any::<i64>().prop_map(|number| json!(number)),
        "\\PC{0,6}".prop_map(|text| json!(text)),
        Just(json!("filtered")),
        Just(json!("stream")),
    ];
    leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            3 => vec((names(), inner.clone()), 0..5).prop_map(|fields| {
                serde_json::Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
            1 => vec(inner, 0..4).prop_map(|items| json!(items)),
        ]
    })
}

proptest! {
    #[test]
    fn a_stream_is_the_same_events_in_any_pieces(bytes in stream(), sizes in vec(1_usize..9, 1..12)) {
        let mut whole = Events::default();
        let wanted = whole.take(&bytes);
        prop_assert_eq!(&wanted, &by_line(&bytes));
        let mut events = Events::default();
        let (mut rest, mut sizes, mut found) = (&bytes[..], sizes.into_iter().cycle(), Vec::new());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(sizes.next().unwrap().min(rest.len()));
            found.extend(events.take(piece));
            rest = behind;
        }
        prop_assert_eq!(found, wanted);
        prop_assert_eq!(events.told, whole.told);
        // However long it says, and however often: a pause is bounded.
        let mut pause = Pause::default();
        pause.begin(events.told);
        prop_assert!((0..8).all(|_| pause.next() <= Duration::from_secs(10)));
    }

    #[test]
    fn no_bytes_are_too_strange_for_a_reader(bytes in vec(any::<u8>(), 0..120), status in any::<u16>()) {
        let mut events = Events::default();
        let bodies: usize = events.take(&bytes).iter().map(|event| event.body.len()).sum();
        // A byte that is no UTF-8 becomes three.
        prop_assert!(bodies <= 3 * bytes.len());
        let refusal = Refusal::read(status, &bytes);
        let start = format!("refused with {status}");
        prop_assert!(refusal.to_string().starts_with(&start));
    }

    #[test]
    fn no_document_is_too_strange(document in document(), status in any::<u16>()) {
        let items = documents::items(&document).len();
        prop_assert_eq!(items, document["items"].as_array().map_or(0, Vec::len));
        prop_assert!(!documents::emptiness(&document).is_empty());
        prop_assert!(!Refusal::of(status, &document).to_string().is_empty());
        prop_assert!(transfer::provider(&document).is_object());
        let shown = cell(&documents::text(&document, "/detail"));
        prop_assert!(!shown.is_empty() && !shown.contains(char::is_control), "{:?}", shown);
    }

    #[test]
    fn a_server_is_the_same_when_it_is_read_again(
        text in prop_oneof![
            "(http://|https://|ftp://|)[a-z0-9.\\[\\]:@/?#%-]{0,24}",
            "(http|https)://([a-z]{1,6}|10\\.0\\.0\\.7|\\[::1\\])(:[0-9]{1,5})?(/[a-z]{0,4}){0,3}",
            "\\PC{0,16}",
        ],
    ) {
        match Target::parse(&text) {
            Ok(target) => {
                let again = Target::parse(&target.to_string());
                let again = again.map_err(|failure| TestCaseError::fail(format!("{text}: {failure}")))?;
                prop_assert_eq!(&again, &target);
                prop_assert!(!target.host.is_empty() && !target.base.ends_with('/'), "{:?}", target);
                let place = Place::new(&["v1", "status"]);
                let uri = [&target.base, place.as_str()].concat().parse::<http::Uri>();
                prop_assert!(uri.is_ok(), "{:?}", target);
                prop_assert!(http::HeaderValue::from_str(&target.authority()).is_ok());
            }
            Err(failure) => prop_assert!(failure.code() == 2 && failure.to_string().contains("allowed: "), "{}", failure),
        }
    }

    #[test]
    fn a_place_is_a_path_of_the_names_it_was_made_of(names in vec("\\PC{0,6}|[/.?#% ]{0,3}", 1..5), value in "\\PC{0,6}") {
        let segments: Vec<&str> = names.iter().map(String::as_str).collect();
        let place = Place::new(&segments).with("key", &value);
        let uri: http::Uri = place.as_str().parse().unwrap();
        let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
        let found: Vec<_> = uri.path().split('/').skip(1).map(decoded).collect();
        prop_assert_eq!(found, names);
        prop_assert_eq!(decoded(uri.query().unwrap()), format!("key={value}"));
    }

    #[test]
    fn a_pair_is_what_it_was(text in "[a-z=]{0,6}|\\PC{0,8}") {
        match pair(&text) {
            Ok((key, value)) => {
                prop_assert_eq!(format!("{key}={value}"), text);
                prop_assert!(!key.is_empty() && !key.contains('='));
            }
            Err(wrong) => prop_assert!(wrong.contains("allowed")),
        }
    }

    #[test]
    fn a_token_is_one_word_and_never_shown(bytes in prop_oneof![
        "[ \n]{0,2}[!-~]{0,12}[ \n]{0,2}[!-~]{0,2}".prop_map(String::into_bytes), vec(any::<u8>(), 0..24),
    ]) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        match secret::token(Some(file.path())) {
            Ok(token) => {
                let token = token.unwrap();
                prop_assert_eq!(&token, text.trim());
                let header = http::HeaderValue::from_str(&format!("Bearer {token}"));
                prop_assert!(header.is_ok());
            }
            Err(failure) => {
                let path = file.path().display().to_string();
                let said = failure.to_string().replace(&path, "");
                prop_assert!(failure.code() == 2 && said.starts_with("--token-file"), "{}", said);
                let is_shown = text.split_whitespace().any(|word| word.len() > 7 && said.contains(word));
                prop_assert!(!is_shown, "{}", said);
            }
        }
    }
}
