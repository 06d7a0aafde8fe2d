//! A bare tonic service with the guest's method, written as tonic's generator would write it.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::messages::{HELLO, HelloRequest, HelloResponse};

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Kitchen;

impl NamedService for Kitchen {
    const NAME: &'static str = "test.echo.v1.Kitchen";
}

impl Service<http::Request<Body>> for Kitchen {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match request.uri().path() {
            HELLO => Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(Hello, request).await) }),
            _ => Box::pin(ready(Ok(Status::unimplemented("there is only Hello").into_http()))),
        }
    }
}

/// The method.
struct Hello;

impl UnaryService<HelloRequest> for Hello {
    type Response = HelloResponse;
    type Future = Ready<Result<Response<HelloResponse>, Status>>;

    fn call(&mut self, request: Request<HelloRequest>) -> Self::Future {
        let name = request.into_inner().name;
        ready(Ok(Response::new(HelloResponse { value: format!("Hello, {name}!") })))
    }
}
