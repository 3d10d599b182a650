//! A cluster with its clients, and the levels that a fault waits for: no time passes for its own sake.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::net::TcpStream;

use super::check::decisions::{Decisions, Ruled};
use super::check::same::{self, Digests};
use super::client::writer;
use super::client::{Answer, Caller};
use super::cluster::Cluster;
use super::link::Weather;
use super::people::{People, WRITTEN, services};
use super::truth::{Truth, Wrong};
use super::wrong_clock::{self, WrongClock};

/// Between two looks whether a level is reached.
pub(super) const LOOK: Duration = Duration::from_millis(100);
/// A debug build on a busy machine, with a store and a log that have just come back.
const READY_WITHIN: Duration = Duration::from_secs(90);
const SAME_WITHIN: Duration = Duration::from_secs(60);
/// How long a renewal of all may take: each of them has a third of the TTL between two.
const RENEWAL_WITHIN: Duration = Duration::from_secs(8);

/// What nodes count when they have read, or made, something else than another, and what they mended of it.
const DIFFERENCES: [&str; 4] = [
    "thuban_log_divergences_total",
    "thuban_state_divergences_total",
    "thuban_row_divergences_total",
    "thuban_repairs",
];

pub struct Scene {
    pub cluster: Cluster,
    pub truth: Arc<Truth>,
    pub people: People,
    pub decisions: Arc<Mutex<Decisions>>,
    /// Made when it is needed first.
    pub clock: Option<WrongClock>,
}

impl Scene {
    pub async fn signal(&mut self, node: usize, sign: &str) -> Result<()> {
        let name = self.cluster.nodes[node].clone();
        self.truth.strike(&[&name]);
        self.truth.disturbed();
        self.cluster.order(&format!("signal {name} {sign}")).await?;
        Ok(())
    }

    /// Until another process of this node is there: it is gone, then there.
    pub async fn started_again(&mut self, node: usize) -> Result<()> {
        self.listens(node, false).await?;
        self.listens(node, true).await
    }

