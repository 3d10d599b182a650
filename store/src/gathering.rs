//! What the readers of one load bring, put together.

use compute::model::Rows;
use compute::port::store::ReadError;
use tokio::task::JoinSet;

/// The rows of all readers, once each has ended; `place` is whom to blame when one breaks.
pub(crate) async fn gathered(mut readers: JoinSet<Result<Rows, ReadError>>, place: &str) -> Result<Rows, ReadError> {
    let mut rows = Rows::default();
    while let Some(ended) = readers.join_next().await {
        let part = ended.map_err(|broken| ReadError::Away(format!("{place}: {broken}")))??;
        merge(&mut rows, part);
    }
    Ok(rows)
}

/// The first reader has all rows that are no instances.
fn merge(rows: &mut Rows, part: Rows) {
    let instances = std::mem::take(&mut rows.instances);
    let (mut more, less) =
        if instances.len() > part.instances.len() { (instances, part.instances) } else { (part.instances, instances) };
    more.extend(less);
    if rows.is_empty() {
        *rows = Rows { instances: more, ..part };
    } else {
        rows.instances = more;
    }
}
