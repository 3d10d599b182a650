//! Providers register, ten to a service, and stay.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::{PER_SERVICE, PROBES, Plan, Weight, loopback_bytes, provider};
use crate::measure::{Pace, Run, run};
use crate::process::Server;
use crate::scenario::unused;
use crate::target::{Client, Instance, Target};

/// Services whose truth is looked at; of more it is every so-manieth.
const SAMPLE: usize = 200;

pub(super) struct Registered {
    pub(super) run: Run,
    pub(super) bytes: u64,
    /// Of a server whose process is known.
    pub(super) weight: Option<Weight>,
}

/// Who registers what. Clients are in groups, and each of a group brings as many to each of its services: so a service
/// has ten, and a client, where there are ten of them, one in each.
#[derive(Clone, Copy, Debug)]
struct Layout {
    run: usize,
    clients: usize,
    /// Of one client in one service.
    each: usize,
}

impl Layout {
    fn new(clients: usize) -> Self {
        Self { run: unused(), clients, each: PER_SERVICE.div_ceil(clients.clamp(1, PER_SERVICE)) }
    }

    fn service(self, group: usize, number: usize) -> String {
        format!("load-{}-{group}-{number}", self.run)
    }

    /// What `client` registers as its `nth`.
    fn instance(self, client: usize, nth: usize) -> Instance {
        let service = self.service(client / PER_SERVICE, nth / self.each);
        provider(&service, client % PER_SERVICE * self.each + nth % self.each)
    }

    /// All of a service, where each client has registered as many as `done` says.
    fn expected(self, done: &[usize], group: usize, number: usize) -> BTreeSet<Instance> {
        let clients = (group * PER_SERVICE..self.clients).take(PER_SERVICE);
        let mine =
            |client: usize| (number * self.each..done[client].min((number + 1) * self.each)).map(move |n| (client, n));
        clients.flat_map(mine).map(|(client, nth)| self.instance(client, nth)).collect()
    }
}

/// A client between two runs, and how many it has registered.
struct Loader {
    client: Box<dyn Client>,
    done: usize,
}

/// Clients stay connected from the warm-up to the check: in some registries, what one registered goes with it.
#[derive(Clone)]
struct Loaders(Arc<Vec<Mutex<Option<Loader>>>>);

impl Loaders {
    async fn connect(target: &Target, count: usize) -> Result<Self> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(Mutex::new(Some(Loader { client: target.connect().await?, done: 0 })));
        }
        Ok(Self(Arc::new(all)))
    }

    fn take(&self, index: usize) -> Result<Loader> {
        self.0[index].lock().unwrap_or_else(PoisonError::into_inner).take().context("nobody else has this client")
    }

    fn put_back(&self, index: usize, loader: Loader) {
        *self.0[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(loader);
    }

    fn done(&self) -> Vec<usize> {
        let done = |slot: &Mutex<Option<Loader>>| {
            slot.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, |loader| loader.done)
        };
        self.0.iter().map(done).collect()
    }
}

/// Each client waits for its answer.
pub(super) async fn one_by_one(
    plan: &Plan,
    server: &Server,
    target: &Target,
    idle_bytes: Option<u64>,
) -> Result<Registered> {
    let bytes = bytes_each(target).await?;
    let layout = Layout::new(plan.connections);
    let loaders = Loaders::connect(target, plan.connections).await?;
    let (warm_up, span) = (plan.of_each.warm_up, plan.of_each.span);
    let done = run(server, plan.connections, Pace::Closed, warm_up, span, |index, mut timer, end| {
        let loaders = loaders.clone();
        async move {
            let mut loader = loaders.take(index)?;
            while Instant::now() < end {
                let instance = layout.instance(index, loader.done);
                let begun = timer.begin().await;
                loader.client.register(&instance).await?;
                timer.end(begun);
                loader.done += 1;
            }
            loaders.put_back(index, loader);
            Ok(timer)
        }
    });
    let run = done.await?;
    check(target, layout, &loaders.done()).await?;
    let weight = idle_bytes.map(|idle_bytes| weigh(server, idle_bytes, loaders.done().iter().sum())).transpose()?;
    Ok(Registered { run, bytes, weight })
}

