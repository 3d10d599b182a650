//! The fan-out by itself, over topics that are numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;

use super::world::finish;
use crate::port::Clock;
use crate::testing::ManualClock;
use crate::watch::fanout::{Fanout, Held, Told};
use crate::watch::slot::{Mark, Slot};

type Numbers = Fanout<u32, (), ()>;

struct Member {
    slot: Arc<Slot>,
    _held: Vec<Held<u32, (), ()>>,
}

fn member(fanout: &Arc<Numbers>, topics: &[u32]) -> Member {
    let slot = Arc::new(Slot::new(topics.len(), topics.len() > 1));
    let held = topics.iter().enumerate().map(|(line, topic)| fanout.follow(topic, slot.clone(), line as u32, ()));
    Member { _held: held.collect(), slot }
}

impl Member {
    fn is_rung(&self) -> bool {
        std::future::poll_fn(|cx| self.slot.poll_rung(cx)).now_or_never().is_some()
    }

    fn marks(&self, fanout: &Numbers) -> Vec<(u32, Option<u64>)> {
        let mut marks = Vec::new();
        fanout.take(&self.slot, &mut marks);
        marks.iter().map(|Mark { line, first }| (*line, *first)).collect()
    }
}

fn change(fanout: &Numbers, topic: u32, at: u64) {
    fanout.touch(&topic, Some(at));
    fanout.cover(at);
}

#[test]
fn a_round_tells_those_who_follow_and_nobody_else() {
    let fanout = Numbers::new();
    let (one, two) = (member(&fanout, &[1]), member(&fanout, &[2]));
    change(&fanout, 1, 10);
    change(&fanout, 3, 11);
    assert!(!one.is_rung(), "before the round");
    assert_eq!(finish(fanout.round()), Told { woken: 1, merged: 0 });
    assert!(one.is_rung() && !two.is_rung());
    assert_eq!(one.marks(&fanout), [(0, Some(10))]);
    assert!(!one.is_rung() && one.marks(&fanout).is_empty());
}

#[test]
fn marks_merge_and_keep_the_first() {
    let fanout = Numbers::new();
    let one = member(&fanout, &[1]);
    for at in [10, 11, 12] {
        change(&fanout, 1, at);
    }
    finish(fanout.round());
    change(&fanout, 1, 13);
    assert_eq!(finish(fanout.round()), Told { woken: 0, merged: 1 });
    assert_eq!(one.marks(&fanout), [(0, Some(10))]);
    // A change without a place is a mark all the same, and takes the place of a later one.
    fanout.touch(&1, None);
    fanout.cover(0);
    finish(fanout.round());
    change(&fanout, 1, 14);
    finish(fanout.round());
    assert_eq!(one.marks(&fanout), [(0, Some(14))]);
}

#[test]
fn who_comes_after_a_change_is_not_told_of_it() {
    let fanout = Numbers::new();
    let early = member(&fanout, &[1]);
    change(&fanout, 1, 10);
    let late = member(&fanout, &[1]);
    finish(fanout.round());
    assert!(early.is_rung() && !late.is_rung());
}

#[test]
fn a_slot_of_several_topics_is_rung_when_all_its_marks_are_there() {
    let fanout = Numbers::new();
    let both = member(&fanout, &[1, 2]);
    change(&fanout, 2, 10);
    change(&fanout, 1, 11);
    assert_eq!(fanout.covered(), 0);
    finish(fanout.round());
    assert_eq!(fanout.covered(), 11);
    assert!(both.is_rung());
    let mut marks = both.marks(&fanout);
    marks.sort_unstable();
    assert_eq!(marks, [(0, Some(11)), (1, Some(10))]);
}

#[test]
fn what_nobody_follows_is_covered_at_once_but_not_before_what_is_due() {
    let fanout = Numbers::new();
    change(&fanout, 1, 10);
    assert_eq!(fanout.covered(), 10);
    let _one = member(&fanout, &[1]);
    change(&fanout, 1, 11);
    change(&fanout, 2, 12);
    assert_eq!(fanout.covered(), 10);
    finish(fanout.round());
    assert_eq!(fanout.covered(), 12);
}

#[test]
fn what_comes_in_the_middle_of_a_round_is_covered_by_the_next() {
    let fanout = Numbers::new();
    let _many: Vec<_> = (0..2_000).map(|_| member(&fanout, &[1])).collect();
    change(&fanout, 1, 10);
    let mut round = Box::pin(fanout.round());
    assert!(round.as_mut().now_or_never().is_none(), "it lets others have a turn");
    change(&fanout, 1, 11);
    assert_eq!(finish(round).woken, 2_000);
    assert_eq!(fanout.covered(), 10);
    let mut round = Box::pin(fanout.round());
    assert!(round.as_mut().now_or_never().is_none());
    change(&fanout, 2, 12);
    finish(round);
    assert_eq!(fanout.covered(), 12, "nobody is to be told of it");
}

#[test]
fn nothing_is_left_of_who_is_gone() {
    let fanout = Numbers::new();
    let (one, two) = (member(&fanout, &[1]), member(&fanout, &[1]));
    change(&fanout, 1, 10);
    finish(fanout.round());
    assert_eq!(fanout.dirty(), 2);
    drop(one);
    assert_eq!((fanout.dirty(), fanout.topic(&1).map(|topic| topic.count())), (1, Some(1)));
    two.marks(&fanout);
    assert_eq!(fanout.dirty(), 0);
    let three = member(&fanout, &[1]);
    drop(two);
    change(&fanout, 1, 11);
    assert_eq!(finish(fanout.round()).woken, 1);
    assert!(three.is_rung(), "it took the place of the first");
    drop(three);
    assert!(fanout.topic(&1).is_none());
}

/// One task of its own wakes; under load it lets changes gather, but never longer than the window's maximum.
#[tokio::test]
async fn rounds_keep_apart_only_under_load() {
    let (fanout, clock) = (Numbers::new(), ManualClock::new());
    let members: Vec<_> = (0..1_000).map(|_| member(&fanout, &[1])).collect();
    let rounds = Arc::new(AtomicUsize::new(0));
    let task = tokio::spawn({
        let (fanout, clock, rounds) = (fanout.clone(), clock.clone(), rounds.clone());
        async move { fanout.run(&*clock, |_, _| _ = rounds.fetch_add(1, Ordering::SeqCst)).await }
    });
    let mut waited = Vec::new();
    for at in 1..=5 {
        let begun = clock.mono_ms();
        change(&fanout, 1, at);
        settle().await;
        // Nobody has read the last round when the next is due; then all do, and are woken anew.
        if rounds.load(Ordering::SeqCst) < at as usize {
            members.iter().for_each(|member| drop(member.marks(&fanout)));
        }
        for _ in 0..1_000 {
            if rounds.load(Ordering::SeqCst) == at as usize {
                break;
            }
            clock.advance(1);
            settle().await;
        }
        waited.push(clock.mono_ms() - begun);
    }
    assert_eq!(waited, [0, 5, 20, 100, 100]);
    members.iter().for_each(|member| drop(member.marks(&fanout)));
    clock.advance(1_000);
    change(&fanout, 1, 6);
    settle().await;
    assert_eq!(rounds.load(Ordering::SeqCst), 6, "after quiet it goes at once");
    fanout.close();
    task.await.expect("it ends when it is closed");
}

/// Until the other tasks of this thread have nothing to do.
async fn settle() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}
