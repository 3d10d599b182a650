//! A read on another connection right after a register was acknowledged.

use anyhow::Result;
use serde::Serialize;

use super::{Plan, provider};
use crate::scenario::unused;
use crate::target::Target;

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct OwnReads {
    pub reads: usize,
    /// They did not find what was acknowledged.
    pub missed: usize,
}

pub(super) async fn own_reads(plan: &Plan, target: &Target) -> Result<OwnReads> {
    let (mut writer, mut reader) = (target.connect().await?, target.connect().await?);
    let run = unused();
    let mut missed = 0;
    for number in 0..plan.own_reads {
        let service = format!("own-{run}-{number}");
        let instance = provider(&service, number);
        writer.register(&instance).await?;
        let shown = reader.discover(&service).await?;
        missed += usize::from(!shown.contains(&instance));
    }
    Ok(OwnReads { reads: plan.own_reads, missed })
}
