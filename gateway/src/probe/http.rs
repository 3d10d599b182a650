//! `GET` of a path: 2xx is success. By hand, because only the status counts: the answer is not taken apart further, and
//! not a byte more is read than the limit.

use std::time::Duration;

use httparse::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::connect::{Target, words};
use super::{READ_BYTES_MAX, USER_AGENT};

/// Header lines that are looked over in search of an answer's end.
const HEADERS_MAX: usize = 64;
/// How long the rest of an answer is waited for, so that its sender does not meet a closed door.
const DRAIN: Duration = Duration::from_millis(100);

/// What the start of an answer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Head {
    /// Not enough to tell.
    Partial,
    /// The real answer comes behind so many bytes.
    Interim(usize),
    Final(u16),
    Garbage,
}

/// What may still come of an answer whose status is known.
pub(super) struct Rest {
    stream: TcpStream,
    bytes_max: usize,
}

pub(super) async fn get(mut stream: TcpStream, target: &Target<'_>, path: &str) -> Result<Rest, String> {
    if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the path of the check can't be asked for".to_owned());
    }
    let authority = target.authority();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(|error| words(&error))?;
    let (status, read) = status(&mut stream).await?;
    match status {
        200..=299 => Ok(Rest { stream, bytes_max: READ_BYTES_MAX - read }),
        300..=399 => Err(format!("status {status}: redirects are not followed")),
        _ => Err(format!("status {status}")),
    }
}

/// The status of the answer, and how much was read to know it.
async fn status(stream: &mut TcpStream) -> Result<(u16, usize), String> {
    let mut buffer = [0; READ_BYTES_MAX];
    let (mut start, mut filled) = (0, 0);
    loop {
        match head(&buffer[start..filled]) {
            Head::Final(status) => return Ok((status, filled)),
            Head::Interim(bytes) => start += bytes,
            Head::Garbage if is_tls(&buffer[..filled]) => return Err("answered in TLS, not in HTTP".to_owned()),
            Head::Garbage => return Err("answered, but not in HTTP/1".to_owned()),
            Head::Partial if filled == READ_BYTES_MAX => {
                return Err(format!("no status in the first {READ_BYTES_MAX} bytes"));
            }
            Head::Partial => match stream.read(&mut buffer[filled..]).await {
                Ok(0) if filled == 0 => return Err("closed without an answer".to_owned()),
                Ok(0) => return Err("closed in the middle of its answer".to_owned()),
                Ok(bytes) => filled += bytes,
                Err(error) => return Err(words(&error)),
            },
        }
    }
}

fn head(bytes: &[u8]) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes);
    // The reason is there when the line of the status is.
    let Some(code) = response.code.filter(|_| response.reason.is_some()) else {
        return if parsed.is_ok() { Head::Partial } else { Head::Garbage };
    };
    if !(100..200).contains(&code) || code == 101 {
        // The status is all that counts, whatever the lines behind it are like.
        return Head::Final(code);
    }
    match parsed {
        Ok(Status::Complete(bytes)) => Head::Interim(bytes),
        Ok(Status::Partial) => Head::Partial,
        Err(_) => Head::Garbage,
    }
}

/// Whether it begins like an alert or a handshake of TLS.
fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16, 0x03, ..])
}

impl Rest {
    /// Reads what comes, within the limits, and closes.
    pub(super) async fn drain(mut self) {
        let _ = tokio::time::timeout(DRAIN, self.read()).await;
    }

    async fn read(&mut self) {
        let mut buffer = [0; 512];
        while self.bytes_max > 0 {
            let part = self.bytes_max.min(buffer.len());
            match self.stream.read(&mut buffer[..part]).await {
                Ok(0) | Err(_) => return,
                Ok(bytes) => self.bytes_max -= bytes,
            }
        }
    }
}

#[cfg(test)]
mod tests;
