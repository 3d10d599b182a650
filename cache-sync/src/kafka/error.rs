//! What can be wrong with a configuration, and why a topic is not opened.

use compute::model::{LogGeneration, LogIdentity};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Why a configuration is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The address is not repeated: it could hold a password.
    #[error("the address of the kafka log: {why}; allowed: kafka://HOST:PORT[,HOST:PORT...]/TOPIC")]
    Address { why: String },
    #[error("kafka setting {name} = {value}; allowed: {allowed}")]
    Setting { name: String, value: String, allowed: String },
    #[error(
        "kafka setting {name} = {value} needs TLS, which this program was built without; allowed: {allowed}, or a \
         build with feature kafka-tls"
    )]
    NeedsTls { name: String, value: String, allowed: String },
    #[error("kafka setting {name} = {value}: {why}")]
    Rejected { name: String, value: String, why: String },
}

/// Why a topic is not opened. Only [`Away`](Self::Away) may pass by waiting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the change log {log} does not answer: {why}; is a broker running at {brokers}?")]
    Away { log: String, brokers: String, why: String },
    #[error("topic {topic} is not there and can not be made: {why}; make it: {command}")]
    NotMade { topic: String, why: String, command: String },
    #[error("topic {topic} has {found} partitions; allowed: 1, for one log has one order; name another topic")]
    Partitions { topic: String, found: usize },
    #[error("topic {topic} has {setting} = {found}; allowed: {allowed}, for {reason}; change it: {command}")]
    Setting {
        topic: Box<str>,
        setting: &'static str,
        found: Box<str>,
        allowed: Box<str>,
        reason: &'static str,
        command: Box<str>,
    },
    #[error("topic {topic} can't be read as a change log: the record at offset {offset}: {why}")]
    NotALog { topic: String, offset: u64, why: String },
    #[error(
        "topic {topic} is log {}, generation {}, and not log {}, generation {}",
        found.0, found.1, wanted.0, wanted.1
    )]
    OtherLog { topic: String, found: (LogIdentity, LogGeneration), wanted: (LogIdentity, LogGeneration) },
    #[error(
        "topic {topic} holds two logs: it begins as log {}, generation {}, and ends as log {}, generation {}",
        first.0, first.1, last.0, last.1
    )]
    TwoLogs { topic: String, first: (LogIdentity, LogGeneration), last: (LogIdentity, LogGeneration) },
    #[error("generation {found}; allowed: 1 to 127")]
    Generation { found: LogGeneration },
    #[error("the log in topic {topic} is unusable: {why}")]
    Unusable { topic: String, why: String },
    #[error("the topic {topic} could not be emptied: {why}")]
    NotEmptied { topic: String, why: String },
}

/// The code of an error that came from a broker or from the client library, and what it says.
pub(super) fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    error.rdkafka_error_code()
}

/// An error in few words.
pub(super) fn why(error: &KafkaError) -> String {
    match code(error) {
        Some(code) => code.to_string(),
        None => error.to_string(),
    }
}
