//! Server reflection, v1 and v1alpha, over the live catalog: a plugin that was enabled a second ago is listed.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use futures_util::StreamExt as _;
use futures_util::stream::unfold;
use http::{Request, Response};
use prost::Message as _;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};
use tower::Service as _;

use super::{Body, Error, status};
use crate::config::{self, ReflectionAccess};
use crate::contract::proto::Files;
use crate::ingress::access::{Gate, Right};
use crate::request_id::RequestId;
use crate::runtime::catalog::LiveCatalog;

/// The names of the services.
pub(super) const SERVICES: [&str; 2] =
    ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

/// What reflection answers from.
#[derive(Clone)]
pub(super) struct Reflection {
    catalog: Arc<LiveCatalog>,
    /// Checks the token where reflection is not public.
    gate: Option<Arc<Gate>>,
    /// The right of the caller, and the id of the request.
    caller: Option<(Arc<Right>, RequestId)>,
    stop: CancellationToken,
}

impl Reflection {
    /// None where the settings switch it off.
    pub(super) fn new(
        settings: &config::Grpc,
        catalog: Arc<LiveCatalog>,
        gate: Arc<Gate>,
        development: bool,
        stop: CancellationToken,
    ) -> Option<Self> {
        let gate = match (settings.reflection, development) {
            (ReflectionAccess::Off, _) => return None,
            (ReflectionAccess::Public, _) | (ReflectionAccess::Auto, true) => None,
            (ReflectionAccess::Authenticated, _) | (ReflectionAccess::Auto, false) => Some(gate),
        };
        Some(Self { catalog, gate, caller: None, stop })
    }

    /// Answers a request for either version.
    pub(super) async fn serve<B>(&self, request: Request<B>, request_id: &RequestId) -> Response<Body>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<Error> + Send,
    {
        let mut reflection = self.clone();
        if let Some(gate) = &self.gate {
            match gate.signed_in(request.headers()) {
                Ok(right) => reflection.caller = Some((Arc::new(right), *request_id)),
                Err(problem) => return status::of_problem(&problem, request_id).into_http(),
            }
        }
        let alpha = request.uri().path().starts_with("/grpc.reflection.v1alpha.");
        let answered = match alpha {
            false => v1::Server::new(reflection).call(request).await,
            true => v1alpha::Server::new(reflection).call(request).await,
        };
        let Ok(response) = answered;
        response
    }

    /// Waits until the caller's right has ended, and answers the status that says so.
    async fn lost(&self) -> Status {
        match &self.caller {
            Some((right, request_id)) => status::of_problem(&right.lost().await, request_id),
            None => std::future::pending().await,
        }
    }

    /// The services, by name.
    fn services(&self) -> Vec<String> {
        let catalog = self.catalog.load();
        let mut names: Vec<String> = catalog.services().map(|service| service.proto.to_string()).collect();
        names.extend(standard().services());
        names.sort_unstable();
        names.dedup();
        names
    }

    fn file(&self, name: &str) -> Result<Vec<u8>, Status> {
        let catalog = self.catalog.load();
        let file = catalog.files().file(name).or_else(|| standard().file(name));
        file.map(|file| file.encode_to_vec()).ok_or_else(|| Status::not_found(format!("there is no file {name}")))
    }

    fn symbol(&self, symbol: &str) -> Result<Vec<u8>, Status> {
        let symbol = symbol.trim_start_matches('.');
        let catalog = self.catalog.load();
        let file = catalog.files().of_symbol(symbol).or_else(|| standard().of_symbol(symbol));
        file.map(|file| file.encode_to_vec()).ok_or_else(|| Status::not_found(format!("there is no symbol {symbol}")))
    }
}

/// The descriptors of the standard services.
fn standard() -> &'static Files {
    static STANDARD: OnceLock<Files> = OnceLock::new();
    STANDARD.get_or_init(|| {
        let sets = [
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        // They are part of this program; a test lists them.
        let sets = sets.iter().filter_map(|set| prost_types::FileDescriptorSet::decode(*set).ok());
        sets.flat_map(|set| set.file).collect()
    })
}

/// Extensions are of proto2; there are none here.
fn no_extensions() -> Status {
    Status::not_found("no message has extensions")
}

/// Both versions have the same messages under different names.
macro_rules! version {
    ($module:ident) => {
        mod $module {
            use tonic_reflection::pb::$module::server_reflection_request::MessageRequest;
            use tonic_reflection::pb::$module::server_reflection_response::MessageResponse;
            use tonic_reflection::pb::$module::server_reflection_server::{ServerReflection, ServerReflectionServer};
            use tonic_reflection::pb::$module::{
                ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
                ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
            };

            use super::*;

            pub(super) type Server = ServerReflectionServer<Reflection>;

            #[tonic::async_trait]
            impl ServerReflection for Reflection {
                type ServerReflectionInfoStream =
                    Pin<Box<dyn Stream<Item = Result<ServerReflectionResponse, Status>> + Send>>;

                async fn server_reflection_info(
                    &self,
                    requests: tonic::Request<Streaming<ServerReflectionRequest>>,
                ) -> Result<tonic::Response<Self::ServerReflectionInfoStream>, Status> {
                    let state = Some((requests.into_inner(), self.clone()));
                    let answers = unfold(state, |state| async move {
                        let (mut requests, reflection) = state?;
                        tokio::select! {
                            biased;
                            // A client that keeps its stream open must not hold up the shutdown.
                            () = reflection.stop.cancelled() => None,
                            status = reflection.lost() => Some((Err(status), None)),
                            request = requests.next() => Some(match request? {
                                Ok(request) => (Ok(answer(&reflection, request)), Some((requests, reflection))),
                                Err(status) => (Err(status), None),
                            }),
                        }
                    });
                    Ok(tonic::Response::new(Box::pin(answers)))
                }
            }

            fn answer(reflection: &Reflection, request: ServerReflectionRequest) -> ServerReflectionResponse {
                let files = |file: Vec<u8>| {
                    MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
                        file_descriptor_proto: vec![file],
                    })
                };
                let answered = match &request.message_request {
                    Some(MessageRequest::ListServices(_)) => {
                        let service = reflection.services().into_iter().map(|name| ServiceResponse { name }).collect();
                        Ok(MessageResponse::ListServicesResponse(ListServiceResponse { service }))
                    }
                    Some(MessageRequest::FileByFilename(name)) => reflection.file(name).map(files),
                    Some(MessageRequest::FileContainingSymbol(symbol)) => reflection.symbol(symbol).map(files),
                    Some(MessageRequest::AllExtensionNumbersOfType(name)) => reflection.symbol(name).map(|_| {
                        MessageResponse::AllExtensionNumbersResponse(ExtensionNumberResponse {
                            base_type_name: name.clone(),
                            extension_number: Vec::new(),
                        })
                    }),
                    Some(MessageRequest::FileContainingExtension(_)) => Err(no_extensions()),
                    None => Err(Status::new(Code::InvalidArgument, "the request asks for nothing")),
                };
                let answered = answered.unwrap_or_else(|status| {
                    MessageResponse::ErrorResponse(ErrorResponse {
                        error_code: status.code().into(),
                        error_message: status.message().to_owned(),
                    })
                });
                ServerReflectionResponse {
                    valid_host: request.host.clone(),
                    original_request: Some(request),
                    message_response: Some(answered),
                }
            }
        }
    };
}

version!(v1);
version!(v1alpha);
