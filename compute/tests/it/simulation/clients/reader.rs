use compute::model::{Revision, ServiceKey};

use super::super::history::Read;
use super::{Client, Phase};

/// Reads services at any node, and hands on the newest revision that it has seen.
pub(in crate::simulation) async fn reader(client: Client, services: Vec<ServiceKey>) {
    let sim = client.sim.clone();
    let mut token = Revision::ZERO;
    while client.rest(sim.between(20, 400), Phase::Closed).await {
        let service = services[sim.below(services.len() as u64) as usize].clone();
        let (seat, asked) = (client.any_seat(), service.clone());
        let read = client.ask(seat, 1_500, |registry| async move {
            registry.reach(token).await?;
            let applied = registry.progress().applied;
            Ok((applied, registry.view(&asked)))
        });
        let Ok(answered) = read.await else { continue };
        let (applied, view) = answered.value;
        // What is laid over the log's state speaks for that node alone.
        let view = view.log.clone().unwrap_or(view);
        sim.note("read", &service, view.revision);
        let (revision, digest, count) = (view.revision, view.digest, view.instances.len());
        client.history.told().read.push(Read { service, token, revision, applied, digest, count });
        token = token.max(revision).max(if sim.percent(30) { applied.last() } else { Revision::ZERO });
    }
}
