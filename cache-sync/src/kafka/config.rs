//! Where the topic is, and with which settings it is spoken to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::error::ConfigError;
use super::settings;

const TOPIC_BYTES_MAX: usize = 249;
const BROKERS_MAX: usize = 64;
const PORT_DEFAULT: u16 = 9092;

/// Where the log is. Made by [`Config::parse`] alone, so that every one is of settings that the log can rest on.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    brokers: String,
    topic: String,
    settings: BTreeMap<String, String>,
    /// Copies of a topic that has to be made; `None`: as many as the broker makes by default.
    pub replication_factor: Option<u16>,
    /// Most bytes, encoded, of recent frames that are kept in memory for readers.
    pub tail_bytes_max: usize,
    /// Longest wait for one answer of the brokers: bounds, an old frame, a trim.
    pub answer_wait_max: Duration,
    /// Longest wait for all that connecting takes.
    pub connect_wait_max: Duration,
}

impl Config {
    pub const TAIL_BYTES_MAX_DEFAULT: usize = 8 * 1024 * 1024;
    pub const ANSWER_WAIT_MAX_DEFAULT: Duration = Duration::from_secs(2);
    pub const CONNECT_WAIT_MAX_DEFAULT: Duration = Duration::from_secs(15);

    /// From `kafka://host:port[,host:port...]/topic` and settings of librdkafka, which are passed on as they are, but
    /// for those that the log's correctness rests on.
    pub fn parse(address: &str, settings: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let wrong = |why: String| ConfigError::Address { why };
        let rest = address.strip_prefix("kafka://").ok_or_else(|| wrong("it does not begin with kafka://".into()))?;
        let (brokers, topic) = rest.split_once('/').ok_or_else(|| wrong("it names no topic".into()))?;
        let brokers = parse_brokers(brokers).map_err(wrong)?;
        check_topic(topic).map_err(wrong)?;
        settings::check(settings)?;
        let config = Self {
            brokers,
            topic: topic.to_owned(),
            settings: settings.clone(),
            replication_factor: None,
            tail_bytes_max: Self::TAIL_BYTES_MAX_DEFAULT,
            answer_wait_max: Self::ANSWER_WAIT_MAX_DEFAULT,
            connect_wait_max: Self::CONNECT_WAIT_MAX_DEFAULT,
        };
        settings::try_all(&config)?;
        Ok(config)
    }

    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    pub(super) fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kafka://{}/{}", self.brokers, self.topic)
    }
}

/// No password is printed.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.settings.iter().map(|(name, value)| (name, settings::shown(name, value)));
        f.debug_struct("Config")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("settings", &shown.collect::<BTreeMap<_, _>>())
            .field("replication_factor", &self.replication_factor)
            .field("tail_bytes_max", &self.tail_bytes_max)
            .field("answer_wait_max", &self.answer_wait_max)
            .field("connect_wait_max", &self.connect_wait_max)
            .finish()
    }
}

fn parse_brokers(text: &str) -> Result<String, String> {
    if text.contains('@') {
        return Err("it holds a user or a password, which belong into the settings sasl.username and \
                    sasl.password"
            .into());
    }
    let brokers: Vec<&str> = text.split(',').collect();
    if brokers.len() > BROKERS_MAX {
        return Err(format!("it names {} brokers, of which at most {BROKERS_MAX} are allowed", brokers.len()));
    }
    let brokers: Result<Vec<String>, String> = brokers.into_iter().map(broker).collect();
    Ok(brokers?.join(","))
}

/// One `host:port`, made whole.
fn broker(text: &str) -> Result<String, String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(|| format!("broker `{text}` has no closing bracket"))?;
            host.parse::<std::net::Ipv6Addr>()
                .map_err(|_| format!("broker `{text}` has brackets around no address"))?;
            match port {
                "" => (format!("[{host}]"), None),
                port => {
                    let port = port.strip_prefix(':').ok_or_else(|| format!("broker `{text}` is not HOST:PORT"))?;
                    (format!("[{host}]"), Some(port))
                }
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port)),
            None => (text.to_owned(), None),
        },
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
    if host.is_empty() || host.len() > 253 || !host.chars().all(is_plain) {
        return Err(format!("broker `{text}` has no usable host"));
    }
    let port = match port {
        None => PORT_DEFAULT,
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => return Err(format!("broker `{text}` has no usable port: 1 to 65535 are allowed")),
        },
    };
    Ok(format!("{host}:{port}"))
}

fn check_topic(topic: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if topic.is_empty() || topic.len() > TOPIC_BYTES_MAX || topic == "." || topic == ".." {
        return Err(format!("its topic has {} characters, of which 1 to {TOPIC_BYTES_MAX} are allowed", topic.len()));
    }
    if !topic.chars().all(is_plain) {
        return Err(format!("its topic `{topic}` has characters other than letters, digits, `.`, `_` and `-`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
