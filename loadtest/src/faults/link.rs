//! Stands between the parts of a cluster: forwards TCP and UDP, and cuts, slows or loses on the way, for all who call or
//! for one of them.

mod caller;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::dice::Dice;

/// What a link does to what goes through it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Nothing comes through, and nobody is told: as if a cable were cut.
    pub is_cut: bool,
    /// On the way there, and on the way back.
    pub delay: Duration,
    /// Of a thousand: a datagram is lost; a piece of a stream stalls for as long as TCP takes to send it again.
    pub lost: usize,
}

/// The least that Linux waits before it sends again what nobody acknowledged.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// Pieces of a stream under way in one direction: what a socket's buffer would hold, in a way.
const PIECES_MAX: usize = 256;
const PIECE_BYTES: usize = 16 * 1024;
const DATAGRAM_BYTES: usize = 65_535;
/// Senders of datagrams that one link knows.
const SENDERS_MAX: usize = 256;

/// The weather for all, and for who calls from a node that has weather of its own.
#[derive(Clone, Debug, Default)]
struct Skies {
    all: Weather,
    of: BTreeMap<String, Weather>,
}

/// The weather as one caller has it, and how often it did something.
#[derive(Clone)]
struct Sky {
    skies: watch::Receiver<Skies>,
    caller: Option<String>,
    touched: Arc<AtomicU64>,
}

impl Skies {
    fn of(&self, caller: Option<&str>) -> Weather {
        caller.and_then(|caller| self.of.get(caller)).copied().unwrap_or(self.all)
    }
}

impl Sky {
    fn now(&self) -> Weather {
        let now = self.skies.borrow().of(self.caller.as_deref());
        if now != Weather::default() {
            self.touched.fetch_add(1, Ordering::Relaxed);
        }
        now
    }

    /// False: the link is gone.
    async fn is_open(&mut self) -> bool {
        self.now();
        let caller = self.caller.clone();
        self.skies.wait_for(|skies| !skies.of(caller.as_deref()).is_cut).await.is_ok()
    }
}

/// One link, which forwards as long as it is held.
pub struct Link {
    skies: watch::Sender<Skies>,
    touched: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

/// Whether it is asked who calls. That takes the kernel a while: nothing for a link that is tried again ten times a
/// second when nobody is at its other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Callers {
    Unasked,
    Asked,
}

/// Who sends datagrams from which port.
pub type Senders = Arc<BTreeMap<u16, String>>;

impl Link {
    pub async fn tcp(listen: SocketAddr, to: SocketAddr, callers: Callers, dice: Dice) -> Result<Self> {
        let listener = TcpListener::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
        Ok(Self::new(|sky| accept(listener, to, callers, sky, dice)))
    }

    pub async fn udp(listen: SocketAddr, to: SocketAddr, senders: Senders, dice: Dice) -> Result<Self> {
        let socket = UdpSocket::bind(listen).await.with_context(|| format!("listen on {listen} (UDP)"))?;
        Ok(Self::new(|sky| forward_datagrams(Arc::new(socket), to, senders, sky, dice)))
    }

    fn new<F: Future<Output = ()> + Send + 'static>(forward: impl FnOnce(Sky) -> F) -> Self {
        let (skies, seen) = watch::channel(Skies::default());
        let touched = Arc::<AtomicU64>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(forward(Sky { skies: seen, caller: None, touched: Arc::clone(&touched) }));
        Self { skies, touched, _tasks: tasks }
    }

    /// For who calls from the node `caller`, or for all.
    pub fn set(&self, weather: Weather, caller: Option<&str>) {
        self.skies.send_modify(|skies| match caller {
            Some(caller) => drop(skies.of.insert(caller.to_owned(), weather)),
            None => *skies = Skies { all: weather, of: BTreeMap::new() },
        });
    }

    /// How often bad weather has done something to what came, since this was asked last.
    pub fn touched(&self) -> u64 {
        self.touched.swap(0, Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, callers: Callers, sky: Sky, mut dice: Dice) {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((near, _)) = accepted else { continue };
                streams.spawn(forward(near, to, callers, sky.clone(), dice.split()));
            }
            Some(_) = streams.join_next() => {}
        }
    }
}

