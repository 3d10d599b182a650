//! Holds a session with Thuban: its instance lives while this process's connection does, and nothing is to be renewed.
//! After a lost connection the session is resumed by its token, on any node, within its grace.
//!
//!     cargo run -p gateway --example provider -- http://127.0.0.1:7801 orders a 10.0.0.7 8080

use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::time::Duration;

use schemas::thuban::v1::register_outcome::Outcome;
use schemas::thuban::v1::registry_client::RegistryClient;
use schemas::thuban::v1::session_reply::Reply;
use schemas::thuban::v1::session_request::Request;
use schemas::thuban::v1::{
    Goodbye, Lease, Move, Open, RegisterItem, RegisterReply, RegisterRequest, SessionRequest, lease,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Resolves when the node that we are on wants us gone, if ever.
type Moving = Pin<Box<dyn Future<Output = ()>>>;

/// How long a node may take over our goodbye. Behind it the grace ends what we had registered.
const GOODBYE_WITHIN: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [node, service, id, host, port] = &arguments[..] else {
        return Err("usage: provider http://HOST:PORT SERVICE ID HOST PORT".into());
    };
    let channel = Endpoint::from_shared(node.clone())?
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .connect_lazy();
    let item = RegisterItem {
        namespace: "default".to_owned(),
        service: service.clone(),
        id: id.clone(),
        host: host.clone(),
        port: Some(port.parse()?),
        metadata: [("language".to_owned(), "rust".to_owned())].into(),
        lease: Some(Lease { kind: lease::Kind::Stream as i32, ..Lease::default() }),
        ..RegisterItem::default()
    };
    let stop = told_to_stop()?;
    let mut provider = Provider { client: RegistryClient::new(channel), item, token: None, failures: 0 };
    loop {
        let held = tokio::select! {
            held = provider.hold(&stop) => held,
            () = late(&stop) => Err("the node does not answer".into()),
        };
        match held {
            Ok(()) => {
                println!("deregistered {service}/{id}");
                return Ok(());
            }
            Err(failure) if stop.is_cancelled() => {
                println!("{failure}; the node removes {service}/{id} when its grace is over");
                return Ok(());
            }
            Err(failure) => println!("{failure}; connecting again"),
        }
        tokio::select! {
            () = tokio::time::sleep(pause(provider.failures)) => {}
            () = stop.cancelled() => {} // connects once more, to say goodbye
        }
        provider.failures += 1;
    }
}

/// Cancelled by Ctrl-C or SIGTERM, whatever this process is at just then.
fn told_to_stop() -> Result<CancellationToken, Failure> {
    let (mut interrupted, mut terminated) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
        told.cancel();
    });
    Ok(stop)
}

async fn late(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(GOODBYE_WITHIN).await;
}

/// Grows with each failure and is never in step with other clients: each hasher of the library has keys of its own.
fn pause(failures: u32) -> Duration {
    let longest = Duration::from_millis(100 << failures.min(5)).min(Duration::from_secs(2));
    longest.mul_f64(0.5 + (RandomState::new().hash_one(failures) % 1_000) as f64 / 2_000.0)
}

struct Provider {
    client: RegistryClient<Channel>,
    item: RegisterItem,
    /// What the session is resumed with.
    token: Option<Vec<u8>>,
    failures: u32,
}

impl Provider {
    /// Opens or resumes the session, registers, and stays until the stream ends. `Ok`: this process was told to stop,
    /// and the node has taken its goodbye.
    async fn hold(&mut self, stop: &CancellationToken) -> Result<(), Failure> {
        let (requests, outgoing) = mpsc::channel(16);
        let open = Open { token: self.token.clone(), client: "rust example".to_owned(), ..Open::default() };
        requests.send(request(1, Request::Open(open))).await?;
        let mut replies = self.client.session(ReceiverStream::new(outgoing)).await?.into_inner();
        let mut leaving = false;
        let mut moving: Moving = Box::pin(std::future::pending());
        loop {
            let reply = tokio::select! {
                reply = replies.message() => reply?.ok_or("the node ended the stream")?,
                () = stop.cancelled(), if !leaving => {
                    leaving = true;
                    requests.send(request(3, Request::Goodbye(Goodbye { deregister: true }))).await?;
                    continue;
                }
                () = &mut moving => return Err("the node asked us to move".into()),
            };
            match reply.reply {
                Some(Reply::Opened(opened)) => {
                    println!("session epoch {} resumed {}", opened.epoch, opened.resumed);
                    self.token = Some(opened.token);
                    if !leaving {
                        // Said again after a resume it changes nothing; after a lost session it registers again.
                        let register = RegisterRequest { items: vec![self.item.clone()], ..RegisterRequest::default() };
                        requests.send(request(2, Request::Register(register))).await?;
                    }
                }
                Some(Reply::Registered(registered)) => self.registered(registered)?,
                Some(Reply::Goodbye(_)) => return Ok(()),
                // It is about to stop: the session goes on at another node, with the same token.
                Some(Reply::Move(Move { after_ms })) => {
                    moving = Box::pin(tokio::time::sleep(Duration::from_millis(after_ms.into())));
                }
                Some(Reply::Problem(problem)) => return Err(format!("{}: {}", problem.code, problem.detail).into()),
                _ => {}
            }
        }
    }

    fn registered(&mut self, reply: RegisterReply) -> Result<(), Failure> {
        match reply.items.into_iter().next().and_then(|item| item.outcome) {
            Some(Outcome::Instance(instance)) => {
                println!("registered {}/{} generation {}", instance.service, instance.id, instance.generation);
                self.failures = 0;
                Ok(())
            }
            Some(Outcome::Problem(problem)) => Err(format!("{}: {}", problem.code, problem.detail).into()),
            None => Err("an outcome without content".into()),
        }
    }
}

fn request(request_id: u64, request: Request) -> SessionRequest {
    SessionRequest { request_id, request: Some(request) }
}
