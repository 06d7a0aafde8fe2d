//! The log lines of a plugin, for whoever looks or follows.

use std::collections::HashMap;
use std::sync::Arc;

use axum::response::sse::Event;
use http::Response;
use parking_lot::Mutex;
use serde::{Serialize, Serializer};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::{Admin, LogsInput, sse};
use crate::ingress::access::Right;
use crate::ingress::answer::Body;
use crate::plugins::refusal::Refusal;
use crate::problem::Problem;
use crate::request_id::RequestId;
use crate::telemetry::tail::{self, Reader};

/// How many lines of the past are told where nobody says.
const LINES: u32 = 100;

/// How many logs each account follows; accounts that follow none are not in it.
#[derive(Default)]
pub(super) struct ByAccount(Mutex<HashMap<Arc<str>, u32>>);

impl ByAccount {
    fn take(self: &Arc<Self>, account: &Arc<str>, most: u32) -> Option<AccountPlace> {
        let mut accounts = self.0.lock();
        let count = accounts.entry(account.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(AccountPlace { of: self.clone(), account: account.clone() })
    }
}

struct AccountPlace {
    of: Arc<ByAccount>,
    account: Arc<str>,
}

impl Drop for AccountPlace {
    fn drop(&mut self) {
        let mut accounts = self.of.0.lock();
        if let Some(count) = accounts.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                accounts.remove(&self.account);
            }
        }
    }
}

/// The lines that were asked for, until they end, the host stops, the caller's right ends or nobody reads.
pub struct Lines {
    reader: Reader,
    right: Right,
    /// A place among those who follow, and among those of the account.
    _place: Option<(OwnedSemaphorePermit, Option<AccountPlace>)>,
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
    ///
    /// # Errors
    /// 401 where the caller's right has ended. Nothing comes after it.
    pub async fn next(&mut self) -> Option<Result<Told, Problem>> {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => None,
            problem = self.right.lost() => Some(Err(problem)),
            next = self.reader.next() => next.map(|(line, missed)| Ok(Told { line, missed })),
        }
    }
}

impl Admin {
    /// The lines of a plugin, for as long as the caller has the right to them.
    ///
    /// # Errors
    /// `NOT_FOUND`, and `TOO_MANY_FOLLOWERS`.
    pub async fn lines(&self, input: &LogsInput, right: Right) -> Result<Lines, Refusal> {
        let id = input.id();
        self.plugins()?.find(&id).await?;
        let last = usize::try_from(input.lines.unwrap_or(LINES)).unwrap_or(usize::MAX);
        let tail = self.tails.of(&id);
        let (reader, place) = match input.follow.unwrap_or(false) {
            false => (tail.read(last), None),
            true => {
                let too_many = |limit, message| {
                    self.metrics.limit_rejected(limit);
                    Refusal::new("TOO_MANY_FOLLOWERS", 503, message)
                };
                let of_account = match right.account() {
                    Some(account) => {
                        let message = "this account follows too many logs (plugins.max_followers_per_account)";
                        let place = self.followers_of.take(account, self.max_followers_per_account);
                        Some(place.ok_or_else(|| too_many("followers_per_account", message))?)
                    }
                    None => None,
                };
                let message = "too many follow the logs of plugins (plugins.max_followers); try again later";
                let place = self.followers.clone().try_acquire_owned();
                let place = place.map_err(|_| too_many("followers", message))?;
                (tail.follow(last), Some((place, of_account)))
            }
        };
        Ok(Lines { reader, right, _place: place, stopping: self.stopping.clone() })
    }
}

/// The lines as events: each a `line` with the record in JSON; at the end of the caller's right `refused`.
pub(super) fn response(lines: Lines, request_id: RequestId) -> Response<Body> {
    sse::response(futures_util::stream::unfold(Some(lines), move |lines: Option<Lines>| async move {
        let mut lines = lines?;
        Some(match lines.next().await? {
            Ok(told) => (Event::default().event("line").json_data(told), Some(lines)),
            Err(problem) => (Ok(sse::refused(&problem, &request_id)), None),
        })
    }))
}
