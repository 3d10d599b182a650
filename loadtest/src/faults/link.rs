//! Stands between the parts of a cluster: forwards TCP and UDP, and cuts, slows or loses on the way.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
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

/// One link, which forwards as long as it is held.
pub struct Link {
    weather: watch::Sender<Weather>,
    _tasks: JoinSet<()>,
}

impl Link {
    pub async fn tcp(listen: SocketAddr, to: SocketAddr, dice: Dice) -> Result<Self> {
        let listener = TcpListener::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
        let (weather, seen) = watch::channel(Weather::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, to, seen, dice));
        Ok(Self { weather, _tasks: tasks })
    }

    pub async fn udp(listen: SocketAddr, to: SocketAddr, dice: Dice) -> Result<Self> {
        let socket = UdpSocket::bind(listen).await.with_context(|| format!("listen on {listen} (UDP)"))?;
        let (weather, seen) = watch::channel(Weather::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(forward_datagrams(Arc::new(socket), to, seen, dice));
        Ok(Self { weather, _tasks: tasks })
    }

    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, weather: watch::Receiver<Weather>, mut dice: Dice) {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((near, _)) = accepted else { continue };
                streams.spawn(forward(near, to, weather.clone(), dice.split()));
            }
            Some(_) = streams.join_next() => {}
        }
    }
}

/// Both ways, until one side ends it. While the link is cut a connection is accepted by nobody: it hangs.
async fn forward(near: TcpStream, to: SocketAddr, mut weather: watch::Receiver<Weather>, mut dice: Dice) {
    if weather.wait_for(|weather| !weather.is_cut).await.is_err() {
        return;
    }
    let Ok(far) = TcpStream::connect(to).await else { return };
    if near.set_nodelay(true).and(far.set_nodelay(true)).is_err() {
        return;
    }
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let there = one_way(near_in, far_out, weather.clone(), dice.split());
    let back = one_way(far_in, near_out, weather, dice);
    tokio::join!(there, back);
}

/// Every piece is due some time after it came, in order.
async fn one_way(mut from: OwnedReadHalf, to: OwnedWriteHalf, weather: watch::Receiver<Weather>, mut dice: Dice) {
    let (due, pieces) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    let reading = async {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(size @ 1..) = from.read(&mut piece).await {
            let now = *weather.borrow();
            let stall = if dice.below(1_000) < now.lost { AGAIN_AFTER + now.delay } else { Duration::ZERO };
            if due.send((Instant::now() + now.delay + stall, piece[..size].to_vec())).await.is_err() {
                break;
            }
        }
        drop(due);
    };
    tokio::join!(reading, write(to, pieces, weather.clone()));
}

async fn write(
    mut to: OwnedWriteHalf,
    mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut weather: watch::Receiver<Weather>,
) {
    while let Some((due, piece)) = pieces.recv().await {
        tokio::time::sleep_until(due).await;
        let is_open = weather.wait_for(|weather| !weather.is_cut).await.is_ok();
        if !is_open || to.write_all(&piece).await.is_err() {
            return;
        }
    }
    // The end goes through no cut either.
    if weather.wait_for(|weather| !weather.is_cut).await.is_ok() {
        let _ = to.shutdown().await;
    }
}

/// Each sender has a socket of its own on the far side, so that answers find back.
async fn forward_datagrams(near: Arc<UdpSocket>, to: SocketAddr, weather: watch::Receiver<Weather>, mut dice: Dice) {
    let mut senders: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
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
            tasks.spawn(answer_datagrams(far.clone(), near.clone(), sender, weather.clone(), dice.split()));
            senders.insert(sender, far);
        }
        let Some(far) = senders.get(&sender).cloned() else { continue };
        let now = *weather.borrow();
        if let Some(delay) = passes(now, &mut dice) {
            let datagram = datagram[..size].to_vec();
            tasks.spawn(async move {
                tokio::time::sleep(delay).await;
                let _ = far.send_to(&datagram, to).await;
            });
        }
    }
}

async fn answer_datagrams(
    far: Arc<UdpSocket>,
    near: Arc<UdpSocket>,
    to: SocketAddr,
    weather: watch::Receiver<Weather>,
    mut dice: Dice,
) {
    let mut datagram = vec![0; DATAGRAM_BYTES];
    loop {
        let Ok(size) = far.recv(&mut datagram).await else { continue };
        let now = *weather.borrow();
        if let Some(delay) = passes(now, &mut dice) {
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
