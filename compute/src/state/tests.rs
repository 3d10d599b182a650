mod kept;
mod members;

use std::sync::Arc;

use crate::command::{Answer, Command, ServicePatch};
use crate::model::limits::{KEEP_AFTER_EXPIRY_MS, SERVICE_EMPTY_MS_MAX, TOMBSTONE_POSITIONS};
use crate::model::{
    Author, Base, Cause, Change, Entry, Frame, FreezeScope, HealthReason, InstanceKey, Lease, LogIdentity,
    NodeIncarnation, Op, OperatorPatch, Origin, Position, Provider, ProviderSpec, RemovalReason, Revision, Row,
    ServiceKey, ServiceSettings, SessionId, Set,
};

use super::{Applied, Deciding, Decision, LeaseEvent, LogBroken, Refusal, State, Verdict};

const NODE: NodeIncarnation = NodeIncarnation(1);
const IDENTITY: LogIdentity = LogIdentity([1; 16]);

/// A state, its log's next frame, and the time it will be stamped with.
struct Desk {
    state: State,
    time_ms: u64,
    counter: u64,
}

impl Desk {
    fn new() -> Self {
        Self { state: State::new(IDENTITY), time_ms: 1_000, counter: 0 }
    }

    fn entry(&self, changes: Vec<Change>) -> Entry {
        let position = Position::new(1, self.state.position().offset() + 1).expect("in range");
        let frame = Frame { identity: IDENTITY, writer: NODE, time_ms: self.time_ms, changes };
        Entry { position, frame: Arc::new(frame), checksum: 0 }
    }

    fn apply(&mut self, op: Op) -> Verdict {
        self.applied(op).verdicts[0]
    }

    fn applied(&mut self, op: Op) -> Applied {
        self.counter += 1;
        let origin = Origin { node: NODE, counter: self.counter };
        let change = Change { origin, author: Author::new("somebody", "test"), op };
        let entry = self.entry(vec![change]);
        self.state.apply(&entry).expect("the log is whole")
    }

    fn pass_frames(&mut self, frames: u64) {
        for _ in 0..frames {
            let entry = self.entry(Vec::new());
            self.state.apply(&entry).expect("the log is whole");
        }
    }

    fn decide(&self, command: Command) -> Decision {
        let author = Author::new("somebody", "test");
        self.state.decide(&command, Deciding { node: NODE, author: &author, now_ms: self.time_ms })
    }

    /// Decides and applies; the revision it got.
    fn run(&mut self, command: Command) -> Revision {
        match self.decide(command) {
            Decision::Append(op) => match self.apply(op) {
                Verdict::Applied(revision) => revision,
                other => panic!("not applied: {other:?}"),
            },
            other => panic!("not appended: {other:?}"),
        }
    }

    fn register(&mut self, incarnation: Option<&str>) -> Revision {
        let spec = ProviderSpec {
            incarnation: incarnation.map(str::to_owned),
            // Makes each register another one, so that it is a change.
            port: self.counter % 60_000,
            ..ProviderSpec::at("10.0.0.1", 1)
        };
        let provider = Box::new(Provider::new(&spec).expect("good"));
        self.run(Command::Register { instance: a(), provider, epoch: None, generation: None })
    }

    fn operate(&mut self, patch: OperatorPatch) -> Revision {
        self.run(Command::Operate { instance: a(), generation: None, patch })
    }

    fn deregister(&mut self) {
        self.run(Command::Deregister { instance: a(), generation: None, reason: RemovalReason::Deregistered });
    }

    /// Suspected, unhealthy, gone.
    fn lapse(&mut self) {
        let generation = self.state.instance(&a()).expect("there").generation;
        let suspect = Op::Suspect { instance: a(), generation, age_ms: 10_000, cause: Cause::Lapse };
        let Verdict::Applied(suspicion) = self.apply(suspect) else { panic!("not suspected") };
        assert!(matches!(self.apply(Op::Expire { instance: a(), suspicion }), Verdict::Refused(Refusal::Suspicion)));
        assert!(matches!(self.apply(Op::Unhealthy { instance: a(), suspicion }), Verdict::Applied(_)));
        assert!(matches!(self.apply(Op::Expire { instance: a(), suspicion }), Verdict::Applied(_)));
    }

