//! The settings of librdkafka: those that the log gives itself, and which of the others it lets pass.

use std::collections::BTreeMap;

use compute::model::limits::FRAME_BYTES_MAX;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;

use super::config::Config;
use super::error::ConfigError;

/// The largest record: a frame, its checksum, and what Kafka writes around them.
pub(super) const RECORD_BYTES_MAX: usize = FRAME_BYTES_MAX + 64 * 1024;
const SETTINGS_MAX: usize = 256;

/// Names of a setting, what it may be, and the default of the log where it sets one.
struct Rule {
    names: &'static [&'static str],
    allowed: Allowed,
}

enum Allowed {
    /// Nothing: the log sets it.
    Never,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A number.
    Range(u64, u64),
}

const fn rule(names: &'static [&'static str], allowed: Allowed) -> Rule {
    Rule { names, allowed }
}

use Allowed::{Never, OneOf, Range};

/// What the log's correctness rests on.
const RULES: &[Rule] = &[
    rule(&["bootstrap.servers", "metadata.broker.list"], Never),
    // What is acknowledged is on every replica in sync, once, in order.
    rule(&["acks", "request.required.acks"], OneOf(&["all", "-1"])),
    rule(&["enable.idempotence"], OneOf(&["true"])),
    rule(&["enable.gapless.guarantee"], OneOf(&["false"])),
    rule(&["max.in.flight.requests.per.connection", "max.in.flight"], Range(1, 5)),
    rule(&["retries", "message.send.max.retries"], Range(1, i32::MAX as u64)),
    rule(&["message.timeout.ms", "delivery.timeout.ms"], Range(1_000, 300_000)),
    rule(&["linger.ms", "queue.buffering.max.ms"], Range(0, 100)),
    rule(&["transactional.id", "partitioner", "delivery.report.only.error", "queuing.strategy"], Never),
    rule(&["compression.codec", "compression.type"], OneOf(&["none", "lz4", "snappy"])),
    rule(&["allow.auto.create.topics"], OneOf(&["false"])),
    // A reader that is lost says so.
    rule(&["auto.offset.reset"], OneOf(&["error"])),
    rule(&["check.crcs", "enable.partition.eof"], OneOf(&["true"])),
    rule(&["enable.auto.commit", "auto.commit.enable", "enable.auto.offset.store"], OneOf(&["false"])),
    rule(&["isolation.level"], OneOf(&["read_uncommitted"])),
    rule(&["group.id", "group.instance.id", "group.protocol", "group.remote.assignor"], Never),
    rule(&["partition.assignment.strategy", "offset.store.method", "offset.store.path"], Never),
    // A frame of the largest size passes.
    rule(&["message.max.bytes"], Range(RECORD_BYTES_MAX as u64, 1_000_000_000)),
    rule(&["fetch.message.max.bytes", "max.partition.fetch.bytes"], Range(1 << 20, 1_000_000_000)),
    rule(&["fetch.max.bytes"], Range(RECORD_BYTES_MAX as u64, 1_000_000_000)),
    rule(&["receive.message.max.bytes"], Range(RECEIVE_BYTES_MAX, 2_147_483_647)),
    // The log listens to these itself.
    rule(&["statistics.interval.ms", "log.queue", "log_level", "enabled_events", "opaque"], Never),
    // Lines of its kind are written under locks of the queue that they go to, and both threads stand still.
    rule(&["debug"], Never),
    // No broker that is none, and no foreign code in the process.
    rule(&["test.mock.num.brokers", "test.mock.broker.rtt", "plugin.library.paths", "interceptors"], Never),
];

const FETCH_BYTES_MAX: u64 = 32 * 1024 * 1024;
const RECEIVE_BYTES_MAX: u64 = 2 * FETCH_BYTES_MAX;

/// The settings that need TLS in the library, beside all that begin with `ssl.`.
const HAS_TLS: bool = cfg!(feature = "kafka-tls");

/// Whether the value of a setting, by its name in librdkafka, is nobody's business.
pub fn is_secret(name: &str) -> bool {
    const SECRET: &[&str] =
        &["password", "secret", "token", "jaas", "oauthbearer.config", "key.pem", "pass", "credential"];
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|word| name.contains(word))
}

/// What may be said of a setting's value.
pub(super) fn shown(name: &str, value: &str) -> String {
    if is_secret(name) { "(not shown)".into() } else { format!("`{value}`") }
}

pub(super) fn check(settings: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    if settings.len() > SETTINGS_MAX {
        let (name, value) = ("their number".into(), settings.len().to_string());
        return Err(ConfigError::Setting { name, value, allowed: format!("at most {SETTINGS_MAX}") });
    }
    for (name, value) in settings {
        for rule in RULES.iter().filter(|rule| rule.names.contains(&name.as_str())) {
            if let Some(allowed) = rule.allowed.refuses(value) {
                return Err(ConfigError::Setting { name: name.clone(), value: shown(name, value), allowed });
            }
        }
        if !HAS_TLS {
            check_without_tls(name, value)?;
        }
    }
    Ok(())
}

