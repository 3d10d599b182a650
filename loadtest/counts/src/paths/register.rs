//! New instances, spread over services until each has ten.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Result, ensure};
use compute::command::Command;
use compute::model::{Author, Base, Change, Entry, Frame, NodeIncarnation, Op, Origin, Position};
use compute::state::{State, Verdict};

use crate::connection::{Web, request};
use crate::ports::{IDENTITY, position};
use crate::span;
use crate::world::{INSTANCES, World, key, provider, register, service_name};

const SERVICES: usize = 200;
const ALL: usize = SERVICES * INSTANCES;
/// What is registered together.
const FRAME: usize = 50;

/// In which the places come: each service gets its first, then each its second, and so on. The first of each makes its
/// service, and is not counted.
fn service_of(place: usize) -> usize {
    place % SERVICES
}

/// The state machine by itself: frames that come from the log, and the views of the services that they touch.
pub(super) fn apply() -> Result<u64> {
    let mut state = State::new(IDENTITY);
    let entries: Vec<Entry> = (0..ALL / FRAME).map(entry).collect();
    let (first, rest) = entries.split_at(SERVICES / FRAME);
    let mut applied = 0;
    let mut apply = |entries: &[Entry]| {
        for entry in entries {
            let Ok(done) = state.apply(entry) else { return };
            applied += done.verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Applied(_))).count();
            for service in done.touched.keys() {
                black_box(state.view(service));
            }
        }
    };
    apply(first);
    span::counted(&mut || apply(rest));
    ensure!(applied == ALL, "{applied} of {ALL} were applied");
    Ok((ALL - SERVICES) as u64)
}

fn entry(number: usize) -> Entry {
    let node = NodeIncarnation(1);
    let before = if number == 0 { Position::ZERO } else { position(number as u64) };
    let changes = (number * FRAME..(number + 1) * FRAME).map(|place| {
        let provider = Box::new(provider(place, "1.4.2"));
        let instance = key(service_of(place), place);
        let op = Op::Register { instance, provider, base: Base::Absent(before), epoch: None };
        Change { origin: Origin { node, counter: place as u64 + 1 }, author: Author::new("somebody", "counts"), op }
    });
    let frame = Frame { identity: IDENTITY, writer: node, time_ms: 1_700_000_000_000, changes: changes.collect() };
    Entry { position: position(number as u64 + 1), frame: Arc::new(frame), checksum: number as u64 }
}

/// Through the node, from a command to its outcome: decided, gathered, appended, applied, published and answered. Each
/// by itself.
pub(super) fn alone() -> Result<u64> {
    through_node(1)
}

/// The same, as many together as a busy node finds waiting.
pub(super) fn batch() -> Result<u64> {
    through_node(FRAME)
}

fn through_node(together: usize) -> Result<u64> {
    let world = World::new()?;
    let commands: Vec<Command> = (0..ALL).map(|place| register(service_of(place), place)).collect();
    let mut batches: Vec<Vec<Command>> = commands.chunks(together).map(<[Command]>::to_vec).collect();
    let rest = batches.split_off(SERVICES / together);
    let submit = async |batches: Vec<Vec<Command>>| {
        for commands in batches {
            black_box(world.submit(commands).await?);
        }
        anyhow::Ok(())
    };
    world.runtime.block_on(submit(batches))?;
    world.count(submit(rest))?;
    Ok((ALL - SERVICES) as u64)
}

/// On a connection of HTTP/1.1, one after the other.
pub(super) fn http() -> Result<u64> {
    let world = World::new()?;
    let address = world.http()?;
    let requests: Vec<Vec<u8>> = (0..ALL).map(put).collect();
    let mut web = world.runtime.block_on(Web::open(address))?;
    let mut ask = async |requests: &[Vec<u8>]| {
        for request in requests {
            web.call(request, None).await?;
        }
        anyhow::Ok(())
    };
    world.runtime.block_on(ask(&requests[..SERVICES]))?;
    world.count(ask(&requests[SERVICES..]))?;
    Ok((ALL - SERVICES) as u64)
}

fn put(place: usize) -> Vec<u8> {
    let metadata: Vec<_> = (0..5).map(|key| format!(r#""key-{key}":"value-{key}-{}""#, place % 97)).collect();
    let body = format!(
        r#"{{"host":"10.0.{}.{}","port":8080,"zone":"eu-1a","version":"1.4.2","metadata":{{{}}},"lease":{{"kind":"ttl","ttl_ms":86400000,"remove_after_ms":86400000}}}}"#,
        place / 250 % 250,
        place % 250,
        metadata.join(",")
    );
    let path = format!("/v1/namespaces/default/services/{}/instances/i-{place}", service_name(service_of(place)));
    request("PUT", &path, &body)
}
