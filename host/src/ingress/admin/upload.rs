//! The upload of a signed file over REST: checked before it is read, capped while it arrives, installed when it is there.

use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::Event;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;

use super::{Admin, InstallInput, Installing, LogsInput, News, actor, input, logs, problem, sse};
use crate::ingress::access::{Admitted, Right};
use crate::ingress::answer::{self, Body, Failure};
use crate::plugins::live::view::{Installed, State};
use crate::plugins::refusal::Refusal;
use crate::problem::Problem;
use crate::request_id::RequestId;
use crate::runtime::catalog::Route;
use crate::runtime::method::Streamed;

/// What may be uploaded.
pub const MEDIA_TYPES: [&str; 2] = ["application/wasm", "application/octet-stream"];

/// After a refusal so much of what a client is still sending is read and forgotten, and for so long: a connection that is
/// closed under it would take the answer with it.
const LINGER_BYTES: u64 = 64 << 20;
const LINGER: Duration = Duration::from_secs(5);

/// The parameters of the route of an upload, all of them in the query.
#[derive(Deserialize)]
struct Flags {
    options: InstallInput,
}

impl Admin {
    /// Answers a route of a function with streams. The access rule of it was applied.
    ///
    /// # Errors
    /// What the request is refused with.
    pub async fn rest<'p>(
        self: &Arc<Self>,
        (function, route): (Streamed, &Route),
        path: impl Iterator<Item = (&'p str, &'p str)>,
        parts: &Parts,
        body: Incoming,
        (admitted, right, request_id): (Admitted, Right, &RequestId),
    ) -> Result<Response<Body>, Failure> {
        let params = route.binding.decode(path, parts.uri.query(), b"");
        match function {
            Streamed::TailLogs => {
                let input: LogsInput = input(route.binding.params(), &params?)?;
                let lines = self.lines(&input, right).await.map_err(Failure::Refused)?;
                Ok(logs::response(lines, *request_id))
            }
            Streamed::Install => {
                let flags = params.and_then(|params| input::<Flags>(route.binding.params(), &params));
                let options = flags.map(|flags| flags.options);
                self.upload(options, parts, body, (&admitted, right), request_id).await
            }
        }
    }

    async fn upload(
        &self,
        options: Result<InstallInput, Problem>,
        parts: &Parts,
        mut body: Incoming,
        (admitted, right): (&Admitted, Right),
        request_id: &RequestId,
    ) -> Result<Response<Body>, Failure> {
        let begun = self.receive(options, &parts.headers, &mut body, (admitted, &right)).await;
        let installing = match begun {
            Ok(installing) => installing,
            Err(failure) => {
                linger(parts, body);
                return Err(failure);
            }
        };
        if sse::wanted(&parts.headers) {
            return Ok(events(installing, right, *request_id));
        }
        let installed = installing.outcome().await.map_err(Failure::Refused)?;
        Ok(done(&installed))
    }

    /// Takes the file in and begins to install it.
    async fn receive(
        &self,
        options: Result<InstallInput, Problem>,
        headers: &HeaderMap,
        body: &mut Incoming,
        (admitted, right): (&Admitted, &Right),
    ) -> Result<Installing, Failure> {
        if !headers.get(CONTENT_TYPE).is_some_and(is_file) {
            let message = format!("the body must be the signed file, as {}", MEDIA_TYPES.join(" or "));
            return Err(Failure::Refused(Refusal::new("UNSUPPORTED_MEDIA_TYPE", 415, message)));
        }
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|n| n.parse().ok());
        self.fits(length.unwrap_or(0)).map_err(Failure::Refused)?;
        let options = options?;
        let by = actor(admitted.principal.as_deref())?;
        let place = self.upload_place().map_err(Failure::Refused)?;
        let bytes = tokio::time::timeout(self.upload_timeout, self.read(body, length.unwrap_or(0))).await;
        let bytes = bytes.unwrap_or_else(|_| Err(Failure::Refused(self.too_slow())))?;
        // The upload may have taken minutes.
        right.holds()?;
        self.install(bytes, options.into(), by, place).map_err(Failure::Refused)
    }

    async fn read(&self, body: &mut Incoming, length: u64) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Failure::Http(answer::HttpError::BrokenBody))?;
            // Trailers say nothing here.
            let Ok(data) = frame.into_data() else { continue };
            self.fits((bytes.len() + data.len()) as u64).map_err(Failure::Refused)?;
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    }
}

fn is_file(value: &HeaderValue) -> bool {
    let essence = value.to_str().ok().and_then(|text| text.split(';').next()).unwrap_or_default().trim();
    MEDIA_TYPES.iter().any(|known| essence.eq_ignore_ascii_case(known))
}

fn linger(parts: &Parts, mut body: Incoming) {
    // A client that waits to be asked sends nothing, and in HTTP/2 the stream is reset alone.
    if parts.version > Version::HTTP_11 || parts.headers.contains_key(EXPECT) {
        return;
    }
    tokio::spawn(tokio::time::timeout(LINGER, async move {
        let mut left = LINGER_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let read = frame.data_ref().map_or(0, |data| data.len() as u64);
            match left.checked_sub(read) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }));
}

/// The answer to who did not ask for events.
fn done(installed: &Installed) -> Response<Body> {
    let status = match (installed.changed, installed.state) {
        (false, _) => StatusCode::OK,
        (true, State::PendingApproval) => StatusCode::ACCEPTED,
        (true, _) => StatusCode::CREATED,
    };
    // Serialising these fields into memory cannot fail.
    let mut response = answer::success(status, Some(serde_json::to_vec(installed).unwrap_or_default()));
    if installed.changed
        && let Ok(place) = HeaderValue::from_str(&format!("/api/v1/plugins/{}", installed.id))
    {
        response.headers_mut().insert(LOCATION, place);
    }
    response
}

/// `stage` for everything that begins, at last `installed` or `refused`; also `refused` where the caller's right ends first,
/// while the installation goes on.
fn events(installing: Installing, right: Right, request_id: RequestId) -> Response<Body> {
    let state = Some((installing, right));
    sse::response(futures_util::stream::unfold(state, move |state| async move {
        let (mut installing, right) = state?;
        let event = Event::default();
        let news = tokio::select! {
            biased;
            problem = right.lost() => return Some((Ok(sse::refused(&problem, &request_id)), None)),
            news = installing.next() => news?,
        };
        let event = match news {
            News::Stage(stage) => event.event("stage").json_data(json!({ "stage": stage.name() })),
            News::Outcome(outcome) => match *outcome {
                Ok(installed) => event.event("installed").json_data(installed),
                Err(refusal) => {
                    let status = refusal.status;
                    let body = answer::told(&problem(refusal, &request_id), status, &request_id);
                    Ok(event.event("refused").data(body))
                }
            },
        };
        Some((event, Some((installing, right))))
    }))
}
