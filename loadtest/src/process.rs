//! Server processes under test: started pinned to a core, watched through /proc, stopped by SIGTERM.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A server that is ready, on its own core.
pub struct Server {
    child: Child,
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
        match (address("http="), address("grpc=")) {
            (Some(http), Some(grpc)) => Ok(Self { child, http, grpc }),
            _ => {
                let _ = child.kill();
                bail!("{} did not get ready: {line:?}", program.display())
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of all its threads until now, user and system.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        // The name, in parentheses, may hold blanks; utime and stime are the 14th and 15th field.
        let rest = stat.rsplit_once(") ").context("a stat line")?.1;
        let ticks = rest.split(' ').skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        Ok(Duration::from_millis(ticks * 10))
    }

    pub fn rss_bytes(&self) -> Result<u64> {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.pid()))?;
        let pages = statm.split(' ').nth(1).context("a statm line")?.parse::<u64>()?;
        Ok(pages * 4096)
    }

    /// SIGTERM, and the time until it has ended.
    pub fn stop(mut self) -> Result<Duration> {
        let started = Instant::now();
        Command::new("kill").arg(self.pid().to_string()).status()?;
        while self.child.try_wait()?.is_none() {
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
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
