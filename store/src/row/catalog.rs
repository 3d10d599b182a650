//! Namespaces and services.

use compute::model::{Digest, Namespace, NamespaceRow, ServiceKey, ServiceRow};

use super::{Cell, Cells, Kind, Reader, Table, Wrong, bytes, int, number, part, part_or_null, service_cells};

pub(crate) struct Namespaces;

impl Kind for Namespaces {
    type Key = Namespace;
    type Value = NamespaceRow;

    const TABLE: Table = Table {
        name: "presence_namespace",
        key: &[bytes("namespace")],
        values: &[number("revision"), number("created_at_ms"), bytes("settings")],
        guard: "revision",
    };

    fn write_key(key: &Namespace, out: &mut Vec<Cell>) {
        out.push(Cell::Text(key.shared()));
    }

    fn write_value(row: &NamespaceRow, out: &mut Vec<Cell>) {
        out.extend([int(row.revision.packed()), int(row.created_at_ms), part(&row.settings)]);
    }

    fn read<C: Cells>(reader: &mut Reader<'_, C>) -> Result<(Namespace, NamespaceRow), Wrong> {
        let key = Namespace::new(reader.text()?).map_err(|e| e.to_string())?;
        let row = NamespaceRow { revision: reader.revision()?, created_at_ms: reader.u64()?, settings: reader.part()? };
        Ok((key, row))
    }
}

pub(crate) struct Services;

impl Kind for Services {
    type Key = ServiceKey;
    type Value = ServiceRow;

    const TABLE: Table = Table {
        name: "presence_service",
        key: &[bytes("namespace"), bytes("service")],
        values: &[
            number("revision"),
            number("settings_revision"),
            number("created_at_ms"),
            number("implicit"),
            bytes("digest"),
            bytes("settings"),
            bytes("last_removal"),
        ],
        guard: "revision",
    };

    fn write_key(key: &ServiceKey, out: &mut Vec<Cell>) {
        service_cells(key, out);
    }

    fn write_value(row: &ServiceRow, out: &mut Vec<Cell>) {
        out.extend([
            int(row.revision.packed()),
            int(row.settings_revision.packed()),
            int(row.created_at_ms),
            int(u64::from(row.implicit)),
            Cell::Blob(row.digest.to_bytes().to_vec()),
            part(&row.settings),
            part_or_null(row.last_removal.as_ref()),
        ]);
    }

    fn read<C: Cells>(reader: &mut Reader<'_, C>) -> Result<(ServiceKey, ServiceRow), Wrong> {
        let key = reader.service_key()?;
        let row = ServiceRow {
            revision: reader.revision()?,
            settings_revision: reader.revision()?,
            created_at_ms: reader.u64()?,
            implicit: reader.flag()?,
            digest: Digest::from_bytes(reader.sixteen()?),
            settings: reader.part()?,
            last_removal: reader.part_or_null()?,
        };
        Ok((key, row))
    }
}
