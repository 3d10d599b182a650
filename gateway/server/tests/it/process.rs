//! A real `thuban` process.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use compute::port::Clock;
use compute::port::clock::SystemClock;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;

use crate::caller::Caller;

/// Generous: the machine may be busy with a build.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) static CLOCK: LazyLock<Arc<SystemClock>> = LazyLock::new(SystemClock::new);

/// What `work` comes to, within the deadline.
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// Asks again and again until there is an answer.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            CLOCK.sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// The program, without what the caller's shell would have it do.
pub(crate) fn thuban() -> Command {
    clean(Command::new(env!("CARGO_BIN_EXE_thuban")))
}

pub(crate) fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("THUBAN_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs the program to its end.
pub(crate) async fn run(arguments: &[&str]) -> Ended {
    let output = within("a command", thuban().args(arguments).output()).await.expect("the program runs");
    Ended::of(output)
}

#[derive(Debug)]
pub(crate) struct Ended {
    /// `None`: a signal.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// It ended with this code, and said all of `words` on standard error.
    pub(crate) fn with(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not in {}", self.err);
        }
        self
    }
}

/// Where a node lives; goes away with its last user.
#[derive(Clone)]
pub(crate) struct Home(Arc<TempDir>);

impl Home {
    pub(crate) fn new() -> Self {
        Self(Arc::new(tempfile::tempdir().expect("a directory")))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.path().join("node")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// `serve` on ports that the machine picks.
    pub(crate) fn serve(&self) -> Command {
        self.serve_at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub(crate) fn serve_at(&self, http: SocketAddr) -> Command {
        let mut command = thuban();
        command.arg("serve").arg("--data-dir").arg(self.folder());
        command.args(["--http", &http.to_string(), "--grpc", "127.0.0.1:0", "--log-format", "json"]);
        // So that no node complains of a machine that lets a process have few open files.
        command.env("THUBAN_CONNECTIONS_MAX", "1000");
        command
    }

    pub(crate) async fn start(&self) -> Node {
        Node::start(self.serve()).await
    }

    /// A start that must fail.
    pub(crate) async fn start_fails(&self) -> Ended {
        let output = within("a start that fails", self.serve().output()).await.expect("the program runs");
        Ended::of(output)
    }
}

/// A node that said it is ready.
pub(crate) struct Node {
    child: Child,
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    out: Lines<BufReader<ChildStdout>>,
    log: Log,
    reading: JoinHandle<()>,
}

/// What it has said on standard error so far.
type Log = Arc<Mutex<String>>;

impl Node {
    pub(crate) async fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the program runs");
        let log = Log::default();
        // A test may have sent it elsewhere.
        let (stderr, heard) = (child.stderr.take(), Arc::clone(&log));
        let reading = tokio::spawn(async move {
            if let Some(stderr) = stderr {
                all(stderr, heard).await;
            }
        });
        let mut out = BufReader::new(child.stdout.take().expect("piped")).lines();
        let line = within("the ready line", out.next_line()).await.expect("UTF-8");
        let Some(line) = line else {
            reading.await.expect("its log");
            panic!("the node ended before it was ready: {}", said(&log));
        };
        let words: Vec<&str> = line.split(' ').collect();
        let address = |word: &str, name: &str| word.strip_prefix(name).and_then(|address| address.parse().ok());
        let [http, grpc] = match words[..] {
            ["ready", http, grpc] => [address(http, "http="), address(grpc, "grpc=")],
            _ => [None, None],
        };
        let (Some(http), Some(grpc)) = (http, grpc) else { panic!("not a ready line: {line}") };
        Self { child, http, grpc, out, log, reading }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    pub(crate) fn log(&self) -> String {
        said(&self.log)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Until so many reads wait and streams are open.
    pub(crate) async fn has_waiting(&self, count: usize) {
        let line = format!("thuban_in_flight{{limit=\"waiting reads and streams\"}} {count}");
        until("those who wait", async || {
            let metrics = self.caller().await.get("/metrics").await;
            metrics.body.as_str()?.lines().any(|shown| shown == line).then_some(())
        })
        .await;
    }

    pub(crate) async fn caller(&self) -> Caller {
        Caller::connect(self.http).await.expect("the node accepts")
    }

    /// As `kill -9`: it has no chance to do anything.
    pub(crate) async fn kill(mut self) -> String {
        self.child.start_kill().expect("it can be killed");
        within("a killed process", self.child.wait()).await.expect("its end");
        self.reading.await.expect("its log");
        said(&self.log)
    }

    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().await.expect("kill runs");
        assert!(sent.success(), "kill {name} {pid}");
    }

    /// Whatever more it says on standard output, and how it ended.
    pub(crate) async fn ended(mut self) -> Ended {
        let status = within("its end", self.child.wait()).await.expect("its end");
        let mut out = String::new();
        while let Some(line) = self.out.next_line().await.expect("UTF-8") {
            out.push_str(&line);
        }
        self.reading.await.expect("its log");
        Ended { code: status.code(), out, err: said(&self.log) }
    }

    /// Asks it to stop; it must do so well, and have said nothing on its way but log lines that alarm nobody.
    pub(crate) async fn stop(self) -> Ended {
        self.signal("-TERM").await;
        let ended = self.ended().await.with(0, &[]);
        assert_eq!(ended.out, "", "only the ready line belongs on standard output");
        for line in ended.err.lines() {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            assert!(["INFO", "DEBUG"].contains(&entry["level"].as_str().expect("a level")), "{line}");
        }
        ended
    }
}

fn said(log: &Log) -> String {
    log.lock().expect("nobody panics with it").clone()
}

async fn all(from: impl AsyncRead + Unpin, log: Log) {
    let mut lines = BufReader::new(from).lines();
    while let Some(line) = lines.next_line().await.expect("UTF-8") {
        let mut log = log.lock().expect("nobody panics with it");
        log.push_str(&line);
        log.push('\n');
    }
}
