//! Every key, named once: its flag, its variable, its place in the file, its default and its help come from here.

/// What a value must look like; what it means is checked later, with all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Address,
    Text,
    Path,
    Word(&'static [&'static str]),
    Count { min: u64, max: u64 },
    Millis { min: u64, max: u64 },
    Switch,
    List,
}

/// What holds where nobody says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preset {
    Value(&'static str),
    /// Found out at the start; in words.
    Found(&'static str),
    /// Nothing; what that means.
    Unset(&'static str),
}

pub(super) struct Key {
    /// As in the file; the flag has `-` for `_`, the variable is in capitals behind `THUBAN_`.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) preset: Preset,
    pub(super) help: &'static str,
    pub(super) heading: &'static str,
}

impl Key {
    pub(super) fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    pub(super) fn variable(&self) -> String {
        format!("THUBAN_{}", self.name.to_uppercase())
    }

    pub(super) fn is_list(&self) -> bool {
        self.kind == Kind::List
    }

    pub(super) fn value_name(&self) -> &'static str {
        match self.kind {
            Kind::Address => "ADDR",
            Kind::Text => match self.name {
                "store" | "log" => "URL",
                "advertise" => "HOST",
                "node_name" => "NAME",
                _ => "TEXT",
            },
            Kind::Path => match self.name {
                "data_dir" | "decision_journal" => "DIR",
                _ => "FILE",
            },
            Kind::Word(_) => "WORD",
            Kind::Count { .. } => "COUNT",
            Kind::Millis { .. } => "MS",
            Kind::Switch => "BOOL",
            Kind::List => match self.name {
                "check_allow" => "CIDR",
                "join" => "ADDR",
                _ => "NAME",
            },
        }
    }
}

const NODE: &str = "Node";
const ADDRESSES: &str = "Addresses";
const CALLERS: &str = "Who may call";
const LOGGING: &str = "Logging";
const CHECKS: &str = "Health checks";
const LIMITS: &str = "Limits";

const fn key(name: &'static str, kind: Kind, preset: Preset, heading: &'static str, help: &'static str) -> Key {
    Key { name, kind, preset, help, heading }
}

const MANY: Kind = Kind::Count { min: 1, max: 10_000_000 };

const BYTES: Kind = Kind::Count { min: 1 << 20, max: 1 << 40 };

/// In the order of `--help` and of `config print`.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("data_dir", Kind::Path, Preset::Found("thuban in $XDG_DATA_HOME, else ~/.local/share/thuban"), NODE,
        "Where this node keeps its files; made with mode 0700 and locked against a second process"),
    key("node_name", Kind::Text, Preset::Found("the host name"), NODE,
        "How this node is called in lists and logs"),
    key("store", Kind::Text, Preset::Found("sqlite:store.sqlite in the data directory"), NODE,
        "Where presence lands: sqlite:PATH, or, for many nodes, mysql://USER:PASSWORD@HOST:PORT/DATABASE (MariaDB 10.6+, MySQL 8)"),
    key("log", Kind::Text, Preset::Found("local:log.sqlite in the data directory"), NODE,
        "The change log: local:PATH, or, for many nodes, kafka://HOST:PORT[,HOST:PORT]/TOPIC"),
    key("kafka_setting", Kind::List, Preset::Unset("none"), NODE,
        "More for the client of a kafka: log, as NAME=VALUE in librdkafka's names"),
    key("adopt_store", Kind::Switch, Preset::Value("false"), NODE,
        "Once, when the change log is lost for good: go on from what has landed in the store, with a new log"),
    key("serve_stale", Kind::Switch, Preset::Value("false"), NODE,
        "While a kafka: log is away at the start, answer reads from what has landed, marked as stale"),
    key("decision_journal", Kind::Path, Preset::Unset("none is kept"), NODE,
        "Directory in which this node writes down every decision and what it rested on; thuban journal shows it"),
    key("decision_journal_bytes_max", Kind::Count { min: 64 << 20, max: 1 << 40 }, Preset::Value("268435456"), NODE,
        "What all files of the journal may take, in bytes; the oldest go"),
    key("http", Kind::Address, Preset::Value("127.0.0.1:7800"), ADDRESSES,
        "HTTP API, /docs, /metrics; port 0 picks a free one"),
    key("grpc", Kind::Address, Preset::Value("127.0.0.1:7801"), ADDRESSES,
        "gRPC API; port 0 picks a free one"),
    key("doors", Kind::List, Preset::Value("none"), ADDRESSES,
        "Doors of other protocols to open; this build has none"),
    key("peer", Kind::Address, Preset::Value("127.0.0.1:7802"), ADDRESSES,
        "Calls between nodes; opened only with a kafka: log; port 0 picks a free one"),
    key("gossip", Kind::Address, Preset::Value("127.0.0.1:7803"), ADDRESSES,
        "Hints between nodes (UDP); opened only with a kafka: log; port 0 picks a free one"),
    key("advertise", Kind::Text, Preset::Unset("the address of the listener"), ADDRESSES,
        "Host by which other nodes reach this one; of use only with a kafka: log"),
    key("join", Kind::List, Preset::Unset("nobody: members are found in the log, and gossip waits to be spoken to"), ADDRESSES,
        "Gossip addresses of some nodes of the cluster, as a hint; needs a kafka: log"),
    key("cluster_secret_file", Kind::Path, Preset::Unset("none; needed with a kafka: log"), CALLERS,
        "File with the secret that the nodes of a cluster share: a node without it is refused by the others"),
    key("insecure", Kind::Switch, Preset::Value("false"), CALLERS,
        "Listen on other addresses than loopback without tokens or without TLS"),
    key("token_file", Kind::Path, Preset::Unset("everybody may do everything"), CALLERS,
        "Who may call: a line each, NAME SHA256 NAMESPACES VERBS [REQUESTS_PER_SECOND]; reread when it changes"),
    key("allow_host", Kind::List, Preset::Found("none beside addresses and localhost; beyond loopback *"), CALLERS,
        "Names that the HTTP listener without tokens may be called by, or * for any: a page can give its own name any address"),
    key("tls_cert", Kind::Path, Preset::Unset("no encryption"), CALLERS,
        "Certificate chain (PEM) of the HTTP and gRPC listeners; reread when it changes"),
    key("tls_key", Kind::Path, Preset::Unset("no encryption"), CALLERS,
        "Private key (PEM) of --tls-cert; reread when it changes"),
    key("log_format", Kind::Word(&["text", "json"]), Preset::Value("text"), LOGGING,
        "How log lines look on standard error: text or json"),
    key("log_level", Kind::Text, Preset::Value("info"), LOGGING,
        "What is logged: a level, or directives such as warn,compute=debug"),
    key("check_allow", Kind::List,
        Preset::Value("127.0.0.0/8,::1/128,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7"), CHECKS,
        "Networks that health checks may call; link-local and metadata addresses never"),
    key("probes_max", Kind::Count { min: 1, max: 10_000 }, Preset::Value("512"), CHECKS,
        "Probes under way at once"),
    key("connections_max", MANY, Preset::Value("16384"), LIMITS,
        "Connections of one listener"),
    key("requests_max", MANY, Preset::Value("8192"), LIMITS,
        "Requests under way at once, reads and writes together"),
    key("writes_max", MANY, Preset::Value("4096"), LIMITS,
        "Writes among them"),
    key("renewals_max", MANY, Preset::Value("16384"), LIMITS,
        "Renewals under way at once, counted by themselves"),
    key("waiting_max", MANY, Preset::Value("16384"), LIMITS,
        "Waiting reads and open streams"),
    key("bodies_max", MANY, Preset::Value("32768"), LIMITS,
        "Requests whose body has not come whole"),
    key("connection_bodies_max", MANY, Preset::Value("128"), LIMITS,
        "Those of one connection, once half of bodies_max is taken"),
    key("body_bytes_max", BYTES, Preset::Value("268435456"), LIMITS,
        "What bodies that have not come whole may hold, in bytes; a quarter is for small ones alone"),
    key("body_grace_ms", Kind::Millis { min: 100, max: 600_000 }, Preset::Value("5000"), LIMITS,
        "How long a body may come as slowly as it likes"),
    key("body_bytes_per_second", Kind::Count { min: 1, max: 1 << 30 }, Preset::Value("1024"), LIMITS,
        "What must come of a body from then on"),
    key("unsent_bytes_max", BYTES, Preset::Value("268435456"), LIMITS,
        "What answers made for one reader may hold until they are sent, in bytes"),
    key("connection_unsent_bytes_max", BYTES, Preset::Value("33554432"), LIMITS,
        "What those of one connection may hold, in bytes"),
    key("unread_timeout_ms", Kind::Millis { min: 1_000, max: 86_400_000 }, Preset::Value("30000"), LIMITS,
        "A connection is cut that takes nothing of an answer for so long"),
    key("watched_names_max", MANY, Preset::Value("1000000"), LIMITS,
        "Names of services in all gRPC watches"),
    key("connection_names_max", MANY, Preset::Value("100000"), LIMITS,
        "Names of services in the gRPC watches of one connection"),
    key("unlanded_max", Kind::Count { min: 1_000, max: 100_000_000 }, Preset::Value("2000000"), LIMITS,
        "Changes that may wait for the store; beyond it new work is refused"),
    key("sessions_max", Kind::Count { min: 1, max: 10_000_000 }, Preset::Value("200000"), LIMITS,
        "Sessions of this node; beyond it no more are opened"),
    key("streams_max", Kind::Count { min: 1, max: 100_000 }, Preset::Value("1024"), LIMITS,
        "HTTP/2 streams of one connection"),
    key("header_bytes_max", Kind::Count { min: 8_192, max: 1 << 20 }, Preset::Value("65536"), LIMITS,
        "All headers of a request together, in bytes"),
    key("headers_max", Kind::Count { min: 16, max: 1_000 }, Preset::Value("100"), LIMITS,
        "Headers of a request"),
    key("selected_entries_max", MANY, Preset::Value("100000"), LIMITS,
        "Filtered views kept encoded"),
    key("selected_bytes_max", Kind::Count { min: 1 << 20, max: 1 << 40 }, Preset::Value("67108864"), LIMITS,
        "Filtered views kept encoded, in bytes"),
    key("head_timeout_ms", Kind::Millis { min: 100, max: 600_000 }, Preset::Value("10000"), LIMITS,
        "Until the head of a request must have arrived"),
    key("idle_timeout_ms", Kind::Millis { min: 1_000, max: 86_400_000 }, Preset::Value("300000"), LIMITS,
        "Without a byte in either direction a connection is closed"),
    key("drain_timeout_ms", Kind::Millis { min: 0, max: 600_000 }, Preset::Value("10000"), LIMITS,
        "For requests under way when the process is asked to stop"),
    key("reread_ms", Kind::Millis { min: 100, max: 3_600_000 }, Preset::Value("2000"), LIMITS,
        "How often token and certificate files are looked at"),
];

/// Doors of other protocols, and what they listen with: `door.NAME.TRANSPORT`.
pub(super) const DOORS: &[&str] =
    &["nacos", "polaris", "eureka", "consul", "dns", "etcd", "zookeeper", "apollo", "spring"];
pub(super) const TRANSPORTS: &[&str] = &["http", "grpc", "udp", "tcp"];

pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The known name that is most like `name`, if one is at all.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let like = |other: &&str| strsim::damerau_levenshtein(name, other);
    // What all of them begin with makes none of them more alike.
    let length = name.strip_prefix("THUBAN_").unwrap_or(name).len();
    known.min_by_key(like).filter(|best| like(best) <= (length / 3).max(1))
}
