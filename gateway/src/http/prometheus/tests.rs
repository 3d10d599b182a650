use super::{own_label, target};
use crate::http::encode::Json;

#[test]
fn a_target_is_an_address_that_can_be_called() {
    assert_eq!(target("10.0.0.7", 80), "10.0.0.7:80");
    assert_eq!(target("orders.example", 80), "orders.example:80");
    assert_eq!(target("fe80::1", 80), "[fe80::1]:80");
}

#[test]
fn a_label_has_letters_digits_and_underscores_and_is_there_once() {
    let mut seen = Vec::new();
    let body = Json::of_object(|json| {
        own_label(json, &mut seen, "metadata", "team.name", "a");
        own_label(json, &mut seen, "metadata", "team-name", "b");
        own_label(json, &mut seen, "port", "ä", "c");
    });
    let labels: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let wanted = serde_json::json!({ "__meta_thuban_metadata_team_name": "a", "__meta_thuban_port__": "c" });
    assert_eq!(labels, wanted);
}
