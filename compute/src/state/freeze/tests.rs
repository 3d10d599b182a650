use std::collections::BTreeMap;

use crate::model::{InstanceKey, NodeIncarnation, Position, Revision};
use crate::port::clock::MonoMs;

use super::{
    COMPARE_MS, Candidate, Elsewhere, FREEZE_MS_MAX, Freezes, LEASES_MIN, LeaseId, Members, REFUSED_MS, RESEND_MS,
    Ruling, Scope, ServiceId, Totals, WINDOW_MS, Word,
};

const ME: NodeIncarnation = NodeIncarnation(7);
const NODE: Scope = Scope::Node(ME);
const NO_WORDS: &[Word] = &[];

fn revision(n: u64) -> Revision {
    Position::new(1, n).unwrap().at(0)
}

fn of(service: u32) -> Scope {
    Scope::Service(ServiceId(service))
}

/// Leases and services as the log has them, and the freezes that are told of it.
struct Fleet {
    freezes: Freezes,
    now: MonoMs,
    /// The service of each, and whether it is healthy.
    leases: BTreeMap<LeaseId, (ServiceId, bool)>,
    thresholds: BTreeMap<ServiceId, f64>,
    /// Suspects of each service that other nodes own, beside the leases here; they are healthy members.
    elsewhere: u32,
    /// All suspects of each service, whoever owns them and whether or not their time is over.
    suspects: u32,
    /// What each has lost at other nodes, and how much of it is not there any more.
    lost: (u32, u32),
    revisions: u64,
}

impl Fleet {
    /// Services of these sizes; their leases are numbered through.
    fn new(sizes: &[u32]) -> Self {
        let members =
            sizes.iter().enumerate().flat_map(|(service, size)| vec![ServiceId(service as u32); *size as usize]);
        let leases = members.enumerate().map(|(lease, service)| (LeaseId(lease as u32), (service, true)));
        let (freezes, leases, thresholds) = (Freezes::new(ME), leases.collect(), BTreeMap::new());
        Self { freezes, now: 1_000_000, leases, thresholds, elsewhere: 0, suspects: 0, lost: (0, 0), revisions: 0 }
    }

    /// So many services of two: no service of them is ever frozen.
    fn of_pairs(pairs: usize) -> Self {
        Self::new(&vec![2; pairs])
    }

    fn with_threshold(mut self, service: u32, threshold: f64) -> Self {
        self.thresholds.insert(ServiceId(service), threshold);
        self
    }

    fn pass(&mut self, ms: MonoMs) {
        self.now += ms;
    }

    fn judge(&mut self, candidates: &[Candidate]) -> Ruling {
        let (leases, thresholds, elsewhere) = (&self.leases, &self.thresholds, self.elsewhere);
        let (lost_elsewhere, gone_elsewhere) = self.lost;
        let members = |service: ServiceId| {
            let of_it = || leases.values().filter(|(of, _)| *of == service);
            Members {
                all: of_it().count() as u32 + elsewhere + lost_elsewhere - gone_elsewhere,
                healthy: of_it().filter(|(_, is_healthy)| *is_healthy).count() as u32 + elsewhere,
                protect_threshold: thresholds.get(&service).copied().unwrap_or(0.0),
                suspects: self.suspects,
                suspects_elsewhere: elsewhere,
                lost_elsewhere,
                gone_elsewhere,
            }
        };
        self.freezes.judge(self.now, candidates, &Totals { leases: leases.len(), members: &members })
    }

    /// The time of these is over; those that may go do so.
    fn lapse(&mut self, leases: impl IntoIterator<Item = u32>) -> (Vec<u32>, Vec<Word>) {
        let candidate = |lease| {
            let (service, is_healthy) = self.leases[&LeaseId(lease)];
            Candidate { lease: LeaseId(lease), service, is_healthy }
        };
        let candidates: Vec<_> = leases.into_iter().map(candidate).collect();
        self.carry_out(&candidates)
    }

    /// Nothing but time has brought this.
    fn look(&mut self) -> (Vec<u32>, Vec<Word>) {
        self.carry_out(&[])
    }

