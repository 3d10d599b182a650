//! A real server for the tests: the one that `THUBAN_TEST_MARIADB` names, or a private mariadbd that ends with the test
//! process, however that ends.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process};

const START_MAX: Duration = Duration::from_secs(120);
const ATTEMPTS: usize = 5;
pub(crate) const USER: &str = "tester";
pub(crate) const PASSWORD: &str = "w0rd/@?%:";
/// The same, as an address has it.
const PASSWORD_ENCODED: &str = "w0rd%2F%40%3F%25%3A";

/// Starts the server anew for each line that it reads, and ends it and its folder when there are no more: that is when
/// the test process ends, and be it killed.
const KEEPER: &str = r#"
trap '' INT TERM HUP
folder=$1
shift
pid=
end() { if [ -n "$pid" ]; then kill -KILL "$pid"; wait "$pid"; fi; } 2>/dev/null
while read -r _; do
  end
  "$@" </dev/null 2>&1 &
  pid=$!
  echo "pid $pid"
done
end
rm -rf "$folder"
"#;

/// A private server.
pub(crate) struct Server {
    port: u16,
    keeper: Child,
    orders: Option<ChildStdin>,
    said: Mutex<Receiver<String>>,
    pid: Mutex<Option<Pid>>,
}

/// Says why nothing was tested, so that nobody overlooks it; in CI that is a failure.
pub(crate) fn skipped(why: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{why}");
    // Not eprintln: that is shown only when a test fails.
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {why} ***\n");
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

impl Server {
    /// `None`: this machine has none, and that was said. It offers no TLS.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&["--skip-ssl".to_owned()])
    }

    /// With these options of the server's own.
    pub(crate) fn start_with(options: &[String]) -> Option<Self> {
        let (Some(server), Some(install)) = (program("mariadbd"), program("mariadb-install-db")) else {
            skipped("no MariaDB on this machine: apt-get install mariadb-server, or .ci/install mariadb");
            return None;
        };
        // Not a TempDir: the keeper removes it, also when this process is killed.
        let folder = tempfile::Builder::new().prefix("thuban-mariadb-").tempdir().unwrap().keep();
        // A server that starts removes the temporary tables of all servers that share its folder for them.
        std::fs::create_dir(folder.join("tmp")).unwrap();
        let mut installing = Command::new(install);
        installing.env("TMPDIR", folder.join("tmp"));
        installing.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        installing.arg(format!("--datadir={}", folder.join("rows").display()));
        installing.args(as_root()).stdin(Stdio::null());
        let installed = installing.output().unwrap();
        assert!(
            installed.status.success(),
            "{}{}",
            String::from_utf8_lossy(&installed.stdout),
            String::from_utf8_lossy(&installed.stderr)
        );
        let user = format!(
            "CREATE USER IF NOT EXISTS {USER}@127.0.0.1 IDENTIFIED BY '{PASSWORD}';\n\
             GRANT ALL ON *.* TO {USER}@127.0.0.1 WITH GRANT OPTION;\n"
        );
        std::fs::write(folder.join("init.sql"), user).unwrap();
        for _ in 0..ATTEMPTS {
            // Somebody may take the port before the server does.
            let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
            let started = Self::kept(&server, &folder, port, options);
            if started.begin() {
                return Some(started);
            }
        }
        panic!("mariadbd did not start in {}", folder.display());
    }

    fn kept(server: &Path, folder: &Path, port: u16, options: &[String]) -> Self {
        let path = |name: &str| folder.join(name).display().to_string();
        let mut keeper = Command::new("sh")
            .env("TMPDIR", folder.join("tmp"))
            .args(["-c", KEEPER, "keeper"])
            .arg(folder)
            .arg(server)
            .args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-log-bin"])
            .args(["--performance-schema=OFF", "--innodb-buffer-pool-size=256M", "--innodb-log-file-size=256M"])
            .arg(format!("--port={port}"))
            .arg(format!("--datadir={}", path("rows")))
            .arg(format!("--socket={}", path("socket")))
            .arg(format!("--pid-file={}", path("pid")))
            .arg(format!("--init-file={}", path("init.sql")))
            .args(as_root())
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let orders = keeper.stdin.take();
        let lines = BufReader::new(keeper.stdout.take().unwrap()).lines();
        let (says, said) = channel();
        // Reads on when nobody listens: the server must not wait for that.
        thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(says.send(line))));
        Self { port, keeper, orders, said: Mutex::new(said), pid: Mutex::default() }
    }

    /// Starts it, again if it runs or has died; `false`: it did not come up.
    pub(crate) fn begin(&self) -> bool {
        let said = self.said.lock().unwrap();
        while said.try_recv().is_ok() {}
        self.orders.as_ref().unwrap().write_all(b"start\n").unwrap();
        loop {
            match said.recv_timeout(START_MAX) {
                Ok(line) if line.contains("ready for connections") => return true,
                Ok(line) if line.contains("Aborting") => return false,
                Ok(line) => {
                    if let Some(pid) = line.strip_prefix("pid ") {
                        *self.pid.lock().unwrap() = Pid::from_raw(pid.parse().unwrap());
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// As the machine's end would do it.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid.lock().unwrap().unwrap(), signal).unwrap();
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> String {
        address("127.0.0.1", self.port)
    }
}

/// Of no database yet.
pub(crate) fn address(host: &str, port: u16) -> String {
    format!("mysql://{USER}:{PASSWORD_ENCODED}@{host}:{port}/")
}

fn as_root() -> Option<&'static str> {
    geteuid().is_root().then_some("--user=root")
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.keeper.wait();
    }
}

/// The address of a server that all tests share.
pub(crate) fn shared() -> Option<&'static str> {
    static SHARED: OnceLock<Option<(String, Option<Server>)>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| match named("THUBAN_TEST_MARIADB") {
        Some(address) => Some((address, None)),
        None => Server::start().map(|server| (server.address(), Some(server))),
    });
    shared.as_ref().map(|(address, _)| address.as_str())
}

/// The address in a variable, up to where a database is named.
pub(crate) fn named(variable: &str) -> Option<String> {
    let address = std::env::var(variable).ok().filter(|address| !address.is_empty())?;
    let rest = address.strip_prefix("mysql://").unwrap_or_else(|| panic!("{variable} begins with mysql://"));
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    Some(format!("mysql://{authority}/"))
}
