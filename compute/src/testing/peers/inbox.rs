//! A node that keeps what it is told, and answers as its test says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::model::{LogIdentity, NodeIncarnation, Position, ServiceKey};
use crate::node::Report;
use crate::port::peers::{Age, Host, Reading, Reply};
use crate::watch::Subscription;

/// What a node is told by another one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delivery {
    Heartbeats { from: NodeIncarnation, heard: Vec<Age> },
    HandOver { from: NodeIncarnation, ages: Vec<Age> },
    Drain,
}

/// Where a node finds what it was told; not bounded, for a test reads it or fails.
pub type Inbox = mpsc::UnboundedReceiver<Delivery>;

/// A host whose deliveries are kept in an [`Inbox`].
pub struct InboxHost {
    told: mpsc::UnboundedSender<Delivery>,
    answers: Mutex<Answers>,
}

struct Answers {
    reply: Reply,
    report: Report,
    watched: BTreeMap<ServiceKey, Vec<Subscription>>,
}

impl InboxHost {
    /// A node at the start of a log.
    pub fn new(node: NodeIncarnation) -> (Arc<Self>, Inbox) {
        let (told, inbox) = mpsc::unbounded_channel();
        let log = LogIdentity([7; 16]);
        let reply = Reply { node, log, reading: Reading::Reads, applied: Position::ZERO, landed: Position::ZERO };
        let answers = Mutex::new(Answers { reply, report: Report::default(), watched: BTreeMap::new() });
        (Arc::new(Self { told, answers }), inbox)
    }

    /// Answers so from now on; with another `node` it is another one at the same address.
    pub fn set_reply(&self, reply: Reply) {
        self.answers().reply = reply;
    }

    pub fn set_report(&self, report: Report) {
        self.answers().report = report;
    }

    pub fn set_subscribers(&self, service: ServiceKey, subscriptions: Vec<Subscription>) {
        self.answers().watched.insert(service, subscriptions);
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, what: Delivery) {
        // A test that does not read it does not care for it.
        let _ = self.told.send(what);
    }
}

impl Host for InboxHost {
    fn reply(&self) -> Reply {
        self.answers().reply
    }

    fn heartbeats(&self, from: NodeIncarnation, heard: Vec<Age>) {
        self.tell(Delivery::Heartbeats { from, heard });
    }

    fn hand_over(&self, from: NodeIncarnation, ages: Vec<Age>) {
        self.tell(Delivery::HandOver { from, ages });
    }

    fn report(&self) -> Report {
        self.answers().report.clone()
    }

    fn subscribers(&self, service: &ServiceKey) -> Vec<Subscription> {
        self.answers().watched.get(service).cloned().unwrap_or_default()
    }

    fn drain(&self) {
        self.tell(Delivery::Drain);
    }
}
