//! Who is a member, whose word counts, and what waits for all of them.

mod table;

use table::check;

#[test]
fn a_beacon_makes_a_member_and_the_next_ones_move_it() {
    check(
        "frames 4
         members = none
         barrier = none
         n1: beacon peer=10.0.0.1:7802 hash=40 landed=2 = applied changed
         member n1 = n1 [10.0.0.1:7802] joined 5 at 1000 seen 5 applied 4 hash 40 landed 2
         time 2000
         frames 2
         n1: beacon hash=70 name=other landed=3 = applied
         member n1 = other [] joined 5 at 1000 seen 8 applied 7 hash 70 landed 3
         n2: beacon applied=1 = applied changed
         member n2 = n2 [] joined 9 at 2000 seen 9 applied 1 hash 0 landed 0
         members = n1 n2
         member n3 = none
         lands = n1 n2",
    );
}

#[test]
fn what_a_member_has_shown_never_goes_back() {
    check(
        "frames 9
         n1: beacon applied=7 hash=70 landed=5 peer=here = applied changed
         # A late one says only that it was sent; and what is landed is landed, whoever says so.
         n1: beacon applied=6 hash=60 landed=6 peer=there leaving = applied
         member n1 = n1 [here] joined 10 at 1000 seen 11 applied 7 hash 70 landed 5
         n1: beacon applied=7 hash=71 landed=4 peer=there = applied
         member n1 = n1 [there] joined 10 at 1000 seen 12 applied 7 hash 71 landed 5
         n1: beacon applied=9 = applied
         member n1 = n1 [] joined 10 at 1000 seen 13 applied 9 hash 0 landed 5",
    );
}

#[test]
fn nobody_has_applied_or_landed_what_is_not_there_yet() {
    check(
        "frames 3
         n1: beacon applied=4 = base
         n1: beacon applied=9 = base
         members = none
         n1: beacon applied=5 landed=6 = base
         n1: beacon applied=6 landed=6 = applied changed
         n1: beacon applied=8 = base
         n1: beacon landed=9 = base
         member n1 = n1 [] joined 7 at 1000 seen 7 applied 6 hash 0 landed 6",
    );
}

#[test]
fn leaving_is_told_once_and_can_be_taken_back() {
    check(
        "n1: beacon = applied changed
         n1: beacon leaving = applied changed
         n1: beacon leaving = applied
         members = n1/leaving
         n1: beacon = applied changed
         members = n1
         n2: beacon leaving = applied changed
         members = n1 n2/leaving",
    );
}

#[test]
fn who_is_gone_stays_gone() {
    check(
        "n1: beacon = applied changed
         n2: beacon = applied changed
         n1: gone n3 = absent
         n1: gone n2 = applied changed
         n1: gone n2 = absent
         members = n1
         gone = n2
         member n2 = none
         n2: beacon = gone
         n2: beacon leaving applied=1 = gone
         n2: gone n2 = absent
         gone = n2
         row n2 = n2 [] joined 2 at 1000 seen 4 applied 1 hash 0 landed 0 gone
         lands = n1 n2
         # The node comes again as another one.
         n3: beacon name=n2 = applied changed
         members = n1 n3
         lands = n3",
    );
}

/// A node that was away for long would take the others for dead, and it is itself.
#[test]
fn who_is_gone_removes_nobody() {
    check(
        "n1: beacon = applied changed
         n2: beacon = applied changed
         n1: gone n2 | n2: gone n1 = applied | gone changed
         members = n1
         n2: gone n1 = gone
         members = n1
         # Of oneself; and somebody whom no beacon has shown may say it.
         n9: gone n1 = applied changed
         members = none
         gone = n1 n2",
    );
}

#[test]
fn a_member_may_say_of_itself_that_it_goes() {
    check(
        "n1: beacon = applied changed
         n1: gone n1 = applied changed
         members = none
         barrier = none
         gone = n1",
    );
}

