//! The task that owns the file: appends in groups, and reads, trims and checkpoints between them.

mod recover;

use std::sync::Arc;

use compute::model::{Entry, Frame, Position};
use compute::port::Clock;
use compute::port::change_log::{AppendError, LogReadError};
use tokio::sync::{mpsc, oneshot};

use super::Config;
use super::error::Fault;
use super::file::{GROUP_BYTES_MAX, GROUP_FRAMES_MAX, LogFile, Row};
use super::tail::{Shown, Trouble};

/// A frame to be written.
pub(super) struct Append {
    pub(super) frame: Arc<Frame>,
    pub(super) body: Vec<u8>,
    pub(super) checksum: u64,
    pub(super) reply: oneshot::Sender<Result<Position, AppendError>>,
}

/// Everything else that needs the file.
pub(super) enum Chore {
    Read { after: u64, max: usize, reply: oneshot::Sender<Result<Vec<Row>, LogReadError>> },
    Trim { upto: u64, reply: oneshot::Sender<Result<(), AppendError>> },
    Close,
}

pub(super) struct Writer {
    config: Config,
    shown: Arc<Shown>,
    appends: mpsc::Receiver<Append>,
    chores: mpsc::Receiver<Chore>,
    clock: Arc<dyn Clock>,
    /// Trims that are not done, each up to its number.
    trims: Vec<(u64, oneshot::Sender<Result<(), AppendError>>)>,
    /// There may be space to give back to the disk.
    is_shrinking: bool,
}

/// Why the writer stopped serving.
enum Ended {
    Closed,
    Failed(Fault),
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

impl Writer {
    pub(super) fn new(
        config: Config,
        shown: Arc<Shown>,
        appends: mpsc::Receiver<Append>,
        chores: mpsc::Receiver<Chore>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { config, shown, appends, chores, clock, trims: Vec::new(), is_shrinking: true }
    }

    pub(super) async fn run(mut self, mut file: LogFile) {
        loop {
            let Err(ended) = self.serve(&mut file).await;
            file = match ended {
                Ended::Closed => return self.finish(file).await,
                Ended::Failed(fault) => match self.recover(file, fault).await {
                    Some(file) => file,
                    None => return self.shown.set_trouble(Trouble::Closed),
                },
            }
        }
    }

    /// Works until it is told to close, or the file fails.
    async fn serve(&mut self, file: &mut LogFile) -> Result<std::convert::Infallible, Ended> {
        loop {
            tokio::select! {
                biased;
                append = self.appends.recv() => {
                    self.commit(file, append.ok_or(Ended::Closed)?).await?;
                    // Under a constant stream of appends, one piece of everything else after each.
                    if let Ok(chore) = self.chores.try_recv() {
                        self.chore(file, chore).await?;
                    }
                    self.keep_up(file).await?;
                }
                chore = self.chores.recv() => self.chore(file, chore.ok_or(Ended::Closed)?).await?,
                () = std::future::ready(()), if self.has_upkeep(file) => self.keep_up(file).await?,
            }
        }
    }