impl Allowed {
    /// What is allowed, if this value is not.
    fn refuses(&self, value: &str) -> Option<String> {
        match self {
            Never => Some("to leave it out, for the log sets it itself".into()),
            OneOf(values) if values.contains(&value) => None,
            OneOf(values) => Some(format!("{}, for the log rests on it", values.join(" or "))),
            Range(least, most) => match value.parse::<u64>() {
                Ok(number) if (*least..=*most).contains(&number) => None,
                _ => Some(format!("{least} to {most}")),
            },
        }
    }
}

fn check_without_tls(name: &str, value: &str) -> Result<(), ConfigError> {
    let needs = |allowed: &str| {
        let (name, value) = (name.to_owned(), shown(name, value));
        Err(ConfigError::NeedsTls { name, value, allowed: allowed.into() })
    };
    match name {
        "security.protocol" if !matches!(value, "plaintext" | "sasl_plaintext") => needs("plaintext or sasl_plaintext"),
        "sasl.mechanism" | "sasl.mechanisms" if value != "PLAIN" => needs("PLAIN"),
        name if name.starts_with("ssl.") || name.starts_with("sasl.oauthbearer.") => needs("to leave it out"),
        "enable.ssl.certificate.verification" | "enable.sasl.oauthbearer.unsecure.jwt" => needs("to leave it out"),
        _ => Ok(()),
    }
}

/// Asks the library itself what it makes of the settings: an unknown name, a value that is none.
pub(super) fn try_all(config: &Config) -> Result<(), ConfigError> {
    for client in [producer(config), consumer(config)] {
        client.create_native_config().map_err(|error| match error {
            KafkaError::ClientConfig(_, why, name, value) => {
                let value = shown(&name, &value);
                // What the library says repeats the value.
                let why = if value.starts_with('`') { why } else { "not a value of it".into() };
                ConfigError::Rejected { name, value, why }
            }
            other => ConfigError::Rejected { name: "(all)".into(), value: "-".into(), why: other.to_string() },
        })?;
    }
    Ok(())
}

/// What every client has.
fn client(config: &Config, own: &[(&str, &str)]) -> ClientConfig {
    let mut client = ClientConfig::new();
    // A broker that is back is found at once, and one that hangs is left within seconds.
    let all = [
        ("client.id", "thuban"),
        ("reconnect.backoff.ms", "20"),
        ("reconnect.backoff.max.ms", "200"),
        ("socket.keepalive.enable", "true"),
        ("socket.timeout.ms", "5000"),
        ("socket.connection.setup.timeout.ms", "5000"),
        ("allow.auto.create.topics", "false"),
    ];
    for (name, value) in all.iter().chain(own) {
        client.set(*name, *value);
    }
    client.set("message.max.bytes", RECORD_BYTES_MAX.to_string());
    for (name, value) in config.settings() {
        client.set(canonical(name), value);
    }
    client.set("bootstrap.servers", config.brokers());
    client.set_log_level(RDKafkaLogLevel::Info);
    client
}

/// The one name of a setting that has several: else the library would be given both, in no order.
fn canonical(name: &str) -> &str {
    match name {
        "request.required.acks" => "acks",
        "max.in.flight" => "max.in.flight.requests.per.connection",
        "message.send.max.retries" => "retries",
        "delivery.timeout.ms" => "message.timeout.ms",
        "queue.buffering.max.ms" => "linger.ms",
        "compression.type" => "compression.codec",
        "max.partition.fetch.bytes" => "fetch.message.max.bytes",
        name => name,
    }
}

/// One producer, whose outcomes come within `message.timeout.ms`: longer than a broker takes to start again or to hand
/// over, and shorter than anyone waits.
pub(super) fn producer(config: &Config) -> ClientConfig {
    client(
        config,
        &[
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("linger.ms", "0"),
            ("message.timeout.ms", "5000"),
            ("retry.backoff.ms", "20"),
            ("queue.buffering.max.kbytes", "131072"),
            // Says when the producer has its id, and nothing else is read from it.
            ("statistics.interval.ms", "250"),
        ],
    )
}

/// A reader by offsets. Its group is a name that the library asks for and that nothing is ever kept under.
pub(super) fn consumer(config: &Config) -> ClientConfig {
    let mut client = client(
        config,
        &[
            ("group.id", "thuban-reads-by-offset"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            ("enable.partition.eof", "true"),
            ("check.crcs", "true"),
            // There are no transactions; with one that a stranger left open, readers would wait for ever.
            ("isolation.level", "read_uncommitted"),
            ("fetch.min.bytes", "1"),
            ("fetch.wait.max.ms", "500"),
            ("fetch.queue.backoff.ms", "2"),
            ("fetch.error.backoff.ms", "20"),
            ("queued.max.messages.kbytes", "16384"),
        ],
    );
    for (name, least) in [
        ("fetch.message.max.bytes", RECORD_BYTES_MAX as u64),
        ("fetch.max.bytes", FETCH_BYTES_MAX),
        ("receive.message.max.bytes", RECEIVE_BYTES_MAX + 1024),
    ] {
        if client.get(name).is_none() {
            client.set(name, least.to_string());
        }
    }
    client
}

/// For making, checking and trimming the topic.
pub(super) fn admin(config: &Config) -> ClientConfig {
    client(config, &[])
}
