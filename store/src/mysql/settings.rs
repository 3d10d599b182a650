//! Where the server is and how it is spoken to, from one address. No error here shows the address: it has the password
//! in it.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};

const PORT: u16 = 3306;
/// As the servers have it.
const DATABASE_BYTES_MAX: usize = 64;
const CONNECTIONS: usize = 8;
/// One writes, one holds the mark while a load begins, one reads.
const CONNECTIONS_MIN: usize = 3;
const CONNECTIONS_MAX: usize = 64;
const CONNECT_MS: u64 = 5_000;
const STATEMENT_MS: u64 = 10_000;
const IDLE_MS: u64 = 10_000;
/// The servers count locks and idle time in seconds, and a lock must end before its statement does.
const LIMIT_MS_MIN: u64 = 2_000;
const LIMIT_MS_MAX: u64 = 600_000;

/// `mysql://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE&...`; what has another meaning in an address is written
/// `%XX`. Options: `ssl-mode` (`disabled`, `preferred`, `required`, `verify-ca`, `verify-identity`), `ssl-ca`,
/// `ssl-cert`, `ssl-key` (files), `connections`, `connect-timeout-ms`, `statement-timeout-ms`, `idle-timeout-ms`.
#[derive(Clone)]
pub struct Settings {
    pub host: String,
    pub port: u16,
    pub user: String,
    /// Shown by nothing here.
    pub password: Option<String>,
    pub database: String,
    pub tls: Tls,
    pub limits: Limits,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tls {
    pub mode: TlsMode,
    /// Trusted beside those that the system trusts.
    pub ca: Option<PathBuf>,
    /// What this client shows, with its key.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

impl Tls {
    /// Which of its files can't be read, and why.
    pub(super) fn are_there(&self) -> Result<(), String> {
        if self.mode == TlsMode::Disabled {
            return Ok(());
        }
        for (option, file) in [("ssl-ca", &self.ca), ("ssl-cert", &self.certificate), ("ssl-key", &self.key)] {
            if let Some(file) = file {
                File::open(file).map_err(|error| format!("{option} {}: {error}", file.display()))?;
            }
        }
        Ok(())
    }
}

/// As MySQL's own clients name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TlsMode {
    Disabled,
    /// When the server offers it, whoever the server is.
    #[default]
    Preferred,
    Required,
    /// And the certificate is of an authority that is trusted.
    VerifyCa,
    /// And it is of this host.
    VerifyIdentity,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    pub connections: usize,
    /// From the first packet to a session that can be used.
    pub connect: Duration,
    /// For each statement, the commit too. Half of it is how long a statement may wait for a lock.
    pub statement: Duration,
    /// After so long without a statement the server ends a session, and with it a transaction whose node has died or
    /// stands still.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            connect: Duration::from_millis(CONNECT_MS),
            statement: Duration::from_millis(STATEMENT_MS),
            idle: Duration::from_millis(IDLE_MS),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("the store's address is not mysql://user:password@host:port/database")]
    Scheme,
    #[error("the store's address has no {0}: mysql://user:password@host:port/database")]
    Missing(&'static str),
    #[error(
        "the store's address has an @ too many: in a user, password or database write %40 for @, %2F for /, %3F for ?"
    )]
    At,
    #[error("{0} of the store's address: % must be followed by two hex digits (write %25 for %), as UTF-8")]
    Encoding(&'static str),
    #[error("{field} of the store's address is {value:?}: {allowed}")]
    Invalid { field: &'static str, value: String, allowed: &'static str },
    #[error("the store's address has an unknown option {0:?}: {OPTIONS}")]
    UnknownOption(String),
}

const OPTIONS: &str = "ssl-mode, ssl-ca, ssl-cert, ssl-key, connections, connect-timeout-ms, statement-timeout-ms, \
                       idle-timeout-ms are known";

impl FromStr for Settings {
    type Err = SettingsError;

    fn from_str(address: &str) -> Result<Self, SettingsError> {
        let rest = address.strip_prefix("mysql://").ok_or(SettingsError::Scheme)?;
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        // Also a password that was not encoded: its / or ? ends the authority before the host.
        if database.contains('@') || options.contains('@') || authority.matches('@').count() > 1 {
            return Err(SettingsError::At);
        }
        let (who, server) = authority.split_once('@').ok_or(SettingsError::Missing("user"))?;
        let (user, password) = match who.split_once(':') {
            Some((user, password)) => (user, Some(decoded("the password", password)?)),
            None => (who, None),
        };
        let (host, port) = host_and_port(server)?;
        let mut settings = Self {
            host,
            port,
            user: present("user", decoded("the user", user)?)?,
            password,
            database: present("database", decoded("the database", database)?)?,
            tls: Tls::default(),
            limits: Limits::default(),
        };
        let fits = settings.database.len() <= DATABASE_BYTES_MAX && !settings.database.contains(['\0', '/']);
        if !fits {
            let allowed = "at most 64 bytes, without /";
            return Err(SettingsError::Invalid { field: "the database", value: settings.database, allowed });
        }
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            settings.set(name, decoded("an option", value)?)?;
        }
        if settings.tls.certificate.is_some() != settings.tls.key.is_some() {
            return Err(SettingsError::Missing("ssl-key or ssl-cert: they go together"));
        }
        Ok(settings)
    }
}

