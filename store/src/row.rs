//! Row <-> model, one function each way, for whatever database.
//!
//! Each kind of row is a [`Kind`]: its table, how its key and value become cells, how cells become them again. A
//! dialect brings the SQL and the types of its driver, and nothing about what is in a row.

mod catalog;
mod checksum;
mod guard;
mod instance;
mod mark;
mod member;
mod part;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt::{Debug, Write as _};
use std::sync::Arc;

use compute::model::{InstanceId, InstanceKey, Namespace, Position, Revision, Row, ServiceKey, ServiceName};

pub(crate) use catalog::{Namespaces, Services};
pub(crate) use checksum::{CHECKSUM, seal};
pub(crate) use guard::{Freezes, Origins, Sessions};
pub(crate) use instance::{Instances, Overrides, Suspicions, Tombstones};
pub(crate) use mark::{MARK, mark, mark_cells};
pub(crate) use member::Members;
pub(crate) use part::{Part, Wrong};

/// Calls a macro with every kind of row: its field in `Rows`, its name here.
macro_rules! every_kind {
    ($each:ident) => {
        $each! {
            namespaces: Namespaces,
            services: Services,
            instances: Instances,
            overrides: Overrides,
            tombstones: Tombstones,
            sessions: Sessions,
            suspicions: Suspicions,
            freezes: Freezes,
            origins: Origins,
            members: Members
        }
    };
}
pub(crate) use every_kind;

/// The table of each kind.
pub(crate) fn tables() -> Vec<Table> {
    macro_rules! listed {
        ($($field:ident: $kind:ident),+) => { vec![$($kind::TABLE),+] };
    }
    every_kind!(listed)
}

/// A value of one column.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Cell {
    Int(i64),
    Text(Arc<str>),
    Blob(Vec<u8>),
    Null,
}

/// What a database gave: values by place, as [`Table::columns`] has them.
pub(crate) trait Cells {
    fn int(&self, at: usize) -> Result<i64, Wrong>;
    fn text(&self, at: usize) -> Result<&str, Wrong>;
    fn blob(&self, at: usize) -> Result<&[u8], Wrong>;
    fn is_null(&self, at: usize) -> Result<bool, Wrong>;
}

pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// What names a row.
    pub(crate) key: &'static [Column],
    pub(crate) values: &'static [Column],
    /// The column that must not become smaller.
    pub(crate) guard: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) holds: Holds,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Holds {
    Number,
    /// Text or a blob.
    Bytes,
}

const fn number(name: &'static str) -> Column {
    Column { name, holds: Holds::Number }
}

const fn bytes(name: &'static str) -> Column {
    Column { name, holds: Holds::Bytes }
}

impl Table {
    /// In the order in which cells are written and read.
    pub(crate) fn columns(&self) -> impl Iterator<Item = Column> + Clone {
        self.key.iter().copied().chain(self.written())
    }

    /// What a landing writes to a row that is there.
    pub(crate) fn written(&self) -> impl Iterator<Item = Column> + Clone {
        self.values.iter().copied().chain([CHECKSUM])
    }

    pub(crate) fn width(&self) -> usize {
        self.key.len() + self.values.len() + 1
    }
}

/// One kind of row.
pub(crate) trait Kind: 'static {
    type Key: Ord + Debug + Send + 'static;
    type Value: Send + 'static;

    const TABLE: Table;

    fn write_key(key: &Self::Key, out: &mut Vec<Cell>);
    fn write_value(value: &Self::Value, out: &mut Vec<Cell>);
    fn read<C: Cells>(reader: &mut Reader<'_, C>) -> Result<(Self::Key, Self::Value), Wrong>;
}

/// One row out of the database; what is wrong with it names table, key and column.
pub(crate) fn decode<K: Kind>(cells: &impl Cells, names: &mut Names) -> Result<Row<K::Key, K::Value>, Wrong> {
    let mut reader = Reader { cells, names, at: 0 };
    let placed = |column, wrong| {
        format!("table {}, key {}, column {column}: {wrong}", K::TABLE.name, shown_key(&K::TABLE, cells))
    };
    let (key, value) = K::read(&mut reader).map_err(|wrong| {
        // `at` is behind the column that was read last.
        placed(K::TABLE.columns().nth(reader.at.saturating_sub(1)).map_or("?", |column| column.name), wrong)
    })?;
    // Last: what else is wrong with a row says more.
    checksum::check(&K::TABLE, cells, &mut names.scratch).map_err(|wrong| placed(CHECKSUM.name, wrong))?;
    Ok(Row::Put(key, value))
}

