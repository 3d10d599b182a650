//! No acknowledged write is lost, and nothing that was undone comes back.

use super::super::truth::Revision;

/// What a client made of its instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    Absent,
    /// It is there, with this weight.
    Weight(u64),
}

/// What may be true of an instance that one client writes.
#[derive(Clone, Debug)]
pub struct Written {
    /// The last is what was written last; those before it were not acknowledged.
    possible: Vec<Value>,
    /// At which revision the last acknowledged one holds.
    at: Option<Revision>,
}

impl Default for Written {
    fn default() -> Self {
        Self { possible: vec![Value::Absent], at: None }
    }
}

impl Written {
    /// A write is under way: it may hold from now on.
    pub fn asked(&mut self, value: Value) {
        self.possible.push(value);
    }

    /// The log has it, at `at` or below.
    pub fn acknowledged(&mut self, value: Value, at: Revision) {
        (self.possible, self.at) = (vec![value], Some(at));
    }

    /// The newest revision that is known to hold it: what a reader must bring.
    pub fn at(&self) -> Option<Revision> {
        self.at
    }

    /// `shown`, by a list or read at `revision`, is not what it may be.
    pub fn lost(&self, shown: Value, revision: Revision) -> Option<String> {
        if self.at.is_none_or(|at| revision < at) || self.possible.contains(&shown) {
            return None;
        }
        Some(format!("{shown:?} at {revision}, and {:?} was acknowledged at {:?}", self.possible, self.at))
    }
}
