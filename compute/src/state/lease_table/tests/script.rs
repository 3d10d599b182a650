//! Scripts: lines of `TIME VERB ...` and, starting with `=`, what the table says until the next line.
//!
//! A name with a range, `s/i1..30`, means each of them. What is said at one time of one service is one line.

use super::world::{World, checked, key, service, session};
use crate::model::{Cause, FreezeScope, InstanceKey, Lease, Op, Position, ServiceKey};
use crate::port::clock::MonoMs;

/// Runs a script; what comes out must be the script.
#[track_caller]
pub(super) fn check(script: &str) {
    let expected: Vec<_> = script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut stage = Stage { world: World::new(), shown: 0, hidden: Vec::new(), out: Vec::new() };
    for line in expected.iter().filter(|line| !line.starts_with('=')) {
        stage.line(line);
    }
    let (actual, expected) = (stage.out.join("\n"), expected.join("\n"));
    assert!(actual == expected, "what was said:\n{actual}\n\nwhat was expected:\n{expected}\n");
}

struct Stage {
    world: World,
    shown: usize,
    hidden: Vec<String>,
    out: Vec<String>,
}

impl Stage {
    fn line(&mut self, line: &str) {
        if line.starts_with('#') {
            return self.out.push(line.to_owned());
        }
        let words: Vec<_> = line.split_whitespace().collect();
        let at = time(words[0]);
        if at > self.world.now {
            self.world.run_until(at - 1);
            self.show();
            self.world.now = at;
        }
        self.out.push(line.to_owned());
        self.act(words[1], &words[2..]);
        self.world.wake();
        self.show();
    }

    fn act(&mut self, verb: &str, words: &[&str]) {
        let world = &mut self.world;
        let first = words.first().copied().unwrap_or_default();
        match verb {
            "end" => {}
            "ready" => world.table.ready(world.now),
            "hide" => self.hidden = words.iter().map(|&word| word.to_owned()).collect(),
            "register" => each(first).iter().for_each(|key| world.register(key, lease(&words[1..]))),
            "operate" => each(first).iter().for_each(|key| world.operate(key)),
            "deregister" => each(first).iter().for_each(|key| world.remove(key)),
            "renew" => each(first).iter().for_each(|key| world.renew(key)),
            "keep" => {
                let at = world.now;
                world.beats.extend(each(first).into_iter().map(|key| (at, key)));
                world.run_until(at);
            }
            "kill" => world.beats.retain(|(_, key)| !each(first).contains(key)),
            "fail" => {
                let generation = world.instances[&key(first)].generation;
                world.table.check_failed(&key(first), generation, words[1], world.now);
            }
            "recover" => {
                let generation = world.instances[&key(first)].generation;
                world.table.check_recovered(&key(first), generation, world.now);
            }
            "open" => {
                world.open(session(first), time(words[1]) as u32);
                world.held(session(first));
            }
            "attach" => world.attach(session(first), true),
            "held" => world.held(session(first)),
            "resume" => {
                world.attach(session(first), true);
                world.held(session(first));
            }
            "lose" => world.lose(session(first)),
            "lose-old" => world.table.session_lost(session(first), 1, world.now),
            "close" => world.close(session(first)),
            "delay" => world.delay_ms = time(first),
            "log" => {
                world.loses = first == "loses";
                world.refuses = first == "refuses";
            }
            "hold" => world.table.hold(),
            "release" => drop(world.table.release(world.now)),
            "late" => {
                let expected = world.now;
                world.sleep(time(first));
                world.table.late(expected, world.now);
            }
            "unhealthies" => assert_eq!(world.count(|op| matches!(op, Op::Unhealthy { .. })).to_string(), first),
            "expiries" => assert_eq!(world.count(|op| matches!(op, Op::Expire { .. })).to_string(), first),
            "restart" => world.restart(),
            "threshold" => drop(world.thresholds.insert(service(first), words[1].parse().unwrap())),
            "operator-releases" => {
                let scopes: Vec<_> = world.freezes.keys().cloned().collect();
                scopes.iter().for_each(|scope| world.release_freeze(scope));
            }
            other => self.act_elsewhere(other, words),
        }
    }

    /// What happens between this node and others.
    fn act_elsewhere(&mut self, verb: &str, words: &[&str]) {
        let world = &mut self.world;
        let first = words.first().copied().unwrap_or_default();
        match verb {
            "elsewhere" => each(first).iter().for_each(|key| world.register_elsewhere(key, lease(&words[1..]))),
            "take-over" => each(first).iter().for_each(|key| world.take_over(key, time(words[1]))),
            "give" => {
                let generation = world.instances[&key(first)].generation;
                world.table.end(&key(first), generation, world.now);
            }
            "told" => {
                let generation = world.instances[&key(first)].generation;
                world.table.heard_elsewhere(&key(first), generation, time(words[1]), world.now);
            }
            "own" => world.table.session_owned(session(first), time(words[1]), world.now),
            "disown" => world.table.session_disowned(session(first)),
            "they-suspect" => {
                let (instance, age_ms) = (key(first), time(words[1]));
                let generation = world.instances[&instance].generation;
                let cause = match world.instances[&instance].lease() {
                    Lease::Stream { session, .. } => {
                        Cause::Session { session: *session, epoch: world.sessions[session].epoch }
                    }
                    Lease::Checked { .. } => Cause::Check { detail: "refused".into() },
                    _ => Cause::Lapse,
                };
                world.said_elsewhere(Op::Suspect { instance, generation, age_ms, cause });
            }
            "they-fell" => {
                let (instance, suspicion) = (key(first), world.suspicions[&key(first)].revision);
                world.said_elsewhere(Op::Unhealthy { instance, suspicion });
            }
            "they-refute" => {
                let suspicion = world.suspicions[&key(first)].revision;
                world.hear_elsewhere(&key(first), suspicion, time(words[1]));
            }
            "open-elsewhere" => {
                world.open(session(first), time(words[1]) as u32);
                world.table.session_disowned(session(first));
            }
            "attach-elsewhere" => world.attach(session(first), false),
            "cluster" => {
                world.is_alone = false;
                world.barrier = Some(Position::ZERO);
            }
            "confirm" => {
                let suspicion = world.suspicions[&key(first)].revision;
                world.table.confirmed(&key(first), suspicion, world.now);
            }
            "barrier" => world.barrier = Some(world.suspicions[&key(first)].revision.position()),
            "second-gone" => world.table.unseconded(&|of| *of == key(first), world.now),
            other => panic!("no such verb: {other}"),
        }
    }