/// A key as far as it can be shown. Of a blob only the beginning: session ids are secrets.
fn shown_key(table: &Table, cells: &impl Cells) -> String {
    let mut shown = String::new();
    for at in 0..table.key.len() {
        if at > 0 {
            shown.push('/');
        }
        if let Ok(number) = cells.int(at) {
            shown.push_str(&number.to_string());
        } else if let Ok(text) = cells.text(at) {
            shown.extend(text.chars().flat_map(char::escape_debug));
        } else if let Ok(blob) = cells.blob(at) {
            blob.iter().take(4).try_for_each(|byte| write!(shown, "{byte:02x}")).expect("a string takes all");
            shown.push('…');
        } else {
            shown.push('?');
        }
    }
    shown
}

/// The names met so far: thousands of rows share each allocation.
#[derive(Default)]
pub(crate) struct Names {
    known: HashMap<Namespace, HashSet<ServiceName>>,
    /// Room in which a checksum is made.
    scratch: Vec<u8>,
}

impl Names {
    fn service(&mut self, namespace: &str, service: &str) -> Result<ServiceKey, Wrong> {
        if !self.known.contains_key(namespace) {
            self.known.insert(Namespace::new(namespace).map_err(|e| e.to_string())?, HashSet::new());
        }
        let key = self.known.get_key_value(namespace).map(|(namespace, _)| namespace.clone());
        let (Some(namespace), Some(services)) = (key, self.known.get_mut(namespace)) else {
            return Err(format!("namespace {namespace} is not known"));
        };
        if let Some(known) = services.get(service) {
            return Ok(ServiceKey { namespace, service: known.clone() });
        }
        let service = ServiceName::new(service).map_err(|e| e.to_string())?;
        services.insert(service.clone());
        Ok(ServiceKey { namespace, service })
    }
}

/// Takes the cells of a row one after the other.
pub(crate) struct Reader<'a, C> {
    cells: &'a C,
    names: &'a mut Names,
    at: usize,
}

impl<C: Cells> Reader<'_, C> {
    fn next(&mut self) -> usize {
        self.at += 1;
        self.at - 1
    }

    fn u64(&mut self) -> Result<u64, Wrong> {
        let at = self.next();
        self.cells.int(at).map(|bits| bits as u64)
    }

    fn u32(&mut self) -> Result<u32, Wrong> {
        let value = self.u64()?;
        u32::try_from(value).map_err(|_| format!("{value} is beyond {}", u32::MAX))
    }

    fn flag(&mut self) -> Result<bool, Wrong> {
        match self.u64()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(format!("{other} is neither 0 nor 1")),
        }
    }

    fn revision(&mut self) -> Result<Revision, Wrong> {
        let packed = self.u64()?;
        part::revision(packed)
    }

    fn position(&mut self) -> Result<Position, Wrong> {
        let packed = self.u64()?;
        Position::from_packed(packed).ok_or_else(|| format!("{packed} is no packed position"))
    }

    fn text(&mut self) -> Result<&str, Wrong> {
        let at = self.next();
        self.cells.text(at)
    }

    fn blob(&mut self) -> Result<&[u8], Wrong> {
        let at = self.next();
        self.cells.blob(at)
    }

    fn sixteen(&mut self) -> Result<[u8; 16], Wrong> {
        let blob = self.blob()?;
        blob.try_into().map_err(|_| format!("{} bytes, not 16", blob.len()))
    }

    fn part<P: Part>(&mut self) -> Result<P, Wrong> {
        P::from_blob(self.blob()?)
    }

    fn part_or_null<P: Part>(&mut self) -> Result<Option<P>, Wrong> {
        if self.cells.is_null(self.at)? {
            self.next();
            return Ok(None);
        }
        self.part().map(Some)
    }

    fn service_key(&mut self) -> Result<ServiceKey, Wrong> {
        let (namespace, service) = (self.next(), self.next());
        self.names.service(self.cells.text(namespace)?, self.cells.text(service)?)
    }

    fn instance_key(&mut self) -> Result<InstanceKey, Wrong> {
        let service = self.service_key()?;
        let id = InstanceId::new(self.text()?).map_err(|e| e.to_string())?;
        Ok(InstanceKey { service, id })
    }
}

/// Numbers keep their bits: columns are signed.
fn int(value: u64) -> Cell {
    Cell::Int(value as i64)
}

fn text(value: &str) -> Cell {
    Cell::Text(value.into())
}

fn part(value: &impl Part) -> Cell {
    Cell::Blob(value.to_blob())
}

fn part_or_null(value: Option<&impl Part>) -> Cell {
    value.map_or(Cell::Null, part)
}

fn service_cells(key: &ServiceKey, out: &mut Vec<Cell>) {
    out.extend([Cell::Text(key.namespace.shared()), Cell::Text(key.service.shared())]);
}

fn instance_cells(key: &InstanceKey, out: &mut Vec<Cell>) {
    service_cells(&key.service, out);
    out.push(Cell::Text(key.id.shared()));
}
