//! The functions of the host with streams: the same gate and the same limits, served natively.

use std::net::IpAddr;
use std::pin::Pin;
use std::time::Instant;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use http::{Request, Response};
use prost::Message as _;
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout_at;
use tonic::{Code, Status, Streaming};

use super::patience::Patience;
use super::timeout::grpc_timeout;
use super::{Body, Error, Grpc, status};
use crate::capabilities::Call;
use crate::contract::{FunctionPlan, proto};
use crate::ingress::access::Admitted;
use crate::ingress::admin::{self, InstallInput, LogsInput, News};
use crate::problem::{Kind, Problem};
use crate::request_id::RequestId;
use crate::runtime::method::{Method, Streamed};

type Answers = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// `install-request` of the WIT, of which a chunk is not taken apart into values.
#[derive(Clone, PartialEq, prost::Message)]
struct InstallRequest {
    #[prost(oneof = "Part", tags = "1, 2")]
    kind: Option<Part>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Part {
    #[prost(message, tag = "1")]
    Options(InstallOptions),
    #[prost(bytes = "bytes", tag = "2")]
    Chunk(Bytes),
}

#[derive(Clone, PartialEq, prost::Message)]
struct InstallOptions {
    #[prost(bool, optional, tag = "1")]
    dry_run: Option<bool>,
    #[prost(bool, optional, tag = "2")]
    allow_breaking: Option<bool>,
    #[prost(bool, optional, tag = "3")]
    allow_downgrade: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    activate: Option<bool>,
}

impl Grpc {
    /// Answers a request for a function with streams.
    pub(super) async fn streamed<B>(
        &self,
        function: Streamed,
        method: &Method,
        request: Request<B>,
        peer: IpAddr,
        (request_id, start): (&RequestId, Instant),
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Error> + Send,
    {
        let admitted = match self.gate.enter(method, request.headers(), peer) {
            Ok(admitted) => admitted,
            Err(problem) => return status::of_problem(&problem, request_id).into_http(),
        };
        let deadline = start + grpc_timeout(request.headers()).unwrap_or(Call::LONGEST).min(Call::LONGEST);
        let patience = match function {
            Streamed::Install => self.admin.upload_timeout(),
            Streamed::TailLogs => self.settings.message_timeout.get(),
        };
        let request = request.map(|body| Patience::new(body, deadline.min(start + patience)));
        let admitted = &admitted;
        let service = tower::service_fn(|request: tonic::Request<Streaming<Bytes>>| async move {
            let messages = request.into_inner();
            let answers = match function {
                Streamed::Install => self.install(method, admitted, messages, request_id, deadline).await,
                Streamed::TailLogs => self.tail_logs(method, admitted, messages, request_id, deadline).await,
            };
            answers.map(tonic::Response::new)
        });
        self.protocol().streaming(service, request).await
    }

    async fn install(
        &self,
        method: &Method,
        admitted: &Admitted,
        mut messages: Streaming<Bytes>,
        request_id: &RequestId,
        deadline: Instant,
    ) -> Result<Answers, Status> {
        let id = *request_id;
        let refused = |refusal| status::of_refusal(refusal, &id);
        let out_of_order = |message| status::of_protocol(Code::InvalidArgument, "BAD_REQUEST", message, &id);
        let by = admin::actor(admitted.principal.as_deref()).map_err(|problem| status::of_problem(&problem, &id))?;
        let place = self.admin.upload_place().map_err(refused)?;
        let mut options = None;
        let mut bytes = Vec::new();
        while let Some(message) = messages.message().await.map_err(|read| self.misread(read, &id))? {
            let message = InstallRequest::decode(message)
                .map_err(|error| out_of_order(format!("this is no InstallRequest: {error}")))?;
            match (message.kind, options.is_some()) {
                (Some(Part::Options(first)), false) => options = Some(first),
                (Some(Part::Chunk(chunk)), true) => {
                    self.admin.fits((bytes.len() + chunk.len()) as u64).map_err(refused)?;
                    bytes.extend_from_slice(&chunk);
                }
                _ => return Err(out_of_order("send `options` first and once, and then nothing but `chunk`".into())),
            }
        }
        let options = options.ok_or_else(|| out_of_order("send `options` first, also where all are absent".into()))?;
        let options = InstallInput {
            dry_run: options.dry_run,
            allow_breaking: options.allow_breaking,
            allow_downgrade: options.allow_downgrade,
            activate: options.activate,
        };
        let right = self.gate.right(admitted.principal.clone());
        // The upload may have taken minutes.
        right.holds().map_err(|problem| status::of_problem(&problem, &id))?;
        let installing = self.admin.install(bytes, options.into(), by, place).map_err(refused)?;
        let plan = method.plan.clone();
        Ok(Box::pin(unfold(Some((installing, right)), move |state| {
            let plan = plan.clone();
            async move {
                let (mut installing, right) = state?;
                let news = tokio::select! {
                    biased;
                    problem = right.lost() => Err(problem),
                    news = timeout_at(deadline.into(), installing.next()) => news.map_err(|_| {
                        Problem::new(Kind::Timeout, "the call's time is over; what has begun goes on")
                    }),
                };
                let news = match news {
                    Ok(news) => news,
                    Err(problem) => return Some((Err(status::of_problem(&problem, &id)), None)),
                };
                Some(match news? {
                    News::Stage(stage) => {
                        (item(&plan, &json!({ "stage": stage.name() }), &id), Some((installing, right)))
                    }
                    News::Outcome(outcome) => match *outcome {
                        Ok(installed) => (item(&plan, &json!({ "installed": installed }), &id), None),
                        Err(refusal) => (Err(status::of_refusal(refusal, &id)), None),
                    },
                })
            }
        })))
    }

    async fn tail_logs(
        &self,
        method: &Method,
        admitted: &Admitted,
        mut messages: Streaming<Bytes>,
        request_id: &RequestId,
        deadline: Instant,
    ) -> Result<Answers, Status> {
        let id = *request_id;
        let message = messages.message().await.map_err(|read| self.misread(read, &id))?;
        let message = message.ok_or_else(|| {
            status::of_protocol(Code::InvalidArgument, "BAD_REQUEST", "the request has no message", &id)
        })?;
        let asked = || {
            let params = proto::decode(&method.plan, &message)?;
            self.gate.pass(method, admitted, &params)?;
            admin::input::<LogsInput>(&method.plan.params, &params)
        };
        let input = asked().map_err(|problem| status::of_problem(&problem, &id))?;
        let right = self.gate.right(admitted.principal.clone());
        let lines = self.admin.lines(&input, right).await.map_err(|refusal| status::of_refusal(refusal, &id))?;
        let plan = method.plan.clone();
        Ok(Box::pin(unfold(Some(lines), move |lines| {
            let plan = plan.clone();
            async move {
                let mut lines = lines?;
                match timeout_at(deadline.into(), lines.next()).await {
                    Ok(told) => Some(match told? {
                        Ok(told) => (item(&plan, &told, &id), Some(lines)),
                        Err(problem) => (Err(status::of_problem(&problem, &id)), None),
                    }),
                    Err(_) => {
                        let problem = Problem::new(Kind::Timeout, "the call's time is over");
                        Some((Err(status::of_problem(&problem, &id)), None))
                    }
                }
            }
        })))
    }
}

/// One message of an answer.
fn item(plan: &FunctionPlan, value: &impl Serialize, request_id: &RequestId) -> Result<Bytes, Status> {
    admin::message(plan, value).map_err(|problem| status::of_problem(&problem, request_id))
}
