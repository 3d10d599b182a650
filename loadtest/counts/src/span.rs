//! What is counted. callgrind is told these two functions by name: entering or leaving one turns counting over.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// As callgrind knows them.
pub(crate) const TOGGLES: [&str; 2] = ["counts::span::counted", "counts::span::uncounted"];

/// Counts what `work` does.
#[inline(never)]
pub(crate) fn counted(work: &mut dyn FnMut()) {
    work();
    // Something is left to do, so that the call above is a call; something else than below, so that these stay two.
    std::hint::black_box("counted");
}

/// Inside of [`counted`], leaves out what `work` does.
#[inline(never)]
pub(crate) fn uncounted(work: &mut dyn FnMut()) {
    work();
    std::hint::black_box("uncounted");
}

/// Inside of [`counted`], leaves out what `work` does each time that it is polled: a client's part.
pub(crate) async fn aside<F: Future>(work: F) -> F::Output {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let mut polled = Poll::Pending;
        uncounted(&mut || polled = work.as_mut().poll(cx));
        polled
    })
    .await
}
