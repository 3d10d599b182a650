use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use compute::testing::ManualClock;
use futures::FutureExt;
use hyper::body::{Body, Frame};
use proptest::prelude::*;
use tonic_health::pb::HealthCheckRequest as Named;

use super::{Messages, Reply, Unreadable, framed, put_framed, unframed};
use crate::admission::{Admission, BodyLimits, Config};

/// A body of these chunks; an error is a lost connection.
struct Chunks(VecDeque<Result<Bytes, &'static str>>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(self.0.pop_front().map(|chunk| chunk.map(Frame::data)))
    }
}

fn body(chunks: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Chunks {
    Chunks(chunks.into_iter().map(|chunk| Ok(Bytes::from(chunk.into()))).collect())
}

fn named(name: &str) -> Named {
    Named { service: name.to_owned() }
}

fn room(bytes_max: usize) -> Admission {
    let bodies = BodyLimits { bytes_max, ..BodyLimits::default() };
    let opened = Admission::open(Config { bodies, ..Config::default() }, ManualClock::new());
    block_on(opened).expect("there is no token file")
}

fn only(body: Chunks, bytes_max: usize) -> Result<Named, Unreadable> {
    block_on(Messages::new(body, bytes_max, room(usize::MAX).body_bytes()).only())
}

/// Everything that a request holds, or why the rest can't be read.
fn all(body: Chunks, bytes_max: usize) -> (Vec<Named>, Option<Unreadable>) {
    let mut messages = Messages::new(body, bytes_max, room(usize::MAX).body_bytes());
    let mut read = Vec::new();
    loop {
        match block_on(std::future::poll_fn(|cx| messages.poll_message::<Named>(cx))) {
            Ok(Some(message)) => read.push(message),
            Ok(None) => return (read, None),
            Err(wrong) => return (read, Some(wrong)),
        }
    }
}

#[test]
fn a_message_is_read_however_it_is_cut() {
    let whole = framed(&named("orders"));
    for cut in 0..=whole.len() {
        let (start, end) = whole.split_at(cut);
        assert_eq!(only(body([start, end]), 64), Ok(named("orders")), "cut at {cut}");
    }
    assert_eq!(only(body(whole.iter().map(|byte| vec![*byte])), 64), Ok(named("orders")));
}

#[test]
fn the_size_is_judged_by_the_header_alone() {
    let large = [0, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(only(body([large]), 64), Err(Unreadable::TooLarge { bytes: u32::MAX as usize, bytes_max: 64 }));
    let (start, end) = large.split_at(4);
    assert!(matches!(only(body([start, end]), 64), Err(Unreadable::TooLarge { .. })));
    let name = "n".repeat(61);
    let exact = framed(&named(&name));
    assert_eq!(exact.len(), 5 + 63);
    assert!(only(body([exact.to_vec()]), 63).is_ok());
    assert!(matches!(only(body([exact.to_vec()]), 62), Err(Unreadable::TooLarge { bytes: 63, bytes_max: 62 })));
}

#[test]
fn what_is_no_message_is_refused_as_what_it_is() {
    let whole = framed(&named("orders"));
    assert_eq!(only(body([[]]), 64), Err(Unreadable::Missing));
    assert_eq!(only(body([&whole[..3]]), 64), Err(Unreadable::CutShort));
    assert_eq!(only(body([&whole[..7]]), 64), Err(Unreadable::CutShort));
    assert_eq!(only(body([&whole[..], &whole[..]]), 64), Err(Unreadable::Surplus));
    assert_eq!(only(body([[1, 0, 0, 0, 0]]), 64), Err(Unreadable::Compressed));
    assert!(matches!(only(body([[0, 0, 0, 0, 2, 0x0a, 9]]), 64), Err(Unreadable::Malformed(_))));
    assert!(matches!(only(body([[0, 0, 0, 0, 3, 0x0a, 1, 0xff]]), 64), Err(Unreadable::Malformed(_))));
    let lost = Chunks(VecDeque::from([Ok(whole.slice(..4)), Err("reset")]));
    assert_eq!(only(lost, 64), Err(Unreadable::Lost("reset".to_owned())));
}

#[test]
fn a_broken_message_does_not_hide_those_before_it() {
    let mut bytes = BytesMut::new();
    put_framed(&mut bytes, &named("one"));
    put_framed(&mut bytes, &named("two"));
    bytes.extend_from_slice(&[0, 0, 0, 0, 2, 0x0a, 9]);
    let (read, wrong) = all(body([bytes.to_vec()]), 64);
    assert_eq!(read, [named("one"), named("two")]);
    assert!(matches!(wrong, Some(Unreadable::Malformed(_))), "{wrong:?}");
}

/// The data of a reply, and its trailers' status.
fn written(mut reply: Reply) -> (Vec<u8>, Option<String>) {
    let mut data = Vec::new();
    let mut status = None;
    while let Some(frame) = block_on(std::future::poll_fn(|cx| Pin::new(&mut reply).poll_frame(cx))) {
        let frame: Frame<Bytes> = frame.expect("never an error");
        match frame.into_data() {
            Ok(chunk) => data.extend_from_slice(&chunk),
            Err(frame) => {
                let trailers = frame.into_trailers().expect("data or trailers");
                status = trailers.get("grpc-status").map(|code| code.to_str().expect("digits").to_owned());
            }
        }
    }
    assert!(reply.is_end_stream());
    (data, status)
}

#[test]
fn a_reply_ends_with_its_status() {
    let frame = framed(&named("orders"));
    let whole = Reply::whole(frame.clone()).into_body();
    assert_eq!(written(whole), (frame.to_vec(), Some("0".to_owned())));
    let good = [Ok(frame.clone()), Ok(frame.clone())];
    let stream = Reply::stream(Box::pin(futures::stream::iter(good))).into_body();
    assert_eq!(written(stream), ([&frame[..], &frame[..]].concat(), Some("0".to_owned())));
    let bad = [Ok(frame.clone()), Err(tonic::Status::aborted("taken"))];
    let stream = Reply::stream(Box::pin(futures::stream::iter(bad))).into_body();
    assert_eq!(written(stream), (frame.to_vec(), Some("10".to_owned())));
}

#[test]
fn a_refusal_is_headers_alone() {
    let refusal = Reply::refusal(tonic::Status::not_found("no such thing"));
    assert_eq!(refusal.headers()["grpc-status"], "5");
    assert!(refusal.body().is_end_stream());
}

proptest! {
    #[test]
    fn messages_come_out_as_they_went_in(
        names in proptest::collection::vec("[a-z]{0,40}", 0..12),
        cuts in proptest::collection::vec(1_usize..30, 1..60),
    ) {
        let mut bytes = BytesMut::new();
        names.iter().for_each(|name| put_framed(&mut bytes, &named(name)));
        let whole = bytes.freeze();
        let parts: Vec<_> = unframed(whole.clone()).collect();
        prop_assert_eq!(parts.len(), names.len());
        let mut rest = &whole[..];
        let mut chunks = Vec::new();
        let mut cuts = cuts.into_iter().cycle();
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            chunks.push(chunk.to_vec());
            rest = behind;
        }
        let (read, wrong) = all(body(chunks), 64);
        prop_assert_eq!(wrong, None);
        prop_assert_eq!(read, names.iter().map(|name| named(name)).collect::<Vec<_>>());
    }

    #[test]
    fn no_bytes_are_too_strange(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8)) {
        let total: usize = chunks.iter().map(Vec::len).sum();
        let (read, _) = all(body(chunks), 1 << 20);
        prop_assert!(read.len() * 5 <= total);
    }
}

