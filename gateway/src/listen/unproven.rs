//! Connections on which nobody has shown yet who calls, at a door where that must be shown.
//!
//! They have few places and little time, so that those who can show it always find room. Where all their places are
//! taken one of them gives way to whoever comes: the oldest of the address that has most of them, so that somebody who
//! comes again and again gives way to himself.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::activity::Activity;

/// What connections may take on which nobody has shown yet who calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unproven {
    /// So many of the listener's connections.
    pub connections_max: usize,
    /// Until one of them is cut.
    pub timeout: Duration,
}

/// In the extensions of a request whose caller must show who it is.
#[derive(Clone)]
pub(crate) struct Caller(pub(super) Arc<Activity>);

impl Caller {
    /// It has shown it: its connection stands as long as it likes.
    pub(crate) fn is_proven(&self) {
        self.0.prove();
    }
}

/// Which of the unproven connections has to go when one must, by number and address; the lowest number is the oldest.
pub(super) fn gives_way(unproven: &[(u64, IpAddr)]) -> Option<u64> {
    let mut counts = HashMap::<IpAddr, usize>::new();
    unproven.iter().for_each(|(_, address)| *counts.entry(*address).or_default() += 1);
    unproven.iter().max_by_key(|(id, address)| (counts[address], Reverse(*id))).map(|(id, _)| *id)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::gives_way;

    #[test]
    fn the_oldest_of_whoever_has_most_gives_way() {
        let at = |last| IpAddr::from([10, 0, 0, last]);
        assert_eq!(gives_way(&[]), None);
        assert_eq!(gives_way(&[(7, at(1))]), Some(7));
        assert_eq!(gives_way(&[(9, at(1)), (8, at(2)), (7, at(3))]), Some(7));
        assert_eq!(gives_way(&[(1, at(1)), (9, at(2)), (8, at(2)), (2, at(3))]), Some(8));
        assert_eq!(gives_way(&[(4, at(1)), (3, at(1)), (2, at(2)), (1, at(2))]), Some(1));
    }
}
