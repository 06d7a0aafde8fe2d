//! A minimal HTTP/1.1 client on blocking sockets, with a source address of its own and a time limit.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, ipproto, socket_with};

/// The longest answer in bytes.
const MAX_ANSWER: usize = 64 << 20;

/// A client of a server on this machine. It sends one request after the other on a connection that it keeps alive.
pub(crate) struct Client {
    port: u16,
    source: Ipv4Addr,
    limit: Duration,
    stream: Option<TcpStream>,
}

/// An answer.
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The whole body.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// A client that connects from this address of 127.0.0.0/8 and waits at most `limit` for each answer.
    pub(crate) fn new(port: u16, source: Ipv4Addr, limit: Duration) -> Self {
        Self { port, source, limit, stream: None }
    }

    /// Sends a request and reads its answer, on a new connection if there is none.
    ///
    /// # Errors
    /// The connection fails, the time limit passes, or the answer is malformed. The next request opens a new connection.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => dial(self.port, self.source, self.limit, None)?,
        };
        stream.write_all(request)?;
        let (answer, keep) = read(&mut stream)?;
        if keep {
            self.stream = Some(stream);
        }
        Ok(answer)
    }

    /// Closes the connection; the next request opens a new one.
    pub(crate) fn hang_up(&mut self) {
        self.stream = None;
    }
}

/// Connects from this address. `limit` bounds connecting, each read and each write; `buffer` sets the size of the receive buffer.
///
/// # Errors
/// The server does not listen, or does not accept within the limit.
pub(crate) fn dial(port: u16, source: Ipv4Addr, limit: Duration, buffer: Option<usize>) -> Result<TcpStream> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP))?;
    // Linux applies the send timeout to connecting too.
    set_socket_timeout(&socket, Timeout::Send, Some(limit))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(limit))?;
    if let Some(bytes) = buffer {
        set_socket_recv_buffer_size(&socket, bytes)?;
    }
    bind(&socket, &SocketAddrV4::new(source, 0))?;
    connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).context("no connection")?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A request without a body, or with one of JSON.
pub(crate) fn request(verb: &str, path: &str, token: Option<&str>, body: Option<&str>) -> Vec<u8> {
    with_body(verb, path, token, body.map(|body| ("application/json", body.as_bytes())))
}

/// A request with a body of any kind.
pub(crate) fn with_body(verb: &str, path: &str, token: Option<&str>, body: Option<(&str, &[u8])>) -> Vec<u8> {
    let mut text = format!("{verb} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n");
    if let Some(token) = token {
        text.push_str(&format!("authorization: Bearer {token}\r\n"));
    }
    if let Some((kind, body)) = body {
        text.push_str(&format!("content-type: {kind}\r\ncontent-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body.map_or(&[], |(_, body)| body));
    bytes
}

/// The whole answer, and whether the connection may be used again.
fn read(stream: &mut TcpStream) -> Result<(Answer, bool)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = find(&bytes, b"\r\n\r\n") {
            break end;
        }
        if more(stream, &mut bytes)? == 0 {
            bail!("the connection was closed before an answer");
        }
    };
    let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).to_ascii_lowercase();
    let status = head.get(9..12).and_then(|status| status.parse().ok()).context("the answer has no status")?;
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let keep = header("connection:") != Some("close");
    let mut body = bytes.split_off(end + 4);
    if header("transfer-encoding:") == Some("chunked") {
        loop {
            if let Some(body) = unchunk(&body)? {
                return Ok((Answer { status, body }, keep));
            }
            if more(stream, &mut body)? == 0 {
                bail!("the connection was closed within an answer");
            }
        }
    }
    let length = match header("content-length:") {
        Some(length) => length.parse().context("a length that is no number")?,
        None if status == 204 || status == 304 => 0,
        None => bail!("the answer does not tell its length"),
    };
    if length > MAX_ANSWER {
        bail!("an answer of {length} bytes");
    }
    while body.len() < length {
        if more(stream, &mut body)? == 0 {
            bail!("the connection was closed within an answer");
        }
    }
    Ok((Answer { status, body }, keep))
}

/// Reads the bytes at hand; 0 at the end of the stream.
fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<usize> {
    let mut piece = [0; 16 << 10];
    let read = stream.read(&mut piece)?;
    bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
    if bytes.len() > MAX_ANSWER {
        bail!("an answer of more than {MAX_ANSWER} bytes");
    }
    Ok(read)
}

/// The body of these chunks once the last one has arrived.
fn unchunk(mut bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let Some(end) = find(bytes, b"\r\n") else { return Ok(None) };
        let (line, rest) = bytes.split_at(end);
        let size = std::str::from_utf8(line).ok().and_then(|line| usize::from_str_radix(line.trim(), 16).ok());
        let size = size.context("a chunk without a size")?;
        let Some(chunk) = rest.get(2..2 + size) else { return Ok(None) };
        if size == 0 {
            return Ok((rest.len() >= 4).then_some(body));
        }
        body.extend_from_slice(chunk);
        let Some(next) = rest.get(4 + size..) else { return Ok(None) };
        bytes = next;
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_read_once_all_are_there() {
        let whole = b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n";
        assert_eq!(unchunk(whole).unwrap().unwrap(), b"hello!");
        for end in 0..whole.len() {
            assert_eq!(unchunk(&whole[..end]).unwrap(), None, "{end}");
        }
        assert!(unchunk(b"x\r\n").is_err());
    }

    #[test]
    fn a_request_says_how_long_its_body_is() {
        let text = String::from_utf8(request("POST", "/a", Some("t"), Some("{}"))).unwrap();
        assert!(
            text.contains("authorization: Bearer t\r\n") && text.ends_with("content-length: 2\r\n\r\n{}"),
            "{text}"
        );
        assert_eq!(request("GET", "/", None, None), b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
    }
}
