//! Measures the embedded log: how long an append takes until it is durable, until a reader has it, and what it costs.
//!
//! `cargo run --release -p cache-sync --example append_latency [DIRECTORY [SECONDS]]`

use std::path::PathBuf;
use std::sync::Arc;

use cache_sync::local::{Choice, Config, LocalLog};
use compute::model::{
    Author, Base, Change, Frame, InstanceKey, NodeIncarnation, Op, Origin, Position, Provider, ProviderSpec,
};
use compute::port::clock::SystemClock;
use compute::port::{ChangeLog, Clock};
use compute::testing::SeededChance;
use hdrhistogram::Histogram;

type Failure = Box<dyn std::error::Error + Send + Sync>;

struct Bench {
    log: Arc<LocalLog>,
    clock: Arc<SystemClock>,
    seconds: u64,
}

/// What one load did.
struct Measured {
    latency_us: Histogram<u64>,
    frames: u64,
    changes: u64,
    took_us: u64,
    cpu_ms: u64,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let directory = tempfile::tempdir_in(directory)?;
    let clock = SystemClock::new();
    let chance = SeededChance::new(clock.wall_ms());
    let config = Config::at(directory.path().join("log.db"));
    let choice = Choice::OpenOrCreate { generation: 1, chance: &*chance };
    let opened_us = clock.mono_us();
    let log = LocalLog::open(&config, choice, clock.clone()).await?;
    println!("opened in {:.1} ms, {} s a line", (clock.mono_us() - opened_us) as f64 / 1e3, seconds);
    println!(
        "{:<34} {:>8} {:>8} {:>8} {:>8} {:>9} {:>10} {:>9}",
        "load", "p50 us", "p99 us", "p99.9", "max", "frames/s", "changes/s", "us CPU/ch"
    );
    let bench = Bench { log, clock, seconds };
    bench.show("100 frames/s of 1 change", bench.paced(10_000, 1).await?);
    bench.show("1,000 frames/s of 1 change", bench.paced(1_000, 1).await?);
    bench.show("  the same, until it is read", bench.read_back(1_000).await?);
    for changes in [1, 10, 100, 500] {
        bench.show(&format!("1 writer, frames of {changes}"), bench.flat_out(1, changes).await?);
    }
    bench.show("64 writers, frames of 1", bench.flat_out(64, 1).await?);
    bench.show("4 writers, frames of 100", bench.flat_out(4, 100).await?);
    let kept = bench.log.bounds().await?;
    bench.show_trim(kept.last).await?;
    bench.log.close().await;
    Ok(())
}

impl Bench {
    /// One append each `every_us`, whether the one before was slow or not: latency counts from when it was due.
    async fn paced(&self, every_us: u64, changes: usize) -> Result<Measured, Failure> {
        self.measured(async |latency| {
            let (began, mut frames) = (self.clock.mono_us(), 0);
            while self.clock.mono_us() - began < self.seconds * 1_000_000 {
                let due = began + frames * every_us;
                while self.clock.mono_us() < due {
                    self.clock.sleep_until(due.div_ceil(1_000)).await;
                }
                self.log.append(self.frame(changes, frames).await?).await?;
                latency.record(self.clock.mono_us() - due.max(began))?;
                frames += 1;
            }
            Ok((frames, frames * changes as u64))
        })
        .await
    }

    /// As [`Bench::paced`], and the latency is that of a reader that waits.
    async fn read_back(&self, every_us: u64) -> Result<Measured, Failure> {
        let mut after = self.log.bounds().await?.last;
        self.measured(async |latency| {
            let (began, mut frames) = (self.clock.mono_us(), 0);
            while self.clock.mono_us() - began < self.seconds * 1_000_000 {
                let due = began + frames * every_us;
                while self.clock.mono_us() < due {
                    self.clock.sleep_until(due.div_ceil(1_000)).await;
                }
                let frame = self.frame(1, frames).await?;
                let (read, appended) = tokio::join!(self.log.read(after, 1), self.log.append(frame));
                latency.record(self.clock.mono_us() - due)?;
                after = appended?;
                assert_eq!(read?[0].position, after, "another frame was read than written");
                frames += 1;
            }
            Ok((frames, frames))
        })
        .await
    }

