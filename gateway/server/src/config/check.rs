//! From words to values, and whether they go together.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cache_sync::journal;
use compute::directory::SelectedLimits;
use gateway::admission::{BodyLimits, Budget};
use gateway::http::Hosts;
use gateway::listen::Tls;
use ipnet::IpNet;
use tracing_subscriber::EnvFilter;

use super::keys::{self, Kind};
use super::settings::{Environment, Setting, Settings};
use super::wrong::Wrong;
use super::{Cluster, Config, Log, Logging, Store};

/// Longest name of a node, in bytes.
const NODE_NAME_BYTES_MAX: usize = 255;
const ADDRESS: &str = "an IP address and a port, such as 127.0.0.1:7800 or [::1]:7800; port 0 picks a free one";
const PATH: &str = "a path";

/// `None` when something is missing or wrong, which `wrongs` then tells.
pub(super) fn check(settings: &Settings, environment: &Environment, wrongs: &mut Vec<Wrong>) -> Option<Config> {
    let mut checking = Checking { settings, wrongs };
    checking.refuse_doors();
    let data_dir = checking.data_dir(environment);
    let store = checking.store(data_dir.as_deref());
    let log = checking.log(data_dir.as_deref());
    let adopt_store = checking.switch("adopt_store");
    let serve_stale = checking.switch("serve_stale");
    let decision_journal = checking.decision_journal();
    let tls = checking.tls();
    let cluster = checking.cluster(store.as_ref(), log.as_ref(), tls.as_ref());
    let token_file = checking.readable("token_file");
    let (http, grpc) = (checking.address("http"), checking.address("grpc"));
    let insecure = checking.switch("insecure");
    checking.refuse_open_doors(http, grpc, insecure, token_file.is_some() && tls != Some(Tls::Off));
    let others = cluster.as_ref().and_then(Option::as_ref);
    checking.refuse_open_peers(others, insecure || tls.as_ref().is_some_and(|tls| *tls != Tls::Off));
    let hosts = http.and_then(|http| checking.hosts(http));
    checking.refuse_shared(http, grpc, store.as_ref(), log.as_ref());
    let logging = checking.logging();
    let check_allow = checking.check_allow();
    let listen = checking.listen();
    let admission = checking.admission(token_file);
    let node = checking.node();
    Some(Config {
        data_dir: data_dir?,
        store: store?,
        log: log?,
        cluster: cluster?,
        adopt_store,
        serve_stale,
        decision_journal: decision_journal?,
        http: http?,
        grpc: grpc?,
        hosts: hosts?,
        logging: logging?,
        check_allow: check_allow?,
        tls: tls?,
        listen: listen?,
        admission: admission?,
        node: node?,
    })
}

pub(super) struct Checking<'a> {
    pub(super) settings: &'a Settings,
    wrongs: &'a mut Vec<Wrong>,
}

