//! This node among others: its beacons, who is gone, who lands, and what it does when it is said to be gone itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::error::Error;
use crate::model::{Change, Digest, Frame, LogState, MemberRow, NodeIncarnation, Op, Position};
use crate::node::heard::{Heard, Owned};
use crate::node::lander::Work;
use crate::node::link::{Member, Told};
use crate::node::overlay::{shows, subject};
use crate::node::roll::Roll;
use crate::node::{Failure, Parts};
use crate::port::Peers;
use crate::port::clock::MonoMs;
use crate::state::Applied;

use super::errands::Errands;
use super::expiry::{Expiry, HandOver, Hold, ownership_of};
use super::{Applier, Gathering, InFlightProgress, Item, Source};

/// A node whose own frames are in the log for this long and have not come back is behind.
const BEHIND_MS: MonoMs = 5_000;
/// Frames that others may have read of a log that is away for all, and this node not.
const UNREAD_MAX: u64 = 1;
/// Positions that are remembered: more than a beacon is behind where it is read, and more than come while the whole store
/// is read, for what it had is compared, too.
const SHOWN_MAX: usize = 65_536;
/// While another node stays different, it is said and counted once in this time.
const SAY_MS: MonoMs = 60_000;
/// Between two tries to take the landing role.
const LEAD_MS: MonoMs = 500;
/// The same where the store has gone over to another life of the log: each try fences who lands there.
const FOREIGN_MS: MonoMs = 30_000;

/// What a node has beside its state where others share its log.
pub(super) struct Company {
    pub(super) peers: Arc<dyn Peers>,
    /// What the node is made of.
    pub(super) parts: Parts,
    pub(super) errands: Errands,
    /// Where this node's peer door is, as others reach it.
    address: Arc<str>,
    pub(super) roll: Roll,
    pub(super) heard: Arc<Heard>,
    role: Role,
    lead_at: MonoMs,
    /// This node goes, and has no share of the leases any more.
    is_leaving: bool,
    /// It hears neither the log nor any other node.
    is_isolated: bool,
    /// While the log is away: how far the others or this node were when that began, and whether they have gone on since.
    cut_off: Option<(Position, bool)>,
    /// When the others are next asked what the log is to them.
    pub(super) ask_at: MonoMs,
    /// What was read and what came of it at the last positions, to be compared with what the others say of theirs.
    shown: VecDeque<(Position, Shown)>,
    /// How often it was found that another node had read other frames, or had made something else of them.
    divergences: u64,
    /// Nodes that are different, and when that is said again.
    different: BTreeMap<NodeIncarnation, MonoMs>,
}

/// What a node shows of itself at a position.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    rolling_hash: u64,
    pub(super) digest: Digest,
    /// Of the state that is made anew aside.
    pub(super) rebuilt: Option<Digest>,
}

/// Whether this node lands what all of them apply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Follower,
    /// It asked the store for the role.
    Taking,
    /// The store is its own. Where that is further than this node, it lands once it has come so far.
    Lander,
}

impl Company {
    pub(super) fn new(
        me: NodeIncarnation,
        members: impl Iterator<Item = NodeIncarnation>,
        (peers, parts, errands): (Arc<dyn Peers>, Parts, Errands),
        (address, heard): (Arc<str>, Arc<Heard>),
        now: MonoMs,
    ) -> Self {
        let roll = Roll::new(me, members, now);
        Self {
            peers,
            parts,
            errands,
            address,
            roll,
            heard,
            role: Role::Follower,
            lead_at: now,
            is_leaving: false,
            is_isolated: false,
            cut_off: None,
            ask_at: now,
            shown: VecDeque::new(),
            divergences: 0,
            different: BTreeMap::new(),
        }
    }

    pub(super) fn is_beacon_due(&self, now: MonoMs) -> bool {
        self.roll.is_due(now)
    }

    pub(super) fn next_deadline(&self) -> Option<MonoMs> {
        self.roll.next_deadline()
    }

    pub(super) fn lands(&self) -> bool {
        self.role == Role::Lander
    }

    /// Whoever lands next asks for the role again.
    pub(super) fn step_down(&mut self) {
        self.role = Role::Follower;
    }