    fn carry_out(&mut self, candidates: &[Candidate]) -> (Vec<u32>, Vec<Word>) {
        let ruling = self.judge(candidates);
        for lease in &ruling.go {
            let (_, is_healthy) = self.leases.get_mut(lease).expect("only what is there may go");
            if std::mem::take(is_healthy) {
                self.freezes.fell(*lease);
            } else {
                self.leases.remove(lease);
                self.freezes.ended(*lease, true, self.now);
            }
        }
        (ruling.go.iter().map(|lease| lease.0).collect(), ruling.words)
    }

    fn hear(&mut self, leases: impl IntoIterator<Item = u32>) {
        for lease in leases {
            self.leases.get_mut(&LeaseId(lease)).expect("it is there").1 = true;
            self.freezes.cleared(LeaseId(lease));
        }
    }

    fn deregister(&mut self, lease: u32) {
        self.leases.remove(&LeaseId(lease));
        self.freezes.ended(LeaseId(lease), false, self.now);
    }

    fn join(&mut self, lease: u32, service: u32) {
        self.leases.insert(LeaseId(lease), (ServiceId(service), true));
        self.freezes.joined(ServiceId(service));
    }

    /// The log shows a freeze.
    fn show(&mut self, scope: Scope) -> Revision {
        self.revisions += 1;
        self.freezes.frozen(scope, revision(self.revisions), self.now);
        revision(self.revisions)
    }
}

#[test]
fn fewer_than_a_hundred_leases_are_no_share_of_anything() {
    let mut fleet = Fleet::of_pairs(LEASES_MIN / 2);
    fleet.deregister(0);
    let (go, words) = fleet.lapse(1..100);
    assert_eq!((go.len(), &words[..]), (99, NO_WORDS), "99 of 99");
}

#[test]
fn more_than_fifteen_percent_of_a_node_are_held() {
    let mut fleet = Fleet::of_pairs(50);
    let (go, words) = fleet.lapse(0..15);
    assert_eq!((go.len(), &words[..]), (15, NO_WORDS), "15 of 100 are just few enough");
    let (go, words) = fleet.lapse([15]);
    assert_eq!((&go[..], &words[..]), (&[][..], &[Word::Freeze { scope: NODE, lapsed: 16, of: 100 }][..]));
    assert!((0..16).all(|lease| fleet.freezes.is_frozen_or_thawed(LeaseId(lease))), "those before are kept as well");
    let (go, words) = fleet.lapse(16..20);
    assert_eq!((&go[..], &words[..]), (&[][..], NO_WORDS), "all that lapses now is kept, and nothing is said twice");
}

#[test]
fn sixteen_at_once_are_held_before_the_log_shows_it() {
    let mut fleet = Fleet::of_pairs(50);
    let (go, words) = fleet.lapse(0..16);
    assert_eq!((&go[..], &words[..]), (&[][..], &[Word::Freeze { scope: NODE, lapsed: 16, of: 100 }][..]));
    assert!(!fleet.freezes.still_goes(LeaseId(3)));
    assert!(fleet.freezes.still_goes(LeaseId(50)), "it has not lapsed");
}

#[test]
fn a_loss_counts_for_a_window_and_no_longer() {
    for (wait, is_held) in [(WINDOW_MS - 1, true), (WINDOW_MS, false)] {
        let mut fleet = Fleet::of_pairs(50);
        fleet.lapse(0..15);
        fleet.pass(wait);
        let (go, words) = fleet.lapse([15]);
        assert_eq!((go.is_empty(), words.is_empty()), (is_held, !is_held), "after {wait} ms");
    }
}

/// It became unhealthy and is removed within one window: that is one loss of the node, and the node had it at first.
#[test]
fn what_goes_is_lost_once() {
    let mut fleet = Fleet::of_pairs(50);
    fleet.lapse(0..15);
    fleet.pass(1_000);
    let (go, words) = fleet.lapse(0..15);
    assert_eq!((go.len(), &words[..], fleet.leases.len()), (15, NO_WORDS, 85), "they are removed");
    let (go, words) = fleet.lapse([15]);
    assert_eq!((&go[..], &words[..]), (&[][..], &[Word::Freeze { scope: NODE, lapsed: 16, of: 100 }][..]));
}

