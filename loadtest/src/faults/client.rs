//! Honest clients, each a task: an attempt ends after a sixth of the TTL, the next one goes to the load balancer again,
//! which gives it to the next node; who is told that it is unknown registers again.

pub mod direct;
pub mod provider;
pub mod reader;
pub mod session;
pub mod stream;
pub mod watcher;
pub mod writer;

use std::time::Duration;

use serde_json::Value;

use super::truth::Revision;
use crate::http::{Connection, request};

/// What providers register with. The contract's bounds follow from it.
pub const TTL: Duration = Duration::from_secs(6);
pub const REMOVE_AFTER: Duration = Duration::from_secs(8);
/// How long an attempt may take.
pub const ATTEMPT: Duration = Duration::from_secs(1);
/// Before the next attempt, behind one that failed.
pub const AGAIN: Duration = Duration::from_millis(200);

/// One HTTP client: a connection that is opened anew behind each failure.
pub struct Caller {
    address: String,
    connection: Option<Connection>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// `X-Thuban-Revision`.
    pub revision: Option<Revision>,
    pub etag: Option<String>,
    pub date: Option<String>,
    /// Null where there is none.
    pub body: Value,
}

impl Answer {
    pub fn text(&self, key: &str) -> &str {
        self.body[key].as_str().unwrap_or_default()
    }

    pub fn revision_of(&self, key: &str) -> Option<Revision> {
        self.body[key].as_str().and_then(|text| text.parse().ok())
    }
}

impl Caller {
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned(), connection: None }
    }

    /// The error is for people: nothing is known of the outcome.
    pub async fn call(&mut self, method: &str, path: &str, body: &str, within: Duration) -> Result<Answer, String> {
        self.send(&request(method, path, body), within).await
    }

    /// GET unless the answer still is `etag`: 304 then, once `wait_ms` of the path are over.
    pub async fn call_unless(&mut self, path: &str, etag: &str, within: Duration) -> Result<Answer, String> {
        let wanted = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nif-none-match: {etag}\r\n\r\n");
        self.send(wanted.as_bytes(), within).await
    }

    async fn send(&mut self, wanted: &[u8], within: Duration) -> Result<Answer, String> {
        // Given back only behind a whole answer.
        let connection = self.connection.take();
        let called = async {
            let mut connection = match connection {
                Some(connection) => connection,
                None => Connection::open(&self.address).await?,
            };
            let answer = connection.call(wanted).await?;
            let header = |name: &str| header(answer.head, name);
            let answer = Answer {
                status: answer.status,
                revision: header("x-thuban-revision").and_then(|text| text.parse().ok()),
                etag: header("etag"),
                date: header("date"),
                body: serde_json::from_slice(answer.body).unwrap_or(Value::Null),
            };
            anyhow::Ok((answer, connection))
        };
        match tokio::time::timeout(within, called).await {
            Ok(Ok((answer, connection))) => {
                // What stands between answers an error of its own and closes.
                self.connection = (answer.status < 500).then_some(connection);
                Ok(answer)
            }
            Ok(Err(error)) => Err(format!("{error:#}")),
            Err(_) => Err(format!("no answer within {} ms", within.as_millis())),
        }
    }
}

fn header(head: &[u8], wanted: &str) -> Option<String> {
    let text = std::str::from_utf8(head).ok()?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim().to_owned())
}
