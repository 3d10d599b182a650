//! Where presence is kept, and what a node needs beside that if it shares it with others.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use cache_sync::kafka;
use gateway::listen::Tls;
use gateway::peer::{self, Secret, Trust};
use store::mysql;

use super::check::Checking;

/// Where presence lands.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    Sqlite(PathBuf),
    Mysql(Box<mysql::Settings>),
}

/// The change log.
#[derive(Clone, Debug)]
pub(crate) enum Log {
    Local(PathBuf),
    Kafka(Box<kafka::Config>),
}

/// What only a node has that shares its log.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) peer: SocketAddr,
    pub(crate) gossip: SocketAddr,
    /// By which others reach this node; none: the addresses of the listeners.
    pub(crate) advertise: Option<String>,
    /// Gossip addresses of other nodes.
    pub(crate) join: Vec<String>,
    /// How nodes call each other.
    pub(crate) peers: peer::Config,
}

impl std::fmt::Display for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Mysql(settings) => {
                write!(f, "mysql://{}@{}:{}/{}", settings.user, settings.host, settings.port, settings.database)
            }
        }
    }
}

impl std::fmt::Display for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(path) => write!(f, "local:{}", path.display()),
            Self::Kafka(config) => write!(f, "kafka://{}/{}", config.brokers(), config.topic()),
        }
    }
}

const STORES: &str = "sqlite:PATH, or mysql://USER:PASSWORD@HOST:PORT/DATABASE";
const LOGS: &str = "local:PATH, or kafka://HOST:PORT[,HOST:PORT]/TOPIC";

impl Checking<'_> {
    pub(super) fn store(&mut self, data_dir: Option<&Path>) -> Option<Store> {
        let Some((setting, word)) = self.word("store") else {
            return data_dir.map(|dir| Store::Sqlite(dir.join("store.sqlite")));
        };
        let (setting, word) = (setting.clone(), word.to_owned());
        if word.starts_with("mysql:") {
            return match word.parse::<mysql::Settings>() {
                Ok(settings) => Some(Store::Mysql(Box::new(settings))),
                Err(error) => self.wrong("store", &setting, error.to_string()),
            };
        }
        match word.strip_prefix("sqlite:").and_then(file) {
            Some(path) => Some(Store::Sqlite(path)),
            None => self.wrong("store", &setting, STORES),
        }
    }

    pub(super) fn log(&mut self, data_dir: Option<&Path>) -> Option<Log> {
        let extra = self.settings.get("kafka_setting").cloned();
        let Some((setting, word)) = self.word("log") else {
            return data_dir.map(|dir| Log::Local(dir.join("log.sqlite")));
        };
        let (setting, word) = (setting.clone(), word.to_owned());
        if !word.starts_with("kafka:") {
            return match word.strip_prefix("local:").and_then(file) {
                Some(path) => Some(Log::Local(path)),
                None => self.wrong("log", &setting, LOGS),
            };
        }
        let mut settings = BTreeMap::new();
        for word in extra.iter().flat_map(|extra| &extra.words).filter(|word| !word.is_empty()) {
            let Some((name, value)) = word.split_once('=') else {
                return self.wrong("kafka_setting", &extra?, "NAME=VALUE in librdkafka's names");
            };
            settings.insert(name.trim().to_owned(), value.trim().to_owned());
        }
        match kafka::Config::parse(&word, &settings) {
            Ok(config) => Some(Log::Kafka(Box::new(config))),
            Err(error @ kafka::ConfigError::Address { .. }) => self.wrong("log", &setting, error.to_string()),
            Err(error) => self.wrong("kafka_setting", &extra?, error.to_string()),
        }
    }

    /// What goes with a log that others share, or does not go without one.
    pub(super) fn cluster(
        &mut self,
        store: Option<&Store>,
        log: Option<&Log>,
        tls: Option<&Tls>,
    ) -> Option<Option<Cluster>> {
        let (peer, gossip) = (self.address("peer"), self.address("gossip"));
        let advertise = self.settings.get("advertise").is_some();
        let advertise = if advertise { Some(self.host("advertise")?) } else { None };
        let join = self.settings.get("join").map(|setting| setting.words.clone()).unwrap_or_default();
        let join: Vec<_> = join.into_iter().filter(|word| !word.is_empty()).collect();
        if let Some(bad) = join.iter().find(|word| !is_host_and_port(word)) {
            let setting = self.settings.get("join")?.clone();
            let allowed = format!("gossip addresses such as 10.0.0.7:7803, not {bad:?}");
            return self.wrong("join", &setting, allowed);
        }
        if !matches!(log?, Log::Kafka(_)) {
            if let Some(setting) = self.settings.get("join").filter(|_| !join.is_empty()).cloned() {
                let allowed = "nothing while the log is a local: one, which belongs to one node; nodes of a cluster \
                               share a kafka: log and a mysql: store";
                return self.wrong("join", &setting, allowed);
            }
            return Some(None);
        }
        if matches!(store?, Store::Sqlite(_)) {
            self.rule(
                "log is a kafka: one, which nodes share, and store is a sqlite: one, which belongs to one node: give \
                 --store mysql://...",
            );
            return None;
        }
        let Some(secret) = self.readable("cluster_secret_file") else {
            if self.settings.get("cluster_secret_file").is_none() {
                self.rule(
                    "cluster_secret_file is not set: nodes that share a kafka: log call each other, and refuse who \
                     does not have their secret; make one with: head -c 32 /dev/urandom | base64 > FILE",
                );
            }
            return None;
        };
        let peers = self.peers(&secret, tls?)?;
        let (peer, gossip) = (peer?, gossip?);
        let is_everywhere = [peer, gossip].iter().any(|addr| addr.ip().is_unspecified());
        if is_everywhere && advertise.is_none() {
            self.rule(
                "peer or gossip listens on every address of this machine, and advertise is not set: the other nodes do \
                 not know which of them to call; give --advertise HOST",
            );
        }
        Some(Some(Cluster { peer, gossip, advertise, join, peers }))
    }

    /// With the secret that all nodes of the cluster have.
    fn peers(&mut self, file: &Path, tls: &Tls) -> Option<peer::Config> {
        let read = std::fs::read(file).map_err(|error| error.to_string());
        let secret = read.and_then(|secret| Secret::new(secret.trim_ascii()).map_err(|error| error.to_string()));
        let secret = match secret {
            Ok(secret) => secret,
            Err(why) => {
                let setting = self.settings.get("cluster_secret_file")?.clone();
                return self.wrong("cluster_secret_file", &setting, format!("a file with a secret ({why})"));
            }
        };
        let trust = match tls {
            Tls::Off => Trust::Plain,
            Tls::Files { certificate, .. } => Trust::Roots(certificate.clone()),
        };
        Some(peer::Config { trust, ..peer::Config::new(secret) })
    }

    fn host(&mut self, name: &str) -> Option<String> {
        let is_one =
            |word: &str| is_host(word) && !word.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified());
        self.parsed(name, "a host name or an IP address that others reach", |word| {
            is_one(word).then(|| word.to_owned())
        })
    }
}

fn file(path: &str) -> Option<PathBuf> {
    (!path.is_empty() && !path.contains('\0')).then(|| path.into())
}

fn is_host(word: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_name = (1..=253).contains(&word.len()) && word.bytes().all(is_part);
    is_name || word.parse::<std::net::IpAddr>().is_ok()
}

fn is_host_and_port(word: &str) -> bool {
    let named = || word.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && port.parse::<u16>().is_ok());
    word.parse::<SocketAddr>().is_ok() || named()
}