#[test]
fn what_was_taken_back_or_replaced_is_no_loss() {
    let mut fleet = Fleet::of_pairs(51);
    fleet.lapse(0..15);
    fleet.deregister(0);
    assert_eq!(fleet.lapse([15]).0, [15], "15 of 101 in all");
    assert_eq!(fleet.lapse([16]).0, []);
    let mut fleet = Fleet::of_pairs(50);
    fleet.lapse(0..15);
    fleet.lapse(0..15);
    fleet.join(200, 0);
    assert_eq!(fleet.lapse([15]).0, [15], "14 are gone for good");
    assert_eq!(fleet.lapse([16]).0, []);
}

#[test]
fn what_is_heard_again_is_no_loss() {
    let mut fleet = Fleet::of_pairs(50);
    fleet.lapse(0..15);
    fleet.hear([0]);
    assert_eq!(fleet.lapse([15]), (vec![15], vec![]));
}

#[test]
fn a_service_of_one_or_two_is_exempt() {
    let mut fleet = Fleet::new(&[1, 2]);
    assert_eq!(fleet.lapse(0..3), (vec![0, 1, 2], vec![]));
}

#[test]
fn a_service_of_three_may_not_lose_all() {
    let mut fleet = Fleet::new(&[3, 3]);
    assert_eq!(fleet.lapse([0, 1]), (vec![0, 1], vec![]), "one is left");
    assert_eq!(fleet.lapse([2]), (vec![], vec![Word::Freeze { scope: of(0), lapsed: 3, of: 3 }]));
    assert_eq!(fleet.lapse([3]), (vec![3], vec![]), "another service is free");
    let mut fleet = Fleet::new(&[3]);
    assert_eq!(fleet.lapse([0, 1, 2]), (vec![], vec![Word::Freeze { scope: of(0), lapsed: 3, of: 3 }]));
}

#[test]
fn a_service_may_not_lose_all_on_several_nodes_at_once() {
    let mut fleet = Fleet::new(&[2]);
    fleet.elsewhere = 4;
    let (go, words) = fleet.lapse(0..2);
    assert_eq!((&go[..], &words[..]), (&[][..], &[Word::Freeze { scope: of(0), lapsed: 6, of: 6 }][..]));
    fleet.show(of(0));
    // The others were heard: what is left is no mass.
    fleet.elsewhere = 0;
    (2..6).for_each(|lease| fleet.join(lease, 0));
    fleet.pass(COMPARE_MS);
    let (_, words) = fleet.look();
    assert!(matches!(words[..], [Word::Release { .. }]), "{words:?}");
}

/// Each node has let its own go, one after the other, and none of them was the last one to its owner.
#[test]
fn what_has_fallen_at_other_nodes_counts() {
    for (lost, freezes) in [((1, 0), false), ((2, 0), true), ((2, 1), true), ((2, 2), true)] {
        let mut fleet = Fleet::new(&[1]);
        fleet.lost = lost;
        let (go, words) = fleet.lapse([0]);
        assert_eq!((go.is_empty(), words.len()), (freezes, usize::from(freezes)), "{lost:?}");
    }
    for (lost, freezes) in [(0, false), (1, true)] {
        // Half of 10 may go, and not 6 of 11; 5 go here.
        let mut fleet = Fleet::new(&[10]).with_threshold(0, 0.5);
        fleet.lost = (lost, 0);
        let (go, words) = fleet.lapse(0..5);
        assert_eq!((go.is_empty(), words.len()), (freezes, usize::from(freezes)), "{lost}");
    }
}

