use std::collections::BTreeMap;

use compute::model::{Digest, InstanceId, Revision, Selector, ServiceKey};
use compute::watch::{Scope, Subscriber, Watch, WatchEvent, WatchSpec};

use super::{Answered, Client, Phase};

/// Follows one service, goes on at another node when one is lost, and keeps what it is told.
pub(in crate::simulation) async fn watcher(client: Client, service: ServiceKey) {
    let mut follower = Follower { client, service, at: None, there: BTreeMap::new() };
    while follower.client.phase() < Phase::Closed {
        let seat = follower.client.any_seat();
        let spec = follower.spec();
        let opened = follower.client.ask(seat, 500, |registry| async move {
            if let Some(from) = spec.from {
                registry.reach_watcher(from).await?;
            }
            registry.watch(spec)
        });
        match opened.await {
            Ok(opened) => follower.follow(opened).await,
            Err(_) => follower.client.sim.pause(50).await,
        }
    }
    let count = follower.there.len();
    let (at, digest) = (follower.at.unwrap_or_default(), follower.digest());
    follower.client.history.told().watched.push((follower.service, at, digest, count));
}

struct Follower {
    client: Client,
    service: ServiceKey,
    /// The revision of the last event.
    at: Option<Revision>,
    there: BTreeMap<InstanceId, Revision>,
}

impl Follower {
    fn spec(&self) -> WatchSpec {
        let subscriber = Subscriber { name: "watcher".into(), address: None, door: "test".into() };
        let scope = Scope::Services(vec![self.service.clone()]);
        WatchSpec { scope, selector: Selector::default(), from: self.at, subscriber }
    }

    /// Until the stream breaks, the node stands still for too long, or the run is over.
    async fn follow(&mut self, opened: Answered<Watch>) {
        let (life, mut watch) = (opened.live.life.clone(), opened.value);
        let sim = self.client.sim.clone();
        let until_ms = sim.now_ms() + sim.between(500, 8_000);
        while sim.now_ms() < until_ms {
            let phase = self.client.phase.clone();
            let patience = std::time::Duration::from_millis(1_500);
            let event = tokio::select! {
                biased;
                () = phase.until(|phase| *phase == Phase::Closed) => return,
                event = tokio::time::timeout(patience, async {
                    let event = watch.next().await;
                    life.awake().await;
                    event
                }) => event,
            };
            match event {
                Ok(Some(event)) => self.take(event),
                Ok(None) => return,
                // Quiet, or dead.
                Err(_) if life.is_dead() || life.is_still() => return,
                Err(_) => {}
            }
        }
    }

    fn take(&mut self, event: WatchEvent) {
        let (what, to) = match &event {
            WatchEvent::Snapshot { revision, .. } => ("snapshot", *revision),
            WatchEvent::Change(delta) => ("change", delta.to),
            WatchEvent::Progress(revision) => ("progress", *revision),
            WatchEvent::Compacted(_) => return,
        };
        self.client.sim.note(what, &self.service, to);
        if to < self.at.unwrap_or_default() {
            self.wrong(format!("a {what} goes back from {:?} to {to}", self.at));
        }
        match event {
            WatchEvent::Snapshot { view, .. } => {
                let view = view.expect("a service has a view");
                let view = view.log.clone().unwrap_or(view);
                self.there = view.instances.iter().map(|i| (i.id.clone(), i.revision)).collect();
                self.compare(view.digest);
            }
            WatchEvent::Change(delta) => {
                if self.at.is_some_and(|at| at != delta.from) {
                    self.wrong(format!("a change begins at {}, and the last event was at {:?}", delta.from, self.at));
                }
                for removed in &delta.removed {
                    self.there.remove(&removed.id);
                }
                self.there.extend(delta.put.iter().map(|i| (i.id.clone(), i.revision)));
                self.compare(delta.digest);
            }
            WatchEvent::Progress(_) | WatchEvent::Compacted(_) => {}
        }
        self.at = Some(to);
    }

    fn digest(&self) -> Digest {
        let each = self.there.iter().map(|(id, revision)| Digest::of(id, *revision));
        each.fold(Digest::default(), Digest::plus)
    }

    fn compare(&self, told: Digest) {
        if self.digest() != told {
            self.wrong(format!("what it was told comes to {}, and should to {told}", self.digest()));
        }
    }

    fn wrong(&self, what: String) {
        let what = format!("a watcher of {}: {what}", self.service);
        self.client.history.told().wrong.push(what);
    }
}
