//! A node whose data was thrown away, seen by those who followed it before.

use serde_json::json;

use crate::caller::instance;
use crate::process::{Home, Node, until, within};
use crate::stream::{Event, Opened, Stream};

const WATCH: &str = "/v1/namespaces/default/services/s/watch";

async fn register(node: &Node, ids: std::ops::Range<usize>) -> String {
    let body = json!({"host": "10.0.0.1", "port": 80, "lease": {"kind": "permanent"}});
    let mut caller = node.caller().await;
    for id in ids {
        caller.put(&instance("s", &id.to_string()), &body).await.expect(201);
    }
    let found = caller.get("/v1/namespaces/default/services/s/instances").await.expect(200);
    found["revision"].as_str().expect("a revision").to_owned()
}

/// The first two events of a watcher that comes back.
async fn told(node: &Node, last: &str) -> [Event; 2] {
    within("the first events", async {
        let Ok(Opened::Stream(mut stream)) = Stream::open(node.http, WATCH, Some(last)).await else {
            panic!("refused");
        };
        [stream.next().await.expect("an event"), stream.next().await.expect("another")]
    })
    .await
}

fn generation(revision: &str) -> &str {
    revision.split('.').next().expect("a first part")
}

#[tokio::test]
async fn who_followed_a_log_that_was_thrown_away_begins_anew() {
    let home = Home::new();
    let node = home.start().await;
    let old = register(&node, 0..20).await;
    node.kill().await;
    until("the folder to be free", async || std::fs::remove_dir_all(home.folder()).ok()).await;
    let node = home.start().await;
    let new = register(&node, 0..3).await;
    let [first, second] = told(&node, &old).await;
    assert_eq!([&*first.kind, &*second.kind], ["compacted", "snapshot"]);
    assert_eq!((second.id.as_deref(), second.body["items"].as_array().map(Vec::len)), (Some(&*new), Some(3)));
    // The new log passes what the watcher has of the old one.
    let new = register(&node, 3..40).await;
    // Of 95 logs one has the generation of that before: nothing tells the two apart.
    if generation(&old) != generation(&new) {
        let [first, second] = told(&node, &old).await;
        assert_eq!([&*first.kind, &*second.kind], ["compacted", "snapshot"]);
        assert_eq!(second.body["items"].as_array().map(Vec::len), Some(40));
    }
    node.stop().await;
}
