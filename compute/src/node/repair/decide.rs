//! What a node does that has made its state anew aside, by what others have shown of theirs.
//!
//! Pure. Nobody is right because there are more of it, or because it is newer, and nothing is merged: a node lets go of
//! what it has only for what store and log say to it and to a second node alike, and that second node must have it, too,
//! and nobody else what this one has. Where all nodes have the same and the rows say something else, it is the rows that
//! are wrong. All other differences are for people.

/// What another node has shown of itself, against what this one had at the same position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) struct Seen {
    /// Both have the same.
    pub(in crate::node) has_mine: bool,
    /// What it has made anew; `None`: it has not said.
    pub(in crate::node) rebuilt: Option<Rebuilt>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) struct Rebuilt {
    /// Both have made the same anew.
    pub(in crate::node) is_mine: bool,
    /// It is what that node has.
    pub(in crate::node) is_its_own: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) enum Verdict {
    /// Not all have spoken.
    Wait,
    /// This node has what store and log say.
    Whole,
    /// What was made anew takes the place of what this node has.
    Swap,
    /// This node lands, and the rows are wrong.
    LandAgain,
    /// The rows are wrong, and another node lands.
    LeaveToLander,
    /// Nothing is done, but to say so.
    Alarm(&'static str),
}

/// `is_whole`: what this node has made anew is what it has. `others`: all other members; `None`: it has shown nothing that
/// could be compared. `is_over`: nobody is waited for any more.
pub(in crate::node) fn decide(is_whole: bool, lands: bool, others: &[Option<Seen>], is_over: bool) -> Verdict {
    if is_whole {
        return Verdict::Whole;
    }
    let has_spoken = |seen: &Option<Seen>| seen.is_some_and(|seen| seen.rebuilt.is_some());
    if !is_over && !others.iter().all(has_spoken) {
        return Verdict::Wait;
    }
    let agrees = |seen: &&Seen| seen.rebuilt.is_some_and(|rebuilt| rebuilt.is_mine);
    let agreeing: Vec<&Seen> = others.iter().flatten().filter(agrees).collect();
    if agreeing.is_empty() {
        return Verdict::Alarm("no other node has made the same of store and log");
    }
    let has_mine = |seen: &Option<Seen>| seen.is_some_and(|seen| seen.has_mine);
    if others.iter().all(has_mine) {
        return if lands { Verdict::LandAgain } else { Verdict::LeaveToLander };
    }
    if others.iter().any(has_mine) {
        return Verdict::Alarm("another node has what this one has, and store and log say something else");
    }
    if agreeing.iter().any(|seen| seen.rebuilt.is_some_and(|rebuilt| rebuilt.is_its_own)) {
        return Verdict::Swap;
    }
    Verdict::Alarm("no node has what store and log say")
}

#[cfg(test)]
mod tests;