    /// As fast as it goes, each writer waiting for its own append.
    async fn flat_out(&self, writers: u64, changes: usize) -> Result<Measured, Failure> {
        self.measured(async |latency| {
            let began = self.clock.mono_us();
            let one = async |writer: u64| -> Result<(Histogram<u64>, u64), Failure> {
                let (mut own, mut frames) = (Histogram::new(3)?, 0);
                let frame = self.frame(changes, writer).await?;
                while self.clock.mono_us() - began < self.seconds * 1_000_000 {
                    let started = self.clock.mono_us();
                    self.log.append(Arc::clone(&frame)).await?;
                    own.record(self.clock.mono_us() - started)?;
                    frames += 1;
                }
                Ok((own, frames))
            };
            let mut frames = 0;
            for done in futures::future::try_join_all((0..writers).map(one)).await? {
                latency.add(done.0)?;
                frames += done.1;
            }
            Ok((frames, frames * changes as u64))
        })
        .await
    }

    async fn measured(
        &self,
        load: impl AsyncFnOnce(&mut Histogram<u64>) -> Result<(u64, u64), Failure>,
    ) -> Result<Measured, Failure> {
        let mut latency_us = Histogram::new(3)?;
        let (began_us, began_cpu_ms) = (self.clock.mono_us(), cpu_ms()?);
        let (frames, changes) = load(&mut latency_us).await?;
        let (took_us, cpu_ms) = (self.clock.mono_us() - began_us, cpu_ms()? - began_cpu_ms);
        Ok(Measured { latency_us, frames, changes, took_us, cpu_ms })
    }

    fn show(&self, load: &str, measured: Measured) {
        let at = |quantile| measured.latency_us.value_at_quantile(quantile);
        let per_second = |count: u64| count as f64 * 1e6 / measured.took_us as f64;
        println!(
            "{load:<34} {:>8} {:>8} {:>8} {:>8} {:>9.0} {:>10.0} {:>9.2}",
            at(0.5),
            at(0.99),
            at(0.999),
            measured.latency_us.max(),
            per_second(measured.frames),
            per_second(measured.changes),
            measured.cpu_ms as f64 * 1e3 / measured.changes as f64,
        );
    }

    /// How appends fare while everything is trimmed.
    async fn show_trim(&self, upto: Position) -> Result<(), Failure> {
        let began_us = self.clock.mono_us();
        let trim = async {
            self.log.trim(upto).await?;
            Ok::<_, Failure>(self.clock.mono_us() - began_us)
        };
        let (took_us, measured) = tokio::join!(trim, self.flat_out(1, 10));
        println!("{} frames were trimmed in {:.0} ms beside this:", upto.offset(), took_us? as f64 / 1e3);
        self.show("1 writer, frames of 10", measured?);
        Ok(())
    }

    async fn frame(&self, changes: usize, seed: u64) -> Result<Arc<Frame>, Failure> {
        let mut spec = ProviderSpec::at("10.0.0.7", 8080);
        spec.metadata = ["team", "stage", "commit", "started", "owner"]
            .map(|key| (key.to_owned(), format!("{key}-of-this-instance")))
            .into();
        let provider = Provider::new(&spec)?;
        let change = |place: u64| -> Result<Change, Failure> {
            Ok(Change {
                origin: Origin { node: NodeIncarnation(1), counter: seed * 1_000 + place },
                author: Author::new("anonymous", "http"),
                op: Op::Register {
                    instance: InstanceKey::new("default", "orders", &format!("10.0.{}.{place}:8080", seed % 256))?,
                    provider: Box::new(provider.clone()),
                    base: Base::Absent(Position::ZERO),
                    epoch: None,
                },
            })
        };
        let identity = self.log.bounds().await?.identity;
        let changes = (0..changes as u64).map(change).collect::<Result<_, _>>()?;
        Ok(Arc::new(Frame { identity, writer: NodeIncarnation(1), time_ms: self.clock.wall_ms(), changes }))
    }
}

/// CPU time of this process, user and system; 100 ticks a second on every Linux.
fn cpu_ms() -> Result<u64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let behind_name = stat.rsplit(')').next().ok_or("no fields in /proc/self/stat")?;
    let fields: Vec<&str> = behind_name.split_whitespace().collect();
    let ticks =
        |nth: usize| fields.get(nth).ok_or("too few fields in /proc/self/stat")?.parse::<u64>().map_err(Failure::from);
    Ok((ticks(11)? + ticks(12)?) * 10)
}
