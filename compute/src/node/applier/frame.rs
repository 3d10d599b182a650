//! Building frames, appending them, and what to do when the log does not take them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::command::{Ack, Answer, Command, Outcome, Reached};
use crate::error::{Error, What};
use crate::keyed::KeyedSet;
use crate::model::limits::{FRAME_BYTES_MAX, FRAME_CHANGES_MAX};
use crate::model::{
    Author, Change, Frame, InstanceKey, LeaseKind, Namespace, Op, Origin, Position, Revision, ServiceKey, SessionId,
};
use crate::node::link::{is_renewal, overloaded};
use crate::node::overlay::{Unsent, provisional, subject};
use crate::port::change_log::AppendError;
use crate::port::clock::MonoMs;
use crate::state::{Deciding, Decision};

use super::meters::{CHECK_FEED, CHECK_FEED_MAX, SESSIONS, UNLANDED};
use super::{AWAY_AFTER_MS, Applier, Away, InFlight, InFlightProgress, Item, RETRY_MS, Source, Ticket};

/// What a change is about: two changes of the same subject do not share a frame, for the second could not know what it
/// rests on.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Subject {
    Instance(InstanceKey),
    Service(ServiceKey),
    Namespace(Namespace),
    Session(SessionId),
    Other,
}

/// A frame that is being gathered.
#[derive(Default)]
pub(super) struct Gathering {
    changes: Vec<Change>,
    bytes: usize,
    busy: KeyedSet<Subject>,
    later: Vec<Item>,
    /// Sessions that it opens.
    sessions: usize,
    /// What this node does not know of, and somebody else may: decided again once this frame is applied.
    unsure: Vec<Item>,
}

impl Gathering {
    fn is_full(&self) -> bool {
        self.changes.len() >= FRAME_CHANGES_MAX || self.bytes >= FRAME_BYTES_MAX / 2
    }

    /// Three quarters are: the rest is for renewals.
    fn is_full_for_overlay(&self) -> bool {
        self.changes.len() >= FRAME_CHANGES_MAX / 4 * 3 || self.bytes >= FRAME_BYTES_MAX / 8 * 3
    }
}

impl Applier {
    /// Builds and appends the next frame, if none is under way and there is something to say.
    pub(super) fn pump(&mut self) {
        if self.recovering.is_some() {
            return self.decide_while_stuck();
        }
        if self.in_flight.is_some() {
            return;
        }
        let has_items = !self.renewals.is_empty() || !self.staged.is_empty() || self.owes_now();
        let has_work = has_items || self.is_beacon_due() || (self.overlay.has_any_unsent() && self.away.is_none());
        if !has_work {
            return;
        }
        let started = self.clock.mono_us();
        let mut gathering = Gathering::default();
        if self.away.is_none() {
            self.gather_overlay(&mut gathering);
        }
        self.gather_owed(&mut gathering);
        self.fill(&mut gathering, |applier| &mut applier.renewals);
        self.fill(&mut gathering, |applier| &mut applier.staged);
        // A beacon says how far this node has looked: what it owes for that goes before it.
        if self.away.is_none() && self.expiry.may_show(self.state.position()) {
            self.push_beacon(&mut gathering);
        }
        self.metrics.decided(self.clock.mono_us() - started);
        if !gathering.changes.is_empty() || !gathering.unsure.is_empty() {
            self.append(gathering.changes, gathering.unsure);
        }
    }

    /// What this node heard of leases that others suspect.
    fn gather_owed(&mut self, gathering: &mut Gathering) {
        if !self.owes_now() {
            return;
        }
        let mut owed = Vec::new();
        self.expiry.witness.due(self.clock.mono_ms(), FRAME_CHANGES_MAX / 2, &mut owed);
        let author = self.own("lease");
        for op in owed {
            gathering.busy.extend(subject(&op).cloned().map(Subject::Instance));
            self.push(gathering, Source::Own, author.clone(), op);
        }
    }

    fn owes_now(&self) -> bool {
        let now = self.clock.mono_ms();
        self.away.is_none() && self.expiry.witness.next_deadline().is_some_and(|at| at <= now)
    }

    fn is_beacon_due(&self) -> bool {
        let now = self.clock.mono_ms();
        self.away.is_none() && self.company.as_ref().is_some_and(|company| company.is_beacon_due(now))
    }

