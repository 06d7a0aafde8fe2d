//! As much of HTTP/1.1 as measuring needs: one answer after the other on a connection that stays open.

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Heads of answers are shorter.
const MAX_HEAD: usize = 16 << 10;

/// Bodies of answers are shorter.
const MAX_BODY: usize = 1 << 20;

/// The first lines of an answer, as far as they matter.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Bytes until the body begins.
    head: usize,
    /// Bytes of the body.
    body: usize,
}

/// A connection with what was read from it and not yet used.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

/// One answer. It borrows the connection's buffer.
pub(crate) struct Answer<'c> {
    /// The status.
    pub(crate) status: u16,
    /// The whole body.
    pub(crate) body: &'c [u8],
}

impl Connection {
    /// Connects to a port of this machine.
    ///
    /// # Errors
    /// Nothing listens there.
    pub(crate) async fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 4096], filled: 0 })
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// The connection was closed, or what came back is no answer with a length.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.filled = 0;
        let head = loop {
            self.fill().await?;
            if let Some(head) = parse(self.buffer.get(..self.filled).unwrap_or_default())? {
                break head;
            }
        };
        let end = head.head + head.body;
        while self.filled < end {
            self.fill().await?;
        }
        if self.filled > end {
            bail!("more than one answer came back");
        }
        Ok(Answer { status: head.status, body: self.buffer.get(head.head..end).unwrap_or_default() })
    }

    async fn fill(&mut self) -> Result<()> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.filled * 2, 0);
        }
        let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
        match self.stream.read(room).await? {
            0 => bail!("the connection was closed in the middle"),
            read => self.filled += read,
        }
        Ok(())
    }
}

/// The head, where it is complete.
fn parse(bytes: &[u8]) -> Result<Option<Head>> {
    const LENGTH: &[u8] = b"content-length:";
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        if bytes.len() > MAX_HEAD {
            bail!("the answer has no end of its head");
        }
        return Ok(None);
    };
    let mut lines = bytes.get(..end).unwrap_or_default().split(|byte| *byte == b'\n');
    let first = lines.next().and_then(|line| line.strip_prefix(b"HTTP/1.1 ")).and_then(|line| line.get(..3));
    let status: u16 = number(first.context("the answer has no status")?)?;
    let length = lines.find(|line| line.get(..LENGTH.len()).is_some_and(|name| name.eq_ignore_ascii_case(LENGTH)));
    let body = match length {
        Some(line) => number(line.get(LENGTH.len()..).unwrap_or_default())?,
        None if status == 204 => 0,
        None => bail!("the answer does not tell its length"),
    };
    if body > MAX_BODY {
        bail!("the answer has {body} bytes");
    }
    Ok(Some(Head { status, head: end + 4, body }))
}

/// The status and the body of an answer that has arrived as a whole.
///
/// # Errors
/// It is no answer with a length.
pub(crate) fn whole(bytes: &[u8]) -> Result<Option<(u16, &[u8])>> {
    let Some(head) = parse(bytes)? else { return Ok(None) };
    Ok(bytes.get(head.head..head.head + head.body).map(|body| (head.status, body)))
}

fn number<N: std::str::FromStr>(text: &[u8]) -> Result<N> {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
    parsed.with_context(|| format!("{:?} is no number", String::from_utf8_lossy(text)))
}

/// A request without a body, or with one of JSON.
pub(crate) fn request(verb: &str, path: &str, token: Option<&str>, body: Option<&str>) -> Vec<u8> {
    let mut text = format!("{verb} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n");
    if let Some(token) = token {
        text.push_str(&format!("authorization: Bearer {token}\r\n"));
    }
    if let Some(body) = body {
        text.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body.unwrap_or_default());
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_complete() {
        let answer = b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(parse(&answer[..44]).unwrap(), None);
        assert_eq!(parse(answer).unwrap(), Some(Head { status: 200, head: 46, body: 5 }));
        let empty = b"HTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(parse(empty).unwrap(), Some(Head { status: 204, head: 27, body: 0 }));
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        assert!(parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n").is_err());
        assert!(parse(b"SSH-2.0-OpenSSH\r\n\r\n").is_err());
    }
}