    /// Writes what was said since the last time.
    fn show(&mut self) {
        let mut lines: Vec<(MonoMs, String, String, usize)> = Vec::new();
        for (at, op) in &self.world.said[self.shown..] {
            let (verb, about, rest) = words_of(op);
            if self.hidden.iter().any(|hidden| *hidden == verb) {
                continue;
            }
            let line = format!("{verb} {about}{rest}");
            let service = about.split('/').next().unwrap_or_default().to_owned();
            let group = format!("{verb} {service} *");
            let same = lines.iter_mut().find(|(when, _, of, _)| when == at && *of == group && about.contains('/'));
            match same {
                Some((_, _, _, count)) => *count += 1,
                None => lines.push((*at, line, group, 1)),
            }
        }
        self.shown = self.world.said.len();
        for (at, line, group, count) in lines {
            let what = if count == 1 { line } else { format!("{group}{count}") };
            self.out.push(format!("= {} {what}", span(at)));
        }
    }
}

fn words_of(op: &Op) -> (&'static str, String, String) {
    let short = |key: &InstanceKey| format!("{}/{}", key.service.service, key.id);
    match op {
        Op::Suspect { instance, age_ms, cause, .. } => {
            let cause = match cause {
                Cause::Lapse => "lapse".to_owned(),
                Cause::Session { epoch, .. } => format!("session epoch {epoch}"),
                Cause::Check { detail } => format!("check {detail}"),
            };
            ("suspect", short(instance), format!(" age {} {cause}", span(*age_ms)))
        }
        Op::Refute { instance, age_ms, .. } => ("refute", short(instance), format!(" age {}", span(*age_ms))),
        Op::Unhealthy { instance, .. } => ("unhealthy", short(instance), String::new()),
        Op::Expire { instance, .. } => ("expire", short(instance), String::new()),
        Op::CloseSession { session, epoch, .. } => {
            let name = String::from_utf8_lossy(&session.0).trim_end_matches('\0').to_owned();
            ("close", name, format!(" epoch {epoch}"))
        }
        Op::Freeze { scope, lapsed, of } => ("freeze", scope_of(scope), format!(" {lapsed} of {of}")),
        Op::Release { scope, .. } => ("thaw", scope_of(scope), String::new()),
        other => panic!("no word of the table: {other:?}"),
    }
}

fn scope_of(scope: &FreezeScope) -> String {
    match scope {
        FreezeScope::Node(node) => format!("node {}", node.0),
        FreezeScope::Service(ServiceKey { service, .. }) => format!("service {service}"),
    }
}

fn lease(words: &[&str]) -> Lease {
    let mut remove = Some(30_000);
    let mut kind = ("ttl", "15s");
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("remove", "never") => remove = None,
            ("remove", after) => remove = Some(time(after)),
            other => kind = other,
        }
    }
    match kind {
        ("ttl", ttl) => Lease::ttl(time(ttl), remove.unwrap()).unwrap(),
        ("session", id) => Lease::stream(session(id), remove.unwrap()).unwrap(),
        ("checked", _) => checked(remove),
        ("permanent", _) => Lease::Permanent,
        other => panic!("no such lease: {other:?}"),
    }
}

/// `s/a`, or `s/i1..3`, or `s1..3/i1..3`.
fn each(text: &str) -> Vec<InstanceKey> {
    let (service, id) = text.split_once('/').unwrap();
    let pairs =
        names(service).into_iter().flat_map(|service| names(id).into_iter().map(move |id| (service.clone(), id)));
    pairs.map(|(service, id)| key(&format!("{service}/{id}"))).collect()
}

fn names(text: &str) -> Vec<String> {
    let Some((start, last)) = text.split_once("..") else { return vec![text.to_owned()] };
    let name = start.trim_end_matches(|c: char| c.is_ascii_digit());
    let first: u32 = start[name.len()..].parse().unwrap();
    (first..=last.parse().unwrap()).map(|n| format!("{name}{n}")).collect()
}

/// `15s`, `2.5s`, `300ms`, `0`.
pub(super) fn time(text: &str) -> MonoMs {
    if let Some(ms) = text.strip_suffix("ms") {
        return ms.parse().unwrap();
    }
    let seconds: f64 = text.trim_end_matches('s').parse().unwrap();
    (seconds * 1_000.0).round() as MonoMs
}

fn span(ms: MonoMs) -> String {
    format!("{}s", ms as f64 / 1_000.0)
}
