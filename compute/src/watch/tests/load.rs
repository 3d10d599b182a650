//! Many watchers of one service: what a change costs whom.
//!
//! Counted, not timed: what is as many as there are watchers is seen by whom it touches, on any machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use futures::FutureExt;

use super::world::{World, finish, key, next};
use crate::model::Selector;
use crate::watch::{Scope, Watch, WatchEvent};

const WATCHERS: usize = 15_000;

/// How often watchers were woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Woken {
    /// Each waits, and is counted when it is woken.
    fn wait(self: &Arc<Self>, watches: &mut [Watch]) {
        let waker = Waker::from(self.clone());
        for watch in watches {
            let mut waiting = Box::pin(watch.next());
            assert!(waiting.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        }
    }

    fn count(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

#[test]
fn fifteen_thousand_watchers_do_not_hold_up_the_applier() {
    let mut world = World::new();
    world.frame(|frame| (0..10).for_each(|id| frame.put("a", &id.to_string(), "x", true)));
    let open = |_| world.watch(Scope::Services(vec![key("a")]), Selector::default(), None);
    let mut watches: Vec<_> = (0..WATCHERS).map(open).collect();
    watches.iter_mut().for_each(|watch| assert!(matches!(next(watch), Some(WatchEvent::Snapshot { .. }))));
    let woken = Arc::new(Woken::default());
    woken.wait(&mut watches);
    for _ in 0..3 {
        // What the applier does is the same however many follow: one entry for the service, and none for them.
        (0..5).for_each(|_| _ = world.frame(|frame| frame.put("a", "1", "x", true)));
        assert_eq!((world.hub.fanout().queued(), woken.count()), (1, 0));
        assert_eq!(world.hub.fanout().dirty(), 0, "nobody is marked in here");
        // It is another task that marks and wakes them, each once.
        assert_eq!(finish(world.hub.fanout().round()).woken, WATCHERS as u64);
        assert_eq!((world.hub.fanout().queued(), woken.count()), (0, WATCHERS));
        let deltas = watches.iter_mut().map(|watch| match next(watch) {
            Some(WatchEvent::Change(delta)) => Arc::as_ptr(&delta),
            _ => panic!("everybody is told of the change"),
        });
        let mut deltas: Vec<_> = deltas.collect();
        deltas.dedup();
        assert_eq!(deltas.len(), 1, "made once for all");
        woken.wait(&mut watches);
    }
}