    fn is_isolated(&self) -> Option<bool> {
        self.state.instance(&a()).map(|i| i.is_isolated())
    }

    fn end_what_is_due(&mut self) -> usize {
        let due = self.state.due(self.time_ms);
        let count = due.len();
        due.into_iter().for_each(|op| assert!(matches!(self.apply(op), Verdict::Applied(_))));
        count
    }
}

fn orders() -> ServiceKey {
    ServiceKey::new("default", "orders").expect("good")
}

fn a() -> InstanceKey {
    InstanceKey::new("default", "orders", "a").expect("good")
}

fn isolate() -> OperatorPatch {
    OperatorPatch { isolated: Set::To(true), ..OperatorPatch::default() }
}

#[test]
fn an_operators_word_survives_a_reregister_and_not_its_instance() {
    let mut desk = Desk::new();
    desk.register(None);
    desk.operate(isolate());
    desk.register(None);
    assert_eq!(desk.is_isolated(), Some(true), "a re-register does not undo an operator");
    desk.deregister();
    desk.register(None);
    assert_eq!(desk.is_isolated(), Some(false), "a new process does not inherit a dead one's override");
}

#[test]
fn how_long_an_operators_word_holds_may_be_said_before_the_word() {
    let mut desk = Desk::new();
    desk.register(None);
    desk.operate(OperatorPatch { keep_ms: Set::To(60_000), ..OperatorPatch::default() });
    let keep_ms = |desk: &Desk| desk.state.instance(&a()).and_then(|i| Some(i.operator.as_ref()?.keep_ms));
    assert_eq!(keep_ms(&desk), Some(60_000));
    desk.operate(isolate());
    assert_eq!(keep_ms(&desk), Some(60_000));
    desk.deregister();
    desk.register(None);
    assert_eq!(desk.is_isolated(), Some(true));
    let expires_at_ms = Set::To(desk.time_ms + 500);
    desk.operate(OperatorPatch {
        isolated: Set::Clear,
        keep_ms: Set::Clear,
        expires_at_ms,
        ..OperatorPatch::default()
    });
    desk.time_ms += 500;
    assert_eq!(desk.end_what_is_due(), 1);
    assert_eq!(keep_ms(&desk), None);
}

#[test]
fn a_patch_that_names_nothing_leaves_author_and_time_as_they_were() {
    let mut desk = Desk::new();
    desk.register(None);
    let set = desk.operate(isolate());
    desk.time_ms += 1_000;
    let empty = Command::Operate { instance: a(), generation: None, patch: OperatorPatch::default() };
    assert!(matches!(desk.decide(empty), Decision::Answer(Answer::Instance { .. })));
    assert_eq!(desk.state.instance(&a()).map(|i| i.operator.as_ref().map(|o| o.revision)), Some(Some(set)));
}

#[test]
fn a_threshold_below_nothing_is_nothing() {
    let patch = ServicePatch { protect_threshold: Some(-0.0), ..ServicePatch::default() };
    assert!(patch.over(&ServiceSettings::default()).protect_threshold.is_sign_positive());
}

#[test]
fn an_operators_word_is_kept_as_long_as_it_was_told() {
    let mut desk = Desk::new();
    desk.register(None);
    desk.operate(OperatorPatch { keep_ms: Set::To(60_000), ..isolate() });
    desk.deregister();
    assert_eq!(desk.state.kept_overrides(&orders()).len(), 1);
    desk.time_ms += 59_999;
    desk.register(Some("another"));
    assert_eq!(desk.is_isolated(), Some(true));
    assert_eq!(desk.state.kept_overrides(&orders()).len(), 0, "it lives with the instance again");
    desk.deregister();
    desk.time_ms += 60_000;
    assert_eq!(desk.end_what_is_due(), 1);
    assert_eq!(desk.state.kept_overrides(&orders()).len(), 0);
    desk.register(None);
    assert_eq!(desk.is_isolated(), Some(false));
}

