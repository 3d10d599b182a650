//! Somebody who watches through all of it, and goes on where the last stream ended.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use compute::port::Clock;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::ledger::{Place, place};
use crate::process::CLOCK;
use crate::stream::{Event, Opened, Stream};

/// By service and id the revision of each instance, and of each service the digest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    instances: BTreeMap<(String, String), String>,
    digests: BTreeMap<String, Value>,
}

impl Shown {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn add(&mut self, service: &str, instances: BTreeMap<String, String>, digest: &Value) {
        self.instances.extend(instances.into_iter().map(|(id, revision)| ((service.to_owned(), id), revision)));
        if !digest.is_null() {
            self.digests.insert(service.to_owned(), digest.clone());
        }
    }
}

/// What a watcher knows.
#[derive(Debug, Default)]
struct Known {
    shown: Shown,
    /// The newest id, which is what it brings to the next stream.
    last: Option<String>,
    /// Where the last snapshot or change ended.
    told: Option<Place>,
    /// A part of a snapshot was seen, and not its end.
    in_snapshot: bool,
    /// A snapshot may come: it is the first, or was announced.
    may_begin: bool,
    changes: u64,
    snapshots: u64,
    streams: u64,
}

pub(crate) struct Watcher {
    path: &'static str,
    known: Arc<Mutex<Known>>,
    task: JoinHandle<()>,
}

impl Watcher {
    pub(crate) fn start(path: &'static str, addresses: watch::Receiver<Option<SocketAddr>>) -> Self {
        let known = Arc::new(Mutex::new(Known { may_begin: true, ..Known::default() }));
        let task = tokio::spawn(follow(path, Arc::clone(&known), addresses));
        Self { path, known, task }
    }

    pub(crate) fn follows(&self, service: &str) -> bool {
        !self.path.contains("/services/") || self.path.contains(&format!("/services/{service}/"))
    }

    pub(crate) fn shown(&self) -> Shown {
        self.known.lock().expect("it found no fault").shown.clone()
    }

    /// It has found no fault so far.
    pub(crate) fn is_well(&self) {
        assert!(!self.task.is_finished(), "the watcher of {} found fault, see above", self.path);
    }

    pub(crate) fn told(&self) -> String {
        let known = self.known.lock().expect("it found no fault");
        let Known { streams, snapshots, changes, .. } = &*known;
        format!("{}: {changes} changes, {snapshots} snapshots, {streams} streams", self.path)
    }

    pub(crate) async fn stop(self) {
        self.is_well();
        self.task.abort();
    }
}

/// Opens streams as nodes come and go.
async fn follow(path: &str, known: Arc<Mutex<Known>>, mut addresses: watch::Receiver<Option<SocketAddr>>) {
    loop {
        let address = *addresses.borrow_and_update();
        if let Some(address) = address {
            stream(address, path, &known).await;
        }
        tokio::select! {
            changed = addresses.changed() => if changed.is_err() { return },
            () = CLOCK.sleep(Duration::from_millis(20)) => {}
        }
    }
}

/// One stream, to its end.
async fn stream(address: SocketAddr, path: &str, known: &Mutex<Known>) {
    let last = known.lock().expect("no fault").last.clone();
    let mut stream = match Stream::open(address, path, last.as_deref()).await {
        Err(_) => return,
        Ok(Opened::Refused(answer)) => {
            assert_eq!((answer.status.as_u16(), &answer.body["code"]), (503, &Value::from("not_ready")), "{answer:?}");
            return;
        }
        Ok(Opened::Stream(stream)) => stream,
    };
    {
        let mut known = known.lock().expect("no fault");
        known.streams += 1;
        // A snapshot that was cut off is begun anew.
        known.may_begin = known.last.is_none() || known.in_snapshot;
        known.in_snapshot = false;
    }
    while let Some(event) = stream.next().await {
        let mut known = known.lock().expect("no fault");
        if let Err(wrong) = known.take(&event) {
            println!("{path}: {wrong}: {event:?}");
            // It poisons the lock as well: nobody can overlook it.
            panic!("{wrong}");
        }
    }
}

impl Known {
    fn take(&mut self, event: &Event) -> Result<(), String> {
        let id = event.id.as_deref().map(place);
        if let (Some(id), Some(last)) = (id, self.last.as_deref().map(place))
            && id < last
        {
            return Err(format!("it went back from {last:?}"));
        }
        match event.kind.as_str() {
            "snapshot" => self.snapshot(&event.body)?,
            "change" => self.change(&event.body)?,
            "compacted" => self.may_begin = true,
            "progress" if self.in_snapshot => return Err("progress in the middle of a snapshot".to_owned()),
            "progress" => {}
            other => return Err(format!("an unknown event {other}")),
        }
        if let Some(id) = &event.id {
            self.last = Some(id.clone());
        }
        Ok(())
    }

    fn snapshot(&mut self, body: &Value) -> Result<(), String> {
        if !self.in_snapshot && !self.may_begin {
            return Err("a snapshot that nobody announced".to_owned());
        }
        if !self.in_snapshot {
            self.shown = Shown::new();
            self.told = None;
        }
        self.in_snapshot = body["complete"] != true;
        self.may_begin = false;
        if let (Some(service), Some(items)) = (body["service"].as_str(), body["items"].as_array()) {
            let revision = |item: &Value| (text(item, "id"), text(item, "revision"));
            let exists = body["exists"] == true;
            let digest = if exists { body["digest"].clone() } else { Value::Null };
            self.shown.add(service, items.iter().map(revision).collect(), &digest);
        }
        if !self.in_snapshot {
            self.snapshots += 1;
        }
        Ok(())
    }

    fn change(&mut self, body: &Value) -> Result<(), String> {
        if self.in_snapshot {
            return Err("a change in the middle of a snapshot".to_owned());
        }
        let (from, to) = (place(&text(body, "from")), place(&text(body, "to")));
        let last = self.last.as_deref().map(place);
        // Between the last change and the last progress nothing happened, so a change may begin at either.
        if last.is_none_or(|last| from > last) || self.told.is_some_and(|told| from < told) || to <= from {
            return Err(format!(
                "it begins at {from:?}; the last one ended at {:?}, with progress to {last:?}",
                self.told
            ));
        }
        let service = text(body, "service");
        for item in body["put"].as_array().into_iter().flatten() {
            self.shown.instances.insert((service.clone(), text(item, "id")), text(item, "revision"));
        }
        for item in body["removed"].as_array().into_iter().flatten() {
            let id = text(item, "id");
            if self.shown.instances.remove(&(service.clone(), id.clone())).is_none() {
                return Err(format!("{id} is removed and was never there"));
            }
        }
        match body["exists"] == true {
            true => self.shown.digests.insert(service, body["digest"].clone()),
            false => self.shown.digests.remove(&service),
        };
        self.told = Some(to);
        self.changes += 1;
        Ok(())
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is missing in {value}")).to_owned()
}
