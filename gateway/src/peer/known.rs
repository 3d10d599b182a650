//! Who can be called, by what the log shows and what gossip says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use compute::model::NodeIncarnation;

use super::Method;
use super::gossip::About;
use super::link::Link;
use super::secret::Key;

type Addresses = BTreeMap<NodeIncarnation, Arc<str>>;
/// More are not remembered; without gossip nobody asks for them.
const GONE_MAX: usize = 1_024;

type Links = BTreeMap<NodeIncarnation, Arc<Link>>;

pub(super) struct Known {
    key: Key,
    me: Option<NodeIncarnation>,
    /// What the log shows.
    members: Addresses,
    /// What gossip says.
    hints: Addresses,
    /// Members that are none any more, as long as gossip has not noticed.
    gone: BTreeSet<NodeIncarnation>,
    links: Links,
    hinted: Links,
}

impl Known {
    pub(super) fn new(key: Key) -> Self {
        let (members, hints, links, hinted) = Default::default();
        Self { key, me: None, members, hints, gone: BTreeSet::new(), links, hinted }
    }

    pub(super) fn know(&mut self, me: NodeIncarnation, members: &[(NodeIncarnation, Arc<str>)]) {
        let members: Addresses = members.iter().filter(|(node, _)| *node != me).cloned().collect();
        let gone = self.members.keys().filter(|node| !members.contains_key(node));
        self.gone.extend(gone.chain(&self.me).filter(|node| **node != me));
        while self.gone.len() > GONE_MAX {
            self.gone.pop_first();
        }
        (self.me, self.members) = (Some(me), members);
        self.arrange();
    }

    pub(super) fn hear(&mut self, hints: &[About]) {
        self.hints = hints.iter().map(|about| (about.node, Arc::clone(&about.peer))).collect();
        self.gone.retain(|node| self.hints.contains_key(node));
        self.arrange();
    }

    /// The way to a member; to another node only for the question whether it is there.
    pub(super) fn link(&self, node: NodeIncarnation, method: Method) -> Option<Arc<Link>> {
        let hinted = || self.hinted.get(&node).filter(|_| method == Method::Ask);
        self.links.get(&node).or_else(hinted).cloned()
    }

    /// The ways to the members.
    pub(super) fn links(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.links.values()
    }

    pub(super) fn hinted(&self) -> Vec<NodeIncarnation> {
        self.hinted.keys().copied().collect()
    }

    /// Links that fit what is known now; those that did before stay, with their connections.
    fn arrange(&mut self) {
        let Some(me) = self.me else { return };
        let (links, hinted) = (std::mem::take(&mut self.links), std::mem::take(&mut self.hinted));
        let to = |(node, address): (&NodeIncarnation, &Arc<str>)| {
            let before = links.get(node).or_else(|| hinted.get(node));
            let same = before.filter(|link| link.me == me && link.address == *address).cloned();
            (*node, same.unwrap_or_else(|| Link::new(me, *node, Arc::clone(address), self.key.clone())))
        };
        // The log's word goes before gossip's.
        let addressed = self.members.iter().map(|(node, address)| {
            let hint = self.hints.get(node).filter(|_| address.is_empty());
            (node, hint.unwrap_or(address))
        });
        self.links = addressed.map(to).collect();
        let others = self.hints.iter().filter(|(node, address)| {
            let is_other = **node != me && !self.members.contains_key(node) && !self.gone.contains(node);
            is_other && !address.is_empty()
        });
        self.hinted = others.map(to).collect();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use compute::model::NodeIncarnation;

    use super::Known;
    use crate::peer::gossip::About;
    use crate::peer::secret::Key;
    use crate::peer::{Method, Secret};

    fn about(node: u64, peer: &str) -> About {
        let (name, http, grpc) = Default::default();
        About { node: NodeIncarnation(node), name, peer: peer.into(), http, grpc, connections: 0, leases: 0 }
    }

    fn known() -> Known {
        Known::new(Key::of_calls(&Secret::new("what only these nodes know").unwrap()))
    }

    fn members(of: &[(u64, &str)]) -> Vec<(NodeIncarnation, Arc<str>)> {
        of.iter().map(|(node, address)| (NodeIncarnation(*node), Arc::from(*address))).collect()
    }

    const ME: NodeIncarnation = NodeIncarnation(1);

    fn address(known: &Known, node: u64, method: Method) -> Option<String> {
        known.link(NodeIncarnation(node), method).map(|link| link.address.to_string())
    }

    #[test]
    fn gossip_adds_what_the_log_does_not_say_and_overrules_nothing() {
        let mut known = known();
        known.hear(&[about(1, "me:1"), about(2, "two:1"), about(3, "three:1"), about(4, "four:1"), about(5, "")]);
        assert_eq!(known.hinted(), [], "nobody is called before this node has a name");
        known.know(ME, &members(&[(2, "logged:1"), (3, "")]));
        assert_eq!(address(&known, 2, Method::Drain).as_deref(), Some("logged:1"));
        assert_eq!(address(&known, 3, Method::Drain).as_deref(), Some("three:1"));
        assert_eq!(known.hinted(), [NodeIncarnation(4)]);
        assert_eq!(address(&known, 4, Method::Ask).as_deref(), Some("four:1"));
        assert_eq!(address(&known, 4, Method::Heartbeats), None);
        assert_eq!(known.links().count(), 2);
    }

    #[test]
    fn who_is_gone_is_not_called_because_gossip_has_not_noticed() {
        let mut known = known();
        let hints = [about(2, "two:1"), about(3, "three:1")];
        known.know(ME, &members(&[(2, "two:1"), (3, "three:1")]));
        known.hear(&hints);
        known.know(ME, &members(&[(3, "three:1")]));
        known.hear(&hints);
        assert_eq!(known.hinted(), []);
        assert_eq!(address(&known, 2, Method::Ask), None);
        // Nor is this node itself, under the name that it had.
        known.know(NodeIncarnation(11), &members(&[(3, "three:1")]));
        known.hear(&[about(1, "me:1"), about(3, "three:1")]);
        assert_eq!(known.hinted(), []);
    }

    #[test]
    fn a_way_that_still_fits_is_kept() {
        let mut known = known();
        known.know(ME, &members(&[]));
        known.hear(&[about(2, "two:1")]);
        let first = known.link(NodeIncarnation(2), Method::Ask).unwrap();
        known.know(ME, &members(&[(2, "two:1")]));
        let member = known.link(NodeIncarnation(2), Method::Drain).unwrap();
        assert!(Arc::ptr_eq(&first, &member));
        known.know(ME, &members(&[(2, "two:2")]));
        assert!(!Arc::ptr_eq(&member, &known.link(NodeIncarnation(2), Method::Drain).unwrap()));
    }
}
