//! Driving a load and taking its time.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::process::Server;

/// Latencies in microseconds, from a microsecond to a minute, to three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds that a histogram can have")
}

#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl Latency {
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let ms = |us: u64| us as f64 / 1000.0;
        Self {
            p50_ms: ms(histogram.value_at_quantile(0.5)),
            p99_ms: ms(histogram.value_at_quantile(0.99)),
            p999_ms: ms(histogram.value_at_quantile(0.999)),
            max_ms: ms(histogram.max()),
        }
    }
}

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    pub operations: u64,
    pub seconds: f64,
    /// Wall clock.
    pub per_second: f64,
    /// Operations per CPU second of the server; 0, as the next, where its process is not known.
    pub per_cpu_second: f64,
    pub cpu_us_each: f64,
    pub latency: Latency,
}

/// How load arrives.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// Each client sends its next request when the last one was answered.
    Closed,
    /// So many a second in all, whatever the answers do; latency counts from when a request was meant to be sent.
    Open { per_second: f64 },
}

/// One client's time: when its next operation is meant to begin, and what the last took.
pub struct Timer {
    pace: Pace,
    next: Instant,
    step: Duration,
    pub histogram: Histogram<u64>,
}

impl Timer {
    /// For client `index` of `clients`.
    pub fn new(pace: Pace, start: Instant, index: usize, clients: usize) -> Self {
        let step = match pace {
            Pace::Closed => Duration::ZERO,
            Pace::Open { per_second } => Duration::from_secs_f64(clients as f64 / per_second),
        };
        let next = start + step.mul_f64(index as f64 / clients as f64);
        Self { pace, next, step, histogram: histogram() }
    }

    /// Waits until the next operation is due; the time from which it counts.
    pub async fn begin(&mut self) -> Instant {
        match self.pace {
            Pace::Closed => Instant::now(),
            Pace::Open { .. } => {
                let meant = self.next;
                self.next += self.step;
                if meant > Instant::now() {
                    tokio::time::sleep_until(meant.into()).await;
                }
                meant
            }
        }
    }

    pub fn end(&mut self, begun: Instant) {
        self.histogram.saturating_record(begun.elapsed().as_micros() as u64);
    }
}

/// Runs `clients` clients at once for `span` after `warm_up`, and takes the server's CPU over just that span.
pub async fn run<C, F>(
    server: &Server,
    clients: usize,
    pace: Pace,
    warm_up: Duration,
    span: Duration,
    client: C,
) -> Result<Run>
where
    C: Fn(usize, Timer, Instant) -> F,
    F: Future<Output = Result<Timer>> + Send + 'static,
{
    let cold = Instant::now();
    drive(clients, pace, cold, cold + warm_up, &client).await?;
    let (before, start) = (server.cpu()?, Instant::now());
    let histogram = drive(clients, pace, start, start + span, &client).await?;
    let elapsed = start.elapsed();
    let cpu = server.cpu()?.zip(before).map(|(after, before)| after - before);
    let operations = histogram.len();
    Ok(Run {
        operations,
        seconds: elapsed.as_secs_f64(),
        per_second: operations as f64 / elapsed.as_secs_f64(),
        per_cpu_second: cpu.map_or(0.0, |cpu| operations as f64 / cpu.as_secs_f64().max(0.001)),
        cpu_us_each: cpu.map_or(0.0, |cpu| cpu.as_secs_f64() * 1e6 / operations.max(1) as f64),
        latency: Latency::of(&histogram),
    })
}

async fn drive<C, F>(clients: usize, pace: Pace, start: Instant, end: Instant, client: &C) -> Result<Histogram<u64>>
where
    C: Fn(usize, Timer, Instant) -> F,
    F: Future<Output = Result<Timer>> + Send + 'static,
{
    let tasks: Vec<_> =
        (0..clients).map(|index| tokio::spawn(client(index, Timer::new(pace, start, index, clients), end))).collect();
    let mut all = histogram();
    for task in tasks {
        all.add(&task.await??.histogram)?;
    }
    Ok(all)
}
