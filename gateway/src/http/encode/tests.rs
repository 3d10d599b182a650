use proptest::prelude::*;
use serde_json::{Value, json};

use super::Json;

fn parsed(json: Json) -> Value {
    let bytes = json.into_bytes();
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&bytes)))
}

#[test]
fn what_is_written_is_json() {
    let mut json = Json::with_capacity(0);
    json.object(|json| {
        json.text("text", "a\"b\\c\n\r\t\u{1}\u{7f}ä\u{1f600}");
        json.number("number", u64::MAX);
        json.fraction("fraction", 0.25);
        json.fraction("nothing", f64::NAN);
        json.flag("flag", false);
        json.null("null");
        json.time("time", 1_700_000_000_000);
        json.revision("revision", "1.57.2".parse().unwrap());
        json.revision("unlogged", compute::model::Revision::ZERO);
        json.list("list", |json| {
            json.element(|json| json.value("x"));
            json.element(|json| json.object(|_| {}));
            json.element(|json| json.object(|json| json.list("inner", |_| {})));
        });
        json.key("object");
        json.object(|json| json.text("\"key\"", ""));
        json.flag("last", true);
    });
    let wanted = json!({
        "text": "a\"b\\c\n\r\t\u{1}\u{7f}ä\u{1f600}", "number": u64::MAX, "fraction": 0.25, "nothing": 0,
        "flag": false, "null": null, "time": "2023-11-14T22:13:20.000Z", "revision": "1.57.2", "unlogged": null,
        "list": ["x", {}, { "inner": [] }], "object": { "\"key\"": "" }, "last": true,
    });
    assert_eq!(parsed(json), wanted);
}

proptest! {
    #[test]
    fn every_text_comes_back(key in any::<String>(), value in any::<String>(), number in any::<u64>()) {
        let mut json = Json::with_capacity(0);
        json.object(|json| {
            json.list("list", |json| json.element(|json| json.value(&value)));
            json.key("object");
            json.object(|json| json.text(&key, &value));
            json.number("number", number);
        });
        let bytes = json.into_bytes();
        prop_assert!(!bytes.contains(&b'\n'), "an event's data is one line");
        let back: Value = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(&back["object"][&key], &Value::from(value.clone()));
        prop_assert_eq!(&back["list"][0], &Value::from(value));
        prop_assert_eq!(&back["number"], &Value::from(number));
    }
}