impl Checking<'_> {
    pub(super) fn wrong<T>(&mut self, name: &str, setting: &Setting, allowed: impl Into<String>) -> Option<T> {
        let value = super::print::shown(name, &setting.words.join(","));
        let (key, origin) = (name.to_owned(), setting.origin.clone());
        self.wrongs.push(Wrong::Value { key, value, origin, allowed: allowed.into() });
        None
    }

    pub(super) fn rule(&mut self, rule: impl Into<String>) {
        self.wrongs.push(Wrong::Rule(rule.into()));
    }

    /// The one word of a key that has a value.
    pub(super) fn word(&self, name: &str) -> Option<(&Setting, &str)> {
        let setting = self.settings.get(name)?;
        Some((setting, setting.words.last().map_or("", String::as_str)))
    }

    pub(super) fn parsed<T>(&mut self, name: &str, allowed: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let (setting, word) = self.word(name)?;
        match parse(word) {
            Some(value) => Some(value),
            None => {
                let setting = setting.clone();
                self.wrong(name, &setting, allowed)
            }
        }
    }

    pub(super) fn address(&mut self, name: &str) -> Option<SocketAddr> {
        self.parsed(name, ADDRESS, |word| {
            let local = word.strip_prefix("localhost:").and_then(|port| port.parse().ok());
            word.parse().ok().or_else(|| local.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
        })
    }

    fn path(&mut self, name: &str) -> Option<PathBuf> {
        self.parsed(name, PATH, |word| (!word.is_empty() && !word.contains('\0')).then(|| word.into()))
    }

    fn number(&mut self, name: &str) -> Option<u64> {
        let (min, max) = match keys::find(name)?.kind {
            Kind::Count { min, max } | Kind::Millis { min, max } => (min, max),
            _ => return None,
        };
        let allowed = format!("a number from {min} to {max}");
        self.parsed(name, &allowed, |word| word.parse().ok().filter(|number| (min..=max).contains(number)))
    }

    fn count(&mut self, name: &str) -> Option<usize> {
        self.number(name).and_then(|number| usize::try_from(number).ok())
    }

    fn millis(&mut self, name: &str) -> Option<Duration> {
        self.number(name).map(Duration::from_millis)
    }

    fn switch(&mut self, name: &str) -> bool {
        self.parsed(name, "true or false", |word| word.parse().ok()).unwrap_or(false)
    }

    fn data_dir(&mut self, environment: &Environment) -> Option<PathBuf> {
        if self.settings.get("data_dir").is_some() {
            return self.path("data_dir");
        }
        let found = default_data_dir(environment);
        if found.is_none() {
            self.rule("data_dir is not set, and neither is HOME, which its default needs; set --data-dir DIR");
        }
        found
    }

    fn decision_journal(&mut self) -> Option<Option<journal::Config>> {
        let is_named = self.settings.get("decision_journal").is_some();
        let (directory, bytes_max) = (self.path("decision_journal"), self.number("decision_journal_bytes_max"));
        if !is_named {
            return bytes_max.map(|_| None);
        }
        Some(Some(journal::Config { directory: directory?, bytes_max: bytes_max? }))
    }

    /// A file that must be there, if it is named.
    pub(super) fn readable(&mut self, name: &str) -> Option<PathBuf> {
        self.settings.get(name)?;
        let path = self.path(name)?;
        if let Err(error) = std::fs::File::open(&path).and_then(|file| is_file(&file)) {
            let setting = self.settings.get(name)?.clone();
            return self.wrong(name, &setting, format!("a file that can be read ({error})"));
        }
        Some(path)
    }

    fn tls(&mut self) -> Option<Tls> {
        let named = |name: &str| self.settings.get(name).is_some();
        match (named("tls_cert"), named("tls_key")) {
            (false, false) => Some(Tls::Off),
            (true, true) => {
                let (certificate, key) = (self.readable("tls_cert"), self.readable("tls_key"));
                Some(Tls::Files { certificate: certificate?, key: key? })
            }
            (is_cert, _) => {
                let (there, missing) = if is_cert { ("tls_cert", "tls_key") } else { ("tls_key", "tls_cert") };
                self.rule(format!("{there} is set and {missing} is not: TLS needs both, or neither"));
                None
            }
        }
    }

    /// What only a cluster has. To take it and then run alone would be worse than to refuse it.
    fn refuse_doors(&mut self) {
        if let Some(setting) = self.settings.get("doors")
            && setting.words.iter().any(|word| !word.is_empty() && word != "none")
        {
            let setting = setting.clone();
            let allowed = "none: this build has no doors but the native ones, which --http and --grpc move";
            self.wrong::<()>("doors", &setting, allowed);
        }
    }

    fn refuse_open_doors(
        &mut self,
        http: Option<SocketAddr>,
        grpc: Option<SocketAddr>,
        insecure: bool,
        is_guarded: bool,
    ) {
        if insecure || is_guarded {
            return;
        }
        for (name, address) in [("http", http), ("grpc", grpc)] {
            let Some(address) = address.filter(|address| !address.ip().is_loopback()) else { continue };
            self.rule(format!(
                "{name} = \"{address}\" is not a loopback address, so anybody who reaches it could do everything: \
                 give --token-file, --tls-cert and --tls-key, or say --insecure"
            ));
        }
    }

    /// Calls between nodes carry the cluster's secret: beyond loopback nobody may read along.
    fn refuse_open_peers(&mut self, cluster: Option<&Cluster>, is_allowed: bool) {
        let Some(cluster) = cluster.filter(|_| !is_allowed) else { return };
        for (name, address) in [("peer", cluster.peer), ("gossip", cluster.gossip)] {
            if !address.ip().is_loopback() {
                self.rule(format!(
                    "{name} = \"{address}\" is not a loopback address, and what nodes tell each other would go there in \
                     clear: give --tls-cert and --tls-key, or say --insecure"
                ));
            }
        }
    }

    fn refuse_shared(
        &mut self,
        http: Option<SocketAddr>,
        grpc: Option<SocketAddr>,
        store: Option<&Store>,
        log: Option<&Log>,
    ) {
        if let (Some(http), Some(grpc)) = (http, grpc)
            && http.port() != 0
            && http.port() == grpc.port()
            && (http.ip() == grpc.ip() || is_any(http.ip()) || is_any(grpc.ip()))
        {
            self.rule(format!("http = \"{http}\" and grpc = \"{grpc}\" can't share a port"));
        }
        if let (Some(Store::Sqlite(store)), Some(Log::Local(log))) = (store, log)
            && store == log
        {
            self.rule(format!("store and log are both in {}: each needs a file of its own", store.display()));
        }
    }

    fn logging(&mut self) -> Option<Logging> {
        let json = self.choice("log_format").map(|word| word == "json");
        let allowed = "error, warn, info, debug, trace, off, or directives such as warn,compute=debug";
        let filter = self.parsed("log_level", allowed, |word| EnvFilter::try_new(word).ok().map(|_| word.to_owned()));
        Some(Logging { json: json?, filter: filter? })
    }

    fn choice(&mut self, name: &str) -> Option<String> {
        let Kind::Word(allowed) = keys::find(name)?.kind else { return None };
        let words = allowed.join(" or ");
        self.parsed(name, &words, |word| allowed.contains(&word).then(|| word.to_owned()))
    }

    fn check_allow(&mut self) -> Option<Vec<IpNet>> {
        let setting = self.settings.get("check_allow")?.clone();
        let mut networks = Vec::new();
        for word in setting.words.iter().filter(|word| !word.is_empty()) {
            match word.parse::<IpNet>().or_else(|_| word.parse::<IpAddr>().map(IpNet::from)) {
                Ok(network) if is_link_local(network) => {
                    let allowed = format!("no link-local network such as {network}: those are never probed");
                    return self.wrong("check_allow", &setting, allowed);
                }
                Ok(network) => networks.push(network),
                Err(_) => return self.wrong("check_allow", &setting, "networks such as 10.0.0.0/8 or fc00::/7"),
            }
        }
        Some(networks)
    }

    /// What the HTTP listener is called. Beyond loopback it may be any name that somebody's network has for it, and who
    /// opened it there has said that it is not guarded.
    fn hosts(&mut self, http: SocketAddr) -> Option<Hosts> {
        let Some(setting) = self.settings.get("allow_host").cloned() else {
            return Some(if http.ip().is_loopback() { Hosts::Named(Vec::new()) } else { Hosts::Any });
        };
        let names: Vec<&str> = setting.words.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
        if names.contains(&"*") {
            return Some(Hosts::Any);
        }
        if names.iter().all(|name| Hosts::is_name(name)) {
            return Some(Hosts::Named(names.into_iter().map(Into::into).collect()));
        }
        self.wrong("allow_host", &setting, "host names without a port, such as thuban.example, or *")
    }

    fn listen(&mut self) -> Option<gateway::listen::Config> {
        let base = gateway::listen::Config::default();
        let connections_max = self.count("connections_max");
        let header_bytes_max = self.count("header_bytes_max");
        let headers_max = self.count("headers_max");
        let head_timeout = self.millis("head_timeout_ms");
        let idle_timeout = self.millis("idle_timeout_ms");
        let streams_max = self.count("streams_max").and_then(|count| u32::try_from(count).ok());
        let drain_timeout = self.millis("drain_timeout_ms");
        let unread_timeout = self.millis("unread_timeout_ms");
        let (unsent, share) = (self.count("unsent_bytes_max"), self.count("connection_unsent_bytes_max"));
        let reread = self.millis("reread_ms");
        Some(gateway::listen::Config {
            connections_max: connections_max?,
            header_bytes_max: header_bytes_max?,
            headers_max: headers_max?,
            head_timeout: head_timeout?,
            idle_timeout: idle_timeout?,
            streams_max: streams_max?,
            drain_timeout: drain_timeout?,
            unread_timeout: unread_timeout?,
            unsent: Budget::of_unsent_bytes(unsent?, share?),
            reread: reread?,
            ..base
        })
    }

    fn admission(&mut self, tokens: Option<PathBuf>) -> Option<gateway::admission::Config> {
        let in_flight_max = self.count("requests_max");
        let writes_max = self.count("writes_max");
        let renewals_max = self.count("renewals_max");
        let waiting_max = self.count("waiting_max");
        let bodies = self.bodies();
        let watched_names_max = self.count("watched_names_max");
        let connection_names_max = self.count("connection_names_max");
        let reread = self.settings.get("reread_ms").and_then(|setting| setting.words.last()?.parse().ok());
        Some(gateway::admission::Config {
            tokens,
            in_flight_max: in_flight_max?,
            writes_max: writes_max?,
            renewals_max: renewals_max?,
            waiting_max: waiting_max?,
            bodies: bodies?,
            watched_names_max: watched_names_max?,
            connection_names_max: connection_names_max?,
            reread: Duration::from_millis(reread?),
        })
    }

    fn bodies(&mut self) -> Option<BodyLimits> {
        let (unfinished_max, share_max) = (self.count("bodies_max"), self.count("connection_bodies_max"));
        let (bytes_max, grace) = (self.count("body_bytes_max"), self.millis("body_grace_ms"));
        let bytes_per_second = self.count("body_bytes_per_second");
        Some(BodyLimits {
            unfinished_max: unfinished_max?,
            share_max: share_max?,
            bytes_max: bytes_max?,
            grace: grace?,
            bytes_per_second: bytes_per_second?,
        })
    }

    fn node(&mut self) -> Option<compute::node::Config> {
        let name = self.node_name();
        let probes_max = self.count("probes_max");
        let unlanded_max = self.count("unlanded_max");
        let sessions_max = self.count("sessions_max");
        let entries_max = self.number("selected_entries_max");
        let bytes_max = self.number("selected_bytes_max");
        Some(compute::node::Config {
            name: name?.into(),
            selected: SelectedLimits { entries_max: entries_max?, bytes_max: bytes_max? },
            unlanded_max: unlanded_max?,
            probes_max: probes_max?,
            sessions_max: sessions_max?,
            ..compute::node::Config::default()
        })
    }

    fn node_name(&mut self) -> Option<String> {
        let allowed = format!("1 to {NODE_NAME_BYTES_MAX} bytes of letters, digits and . - _ : @");
        let is_name = |name: &str| {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:@".contains(&byte);
            (1..=NODE_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_part) && name != "." && name != ".."
        };
        if self.settings.get("node_name").is_some() {
            return self.parsed("node_name", &allowed, |word| is_name(word).then(|| word.to_owned()));
        }
        Some(host_name().filter(|name| is_name(name)).unwrap_or_else(|| "thuban".to_owned()))
    }
}

/// Also what was found is a default: shown by `config print`.
pub(super) fn default_data_dir(environment: &Environment) -> Option<PathBuf> {
    let stated = environment.text("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || environment.text("HOME").map(|home| Path::new(home).join(".local/share"));
    stated.or_else(home).map(|base| base.join("thuban"))
}

pub(super) fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned())
}

fn is_file(file: &std::fs::File) -> std::io::Result<()> {
    let is_folder = file.metadata()?.is_dir();
    if is_folder { Err(std::io::ErrorKind::IsADirectory.into()) } else { Ok(()) }
}

/// Nothing in it is ever probed, whatever is allowed; a larger network around it may be named.
fn is_link_local(network: IpNet) -> bool {
    match network.network().to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn is_any(ip: IpAddr) -> bool {
    ip.is_unspecified()
}
