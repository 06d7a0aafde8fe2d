//! The log lines of a plugin, for whoever looks or follows.

use std::sync::Arc;

use axum::response::sse::Event;
use http::Response;
use serde::{Serialize, Serializer};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::{Admin, LogsInput, sse};
use crate::ingress::answer::Body;
use crate::plugins::refusal::Refusal;
use crate::telemetry::tail::{self, Reader};

/// How many lines of the past are told where nobody says.
const LINES: u32 = 100;

/// The lines that were asked for, until they end, the host stops or nobody reads.
pub struct Lines {
    reader: Reader,
    /// A place among those who follow.
    _place: Option<OwnedSemaphorePermit>,
    stopping: CancellationToken,
}

/// A line as it is told: in JSON the record `log-line`.
pub struct Told {
    line: Arc<tail::Line>,
    missed: u64,
}

impl Serialize for Told {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Record<'l> {
            #[serde(flatten)]
            line: &'l tail::Line,
            missed: u64,
        }
        Record { line: &self.line, missed: self.missed }.serialize(serializer)
    }
}

impl Lines {
    /// The next line; none at the end.
    pub async fn next(&mut self) -> Option<Told> {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => None,
            next = self.reader.next() => next.map(|(line, missed)| Told { line, missed }),
        }
    }
}

impl Admin {
    /// The lines of a plugin.
    ///
    /// # Errors
    /// `NOT_FOUND`, and `TOO_MANY_FOLLOWERS`.
    pub async fn lines(&self, input: &LogsInput) -> Result<Lines, Refusal> {
        let id = input.id();
        self.plugins()?.find(&id).await?;
        let last = usize::try_from(input.lines.unwrap_or(LINES)).unwrap_or(usize::MAX);
        let tail = self.tails.of(&id);
        let (reader, place) = match input.follow.unwrap_or(false) {
            false => (tail.read(last), None),
            true => {
                let place = self.followers.clone().try_acquire_owned().map_err(|_| {
                    self.metrics.limit_rejected("followers");
                    let message = "too many follow the logs of plugins (plugins.max_followers); try again later";
                    Refusal::new("TOO_MANY_FOLLOWERS", 503, message)
                })?;
                (tail.follow(last), Some(place))
            }
        };
        Ok(Lines { reader, _place: place, stopping: self.stopping.clone() })
    }
}

/// The lines as events: each a `line` with the record in JSON.
pub(super) fn response(lines: Lines) -> Response<Body> {
    sse::response(futures_util::stream::unfold(lines, |mut lines: Lines| async move {
        let told = lines.next().await?;
        Some((Event::default().event("line").json_data(told), lines))
    }))
}