    /// What this node was at a position, if that is not long ago.
    pub(super) fn shown_at(&self, at: Position) -> Option<Shown> {
        let at = self.shown.binary_search_by_key(&at, |(position, _)| *position).ok()?;
        self.shown.get(at).map(|(_, shown)| *shown)
    }

    /// Whether it is to be said, and counted, that `node` is different.
    fn is_news(&mut self, node: NodeIncarnation, now: MonoMs) -> bool {
        let is_news = self.different.get(&node).is_none_or(|again_at| now >= *again_at);
        if is_news {
            self.different.insert(node, now + SAY_MS);
            self.divergences += 1;
        }
        is_news
    }

    /// What was compared was of another life of the log.
    pub(super) fn forget_shown(&mut self) {
        self.shown.clear();
    }
}

impl Applier {
    /// The newest of this node's words about itself, for the end of a frame: what it owes comes before it.
    pub(super) fn push_beacon(&mut self, gathering: &mut Gathering) {
        let now = self.clock.mono_ms();
        let (log, rebuilt) = (self.state.log(), self.rebuilt());
        let Some(company) = self.company.as_mut().filter(|company| company.roll.is_due(now)) else { return };
        company.roll.sent();
        let op = Op::Beacon {
            name: self.config.name.clone(),
            peer: company.address.clone(),
            applied: log.watermark,
            rolling_hash: log.rolling_hash,
            digest: Some(self.state.digest()),
            rebuilt,
            landed: self.landed,
            leaving: company.is_leaving,
        };
        let author = self.own("node");
        self.push(gathering, Source::Own, author, op);
    }

    /// A frame of this node is certainly not in the log.
    pub(super) fn beacon_taken_back(&mut self, frame: &Frame) {
        let now = self.clock.mono_ms();
        if let Some(company) = &mut self.company
            && frame.changes.iter().any(|change| matches!(change.op, Op::Beacon { .. }))
        {
            company.roll.taken_back(now);
        }
    }

    pub(super) fn silence_means_nothing(&mut self) {
        if let Some(company) = &mut self.company {
            company.roll.log_is_away();
        }
    }

    /// Goes through the beacons and farewells of a frame. True: this node itself is gone, as far as the log knows.
    pub(super) fn hear_members(&mut self, frame: &Frame, applied: &Applied) -> bool {
        if self.company.is_none() {
            return false;
        }
        let now = self.clock.mono_ms();
        self.remember_shown();
        let mut gone = Vec::new();
        for (change, verdict) in frame.changes.iter().zip(&applied.verdicts) {
            match &change.op {
                Op::Beacon { landed, applied, rolling_hash, digest, rebuilt, .. } if verdict.is_applied() => {
                    self.compare(change.origin.node, *applied, (*rolling_hash, *digest, *rebuilt));
                    self.hear_beacon(change, *landed, now);
                }
                Op::Gone { node } if verdict.is_applied() => gone.push(*node),
                _ => {}
            }
        }
        let is_gone = gone.contains(&self.me);
        if applied.members_changed && !is_gone {
            self.members_changed(&gone, now);
        }
        is_gone
    }

    fn remember_shown(&mut self) {
        let log = self.state.log();
        let shown = Shown { rolling_hash: log.rolling_hash, digest: self.state.digest(), rebuilt: self.rebuilt() };
        if let Some(company) = &mut self.company {
            if company.shown.len() >= SHOWN_MAX {
                company.shown.pop_front();
            }
            company.shown.push_back((log.watermark, shown));
        }
    }

    /// Two nodes that have read different frames at the same offsets follow two logs; two that have read the same and
    /// have made something else of it have a fault, in memory or in the program. Of the first nothing is done but to say
    /// so, loudly; of the second it is found out which of them is wrong.
    fn compare(
        &mut self,
        node: NodeIncarnation,
        applied: Position,
        (rolling_hash, digest, rebuilt): (u64, Option<Digest>, Option<Digest>),
    ) {
        let now = self.clock.mono_ms();
        let Some(company) = self.company.as_mut().filter(|_| node != self.me) else { return };
        let Some(ours) = company.shown_at(applied) else { return };
        if ours.rolling_hash != rolling_hash {
            if company.is_news(node, now) {
                metrics::counter!("thuban_log_divergences_total").increment(1);
                tracing::error!(%node, %applied, "another node has read another log up to here than this one");
            }
            return;
        }
        let Some(theirs) = digest else { return };
        if theirs == ours.digest {
            company.different.remove(&node);
        } else if company.is_news(node, now) {
            metrics::counter!("thuban_state_divergences_total").increment(1);
            tracing::error!(
                %node, %applied, ours = %ours.digest, %theirs,
                "another node has read the same log as this one and has other instances"
            );
        }
        self.compare_states(node, ours, (theirs, rebuilt));
    }