/// Nothing here waits for anything.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("it is all there")
}

#[test]
fn unfinished_messages_share_one_room() {
    // A quarter of it is for small ones alone.
    let room = room(240 << 10);
    let begin = |bytes: usize| {
        let mut start = vec![0, 0, 0xff, 0xff, 0xff];
        start.resize(5 + bytes, 0);
        let chunks = Chunks(VecDeque::from([Ok(Bytes::from(start))]));
        Messages::new(Unfinished(chunks), 32 << 20, room.body_bytes())
    };
    let poll = |messages: &mut Messages<Unfinished>| {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        messages.poll_bytes(&mut cx)
    };
    let mut first = begin(150 << 10);
    assert!(poll(&mut first).is_pending());
    // What is small has its place all the same.
    assert!(poll(&mut begin(50 << 10)).is_pending());
    assert_eq!(poll(&mut begin(100 << 10)), Poll::Ready(Err(Unreadable::NoRoom)));
    drop(first);
    let mut again = begin(150 << 10);
    assert!(poll(&mut again).is_pending());
    // Once it is whole it is out of the room.
    let rest = vec![0; 0x00ff_ffff - (150 << 10)];
    again.body.0.0.push_back(Ok(Bytes::from(rest)));
    assert!(matches!(poll(&mut again), Poll::Ready(Ok(Some(_)))));
    assert!(poll(&mut begin(150 << 10)).is_pending());
}

/// A body that goes on, some time.
struct Unfinished(Chunks);

impl Body for Unfinished {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        if self.0.0.is_empty() { Poll::Pending } else { Pin::new(&mut self.0).poll_frame(cx) }
    }
}
