//! The host's own services: described in `wit/`, published like those of plugins, answered natively.

use std::sync::Arc;

use wasmtime::component::Val;

use super::health::{Health, Phase};
use crate::contract::{ContractError, Interface, proto};
use crate::problem::{Kind, Problem};
use crate::runtime::method::{Access, Callee, HostFunction, Method, Service};
use crate::telemetry::metrics::Metrics;

/// The description of `arcana.health.v1.HealthService`.
pub const HEALTH: &str = include_str!("../../../wit/health/health.wit");

/// The interfaces of the host's own services.
///
/// # Errors
/// The WIT in the binary cannot be read, which is a fault of this program.
pub fn interfaces() -> Result<Vec<Interface>, ContractError> {
    Interface::parse(&[("health.wit", HEALTH)])
}

/// The host's own services.
///
/// # Errors
/// See [`interfaces`].
pub fn services(health: &Arc<Health>, metrics: &Metrics) -> Result<Arc<[Service]>, ContractError> {
    interfaces()?
        .into_iter()
        .map(|interface| {
            let package = interface.package.clone().ok_or_else(|| ContractError::Function {
                interface: interface.full_name.clone(),
                function: String::new(),
                reason: "its interface has no package to be named after".into(),
            })?;
            let proto = proto::service_name(&package, &interface.name);
            let mut methods = Vec::with_capacity(interface.functions.len());
            for (function, _) in &interface.functions {
                let name = proto::method_name(function);
                methods.push(Arc::new(Method {
                    callee: Callee::Host(health_function(function, health.clone())),
                    plan: Arc::new(interface.publish(function)?.clone()),
                    access: Access { public: true, ..Access::default() },
                    rates: Vec::new(),
                    grpc_path: format!("/{proto}/{name}").into(),
                    grpc: metrics.grpc(&proto, &name),
                }));
            }
            Ok(Service {
                full_name: interface.full_name,
                name: interface.name,
                package,
                docs: interface.docs,
                proto: proto.into(),
                methods,
            })
        })
        .collect()
}

fn health_function(name: &str, health: Arc<Health>) -> HostFunction {
    let answer: fn(&Health) -> Option<Val> = match name {
        "check" => |health| Some(check(health)),
        "live" => |_| Some(probe(true)),
        "ready" => |health| Some(probe(health.phase() == Phase::Serving)),
        "startup" => |health| Some(probe(health.phase() >= Phase::Serving)),
        _ => |_| None,
    };
    Box::new(move |_, _| {
        let value = answer(&health);
        Box::pin(std::future::ready(match value {
            Some(value) => Ok(Some(value)),
            None => Err(Problem::new(Kind::Internal, "the host has no such function")),
        }))
    })
}

fn check(health: &Health) -> Val {
    let number = |n: usize| Val::U32(u32::try_from(n).unwrap_or(u32::MAX));
    let mode = if health.development { "development" } else { "production" };
    Val::Record(vec![
        ("status".into(), Val::Enum(health.phase().name().into())),
        ("mode".into(), Val::Enum(mode.into())),
        ("version".into(), Val::String(env!("CARGO_PKG_VERSION").into())),
        ("plugins".into(), number(health.catalog.load().plugins().len())),
        ("failed".into(), number(health.failed())),
    ])
}

fn probe(yes: bool) -> Val {
    let answer = if yes { "ok" } else { "unavailable" };
    Val::Record(vec![("status".into(), Val::Enum(answer.into()))])
}