#[test]
fn what_comes_twice_counts_once() {
    check(
        "n1: beacon = applied changed
         n1: beacon leaving = applied changed
         again = duplicate
         n2: beacon = applied changed
         n1: beacon = applied changed
         n2: gone n1 = applied changed
         again = duplicate
         n3: beacon applied=2 hash=20 = applied changed
         n3: beacon applied=5 hash=50 = applied
         member n3 = n3 [] joined 8 at 1000 seen 9 applied 5 hash 50 landed 0
         again = duplicate
         member n3 = n3 [] joined 8 at 1000 seen 9 applied 5 hash 50 landed 0",
    );
}

#[test]
fn what_a_gone_node_decides_is_void() {
    check(
        "n1: beacon = applied changed
         n2: beacon = applied changed
         n1: open s = applied
         n1: register a = applied touched
         n1: register b = applied touched
         n1: register c checked = applied touched
         n1: suspect b = applied
         n1: suspect c = applied
         n1: freeze orders = applied
         n1: gone n2 = applied changed
         n1: beacon = applied
         n2: suspect a = gone
         n2: confirm c = gone
         n2: unhealthy b = gone
         n2: freeze others = gone
         n2: release orders = gone
         n2: freeze n2 = gone
         n2: open t = gone
         n2: attach s = gone
         # Not for lack of what they rest on.
         n1: suspect a = applied
         n1: confirm c = applied
         n1: unhealthy b = applied touched
         n2: expire b = gone
         n1: expire b = applied touched
         n1: release orders = applied released orders
         n1: attach s = applied
         sessions = s@n1",
    );
}

#[test]
fn what_clients_asked_a_gone_node_for_stands() {
    check(
        "n2: beacon = applied changed
         n1: beacon = applied changed
         n1: open s = applied
         n1: open t = applied
         n1: register a = applied touched
         n1: register b = applied touched
         n1: suspect a = applied
         n1: gone n2 = applied changed
         n2: register c stream t = applied touched
         n2: register b = applied touched
         n2: operate b = applied touched
         n2: end b = applied touched
         n2: deregister b = applied touched
         # It was heard, whoever heard it.
         n2: refute a = applied
         n2: close s = applied
         n2: namespace team = applied
         n2: delete-namespace team = applied
         n2: service others = applied touched
         n2: delete-service others = applied touched
         n2: deregister a = applied touched
         n2: deregister c = applied touched
         n2: collect orders = applied touched
         instances = none
         sessions = t@n1",
    );
}

/// Nobody would answer for it.
#[test]
fn no_session_is_given_to_a_gone_node() {
    check(
        "n1: beacon = applied changed
         n2: beacon = applied changed
         n1: open s for n2 = applied
         n1: gone n2 = applied changed
         n1: open t for n2 = gone
         n1: attach s for n2 = gone
         n2: open t for n1 = gone
         n2: attach s for n1 = gone
         n1: attach s for n3 = applied
         sessions = s@n3",
    );
}

#[test]
fn its_freeze_ends_with_a_node() {
    check(
        "n1: beacon = applied changed
         n2: beacon = applied changed
         n1: register a = applied touched
         n2: freeze n2 = applied
         n1: freeze n1 = applied
         n2: freeze orders = applied
         lands = freeze:n1 freeze:n2 freeze:orders n1 n2
         n1: gone n2 = applied changed released n2
         # That of a service is not the node's: whoever has its leases judges anew.
         freezes = n1 orders
         lands = -freeze:n2 n2
         n1: freeze n2 = absent
         n1: release orders = applied released orders
         n1: gone n1 = applied changed released n1",
    );
}