/// Both ways, until one side ends it. While the link is cut a connection is accepted by nobody: it hangs.
async fn forward(near: TcpStream, to: SocketAddr, callers: Callers, mut sky: Sky, mut dice: Dice) {
    if let (Callers::Asked, Ok(ends)) = (callers, near.peer_addr().and_then(|peer| Ok((peer, near.local_addr()?)))) {
        sky.caller = tokio::task::spawn_blocking(move || caller::of(ends)).await.ok().flatten();
    }
    if !sky.is_open().await {
        return;
    }
    let Ok(far) = TcpStream::connect(to).await else { return };
    if near.set_nodelay(true).and(far.set_nodelay(true)).is_err() {
        return;
    }
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let there = one_way(near_in, far_out, sky.clone(), dice.split());
    let back = one_way(far_in, near_out, sky, dice);
    tokio::join!(there, back);
}

/// Every piece is due some time after it came, in order.
async fn one_way(mut from: OwnedReadHalf, to: OwnedWriteHalf, sky: Sky, mut dice: Dice) {
    let (due, pieces) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    let reading = async {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(size @ 1..) = from.read(&mut piece).await {
            let now = sky.now();
            let stall = if dice.below(1_000) < now.lost { AGAIN_AFTER + now.delay } else { Duration::ZERO };
            if due.send((Instant::now() + now.delay + stall, piece[..size].to_vec())).await.is_err() {
                break;
            }
        }
        drop(due);
    };
    tokio::join!(reading, write(to, pieces, sky.clone()));
}

async fn write(mut to: OwnedWriteHalf, mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>, mut sky: Sky) {
    while let Some((due, piece)) = pieces.recv().await {
        tokio::time::sleep_until(due).await;
        if !sky.is_open().await || to.write_all(&piece).await.is_err() {
            return;
        }
    }
    // The end goes through no cut either.
    if sky.is_open().await {
        let _ = to.shutdown().await;
    }
}

/// Each sender has a socket of its own on the far side, so that answers find back.
async fn forward_datagrams(near: Arc<UdpSocket>, to: SocketAddr, names: Senders, sky: Sky, mut dice: Dice) {
    let mut senders: HashMap<SocketAddr, (Arc<UdpSocket>, Sky)> = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut datagram = vec![0; DATAGRAM_BYTES];
    loop {
        let (size, sender) = tokio::select! {
            received = near.recv_from(&mut datagram) => match received {
                Ok(received) => received,
                // That nobody listened where the last one went is no news.
                Err(_) => continue,
            },
            Some(_) = tasks.join_next() => continue,
        };
        if !senders.contains_key(&sender) {
            if senders.len() >= SENDERS_MAX {
                continue;
            }
            let Ok(far) = UdpSocket::bind("127.0.0.1:0").await else { continue };
            let far = Arc::new(far);
            let sky = Sky { caller: names.get(&sender.port()).cloned(), ..sky.clone() };
            tasks.spawn(answer_datagrams(far.clone(), near.clone(), sender, sky.clone(), dice.split()));
            senders.insert(sender, (far, sky));
        }
        let Some((far, sky)) = senders.get(&sender).cloned() else { continue };
        if let Some(delay) = passes(sky.now(), &mut dice) {
            let datagram = datagram[..size].to_vec();
            tasks.spawn(async move {
                tokio::time::sleep(delay).await;
                let _ = far.send_to(&datagram, to).await;
            });
        }
    }
}

async fn answer_datagrams(far: Arc<UdpSocket>, near: Arc<UdpSocket>, to: SocketAddr, sky: Sky, mut dice: Dice) {
    let mut datagram = vec![0; DATAGRAM_BYTES];
    loop {
        let Ok(size) = far.recv(&mut datagram).await else { continue };
        if let Some(delay) = passes(sky.now(), &mut dice) {
            tokio::time::sleep(delay).await;
            let _ = near.send_to(&datagram[..size], to).await;
        }
    }
}

/// After how long; `None`: it is lost.
fn passes(weather: Weather, dice: &mut Dice) -> Option<Duration> {
    (!weather.is_cut && dice.below(1_000) >= weather.lost).then_some(weather.delay)
}

#[cfg(test)]
mod tests;