    /// Decides what waits in a queue, in its order, until the frame is full; what must wait for the next stays there.
    fn fill(&mut self, gathering: &mut Gathering, queue: fn(&mut Self) -> &mut VecDeque<Item>) {
        gathering.busy.reserve(queue(self).len().min(FRAME_CHANGES_MAX));
        while !gathering.is_full()
            && let Some(item) = queue(self).pop_front()
        {
            let subject = item.subject();
            if gathering.busy.contains(&subject) {
                gathering.later.push(item);
                continue;
            }
            let before = gathering.changes.len();
            self.decide(item, gathering);
            // Only a change makes its subject busy: what was answered or refused rests on nothing.
            if gathering.changes.len() > before && subject != Subject::Other {
                gathering.busy.insert(subject);
            }
        }
        gathering.later.drain(..).rev().for_each(|item| queue(self).push_front(item));
    }

    fn gather_overlay(&mut self, gathering: &mut Gathering) {
        while !gathering.is_full_for_overlay()
            && let Some(Unsent { author, op }) = self.overlay.take()
        {
            if let Some(key) = subject(&op) {
                gathering.busy.insert(Subject::Instance(key.clone()));
            }
            self.push(gathering, Source::Overlay, author, op);
        }
    }

    fn decide(&mut self, item: Item, gathering: &mut Gathering) {
        let (ticket, command, tries, is_sure) = match item {
            Item::Own { op, author } => {
                if self.away.is_none() {
                    self.push(gathering, Source::Own, author, op);
                }
                return;
            }
            Item::Command { ticket, command, tries, is_sure } => (ticket, command, tries, is_sure),
        };
        // Who gave up on this node says it again to another, and newer words after it: this one must not come behind them.
        if matches!(command, Command::Register { .. }) && !self.calls.is_waiting(ticket) {
            return self.calls.answer(ticket, Err(Error::OutcomeUnknown));
        }
        let Some(author) = self.calls.caller(ticket).map(|caller| caller.author.clone()) else { return };
        let by = Deciding { node: self.me, author: &author, now_ms: self.clock.wall_ms() };
        match self.state.decide(&command, by) {
            Decision::Answer(answer) => self.answer_now(ticket, &command, answer),
            Decision::Refuse(Error::NotFound { .. }) if !is_sure && self.company.is_some() => {
                self.doubt(Item::Command { ticket, command, tries, is_sure }, gathering);
            }
            Decision::Refuse(error) => self.refuse(ticket, &command, error),
            Decision::Append(op) => {
                let created = creates(&op);
                if let Some(limit) = self.limit_of(&op, gathering) {
                    return self.calls.answer(ticket, Err(overloaded(limit)));
                }
                if self.away.is_some() {
                    return self.accept_while_away(ticket, &command, author, op, created);
                }
                if self.calls.ack(ticket) == Ack::Memory && self.accept_in_memory(ticket, &op, created) {
                    return self.push(gathering, Source::Overlay, author, op);
                }
                let source = Source::Caller { ticket, command, created, tries };
                self.push(gathering, source, author, op);
            }
        }
    }

    /// What this node does not find, another may have made a moment ago: nobody is told that it is not there before
    /// this node has applied the log's end as it is now. While the log is away it can't know.
    fn doubt(&mut self, item: Item, gathering: &mut Gathering) {
        if self.away.is_none() {
            return gathering.unsure.push(item);
        }
        let Item::Command { ticket, command, .. } = item else { return };
        match &command {
            // It may be in the overlay.
            Command::Renew { instance, generation: None } if matches!(self.overlay.get(instance), Some(Some(_))) => {
                self.refuse(ticket, &command, Error::not_found(What::Instance, instance));
            }
            _ => self.calls.answer(ticket, Err(Error::LogAway)),
        }
    }

    pub(super) fn push(&mut self, gathering: &mut Gathering, source: Source, author: Author, op: Op) {
        self.counter += 1;
        gathering.sessions += usize::from(matches!(op, Op::OpenSession { .. }));
        let change = Change { origin: Origin { node: self.me, counter: self.counter }, author, op };
        gathering.bytes += change.weight();
        gathering.changes.push(change);
        self.pending.insert(self.counter, source);
    }