#[test]
fn what_fell_elsewhere_is_a_loss_until_it_is_heard_or_replaced_or_long_ago() {
    let key = |id: &str| InstanceKey::new("default", "orders", id).unwrap();
    let mut elsewhere = Elsewhere::default();
    for (at, id) in [(0, "a"), (1, "b"), (2, "c"), (3, "d")] {
        elsewhere.fell(&key(id), at);
    }
    let lost = |elsewhere: &Elsewhere, now| elsewhere.lost(&key("a").service, now);
    assert_eq!(lost(&elsewhere, 4), (4, 0));
    elsewhere.rose(&key("a"));
    elsewhere.ended(&key("b"));
    elsewhere.ended(&key("never-fell"));
    assert_eq!(lost(&elsewhere, 4), (3, 1));
    elsewhere.began(&key("e"));
    assert_eq!(lost(&elsewhere, 4), (2, 0), "it stands for b");
    elsewhere.began(&key("c"));
    elsewhere.began(&key("f"));
    assert_eq!(lost(&elsewhere, 4), (1, 0), "c is there again, and d has not gone");
    assert_eq!(lost(&elsewhere, WINDOW_MS + 3), (0, 0));
    elsewhere.fell(&key("d"), WINDOW_MS);
    elsewhere.fell(&key("g"), WINDOW_MS + 4);
    assert_eq!(lost(&elsewhere, WINDOW_MS + 5), (2, 0), "d fell again, and counts from then");
}

#[test]
fn a_suspect_that_changes_hands_ends_no_freeze() {
    for (suspects, goes_on) in [(3, true), (2, false)] {
        let mut fleet = Fleet::new(&[2]);
        fleet.elsewhere = 1;
        assert_eq!(fleet.lapse([0, 1]), (vec![], vec![Word::Freeze { scope: of(0), lapsed: 3, of: 3 }]));
        let freeze = fleet.show(of(0));
        fleet.elsewhere = 0;
        fleet.join(2, 0);
        fleet.suspects = suspects;
        fleet.pass(RESEND_MS);
        let words = if goes_on { vec![] } else { vec![Word::Release { scope: of(0), freeze }] };
        assert_eq!(fleet.look(), (vec![], words), "{suspects}");
    }
}

#[test]
fn what_others_suspect_counts_towards_the_threshold() {
    for (elsewhere, freezes) in [(2, false), (3, true)] {
        // Half of 12 may go, and not 7 of 13; 4 go here.
        let mut fleet = Fleet::new(&[10]).with_threshold(0, 0.5);
        fleet.elsewhere = elsewhere;
        let (go, words) = fleet.lapse(0..4);
        assert_eq!((go.is_empty(), words.len()), (freezes, usize::from(freezes)), "{elsewhere}");
    }
}

#[test]
fn a_service_may_fall_to_its_threshold_and_not_below() {
    let mut fleet = Fleet::new(&[10]).with_threshold(0, 0.5);
    assert_eq!(fleet.lapse(0..5).0.len(), 5, "half are healthy");
    assert_eq!(fleet.lapse([5]), (vec![], vec![Word::Freeze { scope: of(0), lapsed: 6, of: 10 }]));
    let mut fleet = Fleet::new(&[10]).with_threshold(0, 0.5);
    assert_eq!(fleet.lapse(0..6), (vec![], vec![Word::Freeze { scope: of(0), lapsed: 6, of: 10 }]));
}

#[test]
fn a_service_falls_within_a_window_or_not_at_all() {
    let mut fleet = Fleet::new(&[10]).with_threshold(0, 0.5);
    for lease in 0..5 {
        fleet.lapse([lease]);
    }
    fleet.pass(WINDOW_MS);
    // At its threshold when the window began: the first step below is the fall.
    assert_eq!(fleet.lapse([5]), (vec![], vec![Word::Freeze { scope: of(0), lapsed: 1, of: 10 }]));
    let mut fleet = Fleet::new(&[10]).with_threshold(0, 0.9);
    for lease in 0..10 {
        fleet.leases.get_mut(&LeaseId(lease)).unwrap().1 = lease >= 2;
    }
    assert_eq!(fleet.lapse([2, 3]), (vec![2, 3], vec![]), "it was below already");
}

#[test]
fn one_service_is_named_before_the_node_is_ill() {
    let mut fleet = Fleet::new(&[97, 3]);
    let (go, words) = fleet.lapse(97..100);
    assert_eq!((&go[..], &words[..]), (&[][..], &[Word::Freeze { scope: of(1), lapsed: 3, of: 3 }][..]));
    let (go, words) = fleet.lapse(0..12);
    assert_eq!((go.len(), &words[..]), (12, NO_WORDS), "15 of 100 in all");
    let (go, words) = fleet.lapse([12]);
    assert_eq!((&go[..], &words[..]), (&[][..], &[Word::Freeze { scope: NODE, lapsed: 16, of: 100 }][..]));
}