    fn hear_beacon(&mut self, change: &Change, landed: Position, now: MonoMs) {
        let Some(company) = &mut self.company else { return };
        let silent = company.roll.heard(change.origin.node, now);
        let author = self.own("node");
        self.staged.extend(silent.into_iter().map(|node| Item::Own { op: Op::Gone { node }, author: author.clone() }));
        let lands = self.company.as_ref().is_some_and(Company::lands);
        if !lands && landed > self.landed {
            self.landed_up_to(landed);
        }
    }

    /// Somebody came, goes, or is gone: leases may be another node's now.
    fn members_changed(&mut self, gone: &[NodeIncarnation], now: MonoMs) {
        let Some(company) = &mut self.company else { return };
        let mut heard_last = Vec::new();
        for node in gone {
            let name = self.state.name_of(*node).unwrap_or_default();
            tracing::warn!(%node, name, "a member is gone");
            company.different.remove(node);
            heard_last.push((*node, company.roll.gone(*node).unwrap_or(now)));
        }
        company.lead_at = now;
        self.know_members();
        self.own_anew(&heard_last, now);
        self.put_status();
    }

    /// Whom this node may call, and where.
    pub(super) fn know_members(&self) {
        let Some(company) = &self.company else { return };
        let others = self.state.members().filter(|(node, _)| **node != self.me);
        let others: Vec<_> = others.map(|(node, row)| (*node, row.peer.clone())).collect();
        company.peers.know(self.me, &others);
    }

    /// Which leases are this node's, by what the log says now.
    pub(super) fn own_anew(&mut self, gone: &[(NodeIncarnation, MonoMs)], now: MonoMs) {
        let Some(company) = &self.company else { return };
        let ownership = ownership_of(&self.state);
        if *self.expiry.ownership() != ownership {
            company.heard.owned.store(Arc::new(Owned { me: self.me, ownership: ownership.clone() }));
            self.expiry.own(ownership, &self.state, gone, now);
        }
        let told = self.expiry.go_on_owning(&self.state, now);
        self.hand_over(told);
    }

    /// What another node has said directly.
    pub(super) fn take_told(&mut self, told: Told) {
        let now = self.clock.mono_ms();
        match told {
            Told::Heard(ages) => self.expiry.heard_elsewhere(&ages, now),
            Told::HandedOver(ages) => self.expiry.handed_over(ages, now),
            Told::Lost if self.away.is_some() => self.recover("another node has found that it is lost".to_owned()),
            Told::Lost => {}
            Told::Rows(at, digest) => self.compare_rows(at, digest),
            #[cfg(any(test, feature = "testing"))]
            Told::Bent(key) => {
                self.state.bend(&key);
                self.show_overlay(&key.service);
            }
        }
    }

    fn hand_over(&mut self, told: HandOver) {
        let Some(company) = self.company.as_mut().filter(|_| !told.is_empty()) else { return };
        company.errands.hand_over(company.peers.clone(), told);
    }

    /// The member that came first lands, for as long as it stays.
    fn first(&self) -> Option<NodeIncarnation> {
        let staying = || self.state.members().filter(|(_, member)| !member.leaving);
        let first = staying().min_by_key(|(_, member)| member.joined);
        // Where all are leaving, the first of them lands to the end.
        first.or_else(|| self.state.members().min_by_key(|(_, member)| member.joined)).map(|(node, _)| *node)
    }

    fn is_first(&self) -> bool {
        self.first() == Some(self.me)
    }

    /// Whether what ends by the log's clock, and not by a lease, is this node's to say.
    pub(super) fn keeps_time(&self) -> bool {
        self.company.is_none() || self.is_first()
    }

    /// Takes the landing role, if it is this node's and it does not have it.
    pub(super) fn take_role(&mut self, now: MonoMs) {
        let is_first = self.is_first();
        let is_lost = self.recovering.is_some();
        let Some(company) = self.company.as_mut().filter(|_| !is_lost) else { return };
        if company.role == Role::Follower && is_first && now >= company.lead_at && self.landing.is_none() {
            let Ok(permit) = self.ends.work.try_reserve() else { return };
            permit.send(Work::Lead);
            company.role = Role::Taking;
            company.lead_at = now + LEAD_MS;
        }
    }