    /// The limit that stands in the way of new work. What keeps or removes what is there has none.
    fn limit_of(&self, op: &Op, gathering: &Gathering) -> Option<&'static str> {
        let is_new = match op {
            Op::OpenSession { .. } => {
                if self.state.sessions_of(self.me) + gathering.sessions >= self.config.sessions_max {
                    return Some(SESSIONS);
                }
                true
            }
            Op::Register { provider, .. } => {
                if provider.lease().kind() == LeaseKind::Checked && self.ends.checks.len() >= CHECK_FEED_MAX {
                    return Some(CHECK_FEED);
                }
                true
            }
            Op::PutNamespace { .. } | Op::PutService { .. } | Op::Operate { .. } | Op::KeepOverride { .. } => true,
            _ => false,
        };
        (is_new && self.unlanded() >= self.config.unlanded_max).then_some(UNLANDED)
    }

    /// An answer that needed no change. Who spoke was heard.
    fn answer_now(&mut self, ticket: Ticket, command: &Command, answer: Answer) {
        if let Command::Register { instance, .. } | Command::Renew { instance, .. } = command
            && let Some(there) = self.state.instance(instance)
        {
            there.cell.renew(self.clock.mono_ms());
        }
        let revision = match &answer {
            Answer::Instance { instance, .. } => instance.revision,
            Answer::Service { row, .. } => row.revision,
            Answer::Namespace { row, .. } => row.revision,
            Answer::Override { kept, .. } => kept.row.operator.revision,
            _ => self.state.position().last(),
        };
        let outcome = Outcome { answer, reached: Reached::Log, revision };
        self.calls.answer_applied(ticket, outcome, self.landed, self.clock.mono_ms());
    }

    /// A renewal of what only the overlay has is heard there.
    fn refuse(&mut self, ticket: Ticket, command: &Command, error: Error) {
        if let Command::Renew { instance, generation: None } = command
            && matches!(error, Error::NotFound { .. })
            && let Some(Some(shown)) = self.overlay.get(instance)
        {
            shown.cell.renew(self.clock.mono_ms());
            let outcome = Outcome { answer: Answer::Renewed, reached: Reached::Overlay, revision: Revision::ZERO };
            return self.calls.answer(ticket, Ok(outcome));
        }
        self.calls.answer(ticket, Err(error));
    }

    /// `ack=memory` while the log is there: shown and answered at once, and appended with this frame.
    fn accept_in_memory(&mut self, ticket: Ticket, op: &Op, created: bool) -> bool {
        !self.overlay.is_full() && self.show_and_answer(ticket, op, created, Reached::Memory)
    }

    /// While the log is away: what its provider repeats is kept in the overlay, the rest is refused unless its caller
    /// asked for no more than memory.
    fn accept_while_away(&mut self, ticket: Ticket, command: &Command, author: Author, op: Op, created: bool) {
        if let Op::Refute { instance, .. } = &op {
            // Expiry is frozen while the log is away, so the refute may wait.
            let key = instance.clone();
            if let Some(there) = self.state.instance(&key) {
                there.cell.renew(self.clock.mono_ms());
            }
            let answer = match (command, self.state.instance(&key)) {
                (Command::Register { .. }, Some(there)) => {
                    Answer::Instance { key: key.clone(), instance: there.clone(), created: false }
                }
                _ => Answer::Renewed,
            };
            let outcome = Outcome { answer, reached: Reached::Overlay, revision: Revision::ZERO };
            self.calls.answer(ticket, Ok(outcome));
            if !self.overlay.has_unsent(&key) {
                self.overlay.keep(&key, author, op);
            }
            return;
        }
        let asked_memory = self.calls.ack(ticket) == Ack::Memory;
        let repeats = matches!(&op, Op::Register { provider, .. }
            if matches!(provider.lease().kind(), LeaseKind::Ttl | LeaseKind::Stream));
        let Some(key) = subject(&op).cloned().filter(|_| repeats || asked_memory) else {
            return self.calls.answer(ticket, Err(Error::LogAway));
        };
        let is_register = matches!(op, Op::Register { .. });
        if (self.overlay.has_unsent(&key) && !is_register) || self.is_in_flight(&key) {
            return self.calls.answer(ticket, Err(Error::LogAway));
        }
        if self.overlay.is_full() {
            let retry_after = std::time::Duration::from_millis(AWAY_AFTER_MS);
            let full = Error::Overloaded { limit: "overlay of writes that wait for the log", retry_after };
            return self.calls.answer(ticket, Err(full));
        }
        let reached = if asked_memory { Reached::Memory } else { Reached::Overlay };
        if self.show_and_answer(ticket, &op, created, reached) {
            self.overlay.keep(&key, author, op);
        } else {
            self.calls.answer(ticket, Err(Error::LogAway));
        }
    }

    /// Lays a change over the state for readers of this node, and answers its caller. False: it can't be shown.
    fn show_and_answer(&mut self, ticket: Ticket, op: &Op, created: bool, reached: Reached) -> bool {
        let Some(key) = subject(op).cloned() else { return false };
        let there = match self.overlay.get(&key) {
            Some(shown) => shown.cloned(),
            None => self.state.instance(&key).cloned(),
        };
        let Some(value) = provisional(op, there.as_ref(), self.state.log().time_ms.max(self.clock.wall_ms())) else {
            return false;
        };
        if let Some(value) = &value {
            value.cell.renew(self.clock.mono_ms());
        }
        self.overlay.show(&key, value.clone());
        self.show_overlay(&key.service);
        let answer = match value {
            Some(instance) => Answer::Instance { key, instance, created },
            None => Answer::Removed,
        };
        self.calls.answer(ticket, Ok(Outcome { answer, reached, revision: Revision::ZERO }));
        true
    }

    fn is_in_flight(&self, key: &InstanceKey) -> bool {
        let changes = self.in_flight.iter().flat_map(|f| &f.frame.changes);
        changes.into_iter().any(|change| subject(&change.op) == Some(key))
    }

    fn append(&mut self, changes: Vec<Change>, unsure: Vec<Item>) {
        let identity = self.state.log().identity;
        let frame = Arc::new(Frame { identity, writer: self.me, time_ms: self.clock.wall_ms(), changes });
        self.metrics.frame(frame.changes.len());
        let now = self.clock.mono_ms();
        let progress = InFlightProgress::Appending(self.append_future(frame.clone()));
        let since_us = self.clock.mono_us();
        self.in_flight = Some(InFlight { frame, since: now, since_us, progress, repeated: false, unsure });
    }

    fn append_future(&self, frame: Arc<Frame>) -> super::BoxFuture<Result<Position, AppendError>> {
        let log = self.log.clone();
        Box::pin(async move { log.append(frame).await })
    }

    pub(super) fn take_appended(&mut self, result: Result<Position, AppendError>) {
        let now = self.clock.mono_ms();
        let Some(in_flight) = &mut self.in_flight else { return };
        match result {
            Ok(at) => {
                self.metrics.appended(self.clock.mono_us() - in_flight.since_us);
                in_flight.progress = InFlightProgress::Appended { at, known_since: now };
                self.log_is_back(now);
            }
            Err(AppendError::Refused(why)) => {
                tracing::warn!(why, "the log refused a frame");
                if in_flight.repeated {
                    in_flight.progress = InFlightProgress::Unknown { retry_at: now + RETRY_MS };
                } else {
                    let frame = in_flight.frame.clone();
                    let unsure = std::mem::take(&mut in_flight.unsure);
                    self.in_flight = None;
                    self.log_is_away(now);
                    self.take_back(&frame, unsure);
                }
                self.log_is_away(now);
            }
            Err(AppendError::Unknown(why)) => {
                tracing::warn!(why, "it is not known whether the log took a frame; it is appended again");
                in_flight.progress = InFlightProgress::Unknown { retry_at: now + RETRY_MS };
                self.log_is_away(now);
                self.answer_unknown();
            }
        }
    }

    /// The frame is certainly not in the log: its commands are decided again, under the rules for a log that is away.
    fn take_back(&mut self, frame: &Frame, unsure: Vec<Item>) {
        self.beacon_taken_back(frame);
        unsure.into_iter().rev().for_each(|item| self.stage_first(item));
        for change in frame.changes.iter().rev() {
            match self.pending.remove(&change.origin.counter) {
                Some(Source::Caller { ticket, command, tries, .. }) => {
                    self.stage_first(Item::Command { ticket, command, tries, is_sure: false });
                }
                Some(Source::Overlay) => self.overlay.put_back(change.author.clone(), change.op.clone()),
                Some(Source::Own) => self.expiry.refused(&change.op, self.clock.mono_ms()),
                None => {}
            }
        }
    }

    /// Callers whose change may or may not be in the log are told so, rather than kept waiting.
    pub(super) fn answer_unknown(&mut self) {
        for item in self.in_flight.iter_mut().flat_map(|f| f.unsure.drain(..)) {
            if let Item::Command { ticket, .. } = item {
                self.calls.answer(ticket, Err(Error::LogAway));
            }
        }
        let counters = self.in_flight.iter().flat_map(|f| f.frame.changes.iter().map(|c| c.origin.counter));
        for counter in counters.collect::<Vec<_>>() {
            if let Some(source) = self.pending.get_mut(&counter)
                && let Source::Caller { ticket, .. } = source
            {
                let ticket = *ticket;
                *source = Source::Own;
                self.calls.answer(ticket, Err(Error::OutcomeUnknown));
            }
        }
    }

    pub(super) fn log_is_away(&mut self, now: MonoMs) {
        let since = self.away.map_or(now, |away| away.since);
        if self.away.is_none() {
            tracing::warn!("the change log is away; expiry is held back, writes go to the overlay");
            self.expiry.hold(super::expiry::Hold::LogAway);
        }
        self.silence_means_nothing();
        self.away = Some(Away { since, retry_at: now + RETRY_MS });
        self.refuse_releases();
        self.put_status();
    }

    pub(super) fn log_is_back(&mut self, now: MonoMs) {
        if let Some(away) = self.away.take() {
            tracing::info!(away_ms = now - away.since, overlay = self.overlay.len(), "the change log is back");
            self.expiry.release(super::expiry::Hold::LogAway, now);
            self.put_status();
        }
    }

    /// Decides an item again before all others of its queue.
    pub(super) fn stage_first(&mut self, item: Item) {
        match &item {
            Item::Command { command, .. } if is_renewal(command) => self.renewals.push_front(item),
            _ => self.staged.push_front(item),
        }
    }

    /// Notices an append that takes too long, repeats one of unknown outcome, and tries a log that is away.
    pub(super) fn watch_log(&mut self, now: MonoMs) {
        if self.recovering.is_some() {
            return;
        }
        let retry = match &self.in_flight {
            Some(InFlight { progress: InFlightProgress::Unknown { retry_at }, frame, .. }) if now >= *retry_at => {
                Some(frame.clone())
            }
            Some(in_flight) if self.away.is_none() && now >= in_flight.since + AWAY_AFTER_MS => {
                self.log_is_away(now);
                self.answer_unknown();
                None
            }
            None if self.away.is_some_and(|away| now >= away.retry_at) => {
                // A frame with nothing in it, or with no more than a beacon, tells whether the log is back.
                let mut gathering = Gathering::default();
                self.push_beacon(&mut gathering);
                self.append(gathering.changes, Vec::new());
                None
            }
            _ => None,
        };
        if let Some(frame) = retry {
            let append = self.append_future(frame);
            if let Some(in_flight) = &mut self.in_flight {
                in_flight.progress = InFlightProgress::Appending(append);
                in_flight.repeated = true;
            }
        }
        if self.away.is_some() {
            self.decide_while_stuck();
        }
    }

    /// While an append is stuck no frame is built, but callers must not wait for it: they are decided now.
    fn decide_while_stuck(&mut self) {
        let mut nothing = Gathering::default();
        while let Some(item) = self.renewals.pop_front().or_else(|| self.staged.pop_front()) {
            self.decide(item, &mut nothing);
        }
    }
}

