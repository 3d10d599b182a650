//! A broker of the tests' own, on free ports of the loopback and in a directory of its own.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

/// Started by one of these lines on its standard input: whatever becomes of the test, the broker ends with it, and
/// what it wrote goes unless it is told to keep it. Says the broker's pid, and then what the broker says, until it ends.
const KEEPER: &str = r#"
trap : TERM INT HUP
: >"$OUT"
"$@" >>"$OUT" 2>&1 </dev/null &
broker=$!
echo $broker
tail -n +1 -f --pid=$broker "$OUT" &
read -r word
kill -9 $broker 2>/dev/null
wait $broker 2>/dev/null
[ "$word" = keep ] || rm -rf "$DIRECTORY"
"#;
/// What a broker says once it answers.
const STARTED: &str = "Kafka Server started";

const LOGGING: &str = concat!(
    r#"<Configuration><Appenders><Console name="C"><PatternLayout pattern="%d %p %c{1} %m%n"/></Console></Appenders>"#,
    r#"<Loggers><Root level="INFO"><AppenderRef ref="C"/></Root></Loggers></Configuration>"#,
);

/// How a broker is spoken to.
#[derive(Clone, Default)]
pub(crate) struct Way {
    /// `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT`, ...; nothing: the first.
    pub(crate) protocol: &'static str,
    /// What this way takes of the broker's settings.
    pub(crate) properties: Vec<String>,
    /// Whom the broker knows from its first day.
    pub(crate) users: Vec<String>,
}

pub(crate) struct Broker {
    pub(crate) address: String,
    directory: PathBuf,
    jars: PathBuf,
    running: Mutex<Option<Running>>,
}

struct Running {
    keeper: Child,
    pid: String,
}

/// The broker of all tests that leave it in peace: the one that `THUBAN_TEST_KAFKA` names, or one of our own. `None`:
/// this machine can't run one.
pub(crate) fn shared() -> Option<String> {
    static SHARED: OnceLock<Option<(String, Option<Arc<Broker>>)>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| match std::env::var("THUBAN_TEST_KAFKA") {
        Ok(address) => Some((address, None)),
        Err(_) => Broker::start().map(|broker| (broker.address.clone(), Some(broker))),
    });
    shared.as_ref().map(|(address, _)| address.clone())
}

impl Broker {
    /// One that may be killed. `None`, said loudly: this machine can't run one.
    pub(crate) fn start() -> Option<Arc<Self>> {
        Self::start_for(&Way { protocol: "PLAINTEXT", ..Way::default() })
    }

    pub(crate) fn start_for(way: &Way) -> Option<Arc<Self>> {
        let jars = jars()?;
        // Another process may take a port between the asking and the using.
        let mut broker = None;
        for _ in 0..5 {
            let made = Self::at(&jars, free_port(), free_port(), way);
            if made.run() {
                broker = Some(Arc::new(made));
                break;
            }
        }
        Some(broker.expect("a broker starts"))
    }

    fn at(jars: &Path, port: u16, control: u16, way: &Way) -> Self {
        let directory = tempfile::Builder::new().prefix("thuban-kafka-").tempdir().unwrap().keep();
        let (protocol, inner) = (way.protocol, free_port());
        // What the broker has to say to itself goes in clear.
        let listeners =
            format!("{protocol}://127.0.0.1:{port},INNER://127.0.0.1:{inner},CONTROLLER://127.0.0.1:{control}");
        let properties = [
            "process.roles=broker,controller".to_owned(),
            "node.id=1".into(),
            format!("log.dirs={}", directory.join("log").display()),
            "auto.create.topics.enable=false".into(),
            format!("listeners={listeners}"),
            format!("advertised.listeners={listeners}"),
            format!("controller.quorum.bootstrap.servers=127.0.0.1:{control}"),
            "controller.listener.names=CONTROLLER".into(),
            format!("listener.security.protocol.map={protocol}:{protocol},INNER:PLAINTEXT,CONTROLLER:PLAINTEXT"),
            "inter.broker.listener.name=INNER".into(),
            "default.replication.factor=1".into(),
            "min.insync.replicas=1".into(),
            "offsets.topic.replication.factor=1".into(),
            "offsets.topic.num.partitions=1".into(),
            "num.network.threads=2".into(),
            "num.io.threads=2".into(),
            "log.segment.bytes=67108864".into(),
            "log.cleaner.dedupe.buffer.size=16777216".into(),
            "broker.session.timeout.ms=1000".into(),
            "broker.heartbeat.interval.ms=250".into(),
        ];
        let properties = [&properties[..], &way.properties[..]].concat();
        fs::write(directory.join("server.properties"), properties.join("\n")).unwrap();
        fs::write(directory.join("log4j2.xml"), LOGGING).unwrap();
        let broker =
            Self { address: format!("127.0.0.1:{port}"), directory, jars: jars.to_owned(), running: Mutex::default() };
        let formatted = broker
            .java("-Xmx128m")
            .args(["kafka.tools.StorageTool", "format", "--standalone", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c"])
            .arg(broker.directory.join("server.properties"))
            .args(way.users.iter().flat_map(|user| ["--add-scram", user]))
            .output()
            .unwrap();
        assert!(formatted.status.success(), "{}", String::from_utf8_lossy(&formatted.stderr));
        broker
    }

    fn java(&self, memory: &str) -> Command {
        let mut java = Command::new("java");
        java.arg(memory).arg("-cp").arg(self.jars.join("*"));
        java
    }

    /// Starts it, again if it was killed; whether it is ready.
    pub(crate) fn run(&self) -> bool {
        let out = self.directory.join("out.log");
        let _ = fs::remove_file(&out);
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper", "java", "-Xms128m", "-Xmx384m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"])
            .arg(format!("-Dlog4j2.configurationFile={}", self.directory.join("log4j2.xml").display()))
            .arg("-cp")
            .arg(self.jars.join("*"))
            .arg("kafka.Kafka")
            .arg(self.directory.join("server.properties"))
            .env("OUT", &out)
            .env("DIRECTORY", &self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(keeper.stdout.take().unwrap()).lines().map_while(Result::ok);
        let pid = said.next().unwrap();
        // Ends without that line only when the broker does.
        let is_ready = said.any(|line| line.contains(STARTED));
        *self.running.lock().unwrap() = Some(Running { keeper, pid });
        if !is_ready {
            eprintln!("{}", fs::read_to_string(&out).unwrap_or_default());
            self.kill();
        }
        is_ready
    }

    /// kill -9; what it wrote stays.
    pub(crate) fn kill(&self) {
        if let Some(mut running) = self.running.lock().unwrap().take() {
            let mut stdin = running.keeper.stdin.take().unwrap();
            stdin.write_all(b"keep\n").unwrap();
            drop(stdin);
            running.keeper.wait().unwrap();
        }
    }

    /// SIGSTOP, SIGCONT.
    pub(crate) fn signal(&self, signal: &str) {
        let running = self.running.lock().unwrap();
        let pid = &running.as_ref().expect("it runs").pid;
        assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Where the broker's jars are; installs them.
fn jars() -> Option<PathBuf> {
    static JARS: OnceLock<Option<PathBuf>> = OnceLock::new();
    let jars = JARS.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let installed = Command::new(root.join(".ci/install")).arg("kafka").output().unwrap();
        if installed.status.success() {
            return Some(root.join(".tools/kafka/lib"));
        }
        let why = String::from_utf8_lossy(&installed.stderr).trim().to_owned();
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
        eprintln!("\n{why}\n");
        None
    });
    jars.clone()
}
