//! From a name to a connection, over a vetted address.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;

use super::Miss;
use super::networks::{Networks, Vetted};
use super::resolve::Resolve;

/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
}

impl Target<'_> {
    /// The addresses that may be called; at least one.
    pub(super) async fn vet(&self, networks: &Networks, resolver: &dyn Resolve) -> Result<Vec<Vetted>, Miss> {
        if self.port == 0 {
            return Err(Miss::Failure("port 0 can't be called: give the check a port".to_owned()));
        }
        let addresses = match self.host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => resolver.resolve(self.host).await.map_err(Miss::Failure)?,
        };
        let mut vetted = Vec::new();
        let mut refused = None;
        for address in addresses {
            match networks.vet(address) {
                Ok(address) if vetted.contains(&address) => {}
                Ok(address) => vetted.push(address),
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        vetted.truncate(ADDRESSES_MAX);
        match refused {
            _ if !vetted.is_empty() => Ok(vetted),
            Some(why) => Err(Miss::Forbidden(why)),
            None => Err(Miss::Failure("the name has no address".to_owned())),
        }
    }

    /// A connection to the first of the addresses that takes one. Each has its share of the time.
    pub(super) async fn connect(&self, addresses: &[Vetted], timeout: Duration) -> Result<TcpStream, String> {
        let share = timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let mut last = "the name has no address".to_owned();
        for (place, address) in addresses.iter().enumerate() {
            let open = open(SocketAddr::new(address.address(), self.port));
            // The last one may take what is left of the whole probe.
            let opened =
                if place + 1 == addresses.len() { Ok(open.await) } else { tokio::time::timeout(share, open).await };
            last = match opened {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => words(&error),
                Err(_) => "no connection in time".to_owned(),
            };
        }
        Err(last)
    }

    /// `host:port`, as in a `Host` header.
    pub(super) fn authority(&self) -> String {
        let Self { host, port } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    if stream.local_addr()? == stream.peer_addr()? {
        // Among the ports that the system gives to clients, a connection may meet itself where nobody listens.
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// An error of a connection, in words.
pub(super) fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::BrokenPipe => "connection closed".to_owned(),
        io::ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        io::ErrorKind::TimedOut => "connection timed out".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