    /// Writes the first append and those that have come meanwhile in one transaction.
    async fn commit(&mut self, file: &mut LogFile, first: Append) -> Result<(), Fault> {
        let started_us = self.clock.mono_us();
        let mut group = Group::default();
        let mut next = self.shown.ends().last;
        let mut waiting = Some(first);
        while let Some(append) = waiting {
            next += 1;
            match self.shown.position(next) {
                Some(position) => group.add(position, append),
                None => {
                    let full = AppendError::Refused("the log has had as many frames as it can number".into());
                    answer(append.reply, Err(full));
                }
            }
            let has_room = group.rows.len() < GROUP_FRAMES_MAX && group.bytes < GROUP_BYTES_MAX;
            waiting = if has_room { self.appends.try_recv().ok() } else { None };
        }
        let Group { rows, entries, replies, .. } = group;
        metrics::histogram!("thuban_log_commit_frames").record(rows.len() as f64);
        if let Err(fault) = file.append(rows).await {
            return self.failed(file, fault, replies).await;
        }
        metrics::histogram!("thuban_log_commit_seconds").record((self.clock.mono_us() - started_us) as f64 / 1e6);
        let positions: Vec<Position> = entries.iter().map(|(entry, _)| entry.position).collect();
        self.shown.push(entries);
        for (reply, position) in replies.into_iter().zip(positions) {
            answer(reply, Ok(position));
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) async fn commit_next(&mut self, file: &mut LogFile) -> Result<(), Fault> {
        let first = self.appends.recv().await.expect("the test has sent one");
        self.commit(file, first).await
    }

    /// Answers the appends of a commit that failed, and passes the fault on if it is one of the file.
    async fn failed(&self, file: &mut LogFile, fault: Fault, replies: Vec<Reply>) -> Result<(), Fault> {
        let is_full = matches!(fault, Fault::Full(_));
        // SQLite undoes what it has no space for; the file is asked all the same before anyone is told so.
        if is_full && file.ends().await.is_ok_and(|ends| ends.last == self.shown.ends().last) {
            let why = self.no_space(&fault);
            tracing::error!(path = %self.config.path.display(), error = why, "the change log refuses appends");
            replies.into_iter().for_each(|reply| answer(reply, Err(AppendError::Refused(why.clone()))));
            return Ok(());
        }
        replies.into_iter().for_each(|reply| answer(reply, Err(AppendError::Unknown(fault.why().into()))));
        Err(fault)
    }

    fn no_space(&self, fault: &Fault) -> String {
        let path = self.config.path.display();
        match self.config.file_bytes_max {
            Some(most) => {
                format!("{path} is as large as it may be, {most} bytes, or its disk is full: {}", fault.why())
            }
            None => format!("the disk of {path} is full: {}", fault.why()),
        }
    }

    async fn chore(&mut self, file: &mut LogFile, chore: Chore) -> Result<(), Ended> {
        match chore {
            Chore::Close => return Err(Ended::Closed),
            Chore::Read { after, max, reply } => {
                let ends = self.shown.ends();
                if after < ends.trimmed {
                    let trimmed = self.shown.position(ends.trimmed).unwrap_or(Position::ZERO);
                    let _ = reply.send(Err(LogReadError::Trimmed { trimmed }));
                    return Ok(());
                }
                match file.read(after, max).await {
                    // Nobody hears the answer to a read that was dropped.
                    Ok(rows) => drop(reply.send(Ok(rows))),
                    Err(Fault::Corrupt(why)) => drop(reply.send(Err(LogReadError::Unusable(self.damaged(&why))))),
                    Err(fault) => {
                        let _ = reply.send(Err(LogReadError::Away(fault.why().into())));
                        return Err(fault.into());
                    }
                }
            }
            Chore::Trim { upto, reply } => {
                let ends = self.shown.ends();
                let upto = upto.min(ends.last.saturating_sub(1));
                if upto <= ends.trimmed {
                    let _ = reply.send(Ok(()));
                } else {
                    self.trims.push((upto, reply));
                }
            }
        }
        Ok(())
    }

    fn has_upkeep(&self, file: &LogFile) -> bool {
        file.is_checkpoint_due() || !self.trims.is_empty() || self.is_shrinking
    }

    /// One small piece of what keeps the file in shape.
    async fn keep_up(&mut self, file: &mut LogFile) -> Result<(), Ended> {
        if file.is_checkpoint_due() {
            let started_us = self.clock.mono_us();
            let done = file.checkpoint().await;
            metrics::histogram!("thuban_log_checkpoint_seconds")
                .record((self.clock.mono_us() - started_us) as f64 / 1e6);
            return self.tolerate_full(done);
        }
        if let Some(upto) = self.trims.iter().map(|(upto, _)| *upto).max() {
            return self.trim(file, upto).await;
        }
        if self.is_shrinking {
            let shrunk = file.shrink_some().await;
            self.is_shrinking = matches!(shrunk, Ok(true));
            return self.tolerate_full(shrunk.map(|_| ()));
        }
        Ok(())
    }

    async fn trim(&mut self, file: &mut LogFile, upto: u64) -> Result<(), Ended> {
        match file.trim_some(upto).await {
            Ok(trimmed) => {
                self.shown.set_trimmed(trimmed);
                self.is_shrinking = true;
                for (_, reply) in self.trims.extract_if(.., |(upto, _)| *upto <= trimmed) {
                    answer(reply, Ok(()));
                }
                Ok(())
            }
            Err(fault) if matches!(fault, Fault::Full(_)) => {
                let why = self.no_space(&fault);
                for (_, reply) in self.trims.drain(..) {
                    answer(reply, Err(AppendError::Refused(why.clone())));
                }
                Ok(())
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// A disk without space for tidying is said, and tried again when there is more to tidy.
    fn tolerate_full(&self, done: Result<(), Fault>) -> Result<(), Ended> {
        match done {
            Err(Fault::Full(why)) => {
                tracing::error!(path = %self.config.path.display(), error = why, "no space to tidy the change log");
                Ok(())
            }
            done => done.map_err(Ended::from),
        }
    }

    fn damaged(&self, why: &str) -> String {
        format!("{}: {why}", self.config.path.display())
    }

    /// Writes what was handed over before the close, and closes.
    async fn finish(mut self, mut file: LogFile) {
        self.appends.close();
        self.chores.close();
        while let Ok(append) = self.appends.try_recv() {
            if self.commit(&mut file, append).await.is_err() {
                break;
            }
        }
        if let Err(fault) = file.close().await {
            let path = self.config.path.display();
            tracing::warn!(%path, error = fault.why(), "the change log was not closed well");
        }
        self.shown.set_trouble(Trouble::Closed);
    }
}

type Reply = oneshot::Sender<Result<Position, AppendError>>;

/// Appends that share a commit.
#[derive(Default)]
struct Group {
    rows: Vec<Row>,
    entries: Vec<(Entry, usize)>,
    replies: Vec<Reply>,
    bytes: usize,
}

impl Group {
    fn add(&mut self, position: Position, append: Append) {
        let Append { frame, body, checksum, reply } = append;
        self.bytes += body.len();
        self.entries.push((Entry { position, frame, checksum }, body.len()));
        self.rows.push(Row { number: position.offset(), checksum, body });
        self.replies.push(reply);
    }
}

/// Whoever dropped the call does not hear the answer.
fn answer<T>(reply: oneshot::Sender<T>, answer: T) {
    let _ = reply.send(answer);
}