#[test]
fn after_an_expiry_it_is_kept_for_the_same_process_only() {
    for (again, isolated) in [(Some("one"), true), (Some("two"), false), (None, false)] {
        let mut desk = Desk::new();
        desk.register(Some("one"));
        desk.operate(isolate());
        desk.lapse();
        desk.time_ms += KEEP_AFTER_EXPIRY_MS - 1;
        desk.register(again);
        assert_eq!(desk.is_isolated(), Some(isolated), "{again:?}");
    }
    let mut desk = Desk::new();
    desk.register(Some("one"));
    desk.operate(isolate());
    desk.lapse();
    desk.time_ms += KEEP_AFTER_EXPIRY_MS;
    assert_eq!(desk.end_what_is_due(), 1);
    desk.register(Some("one"));
    assert_eq!(desk.is_isolated(), Some(false));
}

#[test]
fn another_process_at_a_live_address_starts_clean() {
    let mut desk = Desk::new();
    desk.register(Some("one"));
    desk.operate(isolate());
    let second = desk.register(Some("two"));
    let there = desk.state.instance(&a()).expect("there");
    assert_eq!((there.generation, there.is_isolated()), (second, false));
    desk.operate(OperatorPatch { keep_ms: Set::To(1_000), ..isolate() });
    desk.register(Some("three"));
    assert_eq!(desk.is_isolated(), Some(true), "unless it was told to outlive");
}

#[test]
fn an_operators_word_ends_at_its_time() {
    let mut desk = Desk::new();
    desk.register(None);
    desk.operate(OperatorPatch { expires_at_ms: Set::To(desk.time_ms + 500), ..isolate() });
    desk.time_ms += 499;
    assert_eq!(desk.end_what_is_due(), 0);
    desk.time_ms += 1;
    assert_eq!(desk.state.due(desk.time_ms).len(), 1);
    assert_eq!(desk.state.due(desk.time_ms).len(), 1, "it comes up again until it is applied");
    assert_eq!(desk.end_what_is_due(), 1);
    assert_eq!(desk.is_isolated(), Some(false));
    assert_eq!(desk.end_what_is_due(), 0);
}

#[test]
fn a_newer_word_does_not_end_at_the_older_ones_time() {
    let mut desk = Desk::new();
    desk.register(None);
    desk.operate(OperatorPatch { expires_at_ms: Set::To(desk.time_ms + 500), ..isolate() });
    desk.operate(OperatorPatch { expires_at_ms: Set::Clear, ..OperatorPatch::default() });
    desk.time_ms += 1_000;
    assert_eq!(desk.end_what_is_due(), 0);
    assert_eq!(desk.is_isolated(), Some(true));
}

#[test]
fn an_empty_service_that_a_register_made_is_collected_after_a_day() {
    let mut desk = Desk::new();
    desk.register(None);
    desk.deregister();
    desk.time_ms += SERVICE_EMPTY_MS_MAX - 1;
    assert_eq!(desk.end_what_is_due(), 0);
    desk.time_ms += 1;
    assert_eq!(desk.end_what_is_due(), 1);
    assert!(desk.state.service(&orders()).is_none());
}

#[test]
fn a_service_that_somebody_described_stays() {
    let mut desk = Desk::new();
    desk.register(None);
    let patch = ServicePatch { description: Some("for orders".into()), ..ServicePatch::default() };
    desk.run(Command::PutService { service: orders(), patch, expected: None });
    desk.deregister();
    desk.time_ms += 2 * SERVICE_EMPTY_MS_MAX;
    assert_eq!(desk.end_what_is_due(), 0);
    assert!(desk.state.service(&orders()).is_some());
}

