//! Whom a probe reaches, and whom it must not.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use compute::model::CheckKind;
use compute::port::Prober;
use compute::port::prober::Probed;
use gateway::probe::{NetProber, Networks, Resolve};
use ipnet::IpNet;
use socket2::{Domain, Socket, Type};

use super::server::{ClosedPort, Server};
use super::{check, failure, http, probe, probe_patiently};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Also of this machine, where no server of the tests listens.
const OTHER_LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));

/// Answers each question with the next answer.
struct Answers {
    answers: Vec<Result<Vec<IpAddr>, String>>,
    asked: AtomicUsize,
}

impl Answers {
    fn new(answers: Vec<Result<Vec<IpAddr>, String>>) -> Arc<Self> {
        Arc::new(Self { answers, asked: AtomicUsize::new(0) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Resolve for Answers {
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        assert_eq!(host, "orders.internal");
        match self.answers.get(self.asked.fetch_add(1, Ordering::SeqCst)) {
            Some(answer) => answer.clone(),
            None => std::future::pending().await,
        }
    }
}

/// Probes a name, at the port of `server`.
async fn probe_name(resolver: &Arc<Answers>, server: SocketAddr) -> Probed {
    let prober = NetProber::with_resolver(Networks::default_allow(), resolver.clone());
    prober.probe("orders.internal", server.port(), &check(http("/"), 20_000)).await
}

fn forbidden(why: &str) -> Probed {
    Probed::Forbidden(why.into())
}

async fn well() -> Server {
    Server::answering("HTTP/1.1 200 OK\r\n\r\n").await
}

#[tokio::test]
async fn a_connection_is_all_that_a_tcp_check_asks_for() {
    assert_eq!(probe_patiently(Server::silent().await.address, CheckKind::Tcp).await, Probed::Success);
    let closed = ClosedPort::new();
    assert_eq!(probe_patiently(closed.address, CheckKind::Tcp).await, failure("connection refused"));
}

#[tokio::test]
async fn port_0_is_not_called() {
    let probed = probe_patiently(SocketAddr::new(LOOPBACK, 0), CheckKind::Tcp).await;
    assert_eq!(probed, failure("port 0 can't be called: give the check a port"));
}

#[tokio::test]
async fn a_target_that_takes_no_more_connections_has_failed_in_time() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    listener.bind(&SocketAddr::new(LOOPBACK, 0).into()).expect("a free port");
    listener.listen(1).expect("it listens");
    let address = listener.local_addr().ok().and_then(|address| address.as_socket()).expect("it is bound");
    let mut queued = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_secs(1), tokio::net::TcpStream::connect(address)).await {
        queued.push(stream.expect("it is queued"));
        assert!(queued.len() < 100, "the queue has no end");
    }
    let probed = probe(address, &check(CheckKind::Tcp, 1_000)).await;
    assert_eq!(probed, failure("no connection within 1000 ms"));
}

#[tokio::test]
async fn only_allowed_networks_are_called() {
    let server = well().await;
    let port = server.address.port();
    for (allow, expected) in [
        (vec![], forbidden("127.0.0.1 is outside the networks that may be probed (--check-allow)")),
        (vec!["127.0.0.2/32"], forbidden("127.0.0.1 is outside the networks that may be probed (--check-allow)")),
        (vec!["10.0.0.0/8", "127.0.0.1/32"], Probed::Success),
    ] {
        let allow: Vec<IpNet> = allow.into_iter().map(|net| net.parse().expect("a network")).collect();
        let prober = NetProber::with_resolver(allow, Answers::new(Vec::new()));
        assert_eq!(prober.probe("127.0.0.1", port, &check(http("/"), 20_000)).await, expected);
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn an_address_in_disguise_is_not_called() {
    // On this machine each of them would reach the server.
    let server = well().await;
    let everything: Vec<IpNet> = ["0.0.0.0/0", "::/0"].map(|net| net.parse().expect("a network")).to_vec();
    let prober = NetProber::with_resolver(everything, Answers::new(Vec::new()));
    for (host, why) in [
        ("0.0.0.0", "0.0.0.0 is never probed: an unspecified address"),
        ("::ffff:0.0.0.0", "0.0.0.0 is never probed: an unspecified address"),
        ("::", ":: is never probed: an unspecified address"),
    ] {
        let probed = prober.probe(host, server.address.port(), &check(http("/"), 20_000)).await;
        assert_eq!(probed, forbidden(why));
    }
    assert_eq!(server.accepted(), 0);
    let mapped = prober.probe("::ffff:127.0.0.1", server.address.port(), &check(http("/"), 20_000)).await;
    assert_eq!(mapped, Probed::Success, "the same address, and an allowed one");
}

#[tokio::test]
async fn a_name_is_resolved_once_and_what_it_says_later_does_not_matter() {
    let server = well().await;
    let rebinding = Answers::new(vec![Ok(vec![LOOPBACK]), Ok(vec![METADATA])]);
    assert_eq!(probe_name(&rebinding, server.address).await, Probed::Success);
    assert_eq!((rebinding.asked(), server.accepted()), (1, 1));
    let expected = forbidden("169.254.169.254 is never probed: a link-local address");
    assert_eq!(probe_name(&rebinding, server.address).await, expected);
    assert_eq!((rebinding.asked(), server.accepted()), (2, 1));
}

#[tokio::test]
async fn of_several_addresses_only_the_allowed_ones_are_called() {
    let server = well().await;
    let mixed = Answers::new(vec![Ok(vec![METADATA, LOOPBACK])]);
    assert_eq!(probe_name(&mixed, server.address).await, Probed::Success);
}

#[tokio::test]
async fn of_several_addresses_one_that_answers_is_enough() {
    let server = well().await;
    let several = Answers::new(vec![Ok(vec![OTHER_LOOPBACK, LOOPBACK]), Ok(vec![OTHER_LOOPBACK])]);
    assert_eq!(probe_name(&several, server.address).await, Probed::Success);
    assert_eq!(probe_name(&several, server.address).await, failure("connection refused"));
}

#[tokio::test]
async fn what_the_resolver_says_is_told_and_cut_to_fit() {
    let server = well().await;
    let long = format!("no such\nname {}", "x".repeat(1_000));
    let resolver = Answers::new(vec![Err("no such name".to_owned()), Ok(Vec::new()), Err(long)]);
    assert_eq!(probe_name(&resolver, server.address).await, failure("no such name"));
    assert_eq!(probe_name(&resolver, server.address).await, failure("the name has no address"));
    let Probed::Failure(why) = probe_name(&resolver, server.address).await else { panic!("it does not resolve") };
    assert!(why.len() == 256 && why.starts_with("no such name x"), "{why}");
}

#[tokio::test]
async fn resolving_is_part_of_the_time() {
    let resolver = Answers::new(Vec::new());
    let prober = NetProber::with_resolver(Networks::default_allow(), resolver);
    let probed = prober.probe("orders.internal", 80, &check(http("/"), 1_000)).await;
    assert_eq!(probed, failure("the name did not resolve within 1000 ms"));
}
