//! A full disk, for real: a file system of a few megabytes in a mount namespace of its own, which goes away with the
//! test. The file of one of the two, store or log, is on it; everything else is not.

use std::io::Write;
use std::path::PathBuf;

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::caller::{Caller, instance};
use crate::process::{Ended, Home, Node, clean, until, within};

/// The log sets 8 MiB aside when it is opened.
const DISK: &str = "size=24m";

/// Mounts `$2`, says so, and keeps it mounted.
const SCRIPT: &str = "mount -t tmpfs -o \"$1\" none \"$2\" && echo mounted && exec sleep infinity";

/// Which of the two files is on the small disk.
#[derive(Clone, Copy)]
struct Which {
    option: &'static str,
    scheme: &'static str,
}

const LOG: Which = Which { option: "--log", scheme: "local" };
const STORE: Which = Which { option: "--store", scheme: "sqlite" };

struct Small {
    home: Home,
    disk: PathBuf,
    which: Which,
    /// Holds the namespace.
    holder: Child,
}

/// A file that takes what is free, as seen from outside of the namespace.
struct Ballast(PathBuf);

impl Small {
    /// `None`, and a loud line, where the kernel gives nobody a namespace; in CI that is a failure.
    async fn new(which: Which) -> Option<Self> {
        let home = Home::new();
        let disk = home.path().join("disk");
        std::fs::create_dir(&disk).expect("a directory");
        let mut command = clean(Command::new("unshare"));
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh", DISK]).arg(&disk);
        if let Ok(mut holder) = command.spawn() {
            let mut out = BufReader::new(holder.stdout.take().expect("piped")).lines();
            let said = within("a mount", out.next_line()).await.expect("UTF-8");
            if said.as_deref() == Some("mounted") {
                return Some(Self { home, disk, which, holder });
            }
        }
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no mount namespaces: full disks are not tested");
        // Past what the test harness swallows.
        let mut loud = std::io::stderr();
        let _ = writeln!(
            loud,
            "\n*** SKIPPED: no mount namespaces on this machine (unshare), full disks are not tested ***"
        );
        None
    }

    fn serve(&self) -> Command {
        let mut command = clean(Command::new("nsenter"));
        let holder = self.holder.id().expect("it runs").to_string();
        command.args(["--target", &holder, "--user", "--mount", "--preserve-credentials"]);
        command.arg(env!("CARGO_BIN_EXE_thuban")).arg("serve").arg("--data-dir").arg(self.home.folder());
        command.args(["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--log-format", "json"]);
        let Which { option, scheme } = self.which;
        command.args([option, &format!("{scheme}:{}/file.sqlite", self.disk.display())]);
        command
    }

    async fn start(&self) -> Node {
        Node::start(self.serve()).await
    }

    fn ballast(&self) -> Ballast {
        let inside = self.disk.strip_prefix("/").expect("an absolute path");
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id().expect("it runs")));
        Ballast(root.join(inside).join("ballast"))
    }

    /// A start on the full disk either succeeds or says what is missing, and loses nothing by it.
    async fn start_while_full(&self, acknowledged: &[u64]) {
        let mut child = self.serve().spawn().expect("the program runs");
        let mut out = BufReader::new(child.stdout.take().expect("piped")).lines();
        if within("a start", out.next_line()).await.expect("UTF-8").is_some() {
            child.start_kill().expect("it can be killed");
            within("its end", child.wait()).await.expect("its end");
        } else {
            let ended = Ended::of(within("its end", child.wait_with_output()).await.expect("its end"));
            assert_eq!(ended.code, Some(4), "{ended:?}");
            assert!(ended.err.contains("full") || ended.err.contains("no room"), "{ended:?}");
        }
        self.ballast().release();
        let node = self.start().await;
        has_all(&node, acknowledged).await;
        node.stop().await;
    }
}

impl Ballast {
    /// Takes what is free, to the last byte.
    fn fill(&self) {
        let mut file = std::fs::File::options().create(true).append(true).open(&self.0).expect("the small disk");
        for piece in [1 << 20, 4_096, 1] {
            while file.write_all(&vec![0; piece]).is_ok() {}
        }
    }

    fn release(&self) {
        std::fs::remove_file(&self.0).expect("the ballast");
    }
}

fn body(n: u64) -> Value {
    let bulk = "x".repeat(1_000);
    json!({"host": "h", "port": 1, "metadata": {"n": n.to_string(), "bulk": bulk}, "lease": {"kind": "permanent"}})
}