fn present(what: &'static str, value: String) -> Result<String, SettingsError> {
    if value.is_empty() { Err(SettingsError::Missing(what)) } else { Ok(value) }
}

fn decoded(field: &'static str, text: &str) -> Result<String, SettingsError> {
    let hex = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
    if text.match_indices('%').any(|(at, _)| !hex(at + 1) || !hex(at + 2)) {
        return Err(SettingsError::Encoding(field));
    }
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| SettingsError::Encoding(field))?;
    Ok(decoded.into_owned())
}

fn host_and_port(server: &str) -> Result<(String, u16), SettingsError> {
    let (host, port) = match server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (address, None),
        Some((address, port)) => (address, Some(port.strip_prefix(':').unwrap_or("?"))),
        None => server.split_once(':').map_or((server, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        None => PORT,
        Some(text) => text.parse().ok().filter(|port| *port > 0).ok_or_else(|| SettingsError::Invalid {
            field: "the port",
            value: text.to_owned(),
            allowed: "1 to 65535 (an IPv6 address stands in [ ])",
        })?,
    };
    Ok((present("host", host.to_owned())?, port))
}

impl Settings {
    fn set(&mut self, name: &str, value: String) -> Result<(), SettingsError> {
        let file = |value: String| present("file", value).map(PathBuf::from).map(Some);
        match name {
            "ssl-mode" => self.tls.mode = tls_mode(value)?,
            "ssl-ca" => self.tls.ca = file(value)?,
            "ssl-cert" => self.tls.certificate = file(value)?,
            "ssl-key" => self.tls.key = file(value)?,
            "connections" => {
                let fits = |n: &usize| (CONNECTIONS_MIN..=CONNECTIONS_MAX).contains(n);
                self.limits.connections = value.parse().ok().filter(fits).ok_or(SettingsError::Invalid {
                    field: "option connections",
                    value,
                    allowed: "3 to 64",
                })?;
            }
            "connect-timeout-ms" => self.limits.connect = limit("option connect-timeout-ms", value)?,
            "statement-timeout-ms" => self.limits.statement = limit("option statement-timeout-ms", value)?,
            "idle-timeout-ms" => self.limits.idle = limit("option idle-timeout-ms", value)?,
            // Of the name only what can't be a part of a password that was not encoded.
            other => return Err(SettingsError::UnknownOption(other.chars().take(32).collect())),
        }
        Ok(())
    }

    /// For the driver. What it would set up in a session by itself is left to [`super::connections`].
    pub(super) fn options(&self) -> MySqlConnectOptions {
        let mut options = MySqlConnectOptions::new()
            .host(&self.host)
            .port(self.port)
            .username(&self.user)
            .database(&self.database)
            .ssl_mode(match self.tls.mode {
                TlsMode::Disabled => MySqlSslMode::Disabled,
                TlsMode::Preferred => MySqlSslMode::Preferred,
                TlsMode::Required => MySqlSslMode::Required,
                TlsMode::VerifyCa => MySqlSslMode::VerifyCa,
                TlsMode::VerifyIdentity => MySqlSslMode::VerifyIdentity,
            })
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .timezone(None)
            .set_names(false);
        if let Some(password) = &self.password {
            options = options.password(password);
        }
        if let Some(ca) = &self.tls.ca {
            options = options.ssl_ca(ca);
        }
        if let (Some(certificate), Some(key)) = (&self.tls.certificate, &self.tls.key) {
            options = options.ssl_client_cert(certificate).ssl_client_key(key);
        }
        options
    }
}

fn tls_mode(value: String) -> Result<TlsMode, SettingsError> {
    Ok(match value.as_str() {
        "disabled" => TlsMode::Disabled,
        "preferred" => TlsMode::Preferred,
        "required" => TlsMode::Required,
        "verify-ca" => TlsMode::VerifyCa,
        "verify-identity" => TlsMode::VerifyIdentity,
        _ => {
            let allowed = "disabled, preferred, required, verify-ca or verify-identity";
            return Err(SettingsError::Invalid { field: "option ssl-mode", value, allowed });
        }
    })
}

fn limit(field: &'static str, value: String) -> Result<Duration, SettingsError> {
    let fits = |ms: &u64| (LIMIT_MS_MIN..=LIMIT_MS_MAX).contains(ms);
    let ms = value.parse().ok().filter(fits);
    let allowed = "2000 to 600000 milliseconds";
    ms.map(Duration::from_millis).ok_or(SettingsError::Invalid { field, value, allowed })
}

/// As it may be shown.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "mysql://{}@{open}{}{close}:{}/{}", self.user, self.host, self.port, self.database)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings({self}, {:?}, {:?})", self.tls, self.limits)
    }
}

#[cfg(test)]
mod tests;
