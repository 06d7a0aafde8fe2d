//! The standard `grpc.health.v1.Health`: the whole host under the empty name, and each service of the live catalog.

use std::pin::Pin;
use std::sync::Arc;

use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health as Standard, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::reflection;
use crate::ingress::health::{Health, Phase};

/// The name of the service.
pub(super) const SERVICE: &str = "grpc.health.v1.Health";

/// The service, made for every request anew: it holds two pointers.
#[derive(Clone)]
pub(super) struct StandardHealth {
    health: Arc<Health>,
    stop: CancellationToken,
}

impl StandardHealth {
    pub(super) const fn new(health: Arc<Health>, stop: CancellationToken) -> Self {
        Self { health, stop }
    }

    pub(super) fn server(&self) -> HealthServer<Self> {
        HealthServer::new(self.clone())
    }

    /// None where there is no such service.
    fn status(&self, service: &str) -> Option<ServingStatus> {
        let standard = || service == SERVICE || reflection::SERVICES.contains(&service);
        let known = || self.health.catalog.load().services().any(|known| *known.proto == *service);
        if !(service.is_empty() || known() || standard()) {
            return None;
        }
        Some(match self.health.phase() {
            Phase::Serving => ServingStatus::Serving,
            Phase::Starting | Phase::Draining => ServingStatus::NotServing,
        })
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Standard for StandardHealth {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        match self.status(service) {
            Some(status) => Ok(Response::new(answer(status))),
            None => Err(Status::not_found(format!("there is no service {service}"))),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// Tells the status now and whenever it changes, until the client leaves or the host stops. A service that is not
    /// there is unknown, not an error: it may be enabled later.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let watch = Watch {
            phases: self.health.changes(),
            catalogs: self.health.catalog.changes(),
            health: self.clone(),
            service,
            told: None,
            last: false,
        };
        Ok(Response::new(Box::pin(futures_util::stream::unfold(watch, Watch::next))))
    }
}

struct Watch {
    health: StandardHealth,
    service: String,
    phases: tokio::sync::watch::Receiver<()>,
    catalogs: tokio::sync::watch::Receiver<()>,
    told: Option<ServingStatus>,
    last: bool,
}

impl Watch {
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        loop {
            if self.last {
                return None;
            }
            // A host that stops says so once, and ends the stream: it would hold up the shutdown.
            self.last = self.health.stop.is_cancelled();
            let status = match self.health.status(&self.service) {
                Some(_) if self.last => ServingStatus::NotServing,
                Some(status) => status,
                None => ServingStatus::ServiceUnknown,
            };
            if self.told != Some(status) {
                self.told = Some(status);
                return Some((Ok(answer(status)), self));
            }
            tokio::select! {
                _ = self.phases.changed() => {}
                _ = self.catalogs.changed() => {}
                () = self.health.stop.cancelled() => {}
            }
        }
    }
}
