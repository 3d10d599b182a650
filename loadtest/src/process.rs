//! Server processes under test: started pinned to a core, watched through /proc, stopped by SIGTERM.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

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
