//! Holds a session with Thuban: its instance lives while this process's connection does, and nothing is to be renewed.
//! After a lost connection the session is resumed by its token, on any node, within its grace.
//!
//!     cargo run -p gateway --example provider -- http://127.0.0.1:7801 orders a 10.0.0.7 8080

use std::time::Duration;

use schemas::thuban::v1::register_outcome::Outcome;
use schemas::thuban::v1::registry_client::RegistryClient;
use schemas::thuban::v1::session_reply::Reply;
use schemas::thuban::v1::session_request::Request;
use schemas::thuban::v1::{Goodbye, Lease, Open, RegisterItem, RegisterRequest, SessionReply, SessionRequest, lease};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the session is resumed with.
type Token = Option<Vec<u8>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [node, service, id, host, port] = &arguments[..] else {
        return Err("usage: provider http://HOST:PORT SERVICE ID HOST PORT".into());
    };
    let channel = Endpoint::from_shared(node.clone())?
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
    let mut token = None;
    loop {
        match hold(RegistryClient::new(channel.clone()), &item, &mut token).await {
            Ok(()) => {
                println!("deregistered {service}/{id}");
                return Ok(());
            }
            Err(failure) => println!("{failure}; connecting again"),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Opens or resumes the session, registers, and stays until the stream ends. `Ok`: this process was told to stop, and
/// the server has taken its goodbye.
async fn hold(mut client: RegistryClient<Channel>, item: &RegisterItem, token: &mut Token) -> Result<(), Failure> {
    let (requests, outgoing) = mpsc::channel(16);
    let open = Open { token: token.clone(), client: "rust example".to_owned(), ..Open::default() };
    requests.send(request(1, Request::Open(open))).await?;
    let mut replies = client.session(ReceiverStream::new(outgoing)).await?.into_inner();
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    loop {
        let reply = tokio::select! {
            reply = replies.message() => reply?.ok_or("the node ended the stream")?,
            _ = interrupted.recv() => { goodbye(&requests).await?; continue }
            _ = terminated.recv() => { goodbye(&requests).await?; continue }
        };
        match take(reply, token)? {
            Next::Register => {
                let register = RegisterRequest { items: vec![item.clone()], ..RegisterRequest::default() };
                requests.send(request(2, Request::Register(register))).await?;
            }
            Next::Stay => {}
            Next::Done => return Ok(()),
        }
    }
}

enum Next {
    Register,
    Stay,
    Done,
}

fn take(reply: SessionReply, token: &mut Token) -> Result<Next, Failure> {
    match reply.reply {
        Some(Reply::Opened(opened)) => {
            println!("session epoch {} resumed {}", opened.epoch, opened.resumed);
            *token = Some(opened.token);
            // Said again after a resume it changes nothing; after a lost session it registers again.
            Ok(Next::Register)
        }
        Some(Reply::Registered(registered)) => {
            match registered.items.into_iter().next().and_then(|item| item.outcome) {
                Some(Outcome::Instance(instance)) => {
                    println!("registered {}/{} generation {}", instance.service, instance.id, instance.generation);
                    Ok(Next::Stay)
                }
                Some(Outcome::Problem(problem)) => Err(format!("{}: {}", problem.code, problem.detail).into()),
                None => Err("an outcome without content".into()),
            }
        }
        Some(Reply::Goodbye(_)) => Ok(Next::Done),
        Some(Reply::Move(_)) => Err("the node asked us to move".into()),
        Some(Reply::Problem(problem)) => Err(format!("{}: {}", problem.code, problem.detail).into()),
        _ => Ok(Next::Stay),
    }
}

fn request(request_id: u64, request: Request) -> SessionRequest {
    SessionRequest { request_id, request: Some(request) }
}

async fn goodbye(requests: &mpsc::Sender<SessionRequest>) -> Result<(), Failure> {
    Ok(requests.send(request(3, Request::Goodbye(Goodbye { deregister: true }))).await?)
}
