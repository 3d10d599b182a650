use compute::model::NodeIncarnation;
use http::{HeaderMap, HeaderValue};

use super::{FROM, Key, Secret, Way, WrongSecret, incarnation, named};

const ONE: NodeIncarnation = NodeIncarnation(0x0102);
const TWO: NodeIncarnation = NodeIncarnation(u64::MAX);
const PATH: &str = "/thuban.peer.v1.Peers/Ask";

fn key(secret: &str) -> Key {
    Key::of_calls(&Secret::new(secret).unwrap())
}

#[test]
fn a_proof_is_good_for_what_it_was_made_for_and_nothing_else() {
    let key_of_all = key("a secret of the cluster");
    let proof = key_of_all.proof(Way::Call, PATH, ONE, TWO);
    assert!(proof.is_sensitive());
    assert!(key_of_all.proves(Some(&proof), Way::Call, PATH, ONE, TWO));
    assert!(!key_of_all.proves(Some(&proof), Way::Answer, PATH, ONE, TWO));
    assert!(!key_of_all.proves(Some(&proof), Way::Call, "/thuban.peer.v1.Peers/Drain", ONE, TWO));
    assert!(!key_of_all.proves(Some(&proof), Way::Call, PATH, TWO, ONE));
    assert!(!key_of_all.proves(Some(&proof), Way::Call, PATH, ONE, ONE));
    assert!(!key("a secret of another cluster").proves(Some(&proof), Way::Call, PATH, ONE, TWO));
    assert!(!key_of_all.proves(None, Way::Call, PATH, ONE, TWO));
}

#[test]
fn what_is_no_proof_proves_nothing() {
    let key = key("a secret of the cluster");
    let proof = key.proof(Way::Call, PATH, ONE, TWO);
    let good = proof.to_str().unwrap().to_owned();
    let last = if good.ends_with('0') { "1" } else { "0" };
    let nearly = format!("{}{last}", &good[..63]);
    for wrong in ["", "00", &good[..62], &format!("{good}00"), &nearly, &"é".repeat(32), &"zz".repeat(32)] {
        let value = HeaderValue::from_bytes(wrong.as_bytes()).unwrap();
        assert!(!key.proves(Some(&value), Way::Call, PATH, ONE, TWO), "{wrong}");
    }
}

/// A node of another version must come to the same.
#[test]
fn the_proof_is_as_specified() {
    let proof = key("0123456789abcdef").proof(Way::Call, PATH, NodeIncarnation(1), NodeIncarnation(2));
    assert_eq!(proof.to_str().unwrap(), "259c8d884843d7e2355680eb640d03ae8ca9c54cd77342d8f4656b91eb673468");
}

#[test]
fn a_secret_has_a_length_and_is_not_shown() {
    assert_eq!(Secret::new("fifteen bytes !"), Err(WrongSecret::Length(15)));
    assert_eq!(Secret::new(vec![7; 5_000]), Err(WrongSecret::Length(5_000)));
    let secret = Secret::new("0123456789abcdef").unwrap();
    assert_eq!(format!("{secret:?}"), "Secret(…)");
    assert!(!WrongSecret::Length(3).to_string().contains("abc"));
}

#[test]
fn a_node_is_named_by_sixteen_digits() {
    let mut headers = HeaderMap::new();
    assert_eq!(named(&headers, &FROM), None);
    headers.insert(FROM, incarnation(ONE));
    assert_eq!(headers[FROM], "0000000000000102");
    assert_eq!(named(&headers, &FROM), Some(ONE));
    for wrong in ["", "102", "+000000000000102", "000000000000010g", "00000000000001020"] {
        headers.insert(FROM, HeaderValue::from_static(wrong));
        assert_eq!(named(&headers, &FROM), None, "{wrong}");
    }
}
