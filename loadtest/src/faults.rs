//! Faults of a whole cluster, with honest clients and one oracle over all of them.
//!
//! Real processes: MariaDB, Kafka, three nodes and HAProxy, with links between them that can be cut and slowed. Clients
//! register, renew, read and watch through the load balancer and know what is true ([`truth`]); whatever they are shown
//! is held against that ([`check`], a property each). A fault ([`catalog`]) lasts until a level is reached, not for a
//! time, and behind it all must become the same everywhere. What must be 0 is counted for each fault, in a row.

pub mod catalog;
pub mod check;
pub mod client;
pub mod cluster;
pub mod dice;
pub mod link;
mod people;
mod rows;
mod scene;
pub mod step;
pub mod truth;
mod wrong_clock;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use check::decisions::Decisions;
use check::enough::Wanted;
use client::{REMOVE_AFTER, TTL};
use cluster::Cluster;
use dice::Dice;
use people::People;
pub use rows::{Row, Table};
use scene::Scene;
use step::{Fault, Step};
use truth::Truth;

/// The contract's bounds (TTL or grace, then removal, 2 s each), where the lease's owner may die once in the same
/// moment; a loss may be seen only by the silence of 10 s; and this machine may be slow to show it.
const GONE_WITHIN: Duration = Duration::from_secs(2 * TTL.as_secs() + REMOVE_AFTER.as_secs() + 4 + 4);
const REGISTER_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// What is run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub cluster: cluster::Plan,
    pub faults: Vec<Fault>,
    pub seed: u64,
}

/// Runs one fault behind the other on one cluster, and says each row as it comes.
pub async fn run(plan: &Plan) -> Result<Table> {
    let mut dice = Dice::new(plan.seed);
    let cluster = Cluster::start(&plan.cluster, Some(dice.split())).await?;
    let mut table = Table::new(plan.seed);
    let mut scene = people_it(cluster, dice).await?;
    eprintln!("{}", Table::head());
    for fault in &plan.faults {
        if let Some(what) = fault.steps.iter().find_map(Step::lacks) {
            eprintln!("\n*** SKIPPED: {}: {what} ***\n", fault.name);
            table.rows.push(Row::skipped(&fault.name));
            continue;
        }
        let row = one(&mut scene, fault).await.with_context(|| fault.name.clone())?;
        eprintln!("{}", row.line());
        if !row.is_well() {
            eprintln!("{}\n    {}", row.details(), scene.words().await);
        }
        table.rows.push(row);
    }
    let Scene { cluster, people, .. } = scene;
    drop(people);
    let took = cluster.stop().await?;
    table.stopped_s = took.as_secs_f64();
    anyhow::ensure!(took <= STOP_WITHIN, "it took {:.1} s to stop, at most 30 are allowed", took.as_secs_f64());
    Ok(table)
}

async fn people_it(cluster: Cluster, dice: Dice) -> Result<Scene> {
    let truth = Arc::new(Truth::new(GONE_WITHIN));
    let people = People::new(truth.clone(), (cluster.address("lb")?, cluster.address("lb_grpc")?), dice);
    let decisions = Arc::new(Mutex::new(Decisions::of(cluster.journals()?, &cluster.nodes)));
    let mut scene = Scene { cluster, truth, people, decisions, clock: None };
    scene.people.provide();
    let started = Instant::now();
    while scene.truth.all().len() < people::PROVIDING || scene.truth.all().iter().any(|known| known.held.is_none()) {
        anyhow::ensure!(
            started.elapsed() < REGISTER_WITHIN,
            "the providers could not register: {}",
            scene.words().await
        );
        tokio::time::sleep(scene::LOOK).await;
    }
    let nodes = scene.cluster.nodes.iter().map(|name| Ok((name.clone(), scene.cluster.address(name)?.to_owned())));
    let nodes = nodes.collect::<Result<Vec<_>>>()?;
    scene.people.look(&nodes);
    Ok(scene)
}

/// One fault, from a calm to the next.
async fn one(scene: &mut Scene, fault: &Fault) -> Result<Row> {
    let started = Instant::now();
    let truth = scene.truth.clone();
    truth.take();
    scene.people.bear();
    scene.held(2).await?;
    truth.expect_cures(fault.is_planned);
    truth.disturbed();
    scene.people.bury();
    let providers = truth.alive();
    let holds = fault.steps.iter().any(|step| step.holds_removals(scene.cluster.nodes.len()));
    if holds {
        truth.hold();
    }
    strike(scene, fault).await?;
    let ended = Instant::now();
    scene.ready().await?;
    if holds {
        truth.release();
    }
    truth.healed();
    let converged = converge(scene, ended).await?;
    truth.expect_cures(false);
    let (dead, took) = (truth.died_since(started), started.elapsed());
    let ruled = scene.decided().await?;
    for (wrong, what) in &ruled.wrong {
        truth.found(*wrong, what, what);
    }
    truth.judged_enough(&wanted(scene, fault), |judged| {
        (judged.providers, judged.dead, judged.took) = (providers, dead, took);
        (judged.decisions, judged.decisions_unjudged) = (ruled.decisions, ruled.unjudged);
        (judged.removals, judged.torn_journals) = (ruled.removals, ruled.torn);
    });
    Ok(Row::new(&fault.name, truth.take(), converged, started.elapsed()))
}

/// All its steps, for as long as it lasts.
async fn strike(scene: &mut Scene, fault: &Fault) -> Result<()> {
    for step in &fault.steps {
        let struck = step.strikes(&scene.cluster.nodes);
        scene.truth.strike(&struck.iter().map(String::as_str).collect::<Vec<_>>());
        step.begin(scene).await?;
    }
    scene.truth.begins();
    if fault.all_can_renew {
        scene.renewed(fault.renewals).await?;
    } else {
        scene.unrenewed(fault.renewals).await;
    }
    scene.truth.ends();
    for step in &fault.steps {
        step.end(scene).await?;
    }
    Ok(())
}

/// What a row of this fault must have judged.
fn wanted(scene: &Scene, fault: &Fault) -> Wanted {
    let readers = scene.cluster.nodes.iter().cloned().chain(people::READERS.map(str::to_owned)).collect();
    // Nobody remembers who died before all state was wiped.
    let dead = if fault.steps.contains(&Step::Wipe) { 0 } else { people::DYING };
    let nodes = scene.cluster.nodes.clone();
    Wanted { providers: people::PROVIDING, readers, nodes, dead, writers: people::WRITERS }
}

/// From the fault's end until all show the same, and then once more when the dead are gone. How long the first took.
async fn converge(scene: &mut Scene, ended: Instant) -> Result<Option<Duration>> {
    let first = scene.same().await?.map(|_| ended.elapsed());
    scene.renewed(3).await?;
    scene.buried().await?;
    Ok(scene.same().await?.and(first))
}
