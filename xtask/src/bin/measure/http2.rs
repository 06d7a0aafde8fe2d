//! As much of HTTP/2 (RFC 9113) as measuring needs: calls of gRPC side by side on one connection, asked and read in batches
//! without a task or a lock a call, so that what is measured is the server.

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::hpack::{self, Head};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The kinds of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// Their flags.
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// Bytes of a frame before its content.
const FRAME_HEAD: usize = 9;

/// What a frame may hold that comes in: the size that holds where the settings say nothing else.
const MAX_FRAME: usize = 16 << 10;

/// The window of each stream: answers are shorter, so that none is ever enlarged.
const STREAM_WINDOW: u32 = 1 << 20;

/// The window of a new connection in bytes, by the protocol.
const FIRST_WINDOW: u32 = 65_535;

/// The window of the connection. It is opened again when half of it is used.
const WINDOW: u32 = 1 << 30;

/// No header table (1) for what comes in, no pushing (2), and the window of streams (4).
const OUR_SETTINGS: [(u16, u32); 3] = [(1, 0), (2, 0), (4, STREAM_WINDOW)];

/// A connection with its calls, each in a place of its own.
pub(crate) struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    filled: usize,
    output: Vec<u8>,
    calls: Vec<Call>,
    next_id: u32,
    /// What the server sent since its window was last opened.
    received: u32,
    /// What may be sent.
    window: i64,
}

/// One place for calls, one after the other.
#[derive(Default)]
struct Call {
    /// The number of the stream; 0 where no call is under way.
    id: u32,
    begun: bool,
    body: Vec<u8>,
}

/// What a frame is about.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    /// Bytes of its content.
    length: usize,
}

impl Connection {
    /// Connects to a port of this machine, with room for so many calls at once.
    ///
    /// # Errors
    /// Nothing listens there.
    pub(crate) async fn open(port: u16, places: usize) -> Result<Self> {
        let stream = TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        let mut calls = Vec::new();
        calls.resize_with(places, Call::default);
        let mut new = Self {
            stream,
            input: vec![0; 64 << 10],
            filled: 0,
            output: PREFACE.to_vec(),
            calls,
            next_id: 1,
            received: 0,
            window: i64::from(FIRST_WINDOW),
        };
        let settings: Vec<u8> = OUR_SETTINGS
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        new.frame(SETTINGS, 0, 0, &settings);
        new.frame(WINDOW_UPDATE, 0, 0, &(WINDOW - FIRST_WINDOW).to_be_bytes());
        Ok(new)
    }

    /// Puts a call into a free place; it is sent by [`Self::wait`]. All calls of a connection have the same head.
    ///
    /// # Errors
    /// The place is not free, or the server has not made room for so much.
    pub(crate) fn call(&mut self, place: usize, head: &Head, message: &[u8]) -> Result<()> {
        let id = self.next_id;
        let call = self.calls.get_mut(place).filter(|call| call.id == 0).context("the place is not free")?;
        (call.id, call.begun) = (id, false);
        call.body.clear();
        self.frame(HEADERS, END_HEADERS, id, if id == 1 { &head.first } else { &head.next });
        self.window -= i64::try_from(message.len())?;
        if self.window < 0 {
            bail!("the server has no room for a request");
        }
        self.frame(DATA, END_STREAM, id, message);
        self.next_id += 2;
        Ok(())
    }

    /// Sends what is to be sent, reads what there is, and adds the places whose answers are complete. It may be none.
    ///
    /// # Errors
    /// The connection was closed, a call has failed, or something came that this cannot follow.
    pub(crate) async fn wait(&mut self, complete: &mut Vec<usize>) -> Result<()> {
        self.stream.write_all(&self.output).await?;
        self.output.clear();
        match self.stream.read(self.input.get_mut(self.filled..).unwrap_or_default()).await? {
            0 => bail!("the connection was closed in the middle"),
            read => self.filled += read,
        }
        // Taken out for as long as it is read: what is answered to it changes the rest.
        let input = std::mem::take(&mut self.input);
        let mut at = 0;
        while let Some(bytes) = input.get(at..self.filled)
            && let Some(frame) = parse(bytes)?
            && let Some(content) = bytes.get(FRAME_HEAD..FRAME_HEAD + frame.length)
        {
            if let Some(place) = self.take(&frame, content)? {
                complete.push(place);
            }
            at += FRAME_HEAD + frame.length;
        }
        self.input = input;
        self.input.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }

    /// The body of the complete answer in this place, with the prefix of gRPC.
    pub(crate) fn body(&self, place: usize) -> &[u8] {
        self.calls.get(place).map_or(&[], |call| &call.body)
    }