    /// What the store has counts, not what its last lander said of it.
    pub(super) fn led(&mut self, store: LogState) -> Result<(), Failure> {
        let from = self.state.landable_from();
        if self.recovering.is_none() && store.watermark == Position::ZERO && from.generation() > 0 {
            let why =
                format!("it is empty and had landed {from}: it has lost what it had, or is another one; nothing lands");
            tracing::error!(
                why,
                "restore the store from a backup, and restart no node before: this one has all in memory"
            );
            self.put_off_landing(why);
            return Ok(());
        }
        if self.recovering.is_some() || store.watermark.generation() < from.generation() {
            // It was asked for in an earlier life of the log.
            self.not_led(None);
            return Ok(());
        }
        let reads = self.state.position().generation();
        if reads > 0 && store.watermark.generation() > reads {
            // Either this log is lost, and this node will find out, or somebody was given another one.
            let life = store.watermark.generation();
            let why =
                format!("the store belongs to life {life} of the log, and this node reads life {reads}: nothing lands");
            tracing::error!(why, "is every node given the same --log?");
            self.put_off_landing(why);
            return Ok(());
        }
        if store.watermark < from {
            let why = format!("it has landed {} and had landed {from}: it has lost what it had", store.watermark);
            return Err(self.fail(Failure::Store(why)));
        }
        if let Some(company) = &mut self.company {
            company.role = Role::Lander;
            self.landed = store.watermark;
        }
        Ok(())
    }

    /// Nothing can land for now, and asking each second changes nothing.
    fn put_off_landing(&mut self, why: String) {
        self.not_led(Some(why));
        if let Some(company) = &mut self.company {
            company.lead_at = self.clock.mono_ms() + FOREIGN_MS;
        }
    }

    pub(super) fn not_led(&mut self, error: Option<String>) {
        if let Some(company) = &mut self.company {
            company.role = Role::Follower;
            company.lead_at = self.clock.mono_ms() + LEAD_MS;
        }
        self.store_error = error;
    }

    /// The log says that this node is gone: it was away for so long. What it had begun is dropped, and it joins anew, as
    /// another incarnation that owns nothing yet. Streams end, so that their clients attach their sessions again.
    pub(super) fn rejoin(&mut self) {
        let now = self.clock.mono_ms();
        let Some(company) = &mut self.company else { return };
        let before = std::mem::replace(&mut self.me, NodeIncarnation(company.parts.chance.number()));
        tracing::warn!(was = %before, is = %self.me, "the others took this node for gone; it joins again");
        metrics::counter!("thuban_rejoins_total").increment(1);
        let members = self.state.members().map(|(node, _)| *node);
        company.roll = Roll::new(self.me, members, now);
        company.role = Role::Follower;
        let heard = company.heard.clone();
        self.drop_undecided();
        self.expiry = Expiry::ready(self.me, &self.state, &self.ends.checks, now);
        if self.away.is_some() {
            self.expiry.hold(Hold::LogAway);
        }
        heard.owned.store(Arc::new(Owned { me: self.me, ownership: self.expiry.ownership().clone() }));
        self.know_members();
        self.ends.link.close_streams();
        self.put_status();
    }

    /// Nobody waits for what the old incarnation had under way: it may be in the log, and is answered so.
    fn drop_undecided(&mut self) {
        self.refuse_releases();
        self.counter = 0;
        let in_flight = self.in_flight.take();
        for change in in_flight.iter().flat_map(|f| &f.frame.changes) {
            match self.pending.remove(&change.origin.counter) {
                Some(Source::Caller { ticket, .. }) => self.calls.answer(ticket, Err(Error::OutcomeUnknown)),
                Some(Source::Overlay) => {
                    if let (true, Some(key)) = (shows(&change.op), subject(&change.op)) {
                        self.overlay.settle(key);
                        self.show_overlay(&key.service);
                    }
                }
                Some(Source::Own) | None => {}
            }
        }
        self.pending.clear();
        in_flight.into_iter().flat_map(|f| f.unsure).for_each(|item| self.staged.push_back(item));
        self.staged.retain(|item| matches!(item, Item::Command { .. }));
    }

