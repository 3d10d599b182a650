use std::collections::BTreeMap;

use crate::model::limits::ORIGIN_POSITIONS;
use crate::model::{MemberRow, NodeIncarnation, Position};

use super::State;
use super::origins::Origins;

/// The nodes that the log shows, and for a while those that it says are gone.
#[derive(Default)]
pub(super) struct Members(BTreeMap<NodeIncarnation, MemberRow>);

impl Members {
    pub(super) fn get(&self, node: NodeIncarnation) -> Option<&MemberRow> {
        self.0.get(&node)
    }

    pub(super) fn get_mut(&mut self, node: NodeIncarnation) -> Option<&mut MemberRow> {
        self.0.get_mut(&node)
    }

    pub(super) fn insert(&mut self, node: NodeIncarnation, row: MemberRow) {
        self.0.insert(node, row);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeIncarnation> {
        self.0.keys().copied()
    }

    fn living(&self) -> impl Iterator<Item = (&NodeIncarnation, &MemberRow)> {
        self.0.iter().filter(|(_, row)| !row.gone)
    }

    /// Forgets who is long gone, once nothing more of it can be told from news; says whom.
    pub(super) fn forget(&mut self, at: Position, origins: &Origins) -> Vec<NodeIncarnation> {
        let floor = at.back(ORIGIN_POSITIONS);
        let is_over =
            |node: &NodeIncarnation, row: &MemberRow| row.gone && row.seen.position() < floor && !origins.knows(*node);
        let over: Vec<_> = self.0.iter().filter(|(node, row)| is_over(node, row)).map(|(node, _)| *node).collect();
        over.iter().for_each(|node| drop(self.0.remove(node)));
        over
    }
}

impl State {
    /// The nodes that the log shows and that are not gone; none on a log of one process.
    pub fn members(&self) -> impl Iterator<Item = (&NodeIncarnation, &MemberRow)> {
        self.members.living()
    }

    /// A node that is a member and not gone.
    pub fn member(&self, node: NodeIncarnation) -> Option<&MemberRow> {
        self.members.get(node).filter(|row| !row.gone)
    }

    /// What a node calls itself, also one that is gone.
    pub fn name_of(&self, node: NodeIncarnation) -> Option<&str> {
        self.members.get(node).map(|row| &*row.name)
    }

    /// Whether the log says that this node is gone.
    pub fn is_gone(&self, node: NodeIncarnation) -> bool {
        self.members.get(node).is_some_and(|row| row.gone)
    }

    /// What all members have shown that they have applied; `None`: there are no members.
    pub fn barrier(&self) -> Option<Position> {
        self.members().map(|(_, row)| row.applied).min()
    }
}

#[cfg(test)]
mod tests;
