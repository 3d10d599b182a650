//! Whatever bytes come to a method of the gRPC door: a status of the contract, never a fault of the node, and what is
//! refused as a value names the field and what is allowed.

use axum::body::Body;
use gateway::grpc::Door;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::BodyExt;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestCaseResult;
use prost::Message;
use schemas::thuban::v1 as pb;
use tonic::{Code, Status};
use tower::Service;

use crate::fuzz::{SHORT, hold, in_no_time, runtime, spoilt, text};
use crate::fuzz_messages::{reads, session, writes};
use crate::grpc_hostile::framed;
use crate::grpc_world::{SOON, World, field, reason};

#[derive(Clone, Debug)]
struct Asked {
    path: &'static str,
    /// Each in a frame of its own.
    messages: Vec<Vec<u8>>,
    /// The generated types made them, so only their values can be wrong.
    is_well_formed: bool,
}

fn asked() -> impl Strategy<Value = Asked> {
    let one = proptest::strategy::Union::new(reads().into_iter().chain(writes()));
    let one = one.prop_map(|(path, message)| (path, vec![message]));
    let session = session().prop_map(|messages| ("/thuban.v1.Registry/Session", messages));
    let whole = prop_oneof![8 => one, 2 => session].boxed();
    let good = whole.clone().prop_map(|(path, messages)| Asked { path, messages, is_well_formed: true });
    let spoilt = whole.prop_flat_map(|(path, messages)| {
        let spoilt: Vec<_> = messages.into_iter().map(|message| spoilt(Just(message))).collect();
        spoilt.prop_map(move |messages| Asked { path, messages, is_well_formed: false })
    });
    let paths = vec![
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/thuban.v1.Registry/Discover",
        "/thuban.v1.Registry/Session",
        "/thuban.v1.Admin/PatchOperator",
        "/thuban.v1.Registry/Nonsense",
    ];
    let any = (select(paths), vec(vec(any::<u8>(), 0..40), 0..4)).prop_map(|(path, messages)| Asked {
        path,
        messages,
        is_well_formed: false,
    });
    prop_oneof![6 => good, 3 => spoilt, 1 => any]
}