#[test]
fn deleting_and_registering_at_once_is_decided_by_order() {
    let mut desk = Desk::new();
    desk.register(None);
    desk.deregister();
    let Decision::Append(delete) = desk.decide(Command::DeleteService { service: orders(), expected: None }) else {
        panic!("it is empty");
    };
    desk.register(None);
    assert_eq!(desk.apply(delete), Verdict::Refused(Refusal::NotEmpty));
}

#[test]
fn a_removal_says_why_and_by_whom() {
    let mut desk = Desk::new();
    desk.register(None);
    desk.lapse();
    let removal = desk.state.service(&orders()).and_then(|s| s.row().last_removal.clone()).expect("a proof");
    assert_eq!((removal.reason, removal.at_ms), (RemovalReason::Expired, desk.time_ms));
    assert_eq!(removal.author, Author::new("somebody", "test"));
}

#[test]
fn a_refuted_suspicion_heals_and_can_no_longer_remove() {
    let mut desk = Desk::new();
    let generation = desk.register(None);
    let suspect = Op::Suspect { instance: a(), generation, age_ms: 10_000, cause: Cause::Lapse };
    let Verdict::Applied(suspicion) = desk.apply(suspect.clone()) else { panic!("not suspected") };
    assert_eq!(desk.apply(suspect), Verdict::Refused(Refusal::Already), "one suspicion stands at most");
    desk.apply(Op::Unhealthy { instance: a(), suspicion });
    let sick = desk.state.instance(&a()).expect("there").health.clone();
    assert_eq!(sick.reason, Some(HealthReason::LeaseLapsed));
    assert!(matches!(desk.apply(Op::Refute { instance: a(), suspicion, age_ms: 5 }), Verdict::Applied(_)));
    assert!(desk.state.instance(&a()).expect("there").is_healthy());
    assert_eq!(desk.apply(Op::Unhealthy { instance: a(), suspicion }), Verdict::Refused(Refusal::Suspicion));
    assert_eq!(desk.apply(Op::Expire { instance: a(), suspicion }), Verdict::Refused(Refusal::Suspicion));
}

#[test]
fn a_register_from_before_a_forgotten_removal_is_refused() {
    let mut desk = Desk::new();
    desk.pass_frames(10);
    let old = desk.state.position();
    desk.register(None);
    desk.deregister();
    let provider = Box::new(Provider::new(&ProviderSpec::at("10.0.0.1", 80)).expect("good"));
    let late = Op::Register { instance: a(), provider, base: Base::Absent(old), epoch: None };
    assert_eq!(desk.apply(late.clone()), Verdict::Refused(Refusal::Base), "it came and went since");
    desk.pass_frames(TOMBSTONE_POSITIONS + 10);
    assert_eq!(desk.apply(late), Verdict::Refused(Refusal::BaseTooOld), "what went since is forgotten");
}

#[test]
fn a_repeated_change_is_applied_once_whatever_came_between() {
    let mut desk = Desk::new();
    let origin = |counter| Origin { node: NODE, counter };
    let author = Author::new("somebody", "test");
    let open = |counter, n: u8| Change {
        origin: origin(counter),
        author: author.clone(),
        op: Op::OpenSession { session: SessionId([n; 16]), node: NODE, grace_ms: 1_000, client: "c".into() },
    };
    // 2 was lost on its way and comes after 3; then everything comes again.
    for (counter, n, verdict) in [
        (1, 1, "applied"),
        (3, 3, "applied"),
        (2, 2, "applied"),
        (1, 1, "duplicate"),
        (2, 2, "duplicate"),
        (3, 4, "duplicate"),
    ] {
        let entry = desk.entry(vec![open(counter, n)]);
        let got = desk.state.apply(&entry).expect("whole").verdicts[0];
        let got = match got {
            Verdict::Applied(_) => "applied",
            Verdict::Duplicate => "duplicate",
            Verdict::Refused(_) => "refused",
        };
        assert_eq!(got, verdict, "{counter}");
    }
}

