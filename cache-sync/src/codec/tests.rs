mod fuzz;
mod golden;
mod strategy;

use compute::model::limits::{FRAME_BYTES_MAX, FRAME_CHANGES_MAX};
use compute::model::{
    Author, Base, Change, Frame, InstanceKey, Lease, LogIdentity, NodeIncarnation, Op, Origin, Position, Provider,
    ProviderSpec, Revision,
};
use proptest::prelude::*;
use prost::Message as _;
use schemas::thuban::change::v1 as wire;

use super::{DecodeError, EncodeError, checksum, decode, encode};

proptest! {
    #[test]
    fn what_is_written_is_read_back(frame in strategy::frame(), generation in 1u8..=127) {
        let bytes = encode(&frame, generation).unwrap();
        let decoded = decode(&bytes).unwrap();
        prop_assert_eq!(&decoded.frame, &frame);
        prop_assert_eq!(decoded.generation, generation);
        prop_assert_eq!(encode(&decoded.frame, generation).unwrap(), bytes);
    }

    #[test]
    fn the_bytes_are_those_of_the_generated_messages(frame in strategy::frame()) {
        let bytes = encode(&frame, 1).unwrap();
        let message = wire::Frame::decode(&bytes[..]).unwrap();
        prop_assert_eq!(message.encode_to_vec(), bytes);
    }

    #[test]
    fn a_weight_is_never_below_the_bytes(frame in strategy::frame()) {
        let bytes = encode(&frame, 1).unwrap().len();
        prop_assert!(bytes <= frame.weight(), "{} bytes, weight {}", bytes, frame.weight());
    }

    #[test]
    fn what_could_not_be_read_is_not_written(op in strategy::loose_op()) {
        let frame = frame_of(vec![change(op)]);
        if let Ok(bytes) = encode(&frame, 1) {
            prop_assert_eq!(decode(&bytes).unwrap().frame, frame);
        }
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        check_any(&bytes)?;
    }

    #[test]
    fn a_broken_frame_is_a_frame_or_an_error(
        frame in strategy::frame(),
        hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode(&frame, 1).unwrap();
        for (place, value) in hits {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        check_any(&bytes)?;
        check_any(&bytes[..cut.index(bytes.len())])?;
    }
}

/// Nothing panics, errors say something, and what is taken for a frame can be written again.
fn check_any(bytes: &[u8]) -> Result<(), TestCaseError> {
    match decode(bytes) {
        Ok(decoded) => {
            let again = encode(&decoded.frame, decoded.generation).unwrap();
            prop_assert_eq!(decode(&again).unwrap(), decoded);
        }
        Err(error) => prop_assert!(error.to_string().len() > 8, "{}", error),
    }
    Ok(())
}

fn frame_of(changes: Vec<Change>) -> Frame {
    Frame { identity: LogIdentity([1; 16]), writer: NodeIncarnation(7), time_ms: 1_700_000_000_000, changes }
}

fn change(op: Op) -> Change {
    Change { origin: Origin { node: NodeIncarnation(7), counter: 1 }, author: Author::new("ann", "http"), op }
}

fn register(lease: Lease) -> Op {
    let spec = ProviderSpec { lease, ..ProviderSpec::at("10.0.0.7", 8080) };
    register_with(Provider::new(&spec).unwrap())
}

fn register_with(provider: Provider) -> Op {
    Op::Register {
        instance: InstanceKey::new("default", "orders", "a").unwrap(),
        provider: Box::new(provider),
        base: Base::Absent(Position::ZERO),
        epoch: None,
    }
}

/// The message of a frame with one register, for tests that break it.
fn message() -> wire::Frame {
    wire::Frame::decode(&encode(&frame_of(vec![change(register(Lease::DEFAULT))]), 1).unwrap()[..]).unwrap()
}

fn with_register(edit: impl FnOnce(&mut wire::Register)) -> wire::Frame {
    let mut frame = message();
    match frame.changes[0].op.as_mut() {
        Some(wire::change::Op::Register(register)) => edit(register),
        other => panic!("not a register: {other:?}"),
    }
    frame
}

fn error_of(frame: &wire::Frame) -> String {
    decode(&frame.encode_to_vec()).unwrap_err().to_string()
}

#[test]
fn errors_name_what_is_wrong() {
    let cases = [
        (wire::Frame::default(), "format_version is \"0\"; allowed: 1 or more"),
        (wire::Frame { format_version: 2, ..message() }, "frame format 2; this program reads up to 1"),
        (wire::Frame { identity: vec![0; 15], ..message() }, "identity is \"15 bytes\"; allowed: 16 bytes"),
        (wire::Frame { generation: 0, ..message() }, "generation is \"0\"; allowed: 1 to 127"),
        (wire::Frame { generation: 300, ..message() }, "generation is \"300\"; allowed: 1 to 127"),
        (wire::Frame { authors: vec![], ..message() }, "change 0: author is \"0\"; allowed: a place among"),
        (with_register(|r| r.instance = None), "change 0: instance is \"missing\"; allowed: present"),
        (with_register(|r| r.provider = None), "change 0: register.provider is \"missing\""),
        (with_register(|r| r.base = None), "change 0: base.seen is \"missing\""),
        (with_register(|r| r.base = Some(wire::Base { seen: None })), "change 0: base.seen is \"missing\""),
        (with_register(|r| r.provider.as_mut().unwrap().host = "a b".into()), "change 0: host is \"a b\""),
        (with_register(|r| r.provider.as_mut().unwrap().port = 70_000), "change 0: port is \"70000\"; allowed: 0 to"),
        (with_register(|r| r.provider.as_mut().unwrap().lease = None), "change 0: lease is \"missing\""),
        (with_register(|r| r.instance.as_mut().unwrap().id = "..".into()), "change 0: id is \"..\""),
    ];
    for (frame, wanted) in cases {
        let error = error_of(&frame);
        assert!(error.contains(wanted), "\"{error}\" does not say \"{wanted}\"");
    }
}

#[test]
fn a_change_of_a_newer_program_is_refused() {
    let mut bytes = message().encode_to_vec();
    // Field 7, a change, whose only content is field 900, which no program knows yet.
    bytes.extend_from_slice(&[0x3a, 4, 0xa2, 0x38, 1, 0]);
    let error = decode(&bytes).unwrap_err();
    assert_eq!(error.to_string(), "change 1: op is \"missing or unknown\"; allowed: one that this program knows");
}

#[test]
fn text_that_is_not_utf8_is_named() {
    let mut bytes = encode(&frame_of(vec![change(register(Lease::DEFAULT))]), 1).unwrap();
    let place = bytes.windows(6).position(|w| w == b"orders").unwrap();
    bytes[place] = 0xff;
    let error = decode(&bytes).unwrap_err().to_string();
    assert!(error.contains("InstanceKey.service") && error.contains("UTF-8"), "{error}");
}

#[test]
fn limits_hold_before_anything_is_made() {
    // Two bytes make a change: this many would be a gigabyte of messages.
    let bytes = [0x3a, 0].repeat(FRAME_BYTES_MAX / 2);
    assert!(matches!(decode(&bytes), Err(DecodeError::TooManyChanges { changes }) if changes == FRAME_BYTES_MAX / 2));
    let bytes = [0x32, 0].repeat(FRAME_CHANGES_MAX + 1);
    assert!(matches!(decode(&bytes), Err(DecodeError::TooManyChanges { changes }) if changes == FRAME_CHANGES_MAX + 1));
    assert!(matches!(decode(&vec![0; FRAME_BYTES_MAX + 1]), Err(DecodeError::TooLong { .. })));
    let wide = frame_of(vec![change(register(Lease::DEFAULT)); FRAME_CHANGES_MAX + 1]);
    assert!(matches!(encode(&wide, 1), Err(EncodeError::TooManyChanges { .. })));
    assert!(matches!(encode(&frame_of(vec![]), 0), Err(EncodeError::Generation { generation: 0 })));
    assert!(matches!(encode(&frame_of(vec![]), 128), Err(EncodeError::Generation { generation: 128 })));
}

#[test]
fn the_largest_change_fits_many_times() {
    let largest = change(strategy::largest());
    let one = encode(&frame_of(vec![largest.clone()]), 1).unwrap().len();
    assert!(one > 20_000, "{one} bytes");
    let frame = frame_of(vec![largest; FRAME_BYTES_MAX / (2 * one)]);
    assert!(encode(&frame, 1).unwrap().len() <= FRAME_BYTES_MAX);
}

#[test]
fn a_frame_beyond_the_bytes_is_refused() {
    let largest = change(strategy::largest());
    let frame = frame_of(vec![largest; FRAME_BYTES_MAX / 20_000 + 1]);
    assert!(matches!(encode(&frame, 1), Err(EncodeError::TooLong { bytes }) if bytes > FRAME_BYTES_MAX));
}

#[test]
fn authors_are_written_once() {
    let op = |n| Op::Confirm { instance: InstanceKey::new("a", "b", n).unwrap(), suspicion: Revision::ZERO };
    let by = |name: &str, n| Change { author: Author::new(name, "http"), ..change(op(n)) };
    let frame = frame_of(vec![by("ann", "1"), by("bob", "2"), by("ann", "3"), by("ann", "4")]);
    let bytes = encode(&frame, 1).unwrap();
    assert_eq!(bytes.windows(3).filter(|w| w == b"ann").count(), 1);
    assert_eq!(decode(&bytes).unwrap().frame, frame);
}

#[test]
fn the_checksum_is_of_the_specified_hash() {
    // The published value for no bytes and seed 0.
    assert_eq!(checksum(b""), 0x2d06_8005_38d3_94c2);
    assert_ne!(checksum(b"a"), checksum(b"b"));
}
