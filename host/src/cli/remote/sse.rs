//! Server-sent events (the format of the WHATWG's HTML standard, section 9.2), as far as a host sends them.

use futures_util::StreamExt as _;
use reqwest::Response;

use super::client::Client;
use super::failure::Failure;

/// The largest event that is taken, in bytes.
const MAX_EVENT: usize = 4 << 20;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) data: String,
}

/// The events of an answer, as they come in.
pub(super) struct Events<'a> {
    client: &'a Client,
    stream: futures_util::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    parser: Parser,
}

impl<'a> Events<'a> {
    pub(super) fn new(client: &'a Client, response: Response) -> Self {
        Self { client, stream: response.bytes_stream().boxed(), parser: Parser::default() }
    }

    /// The next event; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            if let Some(event) = self.parser.event() {
                return Ok(Some(event));
            }
            match self.stream.next().await {
                None => return Ok(None),
                Some(Ok(bytes)) => self.parser.push(&bytes)?,
                Some(Err(error)) => return Err(self.client.unreachable(&error)),
            }
        }
    }
}

/// Bytes that are no whole event yet.
#[derive(Default)]
struct Parser {
    bytes: Vec<u8>,
    name: String,
    data: Option<String>,
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let held = self.bytes.len() + self.data.as_ref().map_or(0, String::len);
        if held + bytes.len() > MAX_EVENT {
            return Err(Failure::Unreachable("the host sends an event without end".into()));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn event(&mut self) -> Option<Event> {
        while let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                let name = std::mem::take(&mut self.name);
                // Without data it is none, only a name.
                if let Some(data) = self.data.take() {
                    return Some(Event { name, data });
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.name),
                "data" => match &mut self.data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    None => self.data = Some(value.to_owned()),
                },
                // Comments keep the connection; ids and times to wait are for those who reconnect.
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(chunks: &[&str]) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        let mut found = Vec::new();
        for chunk in chunks {
            parser.push(chunk.as_bytes()).unwrap();
            while let Some(event) = parser.event() {
                found.push((event.name, event.data));
            }
        }
        found
    }

    #[test]
    fn events_come_in_whatever_pieces() {
        let text = ": hello\n\nevent: stage\ndata: {\"a\":1}\n\nevent:installed\r\ndata:one\r\ndata: two\r\nid: 7\r\n\r\ndata: bare\n\n";
        let expected = [("stage", "{\"a\":1}"), ("installed", "one\ntwo"), ("", "bare")]
            .map(|(n, d)| (n.to_owned(), d.to_owned()));
        assert_eq!(events(&[text]), expected);
        let letters: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(events(&letters.iter().map(String::as_str).collect::<Vec<_>>()), expected);
        // A name without data is no event, and what is not ended is none yet.
        assert_eq!(events(&["event: x\n\ndata: y\n"]), []);
    }

    #[test]
    fn an_event_has_an_end() {
        let mut parser = Parser::default();
        let chunk = vec![b'x'; 1 << 20];
        let taken = (0..10).take_while(|_| parser.push(&chunk).is_ok()).count();
        assert_eq!(taken, MAX_EVENT >> 20);
    }
}
