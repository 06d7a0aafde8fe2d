//! Published functions: what REST and gRPC share of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use wasmtime::component::Val;

use super::plugin::{CallError, PluginRuntime};
use super::rate::Rate;
use crate::capabilities::Call;
use crate::contract::{FunctionPlan, Locator, PackageName, proto};
use crate::principal::Role;
use crate::problem::{Kind, Problem};
use crate::telemetry::metrics::GrpcMetrics;

/// Who may call a method: any of these.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Everybody, signed in or not.
    pub public: bool,
    /// Everybody who is signed in.
    pub authenticated: bool,
    /// Those with this role or a higher one.
    pub role: Option<Role>,
    /// Those whose subject is the value of one of these inputs.
    pub own: Vec<Own>,
}

/// An input that may name the caller: the `self` rule.
#[derive(Debug, Clone)]
pub struct Own {
    /// The input as the manifest calls it.
    pub name: Box<str>,
    /// Where it is among the parameters.
    pub at: Locator,
}

/// What a rate limit counts by.
pub enum RateKey {
    /// The client's address; checked before the input is read.
    Address,
    /// The first of these input fields that is there; checked on the decoded input.
    Fields(Vec<Locator>),
}

/// A function of the host itself: its value on success, wrapped into the function's `result` where it has one by [`Method::call`].
pub type HostFunction = Box<dyn Fn(Vec<Val>, Call) -> HostAnswer + Send + Sync>;

/// What a function of the host comes to.
pub type HostAnswer = Pin<Box<dyn Future<Output = Result<Option<Val>, Problem>> + Send>>;

/// Who answers a method.
pub enum Callee {
    /// A plugin.
    Plugin {
        /// The plugin.
        plugin: Arc<PluginRuntime>,
        /// The place of the function in it.
        place: usize,
    },
    /// The host.
    Host(HostFunction),
    /// The host, with streams: each front end serves them in its own way.
    Streamed(Streamed),
}

/// The functions of the host with streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streamed {
    /// `plugin-service.install`
    Install,
    /// `plugin-service.tail-logs`
    TailLogs,
}

/// A published function.
pub struct Method {
    /// Who answers it.
    pub callee: Callee,
    /// The types of the function.
    pub plan: Arc<FunctionPlan>,
    /// Who may call it.
    pub access: Access,
    /// The limits of requests, over all routes and gRPC together.
    pub rates: Vec<(RateKey, Rate)>,
    /// The path of a gRPC request, such as `/arcana.auth.v1.AuthService/Login`.
    pub grpc_path: Box<str>,
    /// What is counted for it as a gRPC method.
    pub grpc: GrpcMetrics,
}

impl Method {
    /// The id of the plugin that answers, or `arcana` for the host itself.
    #[must_use]
    pub fn provider(&self) -> &str {
        match &self.callee {
            Callee::Plugin { plugin, .. } => plugin.id(),
            Callee::Host(_) | Callee::Streamed(_) => "arcana",
        }
    }

    /// Calls the function. Dropping the future stops it.
    ///
    /// # Errors
    /// What the client is told where there is no answer; an error that the function answers is a value here. A function with
    /// streams is no call.
    pub async fn call(&self, params: Vec<Val>, call: Call) -> Result<Option<Val>, Problem> {
        match &self.callee {
            Callee::Plugin { plugin, place } => {
                plugin.call(*place, &params, call).await.map_err(CallError::into_problem)
            }
            Callee::Host(function) => {
                let deadline = call.deadline.into();
                let answered = tokio::time::timeout_at(deadline, function(params, call)).await;
                let value = answered.unwrap_or_else(|_| Err(CallError::Timeout.into_problem()))?;
                Ok(match self.plan.result.fallible {
                    true => Some(Val::Result(Ok(value.map(Box::new)))),
                    false => value,
                })
            }
            // The front ends look for these first.
            Callee::Streamed(_) => Err(Problem::new(Kind::Internal, "a function with streams was called without them")),
        }
    }
}

/// An interface whose functions are published: a gRPC service, and a tag of the REST side.
pub struct Service {
    /// The full name in WIT, such as `arcana:auth/auth-service@1.0.0`.
    pub full_name: String,
    /// The name in its package, such as `auth-service`.
    pub name: String,
    /// The package.
    pub package: PackageName,
    /// The doc comment.
    pub docs: Option<String>,
    /// The name of the gRPC service, such as `arcana.auth.v1.AuthService`.
    pub proto: Box<str>,
    /// The published functions in the order of the interface.
    pub methods: Vec<Arc<Method>>,
}

impl Service {
    /// The service as its `.proto` file describes it.
    #[must_use]
    pub fn described(&self) -> proto::Service<'_> {
        proto::Service {
            package: &self.package,
            name: &self.name,
            docs: self.docs.as_deref(),
            functions: self.methods.iter().map(|method| &*method.plan).collect(),
        }
    }
}
