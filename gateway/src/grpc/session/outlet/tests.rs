use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::task::noop_waker;
use futures::{FutureExt, StreamExt};
use tonic::Status;

use super::{ROOM_BYTES, pair};

#[test]
fn what_was_pushed_comes_out_in_order_and_then_the_status() {
    let (outlet, mut drained) = pair();
    outlet.push(Bytes::from_static(b"one"));
    outlet.push(Bytes::from_static(b"two"));
    outlet.end(Status::aborted("taken"));
    let told: Vec<_> = block_on(async { drained.by_ref().collect().await });
    let told: Vec<_> = told.into_iter().map(|item| item.map_err(|status| status.code())).collect();
    let wanted = [Ok(Bytes::from_static(b"one")), Ok(Bytes::from_static(b"two")), Err(tonic::Code::Aborted)];
    assert_eq!(told, wanted);
    assert!(block_on(drained.next()).is_none());
}

#[test]
fn an_outlet_that_is_dropped_ends_the_stream_well() {
    let (outlet, drained) = pair();
    outlet.push(Bytes::from_static(b"one"));
    drop(outlet);
    assert_eq!(block_on(drained.count()), 1);
}

#[test]
fn a_reader_that_leaves_wakes_the_writer() {
    let (outlet, drained) = pair();
    let (waker, count) = counting();
    let mut cx = Context::from_waker(&waker);
    assert!(!outlet.is_gone(&mut cx));
    drop(drained);
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 1);
    assert!(outlet.is_gone(&mut cx));
}

#[test]
fn room_comes_back_with_a_wake_up() {
    let (outlet, mut drained) = pair();
    let (waker, count) = counting();
    let mut cx = Context::from_waker(&waker);
    let large = Bytes::from(vec![0; ROOM_BYTES / 2]);
    outlet.push(large.clone());
    assert!(outlet.has_room(&mut cx));
    outlet.push(large.clone());
    assert!(!outlet.has_room(&mut cx));
    let idle = noop_waker();
    let mut reader = Context::from_waker(&idle);
    assert!(matches!(drained.poll_next_unpin(&mut reader), Poll::Ready(Some(Ok(_)))));
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 1);
    assert!(outlet.has_room(&mut cx));
}

#[test]
fn a_reader_that_waits_is_woken_by_what_comes() {
    let (outlet, mut drained) = pair();
    let (waker, count) = counting();
    let mut cx = Context::from_waker(&waker);
    assert!(drained.poll_next_unpin(&mut cx).is_pending());
    outlet.push(Bytes::from_static(b"one"));
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 1);
    assert!(matches!(drained.poll_next_unpin(&mut cx), Poll::Ready(Some(Ok(_)))));
    assert!(drained.poll_next_unpin(&mut cx).is_pending());
    drop(outlet);
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 2);
    assert!(matches!(drained.poll_next_unpin(&mut cx), Poll::Ready(None)));
}

struct Counting(std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl std::task::Wake for Counting {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

fn counting() -> (Waker, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let count = std::sync::Arc::default();
    (Waker::from(std::sync::Arc::new(Counting(std::sync::Arc::clone(&count)))), count)
}

/// Nothing here waits for anything.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("it is all there")
}
