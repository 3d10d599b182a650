//! etcd v3 by gRPC: an instance is a key below its service, with JSON, on a lease of its connection; changes by a watch
//! of the prefix.
//!
//! What costs the server least: one lease a connection, granted before, and not one an instance; reads `serializable`,
//! which the node answers by itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use self::api::event::Kind;
use self::api::kv_client::KvClient;
use self::api::lease_client::LeaseClient;
use self::api::watch_client::WatchClient;
use self::api::watch_request::Request;
use self::api::{
    DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, WatchCreateRequest, WatchRequest, WatchResponse,
};
use super::{Client, Instance, Subscription};

#[allow(clippy::all, clippy::large_futures, clippy::too_many_lines, missing_docs, rustdoc::all, unreachable_pub)]
mod api {
    tonic::include_proto!("etcdserverpb");
}

/// So long that nothing lapses during a run, in seconds.
const TTL_S: i64 = 86_400;
/// Far more than any list of a comparison.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

pub struct Etcd {
    client: KvClient<Channel>,
    lease: i64,
}

/// The value of a key: what the key does not say.
#[derive(Serialize, Deserialize)]
struct Value {
    host: String,
    port: u16,
    metadata: BTreeMap<String, String>,
}

async fn channel(address: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
    endpoint.connect().await.with_context(|| format!("connect to {address}"))
}

fn key(service: &str, id: &str) -> Vec<u8> {
    format!("/services/{service}/{id}").into_bytes()
}

/// All keys below a service: from the prefix up to it with its last byte one higher.
fn below(service: &str) -> (Vec<u8>, Vec<u8>) {
    (key(service, ""), format!("/services/{service}0").into_bytes())
}

fn put(instance: &Instance, lease: i64) -> PutRequest {
    let Instance { host, port, metadata, .. } = instance.clone();
    let value = serde_json::to_vec(&Value { host, port, metadata }).unwrap_or_default();
    PutRequest { key: key(&instance.service, &instance.id()), value, lease }
}

impl Etcd {
    pub async fn open(address: &str) -> Result<Self> {
        let channel = channel(address).await?;
        let granted = LeaseClient::new(channel.clone()).lease_grant(LeaseGrantRequest { ttl: TTL_S }).await?;
        let client = KvClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { client, lease: granted.into_inner().id })
    }

    async fn range(&mut self, service: &str) -> Result<Vec<api::KeyValue>> {
        let (key, range_end) = below(service);
        let asked = RangeRequest { key, range_end, serializable: true };
        Ok(self.client.range(asked).await?.into_inner().kvs)
    }
}

#[async_trait]
impl Client for Etcd {
    async fn register(&mut self, instance: &Instance) -> Result<()> {
        self.client.put(put(instance, self.lease)).await?;
        Ok(())
    }

    async fn deregister(&mut self, instance: &Instance) -> Result<()> {
        let asked = DeleteRangeRequest { key: key(&instance.service, &instance.id()) };
        let deleted = self.client.delete_range(asked).await?.into_inner().deleted;
        ensure!(deleted == 1, "{deleted} keys were deleted");
        Ok(())
    }

    async fn read(&mut self, service: &str) -> Result<usize> {
        Ok(self.range(service).await?.len())
    }

    async fn discover(&mut self, service: &str) -> Result<BTreeSet<Instance>> {
        let one = |kv: api::KeyValue| {
            let Value { host, port, metadata } = serde_json::from_slice(&kv.value)?;
            Ok(Instance { service: service.to_owned(), host, port, metadata })
        };
        self.range(service).await?.into_iter().map(one).collect()
    }

    async fn pipeline(
        &mut self,
        window: usize,
        next: &mut (dyn FnMut() -> Option<Instance> + Send),
        done: &mut (dyn FnMut(Instant) + Send),
    ) -> Result<()> {
        let (mut calls, mut sent) = (FuturesUnordered::new(), VecDeque::with_capacity(window));
        loop {
            while sent.len() < window
                && let Some(instance) = next()
            {
                let (mut client, asked) = (self.client.clone(), put(&instance, self.lease));
                calls.push(async move { client.put(asked).await });
                sent.push_back(Instant::now());
            }
            let Some(answer) = calls.next().await else { return Ok(()) };
            answer?;
            // The load is even, so the oldest stands for all.
            sent.pop_front().into_iter().for_each(&mut *done);
        }
    }
}

