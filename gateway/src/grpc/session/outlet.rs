//! Where a session's task leaves what its stream is to send: one pair, no queue without a bound.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::Stream;
use tonic::Status;

/// With so much unsent, nothing more is asked for.
const ROOM_BYTES: usize = 256 << 10;

#[derive(Default)]
struct Inner {
    chunks: VecDeque<Bytes>,
    bytes: usize,
    end: Option<Result<(), Status>>,
    /// The reader is gone: the call was cancelled, or its connection lost.
    is_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

type Shared = Arc<Mutex<Inner>>;

fn lock(shared: &Shared) -> MutexGuard<'_, Inner> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The task's end. Dropping it without [`Outlet::end`] ends the stream well.
pub(super) struct Outlet(Shared);

/// The stream's end: the frames of the reply.
pub(super) struct Drained(Shared);

pub(super) fn pair() -> (Outlet, Drained) {
    let shared = Shared::default();
    (Outlet(Arc::clone(&shared)), Drained(shared))
}

impl Outlet {
    pub(super) fn push(&self, chunk: Bytes) {
        let mut inner = lock(&self.0);
        inner.bytes += chunk.len();
        inner.chunks.push_back(chunk);
        let reader = inner.reader.take();
        drop(inner);
        reader.into_iter().for_each(Waker::wake);
    }

    /// What is unsent is sent, and then this is the status.
    pub(super) fn end(self, status: Status) {
        lock(&self.0).end = Some(Err(status));
    }

    /// Whether more may be pushed; if not, the task is woken once it may.
    pub(super) fn has_room(&self, cx: &mut Context<'_>) -> bool {
        let mut inner = lock(&self.0);
        let has_room = inner.bytes < ROOM_BYTES;
        if !has_room {
            inner.await_reader(cx);
        }
        has_room
    }

    /// Whether nobody reads any more; the task is woken when that comes.
    pub(super) fn is_gone(&self, cx: &mut Context<'_>) -> bool {
        let mut inner = lock(&self.0);
        inner.await_reader(cx);
        inner.is_gone
    }
}

impl Inner {
    fn await_reader(&mut self, cx: &mut Context<'_>) {
        if !self.writer.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            self.writer = Some(cx.waker().clone());
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let mut inner = lock(&self.0);
        inner.end.get_or_insert(Ok(()));
        let reader = inner.reader.take();
        drop(inner);
        reader.into_iter().for_each(Waker::wake);
    }
}

impl Stream for Drained {
    type Item = Result<Bytes, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut inner = lock(&self.0);
        let Some(chunk) = inner.chunks.pop_front() else {
            return match inner.end.take() {
                Some(Err(status)) => {
                    inner.end = Some(Ok(()));
                    Poll::Ready(Some(Err(status)))
                }
                Some(Ok(())) => {
                    inner.end = Some(Ok(()));
                    Poll::Ready(None)
                }
                None => {
                    inner.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            };
        };
        let was_full = inner.bytes >= ROOM_BYTES;
        inner.bytes -= chunk.len();
        let writer = if was_full && inner.bytes < ROOM_BYTES { inner.writer.clone() } else { None };
        drop(inner);
        writer.into_iter().for_each(Waker::wake);
        Poll::Ready(Some(Ok(chunk)))
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        let mut inner = lock(&self.0);
        inner.is_gone = true;
        inner.chunks.clear();
        let writer = inner.writer.take();
        drop(inner);
        writer.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests;