    /// Where this node's own words are in the log and do not come back, it is behind: it must not speak for anybody.
    pub(super) fn watch_lag(&mut self, now: MonoMs) {
        let Some(company) = &self.company else { return };
        // Not since it was handed over, and not while the log stands still: it shows nothing then, and nobody is behind.
        let unseen = match self.in_flight.as_ref().map(|f| &f.progress) {
            Some(InFlightProgress::Appended { at, known_since }) => Some((*at, *known_since)),
            _ => None,
        };
        let is_behind =
            unseen.is_some_and(|(at, since)| now >= since + BEHIND_MS && company.heard.log_goes_on(at, now));
        if is_behind && self.unready.is_none() {
            tracing::warn!("this node reads the log too slowly: it does not answer until it has caught up");
            self.expiry.hold(Hold::NotReady);
            self.unready = Some(BEHIND.to_owned());
            self.ends.link.close_streams();
            self.put_status();
        } else if !is_behind && unseen.is_none() && self.unready.as_deref() == Some(BEHIND) {
            self.unready = None;
            self.expiry.release(Hold::NotReady, now);
            self.put_status();
        }
    }

    /// Why its clients had better go elsewhere, while it hears nobody. Alone it is nobody's fault that it hears nobody.
    pub(super) fn isolated(&self) -> Option<&'static str> {
        let company = self.company.as_ref()?;
        let has_others = self.state.members().any(|(node, _)| *node != self.me);
        (has_others && company.is_isolated).then_some(ISOLATED)
    }

    pub(super) fn divergences(&self) -> u64 {
        self.company.as_ref().map_or(0, |company| company.divergences)
    }

    pub(super) fn watch_isolation(&mut self, now: MonoMs) {
        let Some(company) = &mut self.company else { return };
        let was = std::mem::replace(&mut company.is_isolated, company.heard.is_isolated(now));
        let is = company.is_isolated;
        if was != is {
            tracing::warn!(isolated = is, "whether this node hears the log or any other node has changed");
            if is && self.isolated().is_some() {
                self.ends.link.close_streams();
            }
            self.put_status();
        }
    }

    /// Where the log is away for this node and goes on for others, these take its sessions for lost, and nobody can tell
    /// them otherwise: their clients had better take them to another node while the grace lasts.
    pub(super) fn watch_cut(&mut self) {
        let Some(company) = &mut self.company else { return };
        if self.away.is_none() {
            company.cut_off = None;
            return;
        }
        let elsewhere = company.heard.applied_elsewhere();
        let (began, was) = company.cut_off.unwrap_or((elsewhere.max(self.state.position()), false));
        let is = was || elsewhere.offset() > began.offset() + UNREAD_MAX;
        company.cut_off = Some((began, is));
        if is && !was {
            tracing::warn!(%elsewhere, "the change log goes on for others: sessions are to go to another node");
            self.ends.link.close_streams();
        }
    }

    /// All nodes, for people.
    pub(super) fn members(&self) -> Vec<Member> {
        let lander = self.first();
        let member = |(node, row): (&NodeIncarnation, &MemberRow)| Member {
            node: *node,
            name: row.name.clone(),
            address: row.peer.clone(),
            joined: row.joined,
            joined_ms: row.joined_ms,
            applied: row.applied,
            landed: row.landed,
            leaving: row.leaving,
            is_lander: lander == Some(*node),
            sessions: self.state.sessions_of(*node),
        };
        self.state.members().map(member).collect()
    }

    /// This node is about to go: it takes no leases any more, and says so with its next beacon.
    pub(super) fn leave(&mut self) {
        if let Some(company) = &mut self.company {
            company.is_leaving = true;
        }
    }

    /// The last word of a node that goes by itself. While the log is away nobody can be told: its silence will say it.
    pub(super) fn farewell(&self) -> Option<Item> {
        let is_member = self.state.member(self.me).is_some();
        let farewell = Item::Own { op: Op::Gone { node: self.me }, author: self.own("node") };
        (self.company.is_some() && is_member && self.away.is_none()).then_some(farewell)
    }
}

const BEHIND: &str = "it is behind the change log";
const ISOLATED: &str = "it hears neither the change log nor any other node; use another node";