    async fn listens(&mut self, node: usize, does: bool) -> Result<()> {
        let name = self.cluster.nodes[node].clone();
        let (end, address) = (Instant::now() + READY_WITHIN, self.cluster.address(&name)?.to_owned());
        while TcpStream::connect(&address).await.is_ok() != does {
            if Instant::now() > end {
                return self.late(&format!("{name} {}", if does { "does not start" } else { "does not stop" }));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    pub async fn roll(&mut self) -> Result<()> {
        for node in 0..self.cluster.nodes.len() {
            self.signal(node, "TERM").await?;
            self.started_again(node).await?;
            self.ready().await?;
            self.truth.healed();
        }
        Ok(())
    }

    /// kill -9 and a start at once, with more in its environment. It listens then, and is not ready yet.
    pub async fn restart(&mut self, node: usize, environment: &str) -> Result<()> {
        self.down(node).await?;
        let name = self.cluster.nodes[node].clone();
        self.cluster.order(&format!("start {name} {environment}")).await?;
        self.listens(node, true).await
    }

    /// kill -9 and a start, with its directory as `order` leaves it: `wipe` or `small`.
    pub async fn restart_on(&mut self, node: usize, order: &str) -> Result<()> {
        self.down(node).await?;
        let name = self.cluster.nodes[node].clone();
        self.cluster.order(&format!("{order} {name}")).await?;
        self.cluster.order(&format!("start {name}")).await?;
        self.listens(node, true).await
    }

    async fn down(&mut self, node: usize) -> Result<()> {
        let name = self.cluster.nodes[node].clone();
        self.truth.strike(&[&name]);
        self.cluster.order(&format!("down {name}")).await?;
        self.truth.disturbed();
        Ok(())
    }

    /// Full while it runs, while it ends, and when it starts; from then on it must answer.
    pub async fn fill_disk(&mut self, node: usize) -> Result<()> {
        self.restart_on(node, "small").await?;
        self.ready().await?;
        let name = self.cluster.nodes[node].clone();
        self.cluster.order(&format!("fill {name}")).await?;
        self.signal(node, "TERM").await?;
        self.started_again(node).await?;
        self.ready().await?;
        self.truth.healed();
        Ok(())
    }

    /// As `restart`, and until the node is ready with a clock that is wrong indeed.
    pub async fn restart_with_wrong_clock(&mut self, node: usize, wrong_s: i64) -> Result<()> {
        let clock = match self.clock.take() {
            Some(clock) => clock,
            None => WrongClock::build().await?,
        };
        self.restart(node, &clock.environment(wrong_s)).await?;
        self.clock = Some(clock);
        self.ready().await?;
        let mut caller = Caller::new(self.cluster.address(&self.cluster.nodes[node])?);
        let said = caller.call("GET", "/readyz", "", Duration::from_secs(2)).await.map_err(anyhow::Error::msg)?;
        let date = said.date.context("a Date in an answer")?;
        let is_wrong = wrong_clock::is_wrong_by(&date, wrong_s).with_context(|| format!("a time in {date:?}"))?;
        anyhow::ensure!(is_wrong, "its clock should be wrong by {wrong_s} s, and it says {date}");
        Ok(())
    }

    pub async fn kill_with_provider(&mut self) -> Result<()> {
        let node = self.people.kill_one_with_session().context("somebody with a session")?;
        let at = self.cluster.nodes.iter().position(|name| *name == node).context("a node of ours")?;
        self.signal(at, "KILL").await
    }

    /// Log, rows and the nodes' own files are gone, under running clients.
    pub async fn wipe(&mut self) -> Result<()> {
        let nodes = self.cluster.nodes.clone();
        let parts = || nodes.iter().map(String::as_str).chain(["kafka", "store"]);
        for part in parts() {
            self.cluster.order(&format!("down {part}")).await?;
        }
        for part in parts() {
            self.cluster.order(&format!("wipe {part}")).await?;
        }
        self.truth.new_world();
        for part in ["kafka", "store"].into_iter().chain(nodes.iter().map(String::as_str)) {
            self.cluster.order(&format!("start {part}")).await?;
        }
        self.ready().await?;
        // Whole again within two renewals.
        self.held(2).await
    }

    /// Kafka comes back and knows nothing; until each node has gone on to another life of the log.
    pub async fn lose_log(&mut self) -> Result<()> {
        let before = self.lives().await.into_iter().flatten().max().context("a node that says its log's generation")?;
        for order in ["down kafka", "wipe kafka", "start kafka"] {
            self.cluster.order(order).await?;
        }
        let end = Instant::now() + READY_WITHIN;
        while self.lives().await.iter().any(|life| life.is_none_or(|life| life <= before)) {
            if Instant::now() > end {
                return self.late(&format!("the nodes stay in life {before} of a log that is lost"));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Which life of the log each node is in, as far as it answers.
    async fn lives(&self) -> Vec<Option<u64>> {
        let words = self.words().await;
        self.cluster.nodes.iter().map(|node| words[node]["log"]["generation"].as_u64()).collect()
    }

    /// The end of bad weather. That it did nothing would be a fault of ours.
    pub fn clear_links(&self, wanted: &str) {
        self.cluster.set_links(Weather::default(), wanted);
        if self.cluster.touched(wanted) == 0 {
            self.truth.found(Wrong::TooLittle, wanted, format!("nothing went over {wanted} meanwhile"));
        }
    }

    /// Until every live provider is registered; each has `renewals` to find out.
    pub async fn held(&mut self, renewals: u32) -> Result<()> {
        let end = Instant::now() + RENEWAL_WITHIN * renewals;
        let missing = |truth: &Truth| truth.all().into_iter().find(|it| it.died_at.is_none() && it.held.is_none());
        while let Some(one) = missing(&self.truth) {
            if Instant::now() > end {
                return self.late(&format!("{} did not register again", one.id));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Until every provider that is registered and alive now has renewed so often.
    pub async fn renewed(&mut self, times: u64) -> Result<()> {
        match self.unrenewed(times).await {
            Some(id) => self.late(&format!("{id} could not renew {times} times")),
            None => Ok(()),
        }
    }

    /// As long as that takes, and no longer than it should; who could not do so by then.
    pub async fn unrenewed(&mut self, times: u64) -> Option<String> {
        let end = Instant::now() + RENEWAL_WITHIN * times as u32 + RENEWAL_WITHIN;
        let alive = self.truth.all().into_iter().filter(|known| known.died_at.is_none() && known.held.is_some());
        let goals: Vec<_> = alive.map(|known| (known.id, known.renewals + times)).collect();
        let is_behind = |truth: &Truth| {
            let of = |id: &str| truth.of(id).filter(|known| known.died_at.is_none());
            goals.iter().find(|(id, goal)| of(id).is_some_and(|known| known.renewals < *goal)).cloned()
        };
        while let Some((id, _)) = is_behind(&self.truth) {
            if Instant::now() > end {
                return Some(id);
            }
            tokio::time::sleep(LOOK).await;
        }
        None
    }

    /// Until each node says that it is.
    pub async fn ready(&mut self) -> Result<()> {
        let end = Instant::now() + READY_WITHIN;
        for name in self.cluster.nodes.clone() {
            let mut caller = Caller::new(self.cluster.address(&name)?);
            loop {
                let said = caller.call("GET", "/readyz", "", Duration::from_secs(2)).await;
                if said.as_ref().is_ok_and(|answer| answer.status == 200) {
                    break;
                }
                if Instant::now() > end {
                    return self.late(&format!("{name} does not become ready: {said:?}"));
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// Until no node lists anybody who is dead.
    pub async fn buried(&mut self) -> Result<()> {
        let end = Instant::now() + self.truth.gone_within + Duration::from_secs(2);
        let dead: Vec<_> = self.truth.all().into_iter().filter(|known| known.died_at.is_some()).collect();
        for name in self.cluster.nodes.clone() {
            let mut caller = Caller::new(self.cluster.address(&name)?);
            for one in &dead {
                let path = format!("/v1/namespaces/default/services/{}/instances/{}", one.service, one.id);
                loop {
                    let said = caller.call("GET", &path, "", Duration::from_secs(2)).await;
                    if said.as_ref().is_ok_and(|answer| answer.status == 404) {
                        break;
                    }
                    if Instant::now() > end {
                        let what = format!("{} is dead and still there for {name}: {said:?}", one.id);
                        self.truth.found(Wrong::DeadKept, &one.id, what);
                        return Ok(());
                    }
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
        Ok(())
    }

    /// With nobody changing anything: until all nodes and the store show the same, and every watcher too. How long
    /// that took.
    pub async fn same(&mut self) -> Result<Option<Duration>> {
        self.truth.set_quiet(true);
        let started = Instant::now();
        let took = loop {
            let Some(differs) = self.differs().await? else { break Some(started.elapsed()) };
            if started.elapsed() > SAME_WITHIN {
                self.late(&differs)?;
                break None;
            }
            tokio::time::sleep(LOOK).await;
        };
        self.written().await?;
        self.divergences().await?;
        self.truth.set_quiet(false);
        Ok(took)
    }

    async fn differs(&mut self) -> Result<Option<String>> {
        let mut shown = BTreeMap::new();
        let mut lists = Digests::new();
        for name in self.cluster.nodes.clone() {
            let mut caller = Caller::new(self.cluster.address(&name)?);
            let mut digests = Digests::new();
            for service in services() {
                let path = format!("/v1/namespaces/default/services/{service}/instances");
                match caller.call("GET", &path, "", Duration::from_secs(2)).await {
                    Ok(answer) if answer.status == 200 => {
                        digests.insert(service.clone(), answer.text("digest").to_owned());
                        lists.insert(service, said(&answer));
                    }
                    _ => drop(digests.insert(service, "no answer".into())),
                }
            }
            shown.insert(name, Some(digests));
        }
        shown.insert("the store".to_owned(), self.stored().await);
        if let Some(what) = same::differs(&shown) {
            return Ok(Some(what));
        }
        let other = self.people.views.iter().find(|(_, service, view)| {
            let view = view.lock().expect("nobody panics with it");
            lists.get(service).is_none_or(|list| *list != format!("{view:?}"))
        });
        Ok(other.map(|(name, service, view)| {
            let view = view.lock().expect("nobody panics with it");
            format!("{name} of {service} has made {view:?} of it, the nodes show {:?}", lists.get(service))
        }))
    }

    /// The digests that the rows have.
    async fn stored(&mut self) -> Option<Digests> {
        let wanted = "rows SELECT service, LOWER(HEX(digest)) FROM thuban.presence_service";
        let said = self.cluster.order(wanted).await.ok()?;
        let rows: Vec<(String, String)> = serde_json::from_str(&said).ok()?;
        Some(rows.into_iter().filter(|(service, _)| services().contains(service)).collect())
    }

    /// What was acknowledged to the writers, on each node.
    async fn written(&mut self) -> Result<()> {
        for name in self.cluster.nodes.clone() {
            let mut caller = Caller::new(self.cluster.address(&name)?);
            for mine in &self.people.written {
                let (id, written) = {
                    let mine = mine.lock().expect("nobody panics with it");
                    (mine.id.clone(), mine.written.clone())
                };
                let path = format!("/v1/namespaces/default/services/{WRITTEN}/instances/{id}");
                let Ok(answer) = caller.call("GET", &path, "", Duration::from_secs(2)).await else { continue };
                let lost = written.at().and_then(|at| written.lost(writer::shown(&answer)?, at));
                if let Some(what) = lost {
                    self.truth.found(Wrong::WriteLost, &id, format!("{id} on {name}: {what}"));
                }
            }
        }
        Ok(())
    }

    async fn divergences(&mut self) -> Result<()> {
        for name in self.cluster.nodes.clone() {
            let mut connection = crate::http::Connection::open(self.cluster.address(&name)?).await?;
            let answer = connection.call(&crate::http::request("GET", "/metrics", "")).await?;
            for line in counted(&String::from_utf8_lossy(answer.body), &DIFFERENCES) {
                self.truth.found(Wrong::Divergence, &name, format!("{name} says {line}"));
            }
        }
        Ok(())
    }

    /// What the nodes have decided since the last time. Links and clients go on meanwhile, which share a thread.
    pub async fn decided(&self) -> Result<Ruled> {
        let decisions = self.decisions.clone();
        tokio::task::spawn_blocking(move || decisions.lock().expect("nobody panics with it").judge()).await?
    }

    /// What was to come did not.
    fn late(&self, what: &str) -> Result<()> {
        self.truth.found(Wrong::Late, what, what);
        Ok(())
    }

    /// What each node says of itself, for whoever has to find out.
    pub async fn words(&self) -> Value {
        let mut words = serde_json::Map::new();
        for name in &self.cluster.nodes {
            let Ok(address) = self.cluster.address(name) else { continue };
            let said = Caller::new(address).call("GET", "/v1/status", "", Duration::from_secs(2)).await;
            let said = said.map_or_else(Value::String, |answer| answer.body);
            words.insert(name.clone(), said);
        }
        Value::Object(words)
    }
}

/// Those lines of a node's metrics that begin so and are not 0.
fn counted<'a>(metrics: &'a str, starts: &[&str]) -> Vec<&'a str> {
    let is_counted = |line: &&str| starts.iter().any(|start| line.starts_with(start)) && !line.ends_with(" 0");
    metrics.lines().filter(is_counted).collect()
}

/// A node's list as a watcher's view is written.
fn said(answer: &Answer) -> String {
    format!("{:?}", super::client::reader::listed(&answer.body["items"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nodes_count_of_differences_is_seen() {
        let metrics = "# TYPE thuban_log_divergences_total counter\nthuban_log_divergences_total 0\n\
                       thuban_state_divergences_total{of=\"x\"} 2\nthuban_applied_total 7\n";
        assert_eq!(counted(metrics, &DIFFERENCES), ["thuban_state_divergences_total{of=\"x\"} 2"]);
    }
}
