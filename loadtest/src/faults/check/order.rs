//! Who brings a revision is shown nothing older.

use super::super::truth::Revision;

pub fn back(brought: Option<Revision>, shown: Revision) -> Option<String> {
    brought.filter(|brought| shown < *brought).map(|brought| format!("brought {brought} and was shown {shown}"))
}
