//! The host's own services: described in `wit/`, published like those of plugins, answered natively.

use std::sync::Arc;

use http::{Method as Verb, StatusCode};
use wasmtime::component::Val;

use super::admin::{Admin, service};
use super::health::{Health, Phase};
use crate::contract::types::{Field, Fields, Type};
use crate::contract::{Binding, ContractError, FunctionPlan, Interface, Streams, proto};
use crate::principal::Role;
use crate::runtime::catalog::{HostServices, Route};
use crate::runtime::method::{Access, Callee, HostFunction, Method, Service, Streamed};
use crate::telemetry::metrics::Metrics;

/// What the signature of every published function shares.
const TYPES: (&str, &str) = ("types.wit", include_str!("../../../wit/types/types.wit"));

/// The description of `arcana.health.v1.HealthService`.
const HEALTH: (&str, &str) = ("health.wit", include_str!("../../../wit/health/health.wit"));

/// The description of `arcana.plugin.v1.PluginService`.
const PLUGINS: (&str, &str) = ("plugin-admin.wit", include_str!("../../../wit/plugin-admin/plugin-admin.wit"));

/// The interfaces of the host's own services.
///
/// # Errors
/// The WIT in the binary cannot be read, which is a fault of this program.
pub fn interfaces() -> Result<Vec<Interface>, ContractError> {
    let mut interfaces = Interface::parse(&[HEALTH])?;
    interfaces.extend(Interface::parse(&[TYPES, PLUGINS])?);
    Ok(interfaces)
}

/// The host's own services with their routes. Those of the plugin service need `admin_role`.
///
/// # Errors
/// See [`interfaces`].
pub fn services(
    health: &Arc<Health>,
    admin: &Arc<Admin>,
    admin_role: Role,
    metrics: &Metrics,
) -> Result<HostServices, ContractError> {
    let mut host = HostServices::default();
    for interface in interfaces()? {
        let of_plugins = interface.name == "plugin-service";
        let package = interface.package.clone().ok_or_else(|| unpublished(&interface, "", "has no package"))?;
        let proto = proto::service_name(&package, &interface.name);
        let mut methods = Vec::with_capacity(interface.functions.len());
        for (function, _) in &interface.functions {
            let name = proto::method_name(function);
            let plan = Arc::new(interface.publish(function)?.clone());
            let (callee, access) = match of_plugins {
                true => {
                    (service::callee(function, &plan, admin), Access { role: Some(admin_role), ..Access::default() })
                }
                false => (health_function(function, health.clone()), Access { public: true, ..Access::default() }),
            };
            let method = Arc::new(Method {
                callee: callee.ok_or_else(|| unpublished(&interface, function, "is not in this program"))?,
                plan,
                access,
                rates: Vec::new(),
                grpc_path: format!("/{proto}/{name}").into(),
                grpc: metrics.grpc(&proto, &name),
            });
            let routes = service::ROUTES.iter().filter(|(called, ..)| of_plugins && called == function);
            for (_, verb, template) in routes {
                host.routes.push(Arc::new(route(&method, verb, template, metrics)?));
            }
            methods.push(method);
        }
        host.services.push(Service {
            full_name: interface.full_name,
            name: interface.name,
            package,
            docs: interface.docs,
            proto: proto.into(),
            methods,
        });
    }
    Ok(host)
}

fn unpublished(interface: &Interface, function: &str, reason: &str) -> ContractError {
    let (interface, function) = (interface.full_name.clone(), function.to_owned());
    ContractError::Function { interface, function, reason: format!("it {reason}") }
}

fn route(method: &Arc<Method>, verb: &Verb, template: &'static str, metrics: &Metrics) -> Result<Route, ContractError> {
    let names: Vec<&str> = template
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')))
        .collect();
    let plan = &method.plan;
    let (binding, status) = match method.callee {
        // The body of an upload is the file; its options are in the query.
        Callee::Streamed(Streamed::Install) => (Binding::new(&upload(plan), &names, false)?, StatusCode::CREATED),
        _ => {
            let has_body = *verb == Verb::POST || *verb == Verb::PUT;
            let status = if plan.result.ok.is_some() { StatusCode::OK } else { StatusCode::NO_CONTENT };
            (Binding::new(plan, &names, has_body)?, status)
        }
    };
    let metrics = metrics.route(verb.as_str(), template);
    Ok(Route { method: method.clone(), binding, status, template: template.into(), verb: verb.clone(), metrics })
}

/// An upload as REST has it: the first of its messages is the only parameter.
fn upload(plan: &FunctionPlan) -> FunctionPlan {
    let first = match plan.request_message() {
        Some(Type::Variant(parts)) => parts.cases.first(),
        _ => None,
    };
    let options = first.and_then(|case| Some(Field::new(&case.name, case.ty.clone()?, case.docs.clone())));
    let params = Arc::new(options.into_iter().collect::<Fields>());
    FunctionPlan { params, streams: Streams { request: false, ..plan.streams }, ..plan.clone() }
}

fn health_function(name: &str, health: Arc<Health>) -> Option<Callee> {
    let answer: fn(&Health) -> Val = match name {
        "check" => check,
        "live" => |_| probe(true),
        "ready" => |health| probe(health.phase() == Phase::Serving),
        "startup" => |health| probe(health.phase() >= Phase::Serving),
        _ => return None,
    };
    let function: HostFunction = Box::new(move |_, _| Box::pin(std::future::ready(Ok(Some(answer(&health))))));
    Some(Callee::Host(function))
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