#[test]
fn the_log_is_asked_until_it_shows_the_freeze() {
    let mut fleet = Fleet::new(&[3]);
    let ask = vec![Word::Freeze { scope: of(0), lapsed: 3, of: 3 }];
    assert_eq!(fleet.lapse(0..3).1, ask);
    assert_eq!(fleet.freezes.next_deadline(), Some(fleet.now + RESEND_MS));
    fleet.pass(RESEND_MS - 1);
    assert_eq!(fleet.look(), (vec![], vec![]));
    fleet.pass(1);
    assert_eq!(fleet.look(), (vec![], ask.clone()));
    fleet.freezes.refused(of(0), fleet.now);
    fleet.pass(REFUSED_MS - 1);
    assert_eq!(fleet.look(), (vec![], vec![]));
    fleet.pass(1);
    assert_eq!(fleet.look(), (vec![], ask));
    fleet.show(of(0));
    fleet.pass(RESEND_MS);
    assert_eq!(fleet.look(), (vec![], vec![]), "it is there");
}

#[test]
fn a_freeze_that_the_log_never_showed_ends_with_its_reason() {
    let mut fleet = Fleet::new(&[3]);
    fleet.lapse(0..3);
    fleet.hear([0, 1]);
    fleet.pass(RESEND_MS);
    assert_eq!(fleet.look(), (vec![2], vec![]), "nothing is asked of the log, and the rest may go");
    assert!(!fleet.freezes.knows(ServiceId(0)));
}

#[test]
fn a_freeze_of_a_service_lasts_two_minutes_from_when_the_log_shows_it() {
    let mut fleet = Fleet::new(&[3]);
    fleet.lapse(0..3);
    fleet.pass(1_500);
    let freeze = fleet.show(of(0));
    fleet.look();
    fleet.pass(FREEZE_MS_MAX - 1);
    assert_eq!(fleet.look(), (vec![], vec![]));
    assert_eq!(fleet.freezes.next_deadline(), Some(fleet.now + 1));
    fleet.pass(1);
    let release = vec![Word::Release { scope: of(0), freeze }];
    assert_eq!(fleet.look(), (vec![], release.clone()), "what it keeps stays until the log shows the end");
    fleet.freezes.refused(of(0), fleet.now);
    fleet.pass(REFUSED_MS);
    assert_eq!(fleet.look(), (vec![], release.clone()));
    fleet.pass(RESEND_MS);
    assert_eq!(fleet.look(), (vec![], release));
}

#[test]
fn a_freeze_of_a_service_ends_when_enough_are_heard() {
    let mut fleet = Fleet::new(&[10]).with_threshold(0, 0.5);
    fleet.lapse(0..7);
    let freeze = fleet.show(of(0));
    fleet.hear([0]);
    assert_eq!(fleet.look(), (vec![], vec![]), "four would be left");
    fleet.hear([1]);
    assert_eq!(fleet.look().1, [Word::Release { scope: of(0), freeze }], "five would be left");
}

#[test]
fn a_freeze_of_a_node_ends_when_the_share_has_fallen() {
    let mut fleet = Fleet::of_pairs(50);
    fleet.lapse(0..20);
    let freeze = fleet.show(NODE);
    fleet.hear(0..4);
    assert_eq!(fleet.look(), (vec![], vec![]), "16 are still too many");
    fleet.hear([4]);
    assert_eq!(fleet.look().1, [Word::Release { scope: NODE, freeze }]);
}

#[test]
fn a_freeze_ends_when_its_leases_are_taken_back() {
    let mut fleet = Fleet::new(&[3]);
    fleet.lapse(0..3);
    let freeze = fleet.show(of(0));
    fleet.deregister(0);
    assert_eq!(fleet.look().1, [Word::Release { scope: of(0), freeze }], "two are left, as of an exempt one");
}

