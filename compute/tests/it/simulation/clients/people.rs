use compute::command::{Ack, Answer, Command, Outcome, Reached};
use compute::error::{Error, What};
use compute::model::{InstanceKey, OperatorPatch, RemovalReason, Set};

use super::super::history::Wrote;
use super::{Answered, Client, Failed, Phase};
use crate::world::somebody;

/// An operator: takes instances out of the rotation and back, also before they come, and now and then removes one that
/// is somebody's.
pub(in crate::simulation) async fn operator(client: Client, keys: Vec<InstanceKey>) {
    let sim = client.sim.clone();
    while client.rest(sim.between(200, 1_500), Phase::Healing).await {
        let key = keys[sim.below(keys.len() as u64) as usize].clone();
        let (what, command) = if sim.percent(25) {
            let reason = RemovalReason::Operator;
            ("remove", Command::Deregister { instance: key.clone(), generation: None, reason })
        } else {
            let patch = OperatorPatch { isolated: Set::To(sim.percent(50)), ..OperatorPatch::default() };
            ("operate", Command::Operate { instance: key.clone(), generation: None, patch })
        };
        let (what, answered) = match say(&client, command).await {
            Err(Failed::Refused(Error::NotFound { what: What::Instance, .. })) if what == "operate" => {
                let keep_ms = Set::To(sim.between(500, 10_000));
                let word = OperatorPatch { isolated: Set::To(true), keep_ms, ..OperatorPatch::default() };
                let command = Command::KeepOverride { instance: key.clone(), word, until_ms: None, only_for: None };
                ("keep", say(&client, command).await)
            }
            answered => (what, answered),
        };
        let Ok(answered) = answered else { continue };
        sim.note(what, &key, answered.value.revision);
        if answered.value.reached >= Reached::Log {
            let revision = match &answered.value.answer {
                Answer::Instance { instance, .. } => instance.revision,
                _ => answered.value.revision,
            };
            client.history.told().wrote.push(Wrote { key, what, revision, is_landed: false });
        }
    }
}

async fn say(client: &Client, command: Command) -> Result<Answered<Outcome>, Failed> {
    let seat = client.any_seat();
    client.ask(seat, 1_000, |registry| async move { registry.submit_one(&somebody(), Ack::Log, command).await }).await
}
