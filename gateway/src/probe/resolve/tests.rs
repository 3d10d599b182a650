use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use compute::testing::ManualClock;
use hickory_resolver::config::NameServerConfig;
use tempfile::NamedTempFile;

use super::*;

/// A resolver that knows what is in one file of hosts, and no name server.
struct World {
    clock: Arc<ManualClock>,
    file: NamedTempFile,
    resolver: SystemResolver,
    made: Arc<AtomicUsize>,
}

impl World {
    fn new(hosts: &str) -> Self {
        let (clock, made) = (ManualClock::new(), Arc::new(AtomicUsize::new(0)));
        let file = NamedTempFile::new().expect("a file");
        let count = made.clone();
        let make = move |of: &[Vec<u8>]| {
            count.fetch_add(1, Ordering::SeqCst);
            let mut hosts = Hosts::default();
            hosts.read_hosts_conf(of[0].as_slice()).map_err(|error| error.to_string())?;
            build(ResolverConfig::from_parts(None, Vec::new(), Vec::new()), ResolverOpts::default(), hosts)
        };
        let resolver = SystemResolver::over(clock.clone(), vec![file.path().to_owned()], Box::new(make));
        let mut world = Self { clock, file, resolver, made };
        world.write(hosts);
        world
    }

    fn write(&mut self, hosts: &str) {
        self.file.as_file().set_len(0).expect("emptied");
        std::io::Seek::rewind(self.file.as_file_mut()).expect("rewound");
        self.file.write_all(hosts.as_bytes()).expect("written");
    }

    async fn resolve(&self, host: &str) -> Result<Vec<String>, String> {
        let found = self.resolver.resolve(host).await?;
        Ok(found.iter().map(IpAddr::to_string).collect())
    }
}

fn addresses<const N: usize>(addresses: [&str; N]) -> Result<Vec<String>, String> {
    Ok(addresses.map(str::to_owned).to_vec())
}

#[tokio::test]
async fn the_hosts_file_counts_and_is_read_again_when_it_changed() {
    let mut world = World::new("127.0.0.2 orders orders.internal\n::1 orders\n");
    assert_eq!(world.resolve("orders").await, addresses(["127.0.0.2", "::1"]));
    assert_eq!(world.resolve("ORDERS.Internal").await, addresses(["127.0.0.2"]));
    world.write("127.0.0.3 orders\n");
    assert_eq!(world.resolve("orders").await, addresses(["127.0.0.2", "::1"]), "not looked at again yet");
    world.clock.advance(REREAD_MS);
    assert_eq!(world.resolve("orders").await, addresses(["127.0.0.3"]));
    assert_eq!(world.made.load(Ordering::SeqCst), 2);
    world.clock.advance(REREAD_MS);
    assert_eq!(world.resolve("orders").await, addresses(["127.0.0.3"]));
    assert_eq!(world.made.load(Ordering::SeqCst), 2, "what has not changed is not made again");
}

#[tokio::test]
async fn names_that_nobody_knows_and_names_that_are_none_fail_with_words() {
    let world = World::new("");
    let long = "x".repeat(300);
    for name in ["nobody", "a..b", "", &long, "under_score", "127.1", "\u{0}"] {
        let found = tokio::time::timeout(Duration::from_secs(5), world.resolve(name)).await.expect("at once");
        let why = found.expect_err(name);
        assert!(why.starts_with("the name does not resolve: "), "{name:?}: {why}");
    }
}

#[tokio::test]
async fn settings_that_are_wrong_are_told_and_tried_again() {
    let mut world = World::new("");
    let bad = b"\xff\xfe";
    std::fs::write(world.file.path(), bad).expect("written");
    assert!(world.resolve("orders").await.is_err());
    world.write("127.0.0.2 orders\n");
    world.clock.advance(REREAD_MS);
    assert_eq!(world.resolve("orders").await, addresses(["127.0.0.2"]));
}

#[tokio::test]
async fn this_host_is_known_by_the_system_settings() {
    let resolver = SystemResolver::new(ManualClock::new());
    let found = resolver.resolve("localhost").await.expect("localhost is always known");
    assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty(), "{found:?}");
}

/// A name server that knows `good` at 127.0.0.9 and does not answer for anything else.
async fn half_silent_server() -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    let task = tokio::spawn(async move {
        let mut query = [0; 1_500];
        loop {
            let (length, from) = socket.recv_from(&mut query).await.expect("a query");
            // Behind the header: the name, then type and class.
            let Some(question) = query[12..length].strip_prefix(b"\x04good\x00") else { continue };
            let is_v4 = question.starts_with(&[0, 1]);
            let mut answer = query[..2].to_vec();
            answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_v4), 0, 0, 0, 0]);
            answer.extend(b"\x04good\x00");
            answer.extend(&question[..4]);
            if is_v4 {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 9]);
            }
            socket.send_to(&answer, from).await.expect("sent");
        }
    });
    (address, task)
}

#[tokio::test]
async fn names_whose_servers_are_silent_take_nothing_from_the_others() {
    let (address, task) = half_silent_server().await;
    let make = move |_: &[Vec<u8>]| {
        let mut server = NameServerConfig::udp_and_tcp(address.ip());
        server.connections.iter_mut().for_each(|connection| connection.port = address.port());
        build(ResolverConfig::from_parts(None, Vec::new(), vec![server]), ResolverOpts::default(), Hosts::default())
    };
    let resolver = SystemResolver::over(ManualClock::new(), Vec::new(), Box::new(make));
    let expected = Ok(vec![IpAddr::from([127, 0, 0, 9])]);
    assert_eq!(resolver.resolve("good").await, expected);
    let names: Vec<_> = (0..200).map(|n| format!("silent{n}.")).collect();
    let mut silent = futures::future::join_all(names.iter().map(|name| resolver.resolve(name)));
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    // All the while they are asked for again and again.
    for _ in 0..20 {
        tokio::select! {
            found = &mut silent => panic!("nobody answers for them: {found:?}"),
            _ = pace.tick() => {}
        }
        let found = tokio::time::timeout(Duration::from_secs(5), resolver.resolve("good")).await;
        assert_eq!(found.expect("it comes while they are waited for"), expected);
    }
    task.abort();
}