async fn register(caller: &mut Caller, n: u64, ack: &str) -> (u16, Value) {
    let path = format!("{}?ack={ack}", instance("orders", &n.to_string()));
    let answer = within("an answer", caller.call(Method::PUT, &path, Some(&body(n)))).await.expect("an answer");
    (answer.status.as_u16(), answer.body)
}

/// All that was acknowledged is there, as it was written.
async fn has_all(node: &Node, acknowledged: &[u64]) {
    let found = node.caller().await.get("/v1/namespaces/default/services/orders/instances").await.expect(200);
    let items = found["items"].as_array().expect("items");
    for n in acknowledged {
        let name = n.to_string();
        assert!(
            items.iter().any(|item| item["id"] == *name && item["metadata"]["n"] == *name),
            "{n} was acknowledged and is not there"
        );
    }
}

#[tokio::test]
async fn a_full_disk_under_the_log_refuses_writes_until_there_is_room() {
    let Some(small) = Small::new(LOG).await else { return };
    let node = small.start().await;
    let ballast = small.ballast();
    let mut caller = node.caller().await;
    let mut acknowledged = Vec::new();
    for n in 0..20 {
        assert_eq!(register(&mut caller, n, "log").await.0, 201);
        acknowledged.push(n);
    }
    ballast.fill();
    let mut n = 20;
    let refusal = until("a refusal", async || {
        n += 1;
        let (status, body) = register(&mut caller, n, "log").await;
        if status == 201 {
            acknowledged.push(n);
        }
        (status != 201).then_some((status, body))
    })
    .await;
    assert!([503, 504].contains(&refusal.0), "{refusal:?}");
    assert!(refusal.1["code"].is_string() && refusal.1["detail"].is_string(), "{refusal:?}");
    has_all(&node, &acknowledged).await;
    until("the node's own word of it", async || {
        let status = node.caller().await.get("/v1/status").await.expect(200);
        (!status["log"]["away_ms"].is_null()).then_some(())
    })
    .await;
    ballast.release();
    until("room again", async || {
        n += 1;
        let (status, _) = register(&mut caller, n, "log").await;
        if status == 201 {
            acknowledged.push(n);
        }
        (status == 201).then_some(())
    })
    .await;
    has_all(&node, &acknowledged).await;
    until("a log that is there", async || {
        let status = node.caller().await.get("/v1/status").await.expect(200);
        status["log"]["away_ms"].is_null().then_some(())
    })
    .await;
    ballast.fill();
    while register(&mut caller, n + 1, "log").await.0 == 201 {
        n += 1;
        acknowledged.push(n);
    }
    assert!(node.kill().await.contains("full"), "it did not say why");
    small.start_while_full(&acknowledged).await;
}

#[tokio::test]
async fn a_full_disk_under_the_store_delays_landing_and_nothing_else() {
    let Some(small) = Small::new(STORE).await else { return };
    let node = small.start().await;
    let ballast = small.ballast();
    let mut caller = node.caller().await;
    assert_eq!(register(&mut caller, 0, "store").await.0, 201);
    ballast.fill();
    let mut acknowledged = vec![0];
    let mut n = 0;
    until("the store's refusal", async || {
        n += 1;
        assert_eq!(register(&mut caller, n, "log").await.0, 201, "the log has room");
        acknowledged.push(n);
        let status = node.caller().await.get("/v1/status").await.expect(200);
        status["store"]["error"].is_string().then_some(())
    })
    .await;
    n += 1;
    let (status, answer) = register(&mut caller, n, "store").await;
    assert_eq!((status, &answer["ack"]), (202, &json!("log")), "it said that it had landed: {answer}");
    acknowledged.push(n);
    has_all(&node, &acknowledged).await;
    ballast.release();
    until("all has landed", async || {
        let store = node.caller().await.get("/v1/status").await.expect(200)["store"].clone();
        (store["error"].is_null() && store["unlanded"] == 0).then_some(())
    })
    .await;
    n += 1;
    assert_eq!(register(&mut caller, n, "store").await.0, 201);
    acknowledged.push(n);
    ballast.fill();
    for _ in 0..200 {
        n += 1;
        assert_eq!(register(&mut caller, n, "log").await.0, 201, "the log has room");
        acknowledged.push(n);
    }
    assert!(node.kill().await.contains("no room for"), "it did not say why");
    small.start_while_full(&acknowledged).await;
}
