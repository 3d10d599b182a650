//! What an error of the server, or of the way to it, means to whoever called.

use std::io::ErrorKind;
use std::time::Duration;

use compute::port::store::{LandError, ReadError};
use rustls::CertificateError;
use sqlx::mysql::MySqlDatabaseError;

/// Why a call did not come to its end.
#[derive(Debug)]
pub(super) enum Trouble {
    Sql(sqlx::Error),
    /// No answer in this time. The server may still be at it.
    Late(Duration),
    /// So many connections are in use, and none came back in time.
    Crowded(usize),
    Closed,
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// The server does not answer, ends the connection, or takes no more of them.
    Away,
    /// Somebody holds a lock; the server has undone the transaction or the statement.
    Contended,
    Full,
    /// The server can't read what it has written.
    Corrupt,
    /// The tables are not those that this program made.
    Altered,
    /// Who, from where, with which password or privilege; the server's identity too.
    Denied,
    /// The server takes no writes.
    ReadOnly,
    Other,
}

impl Fault {
    pub(super) fn of(trouble: &Trouble) -> Self {
        match trouble {
            Trouble::Late(_) | Trouble::Crowded(_) | Trouble::Closed => Self::Away,
            Trouble::Sql(error) => Self::of_error(error),
        }
    }

    pub(super) fn of_error(error: &sqlx::Error) -> Self {
        match error {
            // The handshake of TLS reports so what it does not like about the other side.
            sqlx::Error::Io(io) if io.kind() == ErrorKind::InvalidData => Self::Denied,
            sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => Self::Denied,
            sqlx::Error::Database(told) => match told.try_downcast_ref::<MySqlDatabaseError>() {
                Some(told) => Self::of_number(told.number()),
                None => Self::Other,
            },
            sqlx::Error::ColumnNotFound(_) | sqlx::Error::ColumnDecode { .. } => Self::Altered,
            _ => Self::Away,
        }
    }

    fn of_number(number: u16) -> Self {
        match number {
            // Too many connections, shutdown, broken packets, ended or timed out by the server.
            1040 | 1053 | 1077 | 1129 | 1152 | 1158..=1161 | 1203 | 1226 | 1317 | 1927 | 1969 | 3024 | 4031 => {
                Self::Away
            }
            // Lock wait, table of locks, deadlock, changed since it was read.
            1205 | 1206 | 1213 | 1020 | 1614 | 3101 => Self::Contended,
            3 | 1021 | 1026 | 1114 => Self::Full,
            1017 | 1030 | 1033..=1035 | 1194 | 1195 | 1712 | 1932 => Self::Corrupt,
            1054 | 1051 | 1109 | 1136 | 1146 | 1264 | 1292 | 1364 | 1366 | 1406 => Self::Altered,
            // 1049: there is no such database. 3159: it wants TLS.
            1044 | 1045 | 1049 | 1130 | 1142 | 1143 | 1227 | 1251 | 1370 | 1698 | 1820 | 1862 | 3118 | 3159 | 4151 => {
                Self::Denied
            }
            1290 | 1792 | 1836 => Self::ReadOnly,
            _ => Self::Other,
        }
    }
}

/// In words: which database, what is wrong, what to do. Never with a password: no server repeats it.
pub(super) fn told(place: &str, trouble: &Trouble) -> String {
    let error = match trouble {
        Trouble::Late(limit) => return format!("{place} did not answer within {} ms", limit.as_millis()),
        Trouble::Crowded(limit) => return format!("{place}: all {limit} connections are in use"),
        Trouble::Closed => return format!("{place} is closed"),
        Trouble::Sql(error) => plain(error),
    };
    match Fault::of(trouble) {
        Fault::Away | Fault::Other => format!("{place}: {error}"),
        Fault::Contended => format!("{place} is busy, nothing was written: {error}"),
        Fault::Full => format!("no room for {place} ({error}): free space on its server's disk"),
        Fault::Corrupt => format!("{place} is damaged ({error}): restore it from a copy, and check the server's disk"),
        Fault::Altered => {
            format!("{place} has not the tables that it was made with ({error}): restore it from a copy")
        }
        Fault::Denied => format!("{place} can't be used: {error}{}", advice(trouble)),
        Fault::ReadOnly => format!("{place} takes no writes ({error}): name the server that does"),
    }
}

/// What to do about TLS, where that is what is wrong.
fn advice(trouble: &Trouble) -> &'static str {
    match trouble {
        Trouble::Sql(sqlx::Error::Tls(error)) if error.to_string() == "server does not support TLS" => {
            "; give it a certificate, or say ssl-mode=disabled if nobody can listen on the way"
        }
        Trouble::Sql(sqlx::Error::Io(io)) => match io.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                "; name the authority that it is of with ssl-ca=FILE"
            }
            Some(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => "; call the server by a name that its certificate has, or say ssl-mode=verify-ca",
            _ => "",
        },
        _ => "",
    }
}

/// The driver's words without the driver's own preface.
fn plain(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(told) => told.to_string(),
        sqlx::Error::Io(told) => told.to_string(),
        other => other.to_string(),
    }
}

/// Of a call that reads.
pub(super) fn read(place: &str, trouble: &Trouble) -> ReadError {
    match Fault::of(trouble) {
        Fault::Away | Fault::Contended | Fault::Full | Fault::Other => ReadError::Away(told(place, trouble)),
        Fault::Corrupt | Fault::Altered | Fault::Denied | Fault::ReadOnly => ReadError::Unusable(told(place, trouble)),
    }
}

/// Of anything before the commit was sent: the transaction ends with its connection, and nothing of it stays.
pub(super) fn refused(place: &str, trouble: &Trouble) -> LandError {
    LandError::Rejected(told(place, trouble))
}

/// Of the commit itself. A deadlock, which clusters find only then, undoes the transaction; of anything else the
/// servers do not say how far it came.
pub(super) fn commit(place: &str, trouble: &Trouble) -> LandError {
    match Fault::of(trouble) {
        Fault::Contended => LandError::Rejected(told(place, trouble)),
        _ => LandError::Unknown(told(place, trouble)),
    }
}

#[cfg(test)]
mod tests;
