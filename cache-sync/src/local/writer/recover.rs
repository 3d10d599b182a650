//! After a failure of the file: opened anew, its end flushed and read again.

use std::time::Duration;

use compute::port::change_log::AppendError;

use super::{Append, Chore, Writer, answer};
use crate::local::Choice;
use crate::local::error::{Fault, OpenError};
use crate::local::file::LogFile;
use crate::local::tail::Trouble;

/// How long to wait before the file is opened anew, at first and at most.
const REOPEN_AFTER_MIN: Duration = Duration::from_millis(10);
const REOPEN_AFTER_MAX: Duration = Duration::from_secs(1);
const READ_ROWS: usize = 64;

impl Writer {
    /// Until the file is open again; `None`: it is to be closed.
    pub(in crate::local) async fn recover(&mut self, file: LogFile, fault: Fault) -> Option<LogFile> {
        let path = self.config.path.display().to_string();
        tracing::error!(path, error = fault.why(), "the change log failed; it is opened anew");
        metrics::counter!("thuban_log_failures_total").increment(1);
        let mut trouble = Trouble::Away(fault.why().into());
        for (_, reply) in self.trims.drain(..) {
            answer(reply, Err(AppendError::Unknown(fault.why().into())));
        }
        let identity = file.identity;
        // A file that failed may fail to close, too; its lock goes with it either way.
        let _ = file.close().await;
        let mut wait = REOPEN_AFTER_MIN;
        loop {
            self.shown.set_trouble(trouble.clone());
            self.refuse_for(wait, &trouble).await?;
            let error = match LogFile::open(&self.config, Choice::Existing(identity)).await {
                Ok(file) => match self.show_the_rest(file).await {
                    Ok(file) => {
                        tracing::info!(path, "the change log is open again");
                        self.is_shrinking = true;
                        self.shown.clear_trouble();
                        return Some(file);
                    }
                    Err(fault) => OpenError::of(&self.config.path, fault),
                },
                Err(error) => error,
            };
            tracing::error!(path, %error, "the change log is still away");
            trouble = match error {
                OpenError::InUse { .. } | OpenError::Full { .. } | OpenError::Io { .. } | OpenError::Missing { .. } => {
                    Trouble::Away(error.to_string().into())
                }
                _ => Trouble::Unusable(error.to_string().into()),
            };
            wait = (wait * 2).min(REOPEN_AFTER_MAX);
        }
    }

    /// Shows the frames whose fate was unknown and that are there. Opening has flushed them.
    async fn show_the_rest(&self, mut file: LogFile) -> Result<LogFile, Fault> {
        match self.read_the_rest(&mut file).await {
            Ok(()) => Ok(file),
            Err(fault) => {
                let _ = file.close().await;
                Err(fault)
            }
        }
    }

    async fn read_the_rest(&self, file: &mut LogFile) -> Result<(), Fault> {
        let (known, ends) = (self.shown.ends(), file.ends().await?);
        if ends.last < known.last {
            return Err(Fault::Corrupt(format!("it ended at frame {}, and now at {}", known.last, ends.last)));
        }
        let mut last = known.last;
        while last < ends.last {
            let mut entries = Vec::new();
            for row in file.read(last, READ_ROWS).await? {
                let entry = row.entry(file.identity, file.generation).map_err(Fault::Corrupt)?;
                last = row.number;
                entries.push((entry, row.body.len()));
            }
            if entries.is_empty() {
                return Err(Fault::Corrupt(format!("frame {} is missing", last + 1)));
            }
            self.shown.push(entries);
        }
        self.shown.set_trimmed(ends.trimmed);
        Ok(())
    }

    /// Answers everyone with the trouble for a while; `None`: the log is to be closed.
    async fn refuse_for(&mut self, wait: Duration, trouble: &Trouble) -> Option<()> {
        let clock = std::sync::Arc::clone(&self.clock);
        let mut over = clock.sleep(wait);
        let away = trouble.error();
        loop {
            tokio::select! {
                biased;
                () = &mut over => return Some(()),
                append = self.appends.recv() => {
                    let Append { reply, .. } = append?;
                    answer(reply, Err(AppendError::Refused(away.to_string())));
                }
                chore = self.chores.recv() => match chore? {
                    Chore::Close => return None,
                    Chore::Read { reply, .. } => answer(reply, Err(away.clone())),
                    Chore::Trim { reply, .. } => answer(reply, Err(AppendError::Refused(away.to_string()))),
                },
            }
        }
    }
}