#[test]
fn a_log_that_is_not_the_one_is_not_applied() {
    let mut desk = Desk::new();
    desk.pass_frames(3);
    let next = desk.entry(Vec::new());
    let mut gap = next.clone();
    gap.position = gap.position.next();
    assert!(matches!(desk.state.apply(&gap), Err(LogBroken::Gap { .. })));
    let mut again = next.clone();
    again.position = desk.state.position();
    assert!(matches!(desk.state.apply(&again), Err(LogBroken::Gap { .. })));
    let mut foreign = next.clone();
    foreign.frame = Arc::new(Frame { identity: LogIdentity([2; 16]), ..next.frame.as_ref().clone() });
    assert!(matches!(desk.state.apply(&foreign), Err(LogBroken::Foreign { .. })));
    assert!(desk.state.apply(&next).is_ok());
}

#[test]
fn the_time_of_the_log_never_goes_back() {
    let mut desk = Desk::new();
    desk.time_ms = 5_000;
    desk.pass_frames(1);
    desk.time_ms = 1_000;
    desk.pass_frames(1);
    assert_eq!(desk.state.log().time_ms, 5_000);
}

#[test]
fn a_lost_session_is_decided_by_its_newest_epoch() {
    let mut desk = Desk::new();
    let session = SessionId([9; 16]);
    desk.run(Command::OpenSession { session, grace_ms: 1_000, client: "c".into() });
    let spec = ProviderSpec { lease: Lease::stream(session, 1_000).expect("good"), ..ProviderSpec::at("10.0.0.1", 1) };
    let provider = Box::new(Provider::new(&spec).expect("good"));
    let register =
        |epoch| Command::Register { instance: a(), provider: provider.clone(), epoch: Some(epoch), generation: None };
    let generation = desk.run(register(1));
    let cause = |epoch| Cause::Session { session, epoch };
    let suspect = |epoch| Op::Suspect { instance: a(), generation, age_ms: 1, cause: cause(epoch) };
    let Verdict::Applied(suspicion) = desk.apply(suspect(1)) else { panic!("not suspected") };
    desk.run(Command::AttachSession { session });
    assert_eq!(desk.apply(Op::Unhealthy { instance: a(), suspicion }), Verdict::Refused(Refusal::Suspicion));
    assert_eq!(desk.apply(suspect(1)), Verdict::Refused(Refusal::Epoch), "a word about a connection that was replaced");
    assert!(matches!(desk.decide(register(1)), Decision::Refuse(_)), "the older stream may not register");
    assert!(matches!(desk.decide(register(2)), Decision::Answer(_)));
    let stale = Op::CloseSession { session, epoch: 1, deregister: true };
    assert_eq!(desk.apply(stale), Verdict::Refused(Refusal::Epoch));
    desk.run(Command::CloseSession { session, epoch: 2, deregister: true });
    assert!(desk.state.instance(&a()).is_none() && desk.state.session(&session).is_none());
}

#[test]
fn a_freeze_ends_with_its_service() {
    let freeze = |service: &ServiceKey| Op::Freeze { scope: FreezeScope::Service(service.clone()), lapsed: 3, of: 3 };
    let mut desk = Desk::new();
    assert_eq!(desk.apply(freeze(&orders())), Verdict::Refused(Refusal::Absent), "nobody has registered it");
    desk.register(None);
    let others = ServiceKey::new("default", "others").expect("good");
    let base = Base::Absent(desk.state.position());
    desk.apply(Op::PutService { service: others.clone(), settings: Default::default(), base });
    assert!(matches!(desk.apply(freeze(&others)), Verdict::Applied(_)));
    let Verdict::Applied(revision) = desk.apply(freeze(&orders())) else { panic!("not frozen") };
    desk.deregister();
    desk.state.take_rows();
    let Decision::Append(delete) = desk.decide(Command::DeleteService { service: orders(), expected: None }) else {
        panic!("it is empty");
    };
    let applied = desk.applied(delete);
    let scope = FreezeScope::Service(orders());
    assert!(matches!(&applied.leases[..], [LeaseEvent::Released { scope: of }] if *of == scope), "{applied:?}");
    let left: Vec<_> = desk.state.freezes().map(|(scope, _)| scope.clone()).collect();
    assert_eq!(left, [FreezeScope::Service(others)], "only its own");
    assert_eq!(desk.state.take_rows().freezes, [Row::Delete(scope.clone())], "the store forgets it too");
    assert_eq!(desk.apply(Op::Release { scope, freeze: revision }), Verdict::Refused(Refusal::Absent));
    desk.register(None);
    assert!(matches!(desk.apply(freeze(&orders())), Verdict::Applied(_)), "its successor starts without one");
}

