//! ZooKeeper by its own protocol: an instance is an ephemeral node below its service; changes by a watch of the service's
//! children and a read of them after each, which sets it again.
//!
//! What costs the server least: all of an instance is in the name of its node, as Dubbo has it, so that one request reads
//! a service, not one more for each instance.

mod jute;

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use self::jute::{Answer, NO_NODE, NODE_EXISTS, WATCH_EVENT, child_name, parse_child, service_path};
use super::{Client, Instance, Subscription};

/// What is asked for; the server gives at most 20 of its ticks.
const SESSION_TIMEOUT_MS: i32 = 40_000;
const FRAME_BYTES_MAX: usize = 4 << 20;

/// A session on its connection. Its ephemeral nodes go with it.
struct Session {
    stream: TcpStream,
    buffer: Vec<u8>,
    xid: i32,
}

impl Session {
    async fn open(address: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.write_all(&jute::connect(SESSION_TIMEOUT_MS)).await?;
        let mut session = Self { stream, buffer: Vec::with_capacity(16 * 1024), xid: 0 };
        let frame = session.frame().await?;
        jute::connected(&frame)?;
        Ok(session)
    }

    /// The next whole frame.
    async fn frame(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some((head, rest)) = self.buffer.split_first_chunk::<4>() {
                let length = usize::try_from(i32::from_be_bytes(*head)).context("the length of a frame")?;
                ensure!(length <= FRAME_BYTES_MAX, "a frame of {length} bytes; at most {FRAME_BYTES_MAX} are read");
                if rest.len() >= length {
                    let frame = rest[..length].to_vec();
                    self.buffer.drain(..4 + length);
                    return Ok(frame);
                }
            }
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the server closed the connection");
        }
    }

    fn next_xid(&mut self) -> i32 {
        self.xid += 1;
        self.xid
    }

    /// The answer to `xid`, which is the next that is no event.
    async fn answer(&mut self, xid: i32) -> Result<Answer> {
        loop {
            let answer = Answer::parse(&self.frame().await?)?;
            if answer.xid != WATCH_EVENT {
                ensure!(answer.xid == xid, "request {xid} was answered as {}", answer.xid);
                return Ok(answer);
            }
        }
    }

    async fn create(&mut self, path: &str, is_ephemeral: bool) -> Result<i32> {
        let xid = self.next_xid();
        self.stream.write_all(&jute::create(xid, path, is_ephemeral)).await?;
        Ok(self.answer(xid).await?.error)
    }

    /// The nodes above a service, where they are not there.
    async fn make_service(&mut self, service: &str) -> Result<()> {
        for path in ["/services", &service_path(service)] {
            let error = self.create(path, false).await?;
            ensure!(matches!(error, 0 | NODE_EXISTS), "create {path}: {error}");
        }
        Ok(())
    }

    /// `None` of a service that nobody made.
    async fn children(&mut self, service: &str, watch: bool) -> Result<Option<Vec<String>>> {
        let xid = self.next_xid();
        self.stream.write_all(&jute::get_children(xid, &service_path(service), watch)).await?;
        let answer = self.answer(xid).await?;
        match answer.error {
            0 => Ok(Some(answer.names()?)),
            NO_NODE => Ok(None),
            error => bail!("get the children of {service}: {error}"),
        }
    }
}

pub struct ZooKeeper {
    session: Session,
}

impl ZooKeeper {
    pub async fn open(address: &str) -> Result<Self> {
        Ok(Self { session: Session::open(address).await? })
    }
}

#[async_trait]
impl Client for ZooKeeper {
    async fn register(&mut self, instance: &Instance) -> Result<()> {
        let path = format!("{}/{}", service_path(&instance.service), child_name(instance)?);
        let mut error = self.session.create(&path, true).await?;
        if error == NO_NODE {
            self.session.make_service(&instance.service).await?;
            error = self.session.create(&path, true).await?;
        }
        // There already: what a client does that says again who it is.
        ensure!(matches!(error, 0 | NODE_EXISTS), "create {path}: {error}");
        Ok(())
    }

    async fn deregister(&mut self, instance: &Instance) -> Result<()> {
        let path = format!("{}/{}", service_path(&instance.service), child_name(instance)?);
        let xid = self.session.next_xid();
        self.session.stream.write_all(&jute::delete(xid, &path)).await?;
        let error = self.session.answer(xid).await?.error;
        ensure!(error == 0, "delete {path}: {error}");
        Ok(())
    }

    async fn read(&mut self, service: &str) -> Result<usize> {
        Ok(self.session.children(service, false).await?.map_or(0, |names| names.len()))
    }

    async fn discover(&mut self, service: &str) -> Result<BTreeSet<Instance>> {
        let names = self.session.children(service, false).await?.unwrap_or_default();
        names.iter().map(|name| parse_child(service, name)).collect()
    }

    async fn pipeline(
        &mut self,
        window: usize,
        next: &mut (dyn FnMut() -> Option<Instance> + Send),
        done: &mut (dyn FnMut(Instant) + Send),
    ) -> Result<()> {
        let session = &mut self.session;
        let (mut sent, mut last_service) = (VecDeque::with_capacity(window), String::new());
        let error = session.create("/services", false).await?;
        ensure!(matches!(error, 0 | NODE_EXISTS), "create /services: {error}");
        loop {
            let mut requests = Vec::new();
            while sent.len() < window
                && let Some(instance) = next()
            {
                let service = service_path(&instance.service);
                if last_service != service {
                    // Answers come in order, so the service is there before its instances.
                    let xid = session.next_xid();
                    requests.extend(jute::create(xid, &service, false));
                    sent.push_back((xid, None));
                    last_service.clone_from(&service);
                }
                let xid = session.next_xid();
                requests.extend(jute::create(xid, &format!("{service}/{}", child_name(&instance)?), true));
                sent.push_back((xid, Some(Instant::now())));
            }
            session.stream.write_all(&requests).await?;
            let Some((xid, began)) = sent.pop_front() else { return Ok(()) };
            let error = session.answer(xid).await?.error;
            match began {
                Some(began) if error == 0 => done(began),
                None if matches!(error, 0 | NODE_EXISTS) => {}
                _ => bail!("create: {error}"),
            }
        }
    }
}

pub struct Watch {
    session: Session,
    service: String,
    known: BTreeSet<String>,
}

impl Watch {
    pub async fn open(address: &str, service: &str) -> Result<Self> {
        let mut session = Session::open(address).await?;
        session.make_service(service).await?;
        let mut watch = Self { session, service: service.to_owned(), known: BTreeSet::new() };
        watch.read_again().await?;
        Ok(watch)
    }

    /// An event that comes before the answer is about the watch before, which is set anew with it.
    async fn read_again(&mut self) -> Result<()> {
        let names = self.session.children(&self.service, true).await?.context("the service is there")?;
        let id = |name: &String| Ok(parse_child(&self.service, name)?.id());
        self.known = names.iter().map(id).collect::<Result<_>>()?;
        Ok(())
    }
}

#[async_trait]
impl Subscription for Watch {
    async fn next(&mut self) -> Result<&BTreeSet<String>> {
        loop {
            let answer = Answer::parse(&self.session.frame().await?)?;
            if answer.xid == WATCH_EVENT {
                break;
            }
        }
        self.read_again().await?;
        Ok(&self.known)
    }
}