#[test]
fn more_members_do_not_go_unseen() {
    let mut fleet = Fleet::new(&[3]);
    fleet.lapse(0..3);
    let freeze = fleet.show(of(0));
    fleet.look();
    fleet.join(10, 0);
    // Nobody tells a standing freeze of new members; it looks by itself.
    fleet.pass(1_000);
    assert_eq!(fleet.look().1, [Word::Release { scope: of(0), freeze }]);
}

#[test]
fn after_a_freeze_of_a_service_one_goes_a_window() {
    let mut fleet = Fleet::new(&[3]);
    fleet.lapse(0..3);
    fleet.show(of(0));
    fleet.freezes.released(of(0));
    assert_eq!(fleet.look(), (vec![0], vec![]), "an operator's word is enough");
    assert_eq!(fleet.lapse([0]), (vec![0], vec![]), "its removal is the same loss");
    fleet.pass(WINDOW_MS - 1);
    assert_eq!(fleet.look(), (vec![], vec![]));
    assert_eq!(fleet.freezes.next_deadline(), Some(fleet.now + 1));
    fleet.pass(1);
    assert_eq!(fleet.look(), (vec![1], vec![]));
    fleet.pass(WINDOW_MS);
    assert_eq!(fleet.look(), (vec![2], vec![]), "the last one too: nothing is kept for ever");
    fleet.pass(WINDOW_MS);
    assert_eq!(fleet.lapse([1, 2]), (vec![1], vec![]), "a removal in a later window waits for its turn");
    fleet.pass(WINDOW_MS);
    assert_eq!(fleet.look(), (vec![2], vec![]));
    assert!(fleet.leases.is_empty());
}

#[test]
fn after_a_freeze_none_goes_within_a_window_of_one_that_fell_elsewhere() {
    let mut fleet = Fleet::new(&[3]);
    fleet.lapse(0..3);
    fleet.show(of(0));
    fleet.freezes.released(of(0));
    fleet.lost = (1, 0);
    assert_eq!(fleet.look(), (vec![], vec![]));
    fleet.lost = (0, 0);
    fleet.pass(COMPARE_MS);
    assert_eq!(fleet.freezes.next_deadline(), Some(fleet.now));
    assert_eq!(fleet.look(), (vec![0], vec![]));
}

#[test]
fn after_a_freeze_of_a_service_fifteen_percent_go_a_window() {
    for (size, share) in [(6, 1), (13, 1), (14, 2), (40, 6)] {
        let mut fleet = Fleet::new(&[size]);
        fleet.lapse(0..size);
        fleet.show(of(0));
        fleet.freezes.released(of(0));
        assert_eq!(fleet.look().0.len(), share, "of {size}");
        assert_eq!(fleet.look().0.len(), 0, "of {size}");
        fleet.pass(WINDOW_MS);
        assert_eq!(fleet.look().0.len(), share, "of {size}");
    }
}

#[test]
fn after_a_freeze_of_a_node_fifteen_percent_go_a_window_and_one_of_each_service() {
    let mut fleet = Fleet::new(&[200]);
    fleet.lapse(0..200);
    fleet.show(NODE);
    fleet.freezes.released(NODE);
    assert_eq!(fleet.look().0.len(), 30);
    fleet.pass(WINDOW_MS);
    assert_eq!(fleet.look().0.len(), 30);
    let mut fleet = Fleet::of_pairs(100);
    fleet.lapse(0..200);
    fleet.show(NODE);
    fleet.freezes.released(NODE);
    let first: Vec<u32> = (0..100).map(|pair| pair * 2).collect();
    assert_eq!(fleet.look().0, first, "each service is as good as the next");
    fleet.pass(WINDOW_MS);
    assert_eq!(fleet.look().0.len(), 100);
}

#[test]
fn what_outlived_a_freeze_never_trips_another() {
    let mut fleet = Fleet::of_pairs(50);
    fleet.lapse(0..80);
    fleet.show(NODE);
    fleet.freezes.released(NODE);
    let (go, words) = fleet.lapse(0..80);
    assert_eq!((go.len(), &words[..]), (40, NO_WORDS));
    let (go, words) = fleet.lapse(80..95);
    assert_eq!((go.len(), &words[..]), (15, NO_WORDS), "only what is new counts");
    let (go, words) = fleet.lapse([95]);
    assert_eq!((&go[..], &words[..]), (&[][..], &[Word::Freeze { scope: NODE, lapsed: 16, of: 100 }][..]));
    fleet.pass(WINDOW_MS);
    assert_eq!(fleet.look().0.len(), 40, "no later freeze holds those of the first");
}

