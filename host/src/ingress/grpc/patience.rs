//! A request's body that must have arrived by some time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;

/// The body with its time. The timer is made only where the body has to be waited for.
pub(super) struct Patience<B> {
    body: B,
    until: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B> Patience<B> {
    /// The body, which must have arrived by `until`.
    pub(super) const fn new(body: B, until: Instant) -> Self {
        Self { body, until, timer: None }
    }
}

impl<B> Body for Patience<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<super::Error>,
{
    type Data = Bytes;
    type Error = super::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let until = this.until;
        let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until.into())));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => {
                Poll::Ready(Some(Err(Status::deadline_exceeded("the request did not arrive in time").into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
