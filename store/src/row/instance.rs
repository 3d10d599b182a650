//! Instances, and what is kept of them beside and after.

use std::sync::Arc;

use compute::model::{Instance, InstanceKey, LeaseCell, OverrideRow, SuspicionRow, Tombstone};

use super::{Cell, Cells, Column, Kind, Reader, Table, Wrong, bytes, instance_cells, int, number, part, part_or_null};

const KEY: &[Column] = &[bytes("namespace"), bytes("service"), bytes("id")];

pub(crate) struct Instances;

impl Kind for Instances {
    type Key = InstanceKey;
    type Value = Arc<Instance>;

    const TABLE: Table = Table {
        name: "presence_instance",
        key: KEY,
        values: &[
            number("generation"),
            number("revision"),
            number("registered_at_ms"),
            bytes("provider"),
            bytes("health"),
            bytes("operator"),
        ],
        guard: "revision",
    };

    fn write_key(key: &InstanceKey, out: &mut Vec<Cell>) {
        instance_cells(key, out);
    }

    fn write_value(row: &Arc<Instance>, out: &mut Vec<Cell>) {
        out.extend([
            int(row.generation.packed()),
            int(row.revision.packed()),
            int(row.registered_at_ms),
            part(&row.provider),
            part(&row.health),
            part_or_null(row.operator.as_deref()),
        ]);
    }

    fn read<C: Cells>(reader: &mut Reader<'_, C>) -> Result<(InstanceKey, Arc<Instance>), Wrong> {
        let key = reader.instance_key()?;
        let row = Instance {
            id: key.id.clone(),
            generation: reader.revision()?,
            revision: reader.revision()?,
            registered_at_ms: reader.u64()?,
            provider: reader.part()?,
            health: reader.part()?,
            operator: reader.part_or_null()?.map(Box::new),
            cell: Arc::new(LeaseCell::default()),
        };
        Ok((key, Arc::new(row)))
    }
}

pub(crate) struct Overrides;

impl Kind for Overrides {
    type Key = InstanceKey;
    type Value = OverrideRow;

    const TABLE: Table = Table {
        name: "presence_override",
        key: KEY,
        values: &[number("revision"), number("until_ms"), bytes("operator"), bytes("only_for")],
        guard: "revision",
    };

    fn write_key(key: &InstanceKey, out: &mut Vec<Cell>) {
        instance_cells(key, out);
    }

    fn write_value(row: &OverrideRow, out: &mut Vec<Cell>) {
        out.extend([
            int(row.operator.revision.packed()),
            int(row.until_ms),
            part(&row.operator),
            part_or_null(row.only_for.as_ref()),
        ]);
    }

    fn read<C: Cells>(reader: &mut Reader<'_, C>) -> Result<(InstanceKey, OverrideRow), Wrong> {
        let key = reader.instance_key()?;
        let revision = reader.revision()?;
        let row = OverrideRow { until_ms: reader.u64()?, operator: reader.part()?, only_for: reader.part_or_null()? };
        if row.operator.revision != revision {
            return Err(format!("an operator's word of {} in a row of {revision}", row.operator.revision));
        }
        Ok((key, row))
    }
}

pub(crate) struct Tombstones;

impl Kind for Tombstones {
    type Key = InstanceKey;
    type Value = Tombstone;

    const TABLE: Table = Table {
        name: "presence_tombstone",
        key: KEY,
        values: &[number("generation"), number("revision")],
        guard: "revision",
    };

    fn write_key(key: &InstanceKey, out: &mut Vec<Cell>) {
        instance_cells(key, out);
    }

    fn write_value(row: &Tombstone, out: &mut Vec<Cell>) {
        out.extend([int(row.generation.packed()), int(row.revision.packed())]);
    }

    fn read<C: Cells>(reader: &mut Reader<'_, C>) -> Result<(InstanceKey, Tombstone), Wrong> {
        let key = reader.instance_key()?;
        Ok((key, Tombstone { generation: reader.revision()?, revision: reader.revision()? }))
    }
}

pub(crate) struct Suspicions;

impl Kind for Suspicions {
    type Key = InstanceKey;
    type Value = SuspicionRow;

    const TABLE: Table = Table {
        name: "presence_suspicion",
        key: KEY,
        values: &[number("generation"), number("revision"), number("age_ms"), bytes("cause")],
        guard: "revision",
    };

    fn write_key(key: &InstanceKey, out: &mut Vec<Cell>) {
        instance_cells(key, out);
    }

    fn write_value(row: &SuspicionRow, out: &mut Vec<Cell>) {
        out.extend([int(row.generation.packed()), int(row.revision.packed()), int(row.age_ms), part(&row.cause)]);
    }

    fn read<C: Cells>(reader: &mut Reader<'_, C>) -> Result<(InstanceKey, SuspicionRow), Wrong> {
        let key = reader.instance_key()?;
        let row = SuspicionRow {
            generation: reader.revision()?,
            revision: reader.revision()?,
            age_ms: reader.u64()?,
            cause: reader.part()?,
        };
        Ok((key, row))
    }
}
