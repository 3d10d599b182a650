//! Files that may change while the process runs: token files and certificates.
//!
//! The content is what is compared, not the time of the file: a change within one tick of the file system's clock, or
//! a swapped symbolic link, must not go unseen, and these files are small.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use compute::port::Clock;
use tokio::io::AsyncReadExt;

/// Largest file that is read.
pub(crate) const FILE_BYTES_MAX: u64 = 4 << 20;

/// The whole file, if it is not too large.
pub(crate) async fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = tokio::fs::File::open(path).await?;
    let mut content = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content).await?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(content)
}

/// Calls `take` with the contents of all files each time one has changed, and once when one can't be read any more.
/// Never ends.
pub(crate) async fn follow(
    paths: Vec<PathBuf>,
    mut seen: Vec<Vec<u8>>,
    clock: Arc<dyn Clock>,
    period: Duration,
    mut take: impl FnMut(Result<&[Vec<u8>], &io::Error>) + Send,
) {
    let mut failed = None;
    loop {
        clock.sleep(period).await;
        match read_all(&paths).await {
            Ok(contents) => {
                failed = None;
                if contents != seen {
                    take(Ok(&contents));
                    seen = contents;
                }
            }
            Err(error) => {
                if failed != Some(error.kind()) {
                    take(Err(&error));
                    failed = Some(error.kind());
                }
            }
        }
    }
}

async fn read_all(paths: &[PathBuf]) -> io::Result<Vec<Vec<u8>>> {
    let mut contents = Vec::with_capacity(paths.len());
    for path in paths {
        contents.push(read(path).await?);
    }
    Ok(contents)
}
