//! The body of every answer on its way out: it counts what the client has not taken.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::exchange::Exchange;

/// The most bytes that HTTP/2 is handed in one piece: a frame. Of a larger piece it would keep all until the last byte is
/// taken, and the request would be over for hyper before that.
const PIECE: usize = 16 << 10;

/// So many bytes are made ahead of what is taken. A body that ends within them is dropped before they are sent, and with it
/// what made it, such as an encoder.
const AHEAD: usize = 64 << 10;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A body whose bytes are counted from the moment that they are in memory until the socket has them.
pub(in crate::ingress) struct Outgoing<B> {
    /// None where all of it is here.
    body: Option<B>,
    /// What was made and not handed on, oldest first.
    first: Bytes,
    more: VecDeque<Bytes>,
    /// How many bytes that is.
    ready: usize,
    /// How many bytes of the memory behind `first` were handed on as copies.
    copied: usize,
    /// What follows them.
    end: Option<Result<HeaderMap, Error>>,
    /// Bytes that count for the part that the body has still to give.
    reserved: usize,
    /// Counts while the body has not ended within [`AHEAD`].
    encoder: usize,
    exchange: Arc<Exchange>,
}

impl<B> Outgoing<B> {
    /// A body that holds `size` bytes in memory from the beginning, made by an encoder that needs so many.
    pub(super) fn new(body: B, size: usize, encoder: usize, exchange: Arc<Exchange>) -> Self {
        exchange.connection.hold(size);
        Self {
            body: Some(body),
            first: Bytes::new(),
            more: VecDeque::new(),
            ready: 0,
            copied: 0,
            end: None,
            reserved: size,
            encoder,
            exchange,
        }
    }

    /// A body in one piece.
    pub(super) fn whole(bytes: Bytes, exchange: Arc<Exchange>) -> Self {
        exchange.connection.hold(bytes.len());
        Self {
            body: None,
            ready: bytes.len(),
            first: bytes,
            more: VecDeque::new(),
            copied: 0,
            end: None,
            reserved: 0,
            encoder: 0,
            exchange,
        }
    }

    /// The body has ended, and what it held is free.
    fn ended(&mut self) {
        self.body = None;
        self.release(self.reserved);
        self.reserved = 0;
    }

    fn hold(&self, bytes: usize) {
        if bytes > 0 {
            self.exchange.connection.hold(bytes);
        }
    }

    fn release(&self, bytes: usize) {
        if bytes > 0 {
            self.exchange.connection.release(bytes);
        }
    }

    fn add(&mut self, bytes: Bytes) {
        let known = bytes.len().min(self.reserved);
        self.reserved -= known;
        self.hold(bytes.len() - known);
        self.ready += bytes.len();
        if self.first.is_empty() {
            self.first = bytes;
        } else {
            self.more.push_back(bytes);
        }
    }

    /// The next piece of what is ready.
    fn piece(&mut self) -> Option<Bytes> {
        if self.first.is_empty() {
            return None;
        }
        if !self.exchange.is_stream() || (self.first.len() <= PIECE && self.copied == 0) {
            let piece = std::mem::replace(&mut self.first, self.more.pop_front().unwrap_or_default());
            self.ready -= piece.len();
            return Some(piece);
        }
        // A copy: a slice that is not taken would keep all of the memory that it is a part of.
        let piece = Bytes::copy_from_slice(self.first.get(..PIECE).unwrap_or(&self.first));
        self.first.advance(piece.len());
        self.hold(piece.len());
        self.ready -= piece.len();
        self.copied += piece.len();
        if self.first.is_empty() {
            self.first = self.more.pop_front().unwrap_or_default();
            let copied = std::mem::take(&mut self.copied);
            self.release(copied);
        }
        Some(piece)
    }
}

impl<B> Outgoing<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Error>,
{
    /// Lets the body make what there is, up to [`AHEAD`].
    fn fill(&mut self, cx: &mut Context<'_>) {
        while self.ready < AHEAD
            && let Some(body) = &mut self.body
        {
            if body.is_end_stream() {
                return self.ended();
            }
            match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return,
                Poll::Ready(None) => self.ended(),
                Poll::Ready(Some(Err(error))) => {
                    self.ended();
                    self.end = Some(Err(error.into()));
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) if bytes.is_empty() => {}
                    Ok(bytes) => self.add(bytes),
                    Err(other) => {
                        if let Ok(trailers) = other.into_trailers() {
                            self.ended();
                            self.end = Some(Ok(trailers));
                        }
                    }
                },
            }
        }
        match &self.body {
            None => {}
            Some(body) if body.is_end_stream() => self.ended(),
            Some(_) => {
                let encoder = std::mem::take(&mut self.encoder);
                self.reserved += encoder;
                self.hold(encoder);
            }
        }
    }
}

impl<B> Body for Outgoing<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Error>,
{
    type Data = Handed;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Handed>, Error>>> {
        let this = &mut *self;
        // Before the last piece is handed on it is known whether it is the last.
        if this.ready <= PIECE {
            this.fill(cx);
        }
        if let Some(piece) = this.piece() {
            return Poll::Ready(Some(Ok(Frame::data(Handed::new(piece, this.exchange.clone())))));
        }
        match this.end.take() {
            Some(Ok(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None if this.body.is_none() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready == 0 && self.end.is_none() && self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let ready = u64::try_from(self.ready).unwrap_or(u64::MAX);
        let Some(body) = &self.body else { return SizeHint::with_exact(ready) };
        let rest = body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(ready));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(ready));
        }
        hint
    }
}

impl<B> Drop for Outgoing<B> {
    fn drop(&mut self) {
        self.release(self.reserved + self.ready + self.copied);
    }
}

/// Bytes that the protocol has and the socket has not.
pub(in crate::ingress) struct Handed {
    bytes: Bytes,
    count: usize,
    exchange: Arc<Exchange>,
}

impl Handed {
    fn new(bytes: Bytes, exchange: Arc<Exchange>) -> Self {
        let count = bytes.len();
        if exchange.handed.fetch_add(count, Ordering::Relaxed) == 0 {
            // From here on it waits for the client.
            exchange.moved.store(exchange.connection.traffic.now(), Ordering::Relaxed);
        }
        Self { bytes, count, exchange }
    }
}

impl Buf for Handed {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        let exchange = &self.exchange;
        let now = exchange.connection.traffic.now();
        exchange.moved.store(now, Ordering::Relaxed);
        exchange.connection.moved.store(now, Ordering::Relaxed);
        exchange.handed.fetch_sub(self.count, Ordering::Relaxed);
        exchange.connection.release(self.count);
    }
}
