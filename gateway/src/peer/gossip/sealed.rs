//! Datagrams that carry a tag of the cluster secret. Chitchat believes what it reads, so it must read nothing else.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable, Serializable};
use compute::port::Clock;
use hmac::Mac;
use tokio::net::UdpSocket;

use super::Secret;
use crate::peer::refused::Refused;
use crate::peer::secret::Key;

/// Largest datagram of UDP over IPv4.
const DATAGRAM_BYTES_MAX: usize = 65_507;
const TAG_BYTES: usize = 32;
/// After an error of the socket, which as a rule means that the kernel is out of memory.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Gives out its one socket.
pub(super) struct Sealed {
    socket: Mutex<Option<UdpSocket>>,
    key: Key,
    clock: Arc<dyn Clock>,
}

impl Sealed {
    pub(super) fn new(socket: UdpSocket, secret: &Secret, clock: Arc<dyn Clock>) -> Self {
        Self { socket: Mutex::new(Some(socket)), key: secret.key("thuban gossip v1"), clock }
    }
}

#[async_trait]
impl Transport for Sealed {
    async fn open(&self, _: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        let socket = socket.ok_or_else(|| anyhow::anyhow!("the socket is open already"))?;
        let received = vec![0; DATAGRAM_BYTES_MAX + 1].into_boxed_slice();
        let (key, clock, refused) = (self.key.clone(), Arc::clone(&self.clock), Refused::default());
        Ok(Box::new(SealedSocket { socket, key, clock, sent: Vec::new(), received, refused }))
    }
}

struct SealedSocket {
    socket: UdpSocket,
    key: Key,
    clock: Arc<dyn Clock>,
    sent: Vec<u8>,
    received: Box<[u8]>,
    refused: Refused,
}

#[async_trait]
impl Socket for SealedSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        self.sent.clear();
        message.serialize(&mut self.sent);
        seal(&self.key, &mut self.sent);
        // Who is not there is no reason to end: the next round is sent all the same.
        if let Err(error) = self.socket.send_to(&self.sent, to).await {
            metrics::counter!("thuban_gossip_send_failures_total").increment(1);
            tracing::debug!(%to, %error, "a word of gossip could not be sent");
        }
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            let (length, from) = match self.socket.recv_from(&mut self.received).await {
                Ok(received) => received,
                Err(error) => {
                    tracing::warn!(%error, "gossip could not be received");
                    tokio::time::sleep(ERROR_PAUSE).await;
                    continue;
                }
            };
            let opened = open(&self.key, &self.received[..length]);
            match opened.and_then(|mut payload| ChitchatMessage::deserialize(&mut payload).ok()) {
                Some(message) => return Ok((from, message)),
                None => self.refuse(from),
            }
        }
    }
}

impl SealedSocket {
    fn refuse(&self, from: SocketAddr) {
        metrics::counter!("thuban_gossip_refused_total").increment(1);
        if let Some(count) = self.refused.note(self.clock.mono_ms()) {
            tracing::warn!(%from, count, "gossip without the cluster secret was dropped");
        }
    }
}

/// Puts the tag behind what is in the buffer.
pub(super) fn seal(key: &Key, datagram: &mut Vec<u8>) {
    let mut mac = key.mac();
    mac.update(datagram);
    datagram.extend_from_slice(&mac.finalize().into_bytes());
}

/// What was sealed, if it was.
pub(super) fn open<'a>(key: &Key, datagram: &'a [u8]) -> Option<&'a [u8]> {
    let (payload, tag) = datagram.split_at_checked(datagram.len().checked_sub(TAG_BYTES)?)?;
    let mut mac = key.mac();
    mac.update(payload);
    mac.verify_slice(tag).is_ok().then_some(payload)
}
