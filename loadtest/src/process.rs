//! Server processes under test: started pinned to a core, watched through /proc, stopped by SIGTERM.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a server of others may take until it listens.
const LISTENS_WITHIN: Duration = Duration::from_secs(60);

/// How a server is started that says nothing of ours when it is ready.
#[derive(Clone, Debug)]
pub struct Foreign {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub variables: Vec<(&'static str, String)>,
    /// Where it will listen; the same where it has one port.
    pub http: String,
    pub grpc: String,
}

/// A server that is ready.
pub struct Server {
    /// `None`: it was running before, and goes on running.
    child: Option<Child>,
    pid: Option<u32>,
    pub http: String,
    pub grpc: String,
}

impl Server {
    /// Starts `program` on `core` and waits for its line `ready http=ADDR grpc=ADDR`.
    pub fn start(program: &Path, arguments: &[&str], core: usize) -> Result<Self> {
        let mut child = Command::new("taskset")
            .args(["-c", &core.to_string()])
            .arg(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("start {}; taskset is part of util-linux", program.display()))?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = |key: &str| line.split_whitespace().find_map(|word| word.strip_prefix(key)).map(str::to_owned);
        let (http, grpc, pid) = (address("http="), address("grpc="), Some(child.id()));
        match (http, grpc) {
            (Some(http), Some(grpc)) => Ok(Self { child: Some(child), pid, http, grpc }),
            _ => {
                let _ = child.kill();
                bail!("{} did not get ready: {line:?}", program.display())
            }
        }
    }

    /// Starts what `how` says on `core`, in `directory`, where its words go to `said.log`; comes back when it listens. It
    /// ends with this process, whatever ends that.
    pub fn foreign(how: Foreign, directory: &Path, core: usize) -> Result<Self> {
        let log = directory.join("said.log");
        let (words, errors) = (File::create(&log)?, File::options().append(true).open(&log)?);
        let name = how.program.display().to_string();
        let child = Command::new("taskset")
            .args(["-c", &core.to_string(), "setpriv", "--pdeathsig", "KILL"])
            .arg(how.program)
            .args(how.arguments)
            .envs(how.variables)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(words)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("start {name}; taskset and setpriv are part of util-linux"))?;
        let pid = Some(child.id());
        let mut server = Self { child: Some(child), pid, http: how.http, grpc: how.grpc };
        let deadline = Instant::now() + LISTENS_WITHIN;
        while [&server.http, &server.grpc].iter().any(|address| TcpStream::connect(address).is_err()) {
            let ended = server.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() || Instant::now() > deadline {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                let last: Vec<_> = said.lines().rev().take(5).collect();
                bail!("{name} does not listen ({ended:?}); it said last: {}", last.join(" | "));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// One that runs already. Without its process id nothing is known of its CPU time.
    pub fn running(http: String, grpc: String, pid: Option<u32>) -> Self {
        Self { child: None, pid, http, grpc }
    }

    /// CPU time of all its threads until now, user and system; `None` of a process that is not known.
    pub fn cpu(&self) -> Result<Option<Duration>> {
        self.pid.map(cpu_of).transpose()
    }

    pub fn rss_bytes(&self) -> Result<u64> {
        let pid = self.pid.context("the process id of the server")?;
        let statm = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
        let pages = statm.split(' ').nth(1).context("a statm line")?.parse::<u64>()?;
        Ok(pages * 4096)
    }

    /// Open file descriptors, connections among them.
    pub fn descriptors(&self) -> Result<usize> {
        let pid = self.pid.context("the process id of the server")?;
        Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
    }

    pub fn is_known(&self) -> bool {
        self.pid.is_some()
    }

    /// SIGTERM, and the time until it has ended. One that ran before is left alone.
    pub fn stop(mut self) -> Result<Duration> {
        let started = Instant::now();
        let Some(child) = &mut self.child else { return Ok(Duration::ZERO) };
        Command::new("kill").arg(child.id().to_string()).status()?;
        while child.try_wait()?.is_none() {
            if started.elapsed() > Duration::from_secs(60) {
                bail!("the server did not stop within 60 s");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(started.elapsed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// CPU time of all threads of a process until now, user and system.
pub fn cpu_of(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold blanks; utime and stime are the 14th and 15th field.
    let rest = stat.rsplit_once(") ").context("a stat line")?.1;
    let ticks = rest.split(' ').skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}