#[test]
fn nobody_is_unhealthy_before_all_have_read_the_suspicion() {
    check(
        "n1: beacon = applied changed
         n2: beacon = applied changed
         n1: register a = applied touched
         n1: suspect a = applied
         barrier = 0
         n1: unhealthy a = barrier
         n1: beacon = applied
         n1: unhealthy a = barrier
         # Up to just before it is not enough; up to it is.
         n2: beacon applied=3 = applied
         n1: unhealthy a = barrier
         barrier = 3
         n2: beacon applied=4 = applied
         barrier = 4
         instances = a
         n1: unhealthy a = applied touched
         instances = a/unhealthy
         # What comes behind it waits for nobody: it has waited once.
         n3: beacon applied=0 = applied changed
         barrier = 0
         n1: expire a = applied touched",
    );
}

#[test]
fn a_session_waits_for_all_and_a_failed_check_for_nobody() {
    check(
        "n1: beacon = applied changed
         n1: open s = applied
         n1: register a stream s = applied touched
         n1: register c checked = applied touched
         n1: suspect a | n1: suspect c = applied | applied
         n1: unhealthy a = barrier
         n1: unhealthy c = applied touched
         n1: beacon = applied
         n1: unhealthy a = applied touched
         instances = a/unhealthy c/unhealthy",
    );
}

#[test]
fn a_log_without_members_waits_for_nobody() {
    check(
        "n1: register a = applied touched
         n1: suspect a | n1: unhealthy a = applied | suspicion
         n1: unhealthy a = applied touched
         n1: expire a = applied touched
         lands = none",
    );
}

/// A beacon and what it lets through may come in one frame, in their order.
#[test]
fn a_beacon_counts_from_its_place_in_the_frame() {
    check(
        "n1: beacon = applied changed
         n1: register a = applied touched
         n1: suspect a = applied
         n1: unhealthy a | n1: beacon = barrier | applied
         n1: register b = applied touched
         n1: suspect b = applied
         n1: beacon | n1: unhealthy b = applied | applied touched",
    );
}

#[test]
fn who_joins_in_between_is_waited_for_and_who_goes_is_not() {
    check(
        "n1: beacon = applied changed
         n2: beacon = applied changed
         n1: register a = applied touched
         n1: suspect a = applied
         n1: beacon = applied
         n1: unhealthy a = barrier
         n3: beacon applied=2 = applied changed
         n2: beacon = applied
         n1: unhealthy a = barrier
         barrier = 2
         n1: gone n3 = applied changed
         barrier = 4
         n4: beacon leaving applied=3 = applied changed
         # Who leaves may have heard it, too.
         n1: unhealthy a = barrier
         n4: gone n4 = applied changed
         n5: beacon = applied changed
         n1: unhealthy a = applied touched
         instances = a/unhealthy",
    );
}

#[test]
fn when_the_last_goes_nobody_is_left_to_wait_for() {
    check(
        "n1: beacon = applied changed
         n1: register a = applied touched
         n1: suspect a = applied
         n2: unhealthy a = barrier
         n1: gone n1 = applied changed
         n1: unhealthy a = gone
         n2: unhealthy a = applied touched",
    );
}

/// Neither a suspicion that is over nor one that is new lives by the beacons for another.
#[test]
fn each_suspicion_has_its_own_barrier() {
    check(
        "n1: beacon = applied changed
         n2: beacon = applied changed
         n1: register a = applied touched
         n1: suspect a = applied
         n1: beacon = applied
         n2: beacon = applied
         n2: refute a = applied
         n1: unhealthy a = suspicion
         n1: suspect a = applied
         n1: unhealthy a = barrier
         n1: beacon | n2: beacon applied=8 = applied | applied
         n1: unhealthy a = barrier
         n1: beacon | n2: beacon applied=9 = applied | applied
         n1: unhealthy a = applied touched",
    );
}

#[test]
fn no_digest_knows_of_members() {
    check(
        "n1: register a = applied touched
         n1: register b = applied touched
         digest = another
         n1: beacon = applied changed
         n2: beacon = applied changed
         n2: beacon leaving = applied changed
         n1: gone n2 = applied changed
         n2: beacon = gone
         digest = as before
         n1: deregister a = applied touched
         digest = another",
    );
}
