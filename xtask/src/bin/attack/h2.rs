//! A minimal HTTP/2 client that sends requests and does not take the answers: it sends literal headers, answers pings and
//! settings, and counts the frames that come back.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::client::dial;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The frame types that this client handles.
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// Their flags.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Bytes of a frame before its content.
const FRAME_HEAD: usize = 9;

/// A connection that follows the protocol and reads no answer.
pub(crate) struct Greedy {
    stream: TcpStream,
    input: Vec<u8>,
    next_id: u32,
    /// Answers whose head has arrived.
    pub(crate) answers: usize,
    /// Streams that the server has reset.
    pub(crate) resets: usize,
}

impl Greedy {
    /// Connects, with this initial window for each stream.
    ///
    /// # Errors
    /// The server does not listen or does not accept.
    pub(crate) fn open(port: u16, source: Ipv4Addr, window: u32) -> Result<Self> {
        let mut stream = dial(port, source, Duration::from_secs(5), None)?;
        // The initial window is the setting with the number 4.
        let settings = [&4_u16.to_be_bytes()[..], &window.to_be_bytes()].concat();
        stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat())?;
        // `linger` polls.
        stream.set_read_timeout(Some(Duration::from_millis(20)))?;
        Ok(Self { stream, input: Vec::new(), next_id: 1, answers: 0, resets: 0 })
    }

    /// Asks for this path on a new stream.
    ///
    /// # Errors
    /// The server has closed the connection.
    pub(crate) fn get(&mut self, path: &str) -> Result<()> {
        // GET and http are entries of the static table; the path (4) and the authority (1) are literals without indexing.
        let mut head = vec![0x82, 0x86];
        for (index, text) in [(4, path), (1, "127.0.0.1")] {
            head.extend_from_slice(&[index, u8::try_from(text.len())?]);
            head.extend_from_slice(text.as_bytes());
        }
        self.stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, self.next_id, &head))?;
        self.next_id += 2;
        Ok(())
    }

    /// Answers settings and pings for this long.
    ///
    /// # Errors
    /// The server closed the connection or sent GOAWAY.
    pub(crate) fn linger(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        let mut piece = [0; 16 << 10];
        while Instant::now() < until {
            match self.stream.read(&mut piece) {
                Ok(0) => bail!("closed by the host"),
                Ok(read) => self.input.extend_from_slice(piece.get(..read).unwrap_or_default()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(error) => return Err(error.into()),
            }
            self.take()?;
        }
        Ok(())
    }

    fn take(&mut self) -> Result<()> {
        while let [a, b, c, kind, flags, ..] = *self.input.as_slice() {
            let length = usize::try_from(u32::from_be_bytes([0, a, b, c]))?;
            let Some(content) = self.input.get(FRAME_HEAD..FRAME_HEAD + length) else { break };
            let reply = match kind {
                SETTINGS if flags & ACK == 0 => Some(frame(SETTINGS, ACK, 0, &[])),
                PING if flags & ACK == 0 => Some(frame(PING, ACK, 0, content)),
                _ => None,
            };
            self.answers += usize::from(kind == HEADERS);
            self.resets += usize::from(kind == RST_STREAM);
            if kind == GOAWAY {
                bail!("closed by the host");
            }
            self.input.drain(..FRAME_HEAD + length);
            if let Some(reply) = reply {
                self.stream.write_all(&reply)?;
            }
        }
        Ok(())
    }
}

fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    // The length field has three bytes; these frames are short.
    let length = u32::try_from(content.len()).unwrap_or_default().to_be_bytes();
    [length.get(1..).unwrap_or_default(), &[kind, flags], &stream.to_be_bytes(), content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_begins_with_its_length() {
        assert_eq!(frame(PING, ACK, 3, &[7; 8])[..9], [0, 0, 8, 6, 1, 0, 0, 0, 3]);
    }
}
