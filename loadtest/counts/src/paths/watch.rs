//! One change of a service of ten instances, and a hundred who watch it are told.

use anyhow::{Context, Result};
use compute::command::Command;
use compute::model::Selector;
use compute::watch::{Scope, Subscriber, Watch, WatchEvent, WatchSpec};
use futures::future::try_join_all;
use h2::RecvStream;
use schemas::thuban::v1::watch_event::Event;
use schemas::thuban::v1::{WatchEvent as Told, WatchRequest};

use crate::connection::{Rpc, framed, read};
use crate::span::aside;
use crate::world::{World, key, provider, service, service_name};

const WATCHERS: usize = 100;
const WARM: usize = 20;
const COUNTED: usize = 100;
/// Between two changes. All together they take less time than it is until somebody is told that nothing happened.
const PAUSE_MS: u64 = 1;

/// Says something new of the first instance.
fn change(round: usize) -> Vec<Command> {
    let provider = Box::new(provider(0, &format!("1.4.{}", 100 + round)));
    vec![Command::Register { instance: key(0, 0), provider, epoch: None, generation: None }]
}

/// By the hub, from the change to the last watcher's event.
pub(super) fn hub() -> Result<u64> {
    let world = World::with(1)?;
    let spec = || WatchSpec {
        scope: Scope::Services(vec![service(0)]),
        selector: Selector::default(),
        from: None,
        subscriber: Subscriber { name: "somebody".into(), address: None, door: "counts".into() },
    };
    let mut watches = (0..WATCHERS).map(|_| Ok(world.registry.watch(spec())?)).collect::<Result<Vec<_>>>()?;
    world.runtime.block_on(try_join_all(watches.iter_mut().map(|watch| told(watch, is_snapshot))))?;
    for round in 0..WARM + COUNTED {
        world.pass(PAUSE_MS);
        let commands = change(round);
        let all_told = async {
            world.submit(commands).await?;
            for watch in &mut watches {
                told(watch, is_change).await?;
            }
            Ok(())
        };
        if round < WARM { world.runtime.block_on(all_told)? } else { world.count(all_told)? }
    }
    Ok(COUNTED as u64)
}

fn is_snapshot(event: &WatchEvent) -> bool {
    matches!(event, WatchEvent::Snapshot { .. })
}

fn is_change(event: &WatchEvent) -> bool {
    matches!(event, WatchEvent::Change(_))
}

async fn told(watch: &mut Watch, is_wanted: fn(&WatchEvent) -> bool) -> Result<()> {
    while !is_wanted(&watch.next().await.context("the watch goes on")?) {}
    Ok(())
}

/// On a connection of HTTP/2 with a stream for each watcher, to the bytes of the last.
pub(super) fn grpc() -> Result<u64> {
    let world = World::with(1)?;
    let address = world.grpc()?;
    let wanted = WatchRequest { namespace: "default".into(), services: vec![service_name(0)], ..Default::default() };
    let wanted = framed(&wanted);
    let mut rpc = world.runtime.block_on(Rpc::open(address))?;
    let mut streams = Vec::new();
    for _ in 0..WATCHERS {
        streams.push(world.runtime.block_on(rpc.begin("/thuban.v1.Registry/Watch", &wanted))?);
    }
    world.runtime.block_on(rpc.drive(all(&mut streams, |event| matches!(event, Event::Snapshot(_)))))?;
    for round in 0..WARM + COUNTED {
        world.pass(PAUSE_MS);
        let commands = change(round);
        let all_told = async {
            world.submit(commands).await?;
            aside(rpc.drive(all(&mut streams, |event| matches!(event, Event::Change(_))))).await
        };
        if round < WARM { world.runtime.block_on(all_told)? } else { world.count(all_told)? }
    }
    Ok(COUNTED as u64)
}

/// Until each was told what is wanted.
async fn all(streams: &mut [RecvStream], is_wanted: fn(&Event) -> bool) -> Result<()> {
    for stream in streams {
        loop {
            let piece = stream.data().await.context("the watch goes on")??;
            stream.flow_control().release_capacity(piece.len())?;
            if read::<Told>(&piece)?.event.as_ref().is_some_and(is_wanted) {
                break;
            }
        }
    }
    Ok(())
}