impl Item {
    fn subject(&self) -> Subject {
        match self {
            Self::Own { op, .. } => subject(op).map_or(Subject::Other, |key| Subject::Instance(key.clone())),
            Self::Command { command, .. } => match command {
                Command::PutNamespace { namespace, .. } | Command::DeleteNamespace { namespace } => {
                    Subject::Namespace(namespace.clone())
                }
                Command::PutService { service, .. } | Command::DeleteService { service, .. } => {
                    Subject::Service(service.clone())
                }
                Command::Register { instance, .. }
                | Command::Deregister { instance, .. }
                | Command::Renew { instance, .. }
                | Command::Operate { instance, .. }
                | Command::KeepOverride { instance, .. }
                | Command::DropOverride { instance } => Subject::Instance(instance.clone()),
                Command::OpenSession { session, .. }
                | Command::AttachSession { session }
                | Command::CloseSession { session, .. } => Subject::Session(*session),
            },
        }
    }
}

/// Whether a change makes something that was not there.
fn creates(op: &Op) -> bool {
    use crate::model::Base;
    matches!(
        op,
        Op::PutNamespace { base: Base::Absent(_), .. }
            | Op::PutService { base: Base::Absent(_), .. }
            | Op::Register { base: Base::Absent(_), .. }
            | Op::KeepOverride { over: None, .. }
            | Op::OpenSession { .. }
    )
}