/// Nobody waits for the end of a freeze that has nothing to hold.
#[test]
fn a_freeze_ends_with_a_service_that_is_collected() {
    let mut desk = Desk::new();
    desk.register(None);
    desk.apply(Op::Freeze { scope: FreezeScope::Service(orders()), lapsed: 3, of: 3 });
    desk.deregister();
    desk.time_ms += SERVICE_EMPTY_MS_MAX;
    assert_eq!(desk.end_what_is_due(), 1);
    assert!(desk.state.service(&orders()).is_none() && desk.state.freezes().next().is_none());
}

#[test]
fn each_subject_has_one_timer_however_often_it_changes() {
    let mut desk = Desk::new();
    for _ in 0..200 {
        desk.time_ms += 10;
        desk.register(None);
        let expires = Set::To(desk.time_ms + 86_400_000);
        desk.operate(OperatorPatch { expires_at_ms: expires, keep_ms: Set::To(60_000), ..isolate() });
        assert_eq!(desk.state.timer_count(), 1, "the operator's word; the service is in use");
        desk.deregister();
        assert_eq!(desk.state.timer_count(), 2, "what is kept, and the empty service");
    }
    assert_eq!(desk.state.next_due_ms(), Some(desk.time_ms + 60_000));
    let patch = ServicePatch { description: Some("for orders".into()), ..ServicePatch::default() };
    desk.run(Command::PutService { service: orders(), patch, expected: None });
    assert_eq!(desk.state.timer_count(), 1, "a described service is not collected");
    desk.run(Command::DeleteService { service: orders(), expected: None });
    assert_eq!((desk.state.timer_count(), desk.state.kept_count()), (0, 0), "nothing is left to end");
}

#[test]
fn only_the_overrides_of_a_service_go_with_it() {
    let mut desk = Desk::new();
    let keys = [("order", "z"), ("orders", " "), ("orders", "a"), ("orders2", "a")].map(|(service, id)| {
        let key = InstanceKey::new("default", service, id).expect("good");
        let provider = Box::new(Provider::new(&ProviderSpec::at("10.0.0.1", 1)).expect("good"));
        desk.run(Command::Register { instance: key.clone(), provider, epoch: None, generation: None });
        let patch = OperatorPatch { keep_ms: Set::To(60_000), ..isolate() };
        desk.run(Command::Operate { instance: key.clone(), generation: None, patch });
        let reason = RemovalReason::Deregistered;
        desk.run(Command::Deregister { instance: key.clone(), generation: None, reason });
        key
    });
    let kept = |desk: &Desk, key: &InstanceKey| -> Vec<_> {
        desk.state.kept_overrides(&key.service).into_iter().map(|kept| kept.instance).collect()
    };
    assert_eq!(kept(&desk, &keys[1]), keys[1..3]);
    desk.run(Command::DeleteService { service: orders(), expected: None });
    assert_eq!(kept(&desk, &keys[1]), []);
    assert_eq!((kept(&desk, &keys[0]), kept(&desk, &keys[3])), (vec![keys[0].clone()], vec![keys[3].clone()]));
}
