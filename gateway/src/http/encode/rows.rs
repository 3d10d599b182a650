use compute::command::KeptOverride;
use compute::model::{Metadata, Namespace, NamespaceRow, Process, ServiceKey, ServiceRow, ServiceSettings};
use compute::view::Counts;

use super::{Json, operator};

pub(crate) fn namespace(json: &mut Json, namespace: &Namespace, row: &NamespaceRow) {
    json.object(|json| {
        json.text("namespace", namespace.as_str());
        json.text("description", &row.settings.description);
        metadata(json, &row.settings.metadata);
        json.time("created_at", row.created_at_ms);
        json.revision("revision", row.revision);
    });
}

/// `row` is missing while only an overlay knows the service.
pub(crate) fn service(json: &mut Json, key: &ServiceKey, row: Option<&ServiceRow>, counts: Option<Counts>) {
    let unset = ServiceSettings::default();
    let settings = row.map_or(&unset, |row| &row.settings);
    json.object(|json| {
        json.text("namespace", key.namespace.as_str());
        json.text("service", key.service.as_str());
        json.text("description", &settings.description);
        json.text("owner", &settings.owner);
        metadata(json, &settings.metadata);
        json.fraction("protect_threshold", settings.protect_threshold);
        if let Some(counts) = counts {
            json.key("instances");
            json.object(|json| {
                json.number("all", u64::from(counts.all));
                json.number("healthy", u64::from(counts.healthy));
                json.number("isolated", u64::from(counts.isolated));
            });
        }
        match row {
            Some(row) => {
                json.time("created_at", row.created_at_ms);
                json.revision("revision", row.revision);
                json.revision("settings_revision", row.settings_revision);
            }
            None => ["created_at", "revision", "settings_revision"].iter().for_each(|name| json.null(name)),
        }
    });
}

/// An operator's word where nobody is.
pub(crate) fn kept_override(json: &mut Json, kept: &KeptOverride) {
    let key = &kept.instance;
    json.object(|json| {
        json.text("namespace", key.service.namespace.as_str());
        json.text("service", key.service.service.as_str());
        json.text("id", key.id.as_str());
        json.key("operator");
        operator(json, Some(&kept.row.operator));
        json.time("kept_until", kept.row.until_ms);
        json.flag("same_incarnation_only", kept.row.only_for.is_some());
        match &kept.row.only_for {
            Some(Process::Incarnation(name)) => json.text("incarnation", name),
            Some(Process::Session(_)) | None => json.null("incarnation"),
        }
        json.revision("revision", kept.row.operator.revision);
    });
}

fn metadata(json: &mut Json, metadata: &Metadata) {
    json.key("metadata");
    json.object(|json| metadata.iter().for_each(|(key, value)| json.text(key, value)));
}
