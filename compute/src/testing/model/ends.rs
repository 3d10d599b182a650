//! What has come to its end by a time of the log.

use crate::model::Op;
use crate::model::limits::SERVICE_EMPTY_MS_MAX;

use super::Model;

impl Model {
    /// The changes that a node owes the log, in no order.
    pub fn due(&self, now_ms: u64) -> Vec<Op> {
        let words = self.living.iter().filter_map(|(key, there)| {
            let word = there.operator.as_ref().filter(|word| word.expires_at_ms.is_some_and(|at| at <= now_ms))?;
            Some(Op::EndOverride { instance: key.clone(), operator: word.revision })
        });
        let kept = self.kept.iter().filter(|(_, kept)| kept.until_ms <= now_ms);
        let kept = kept.map(|(key, kept)| Op::EndOverride { instance: key.clone(), operator: kept.operator.revision });
        let empty = self.services.iter().filter(|(key, there)| {
            let since = self.last_removal(key).map_or(there.created_at_ms, |removal| removal.at_ms);
            there.implicit && self.members(key).next().is_none() && since + SERVICE_EMPTY_MS_MAX <= now_ms
        });
        let empty = empty.map(|(key, there)| Op::CollectService { service: key.clone(), base: there.touched });
        words.chain(kept).chain(empty).collect()
    }
}