/// What is known is what was there when the watch began, and every event since.
pub struct Watch {
    events: Streaming<WatchResponse>,
    /// The stream ends with it.
    _requests: mpsc::Sender<WatchRequest>,
    prefix: Vec<u8>,
    known: BTreeSet<String>,
}

impl Watch {
    pub async fn open(address: &str, service: &str) -> Result<Self> {
        let (requests, outgoing) = mpsc::channel(1);
        let (prefix, range_end) = below(service);
        let create = WatchCreateRequest { key: prefix.clone(), range_end };
        requests.send(WatchRequest { request: Some(Request::CreateRequest(create)) }).await?;
        let channel = channel(address).await?;
        let mut events = WatchClient::new(channel.clone()).watch(ReceiverStream::new(outgoing)).await?.into_inner();
        let first = events.message().await?.context("the stream goes on")?;
        ensure!(first.created && !first.canceled, "the watch was refused");
        // Behind the creation: what changes meanwhile is told, and being told twice harms nobody.
        let mut reader = Etcd { client: KvClient::new(channel), lease: 0 };
        let known = reader.discover(service).await?.iter().map(Instance::id).collect();
        Ok(Self { events, _requests: requests, prefix, known })
    }
}

#[async_trait]
impl Subscription for Watch {
    async fn next(&mut self) -> Result<&BTreeSet<String>> {
        let told = self.events.message().await?.context("the stream goes on")?;
        ensure!(!told.canceled, "the watch was canceled");
        for event in told.events {
            let is_put = event.r#type() == Kind::Put;
            let kv = event.kv.context("an event has a key")?;
            let id = kv.key.strip_prefix(&self.prefix[..]).context("a key below the prefix")?;
            let id = String::from_utf8(id.to_vec())?;
            if is_put {
                self.known.insert(id)
            } else {
                self.known.remove(&id)
            };
        }
        Ok(&self.known)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::compare::sample;

    #[test]
    fn a_register_is_a_put_on_a_lease() {
        let mut instance = sample();
        instance.metadata = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let value = r#"{"host":"10.0.0.7","port":8080,"metadata":{"a":"b"}}"#;
        let key = "/services/orders/10.0.0.7:8080";
        let wanted = [
            &[0x0a, key.len() as u8][..],
            key.as_bytes(),
            &[0x12, value.len() as u8],
            value.as_bytes(),
            // Field 3, 300 as a varint.
            &[0x18, 0xac, 0x02],
        ];
        assert_eq!(put(&instance, 300).encode_to_vec(), wanted.concat());
    }

    #[test]
    fn a_prefix_ends_where_another_service_begins() {
        let (from, to) = below("orders");
        assert_eq!(from, b"/services/orders/");
        let inside = |key: &[u8]| from.as_slice() <= key && key < to.as_slice();
        assert!(inside(b"/services/orders/10.0.0.7:8080"));
        assert!(!inside(b"/services/orders-2/10.0.0.7:8080") && !inside(b"/services/orders2/x"));
    }

    #[test]
    fn events_are_read_where_etcd_writes_them() {
        // created = true is field 3; an event of field 11 has type 1 (DELETE) and a key.
        let bytes = [0x18, 0x01, 0x5a, 0x07, 0x08, 0x01, 0x12, 0x03, 0x0a, 0x01, b'k'];
        let told = WatchResponse::decode(&bytes[..]).expect("a message");
        assert!(told.created && !told.canceled);
        assert_eq!(told.events[0].r#type(), Kind::Delete);
        assert_eq!(told.events[0].kv.as_ref().map(|kv| kv.key.as_slice()), Some(&b"k"[..]));
    }
}