/// Each client has many under way.
pub(super) async fn pipelined(plan: &Plan, server: &Server, target: &Target) -> Result<Run> {
    let layout = Layout::new(plan.streams);
    let loaders = Loaders::connect(target, plan.streams).await?;
    let (warm_up, span, window) = (plan.of_each.warm_up, plan.of_each.span, plan.window);
    let done = run(server, plan.streams, Pace::Closed, warm_up, span, |index, mut timer, end| {
        let loaders = loaders.clone();
        async move {
            let Loader { mut client, mut done } = loaders.take(index)?;
            let mut next = || {
                (Instant::now() < end).then(|| {
                    done += 1;
                    layout.instance(index, done - 1)
                })
            };
            client.pipeline(window, &mut next, &mut |begun| timer.end(begun)).await?;
            loaders.put_back(index, Loader { client, done });
            Ok(timer)
        }
    });
    let run = done.await?;
    check(target, layout, &loaders.done()).await?;
    Ok(run)
}

/// Bytes that one register takes on the wire.
async fn bytes_each(target: &Target) -> Result<u64> {
    let mut client = target.connect().await?;
    let layout = Layout::new(PER_SERVICE);
    client.register(&layout.instance(0, 0)).await?;
    let before = loopback_bytes()?;
    for nth in 1..=PROBES {
        client.register(&layout.instance(0, nth as usize)).await?;
    }
    Ok((loopback_bytes()? - before) / PROBES)
}

fn weigh(server: &Server, idle_bytes: u64, instances: usize) -> Result<Weight> {
    Ok(Weight { idle_bytes, full_bytes: server.rss_bytes()?, instances, descriptors: server.descriptors()? })
}

/// The truth: a sample of services holds what was acknowledged, and nothing else.
async fn check(target: &Target, layout: Layout, done: &[usize]) -> Result<()> {
    let most = done.iter().max().context("a client")?.div_ceil(layout.each);
    let groups = layout.clients.div_ceil(PER_SERVICE);
    let mut client = target.connect().await?;
    for group in 0..groups {
        for number in (0..most).step_by((most * groups / SAMPLE).max(1)).chain(most.checked_sub(1)) {
            let expected = layout.expected(done, group, number);
            let service = layout.service(group, number);
            let shown = client.discover(&service).await?;
            ensure!(shown == expected, "{service} is {shown:?}; acknowledged were {expected:?}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Everything that `done` says, by service.
    fn registered(layout: Layout, done: &[usize]) -> BTreeMap<String, BTreeSet<Instance>> {
        let mut all: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (client, done) in done.iter().enumerate() {
            for nth in 0..*done {
                let instance = layout.instance(client, nth);
                assert!(all.entry(instance.service.clone()).or_default().insert(instance), "said twice");
            }
        }
        all
    }

    #[test]
    fn what_is_expected_is_what_was_registered() {
        for clients in [1, 3, 4, 10, 13, 64] {
            let layout = Layout::new(clients);
            let done: Vec<_> = (0..clients).map(|client| 20 + client % 7).collect();
            let all = registered(layout, &done);
            let mut seen = 0;
            for group in 0..clients.div_ceil(PER_SERVICE) {
                for number in 0..27 {
                    let expected = layout.expected(&done, group, number);
                    seen += expected.len();
                    let service = layout.service(group, number);
                    assert_eq!(
                        all.get(&service).cloned().unwrap_or_default(),
                        expected,
                        "{clients} clients, {service}"
                    );
                }
            }
            assert_eq!(seen, done.iter().sum::<usize>(), "{clients} clients");
        }
    }

    #[test]
    fn a_service_has_ten_and_of_ten_clients_one_each() {
        let layout = Layout::new(10);
        let all = registered(layout, &[5; 10]);
        assert_eq!(all.len(), 5);
        assert!(all.values().all(|instances| instances.len() == PER_SERVICE));
        assert_eq!(layout.each, 1);
    }
}