    /// Takes a frame in; answers the place whose answer is complete with it.
    fn take(&mut self, frame: &Frame, content: &[u8]) -> Result<Option<usize>> {
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[]),
            PING if frame.flags & ACK == 0 => self.frame(PING, ACK, 0, content),
            WINDOW_UPDATE if frame.stream == 0 => {
                let more = content.try_into().context("a window update of another size than four bytes")?;
                self.window += i64::from(u32::from_be_bytes(more));
            }
            GOAWAY => bail!("the server ends the connection: {}", content.escape_ascii()),
            RST_STREAM => bail!("the server ends a call: {}", content.escape_ascii()),
            DATA | HEADERS => return self.answer(frame, content),
            _ => {}
        }
        Ok(None)
    }

    fn answer(&mut self, frame: &Frame, content: &[u8]) -> Result<Option<usize>> {
        if frame.flags & (PADDED | PRIORITY) != 0 {
            bail!("the server pads its frames, which is not followed here");
        }
        let place = self.calls.iter().position(|call| call.id == frame.stream);
        let (place, call) =
            place.and_then(|place| Some((place, self.calls.get_mut(place)?))).context("no such call")?;
        let is_end = frame.flags & END_STREAM != 0;
        if frame.kind == DATA {
            if is_end || !call.begun {
                bail!("an answer without a head or without a status: {}", content.escape_ascii());
            }
            call.body.extend_from_slice(content);
            self.received += u32::try_from(content.len())?;
            if self.received > WINDOW / 2 {
                let received = std::mem::take(&mut self.received);
                self.frame(WINDOW_UPDATE, 0, 0, &received.to_be_bytes());
            }
            return Ok(None);
        }
        if frame.flags & END_HEADERS == 0 {
            bail!("headers in more than one frame, which is not followed here");
        }
        if !call.begun && !hpack::is_200(content) {
            bail!("the status of HTTP is not 200: {}", content.escape_ascii());
        }
        call.begun = true;
        if !is_end {
            return Ok(None);
        }
        match hpack::grpc_status(content) {
            Some(0) => {}
            Some(status) => bail!("the status is {status}"),
            None => bail!("the answer ends without a status: {}", content.escape_ascii()),
        }
        call.id = 0;
        Ok(Some(place))
    }

    /// Appends a frame to what is to be sent.
    fn frame(&mut self, kind: u8, flags: u8, stream: u32, content: &[u8]) {
        // Three bytes of length: what is sent here is short.
        let length = u32::try_from(content.len()).unwrap_or_default().to_be_bytes();
        self.output.extend_from_slice(length.get(1..).unwrap_or_default());
        self.output.extend_from_slice(&[kind, flags]);
        self.output.extend_from_slice(&stream.to_be_bytes());
        self.output.extend_from_slice(content);
    }
}

/// The head of the first frame, where it has arrived.
fn parse(bytes: &[u8]) -> Result<Option<Frame>> {
    let [a, b, c, kind, flags, d, e, f, g, ..] = *bytes else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes([0, a, b, c]))?;
    if length > MAX_FRAME {
        bail!("a frame of {length} bytes");
    }
    Ok(Some(Frame { kind, flags, stream: u32::from_be_bytes([d & 0x7f, e, f, g]), length }))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use prost::Message as _;
    use tonic::transport::Server;
    use tonic::transport::server::TcpIncoming;

    use super::*;
    use crate::echo::Kitchen;
    use crate::messages::{HELLO, HelloRequest, HelloResponse};

    /// The bare tonic server, on a port of its own.
    fn serve() -> u16 {
        let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let port = incoming.local_addr().unwrap().port();
        tokio::spawn(Server::builder().add_service(Kitchen).serve_with_incoming(incoming));
        port
    }

    fn framed(message: &impl prost::Message) -> Vec<u8> {
        let bytes = message.encode_to_vec();
        [&[0, 0, 0, 0, u8::try_from(bytes.len()).unwrap()][..], &bytes].concat()
    }

    #[tokio::test]
    async fn many_calls_at_once_are_answered_each_with_its_own_greeting() {
        let mut connection = Connection::open(serve(), 8).await.unwrap();
        let head = Head::new(HELLO);
        let name = |place: usize, turn: usize| format!("{place} of {turn}");
        let mut turns = [0; 8];
        for place in 0..8 {
            connection.call(place, &head, &framed(&HelloRequest { name: name(place, 0) })).unwrap();
        }
        let mut complete = Vec::new();
        // Enough to use up the first window of the connection several times.
        while turns.iter().any(|turn| *turn < 2000) {
            connection.wait(&mut complete).await.unwrap();
            for place in complete.drain(..) {
                let greeting = HelloResponse::decode(&connection.body(place)[5..]).unwrap();
                assert_eq!(greeting.value, format!("Hello, {}!", name(place, turns[place])));
                turns[place] += 1;
                let message = framed(&HelloRequest { name: name(place, turns[place]) });
                connection.call(place, &head, &message).unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_status_other_than_ok_is_an_error() {
        let mut connection = Connection::open(serve(), 1).await.unwrap();
        connection.call(0, &Head::new("/test.echo.v1.Kitchen/Other"), &framed(&())).unwrap();
        let mut complete = Vec::new();
        let error = loop {
            match connection.wait(&mut complete).await {
                Ok(()) => assert!(complete.is_empty()),
                Err(error) => break error,
            }
        };
        assert_eq!(error.to_string(), "the status is 12");
    }

    #[test]
    fn a_frame_is_read_once_its_head_is_there() {
        let bytes = [0, 0, 3, 1, 5, 0x80, 0, 0, 7, 1, 2, 3];
        assert_eq!(parse(&bytes[..8]).unwrap(), None);
        assert_eq!(parse(&bytes).unwrap(), Some(Frame { kind: 1, flags: 5, stream: 7, length: 3 }));
        assert!(parse(&[1, 0, 0, 0, 0, 0, 0, 0, 1]).is_err());
    }
}
