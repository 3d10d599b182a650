use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use compute::model::{LogIdentity, NodeIncarnation};
use compute::port::clock::SystemClock;
use compute::testing::SeededChance;
use tokio::net::UdpSocket;

use super::sealed::{open, seal};
use super::{About, Config, Gossip};
use crate::peer::Secret;

const SECRET: &str = "the secret of this cluster";
const SOON: Duration = Duration::from_secs(20);
const CLUSTER: LogIdentity = LogIdentity([7; 16]);

struct Node {
    gossip: Gossip,
    addr: SocketAddr,
    about: About,
    heard: Arc<Mutex<Vec<About>>>,
}

fn config(seeds: &[SocketAddr], secret: &str) -> Config {
    let seeds = seeds.iter().map(SocketAddr::to_string).collect();
    let config = Config::new(seeds, CLUSTER, Secret::new(secret).unwrap());
    Config { interval: Duration::from_millis(20), ..config }
}

impl Node {
    async fn start(n: u64, config: Config) -> Self {
        let about = About {
            node: NodeIncarnation(n),
            name: format!("node-{n}").into(),
            peer: format!("10.0.0.{n}:7802").into(),
            http: format!("10.0.0.{n}:7800").into(),
            grpc: "".into(),
            connections: n,
            leases: 1_000 * n,
        };
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = {
            let heard = Arc::clone(&heard);
            move |all: &[About]| *heard.lock().unwrap() = all.to_vec()
        };
        let bound = Gossip::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let addr = bound.local_addr();
        let (clock, chance) = (SystemClock::new(), SeededChance::new(n));
        let gossip = Gossip::start(bound, config, &about, (clock, chance.as_ref()), told).await.unwrap();
        Self { gossip, addr, about, heard }
    }

    fn addr(&self) -> SocketAddr {
        self.addr
    }

    async fn hears(&self, wanted: &[&About]) {
        let by_node = |all: Vec<About>| all.into_iter().map(|about| (about.node, about)).collect::<BTreeMap<_, _>>();
        let wanted = by_node(wanted.iter().map(|about| (*about).clone()).collect());
        let looking = async {
            while by_node(self.heard.lock().unwrap().clone()) != wanted {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let looked = tokio::time::timeout(SOON, looking).await;
        assert!(looked.is_ok(), "heard is {:?}, there are {wanted:?}", self.heard.lock().unwrap());
    }
}

#[tokio::test]
async fn three_find_each_other_by_one_seed_and_hear_what_changes_and_who_ends() {
    let one = Node::start(1, config(&[], SECRET)).await;
    let mut two = Node::start(2, config(&[one.addr()], SECRET)).await;
    let three = Node::start(3, config(&[one.addr()], SECRET)).await;
    one.hears(&[&two.about, &three.about]).await;
    two.hears(&[&one.about, &three.about]).await;
    three.hears(&[&one.about, &two.about]).await;
    // It joins again under another name, and is as busy as it says.
    two.about = About { node: NodeIncarnation(22), connections: 77, ..two.about };
    two.gossip.tell(&two.about).await;
    one.hears(&[&two.about, &three.about]).await;
    three.hears(&[&one.about, &two.about]).await;
    drop(three);
    one.hears(&[&two.about]).await;
}

#[tokio::test]
async fn who_has_another_secret_or_log_is_not_heard() {
    let one = Node::start(1, config(&[], SECRET)).await;
    let stranger = Node::start(4, config(&[one.addr()], "the secret of another one")).await;
    let elsewhere = Config { cluster: LogIdentity([8; 16]), ..config(&[one.addr()], SECRET) };
    let elsewhere = Node::start(5, elsewhere).await;
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    for junk in [&b""[..], b"\0", &[0xff; 1_400], &[0; 65_507]] {
        socket.send_to(junk, one.addr()).await.unwrap();
    }
    // What they say was said long before all rounds of these are over.
    let mut two = Node::start(2, config(&[one.addr()], SECRET)).await;
    one.hears(&[&two.about]).await;
    for connections in 100..110 {
        two.about.connections = connections;
        two.gossip.tell(&two.about).await;
        one.hears(&[&two.about]).await;
    }
    two.hears(&[&one.about]).await;
    assert!(stranger.heard.lock().unwrap().is_empty());
    assert!(elsewhere.heard.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_no_node_says_is_left_out() {
    let one = Node::start(1, config(&[], SECRET)).await;
    let two = Node::start(2, config(&[one.addr()], SECRET)).await;
    let odd = Node::start(3, config(&[one.addr()], SECRET)).await;
    one.hears(&[&two.about, &odd.about]).await;
    odd.gossip.tell(&About { name: "a\nb".into(), ..odd.about.clone() }).await;
    one.hears(&[&two.about]).await;
    odd.gossip.tell(&About { peer: "p".repeat(1_000).into(), ..odd.about.clone() }).await;
    odd.gossip.tell(&odd.about).await;
    one.hears(&[&two.about, &odd.about]).await;
}

#[tokio::test]
async fn a_port_in_use_is_said_to_be() {
    let one = Node::start(1, config(&[], SECRET)).await;
    let Err(error) = Gossip::bind(one.addr()).await else { panic!("two sockets at {}", one.addr()) };
    assert!(error.is_in_use(), "{error}");
    assert!(error.to_string().contains("--gossip"), "{error}");
}

#[test]
fn a_seal_holds_for_its_bytes_and_its_secret() {
    let key = |secret: &str| Secret::new(secret).unwrap().key("thuban gossip v1");
    let mut datagram = b"what is said".to_vec();
    seal(&key(SECRET), &mut datagram);
    assert_eq!(open(&key(SECRET), &datagram), Some(&b"what is said"[..]));
    assert_eq!(open(&key("the secret of another one"), &datagram), None);
    for at in 0..datagram.len() {
        let mut turned = datagram.clone();
        turned[at] ^= 1;
        assert_eq!(open(&key(SECRET), &turned), None, "byte {at}");
        assert_eq!(open(&key(SECRET), &datagram[..at]), None, "cut at {at}");
    }
}