#[test]
fn what_is_heard_after_a_freeze_can_be_frozen_again() {
    let mut fleet = Fleet::new(&[3]);
    fleet.lapse(0..3);
    fleet.show(of(0));
    fleet.freezes.released(of(0));
    fleet.hear(0..3);
    fleet.pass(1);
    assert_eq!(fleet.lapse(0..3), (vec![], vec![Word::Freeze { scope: of(0), lapsed: 3, of: 3 }]));
}

#[test]
fn a_lease_under_two_freezes_needs_both_to_end() {
    let mut fleet = Fleet::new(&[3, 200]);
    fleet.lapse(0..3);
    fleet.show(of(0));
    fleet.lapse(3..60);
    fleet.show(NODE);
    fleet.freezes.released(NODE);
    assert!(!fleet.freezes.still_goes(LeaseId(0)), "its service's freeze stands");
    assert!(fleet.freezes.still_goes(LeaseId(3)));
    fleet.freezes.released(of(0));
    assert!(fleet.freezes.still_goes(LeaseId(0)));
}

/// The state has the freeze, the process that made it is gone: how many would go is not known.
#[test]
fn after_a_restart_a_freeze_lasts_from_then_on() {
    for scope in [of(0), Scope::Node(NodeIncarnation(6))] {
        let mut fleet = Fleet::new(&[3, 3]);
        let freeze = fleet.show(scope);
        fleet.pass(60_000);
        fleet.freezes.ready(fleet.now);
        fleet.pass(FREEZE_MS_MAX - 1);
        assert_eq!(fleet.lapse([0]), (vec![], vec![]), "it is kept, and nobody is late yet");
        fleet.pass(1);
        assert_eq!(fleet.look(), (vec![], vec![Word::Release { scope, freeze }]));
        fleet.freezes.released(scope);
        assert_eq!(fleet.look(), (vec![0], vec![]));
    }
}

#[test]
fn after_a_restart_an_operators_word_still_ends_a_freeze() {
    let mut fleet = Fleet::new(&[3]);
    fleet.show(of(0));
    fleet.freezes.ready(fleet.now);
    assert_eq!(fleet.lapse([0, 1]), (vec![], vec![]));
    fleet.freezes.released(of(0));
    assert_eq!(fleet.look(), (vec![0], vec![]));
}

/// The log says the end of a service's freeze with the end of the service.
#[test]
fn a_service_of_the_same_name_starts_without_a_freeze() {
    let mut fleet = Fleet::new(&[3]);
    fleet.lapse(0..3);
    fleet.show(of(0));
    for lease in 0..3 {
        fleet.deregister(lease);
    }
    fleet.freezes.released(of(0));
    assert!(!fleet.freezes.knows(ServiceId(0)), "its number can be another's");
    assert_eq!(fleet.look(), (vec![], vec![]), "there is nothing to release any more");
    for lease in 10..13 {
        fleet.join(lease, 0);
    }
    assert_eq!(fleet.lapse([10]), (vec![10], vec![]));
    assert_eq!(fleet.lapse([11, 12]), (vec![], vec![Word::Freeze { scope: of(0), lapsed: 3, of: 3 }]));
}

#[test]
fn a_service_is_forgotten_when_its_losses_are_old() {
    let mut fleet = Fleet::new(&[2]);
    fleet.lapse([0]);
    fleet.lapse([0]);
    assert!(fleet.freezes.knows(ServiceId(0)));
    fleet.pass(WINDOW_MS - 1);
    assert_eq!(fleet.judge(&[]).idle, []);
    fleet.pass(1);
    assert_eq!(fleet.judge(&[]).idle, [ServiceId(0)]);
    assert!(!fleet.freezes.knows(ServiceId(0)));
}