/// What came of it: the status, if it has ended, and the messages.
async fn answer(door: &Door, asked: &Asked, headers: &[(&'static str, HeaderValue)]) -> (Option<Status>, Vec<Vec<u8>>) {
    let body: Vec<u8> = asked.messages.iter().flat_map(|message| framed(0, message)).collect();
    let mut request =
        Request::post(asked.path).version(http::Version::HTTP_2).header("content-type", "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let response = door.clone().call(request.body(Body::from(body)).expect("a request")).await.expect("never fails");
    assert_eq!(response.status(), 200);
    let (head, mut body) = response.into_parts();
    let mut said: HeaderMap = head.headers;
    let mut data = Vec::new();
    // A stream may stay open for ever; what it says of what it was asked, it says at once.
    let is_stream = ["Watch", "Session", "Info"].iter().any(|end| asked.path.ends_with(end));
    let wait = if is_stream { SHORT } else { SOON };
    while let Ok(Some(frame)) = tokio::time::timeout(wait, body.frame()).await {
        match frame.expect("never an error").into_data() {
            Ok(chunk) => data.extend_from_slice(&chunk),
            Err(frame) => said.extend(frame.into_trailers().expect("data or trailers")),
        }
        if data.len() > 1 << 16 {
            break;
        }
    }
    (Status::from_header_map(&said), unframed(&data))
}

fn unframed(mut data: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some((&[flag, a, b, c, d], rest)) = data.split_first_chunk::<5>() {
        assert_eq!(flag, 0);
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some((message, rest)) = rest.split_at_checked(length) else { break };
        messages.push(message.to_vec());
        data = rest;
    }
    messages
}

fn says_what_is_allowed(detail: &str) -> bool {
    detail.contains("allowed") || detail == "the first message of a session is open"
}

fn blames(problem: &pb::Problem) -> TestCaseResult {
    prop_assert!((400..500).contains(&problem.status) || problem.status == 503, "{:?}", problem);
    // Of bytes that are no message there is no field to blame.
    let is_message = !problem.detail.starts_with("the message is not as its schema says");
    if problem.code == "invalid_argument" && is_message {
        prop_assert!(!problem.field.is_empty() && says_what_is_allowed(&problem.detail), "{:?}", problem);
    }
    prop_assert!(problem.detail.len() < 8_192);
    Ok(())
}

fn judge(asked: &Asked, status: Option<&Status>, messages: &[Vec<u8>]) -> TestCaseResult {
    if let Some(status) = status.filter(|status| status.code() != Code::Ok) {
        let is_ours = !matches!(status.code(), Code::Internal | Code::Unknown | Code::DataLoss | Code::OutOfRange);
        prop_assert!(is_ours, "{:?}", status);
        let is_known = gateway::error::Code::ALL.iter().any(|code| code.as_str() == reason(status));
        prop_assert!(is_known || asked.path.starts_with("/grpc."), "{:?}", status);
        if asked.is_well_formed && reason(status) == "invalid_argument" {
            prop_assert!(!field(status).is_empty() && says_what_is_allowed(status.message()), "{:?}", status);
        }
    }
    for message in messages {
        match asked.path {
            "/thuban.v1.Registry/Register" => registered(&pb::RegisterReply::decode(&message[..]).expect("a reply"))?,
            "/thuban.v1.Registry/Session" => {
                use pb::session_reply::Reply;
                match pb::SessionReply::decode(&message[..]).expect("a reply").reply.expect("never empty") {
                    Reply::Problem(problem) => blames(&problem)?,
                    Reply::Registered(reply) => registered(&reply)?,
                    _ => {}
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn registered(reply: &pb::RegisterReply) -> TestCaseResult {
    for outcome in &reply.items {
        match outcome.outcome.as_ref().expect("never empty") {
            pb::register_outcome::Outcome::Problem(problem) => blames(problem)?,
            pb::register_outcome::Outcome::Instance(instance) => prop_assert!(!instance.id.is_empty()),
        }
    }
    Ok(())
}

/// What asks this very node to drain would get what it asks for, and end the others' test.
fn drains(asked: &Asked) -> bool {
    let node = || pb::DrainNodeRequest::decode(&asked.messages.first()?[..]).ok().map(|request| request.node);
    asked.path.ends_with("/DrainNode") && node().is_some_and(|node| node.is_empty() || node == "thuban")
}

#[test]
fn no_message_is_too_strange_for_a_method() {
    let runtime = runtime();
    let world = runtime.block_on(World::new());
    hold(400, asked(), |asked| {
        if drains(&asked) {
            return Ok(());
        }
        let (status, messages) = runtime.block_on(in_no_time(&world.clock, answer(&world.door, &asked, &[])));
        judge(&asked, status.as_ref(), &messages)
    });
    // And nothing of it harmed the node.
    let good = pb::PutNamespaceRequest { name: "at-the-end".into(), ..pb::PutNamespaceRequest::default() };
    let path = "/thuban.v1.Admin/PutNamespace";
    let asked = Asked { path, messages: vec![good.encode_to_vec()], is_well_formed: true };
    let (status, messages) = runtime.block_on(in_no_time(&world.clock, answer(&world.door, &asked, &[])));
    assert_eq!((status.map(|status| status.code()), messages.len()), (Some(Code::Ok), 1));
}

#[test]
fn no_header_is_too_strange_for_a_call() {
    let runtime = runtime();
    let world = runtime.block_on(World::new());
    let names = vec!["grpc-timeout", "grpc-encoding", "thuban-client", "authorization", "grpc-accept-encoding", "te"];
    let timeout = "[0-9]{0,10}[HMSmunsh ]{0,2}";
    let value = prop_oneof![3 => timeout.prop_map(String::into_bytes), 2 => text().prop_map(String::into_bytes), 1 => vec(any::<u8>(), 0..12)];
    hold(200, (select(names), value), |(name, value)| {
        let Ok(header) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        let asked = Asked { path: "/thuban.v1.Admin/GetStatus", messages: vec![Vec::new()], is_well_formed: true };
        let (status, messages) =
            runtime.block_on(in_no_time(&world.clock, answer(&world.door, &asked, &[(name, header)])));
        let status = status.expect("it has ended");
        judge(&asked, Some(&status), &messages)?;
        if name == "grpc-timeout" {
            let (digits, unit) = value.split_at(value.len().saturating_sub(1));
            let is_timeout = (1..=8).contains(&digits.len())
                && digits.iter().all(u8::is_ascii_digit)
                && unit.iter().all(|unit| b"HMSmun".contains(unit));
            let is_taken = matches!(status.code(), Code::Ok | Code::DeadlineExceeded);
            prop_assert_eq!(is_taken, is_timeout, "{:?}: {:?}", String::from_utf8_lossy(&value), status);
        }
        Ok(())
    });
}
