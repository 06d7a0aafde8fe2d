//! The catalog as what the documents describe.

use std::sync::Arc;

use http::StatusCode;

use super::{Settings, host};
use crate::contract::FunctionPlan;
use crate::contract::openapi::{self, Api, Operation};
use crate::contract::types::Type;
use crate::ingress::admin::MEDIA_TYPES;
use crate::runtime::catalog::{ActivePlugin, Catalog, HostServices, Route};
use crate::runtime::method::{Callee, Method, RateKey, Service, Streamed};

const ALL: &str = "Everything that this host serves over HTTP: the published functions of its plugins, and its own routes. \
The same functions are served over gRPC; `x-arcana-grpc` names them.\n\n\
Errors have one body everywhere, the schema `Error`. Every answer has the header `X-Request-Id`, whose value is also in the \
log; a client may choose it. Members of a request that are not known are ignored. Options that are nothing are `null` in an \
answer, and may be left out of a request.";

/// All plugins and the host's own routes.
pub(super) fn all<'c>(catalog: &'c Catalog, settings: &Settings) -> Api<'c> {
    Api {
        title: "Arcana".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        description: ALL.into(),
        max_body: settings.max_body,
        services: of_host(catalog.host(), settings)
            .chain(catalog.plugins().iter().flat_map(|plugin| services(plugin, settings)))
            .collect(),
        host: Some(host::routes(settings.metrics, settings.docs)),
    }
}

/// One plugin alone.
pub(super) fn plugin<'c>(plugin: &'c ActivePlugin, settings: &Settings) -> Api<'c> {
    Api {
        title: plugin.id.to_string(),
        version: plugin.version.to_string(),
        description: format!("The published functions of the plugin `{}`.", plugin.id),
        max_body: settings.max_body,
        services: services(plugin, settings).collect(),
        host: None,
    }
}

fn services<'c>(plugin: &'c ActivePlugin, settings: &Settings) -> impl Iterator<Item = openapi::Service<'c>> {
    described(Some(&plugin.id), &plugin.services, &plugin.routes, settings)
}

/// Those of the host that have routes in the catalog.
fn of_host<'c>(host: &'c HostServices, settings: &Settings) -> impl Iterator<Item = openapi::Service<'c>> {
    described(None, &host.services, &host.routes, settings)
}

fn described<'c>(
    plugin: Option<&'c str>,
    services: &'c [Service],
    routes: &'c [Arc<Route>],
    settings: &Settings,
) -> impl Iterator<Item = openapi::Service<'c>> {
    let operations = move |method: &'c Arc<Method>| {
        let routes = routes.iter().filter(move |route| Arc::ptr_eq(&route.method, method));
        routes.map(|route| operation(route, settings))
    };
    let service = move |service: &'c Service| openapi::Service {
        name: &service.name,
        package: &service.package,
        docs: service.docs.as_deref(),
        plugin,
        operations: service.methods.iter().flat_map(operations).collect(),
    };
    services.iter().map(service).filter(|service| !service.operations.is_empty())
}

fn operation<'c>(route: &'c Route, settings: &Settings) -> Operation<'c> {
    let Method { plan, access, rates, .. } = &*route.method;
    let name = |at: &crate::contract::Locator| at.name(&plan.params);
    let limit = |(key, rate): &'c (RateKey, crate::runtime::rate::Rate)| openapi::Limit {
        by: match key {
            RateKey::Address => Vec::new(),
            RateKey::Fields(fields) => fields.iter().filter_map(name).collect(),
        },
        per_minute: rate.per_minute,
        burst: rate.burst,
    };
    let mut ways = Vec::new();
    ways.extend(access.public.then_some(openapi::Access::Public));
    ways.extend(access.authenticated.then_some(openapi::Access::Authenticated));
    ways.extend(access.role.map(openapi::Access::Role));
    ways.extend(access.own.iter().filter_map(|own| name(&own.at)).map(openapi::Access::Own));
    Operation {
        verb: &route.verb,
        template: &route.template,
        plan,
        binding: &route.binding,
        access: ways,
        limits: if settings.rate_limits { rates.iter().map(limit).collect() } else { Vec::new() },
        status: route.status,
        streamed: match route.method.callee {
            Callee::Streamed(function) => Some(streamed(function, plan, settings)),
            Callee::Plugin { .. } | Callee::Host(_) => None,
        },
    }
}

/// What REST makes of a function of the host with streams: see [`crate::ingress::admin`].
fn streamed<'c>(function: Streamed, plan: &'c FunctionPlan, settings: &Settings) -> openapi::Streamed<'c> {
    match function {
        Streamed::Install => {
            let case = |name: &str| match plan.response_message() {
                Some(Type::Variant(event)) => event.cases.iter().find(|case| case.name == name)?.ty.as_deref(),
                _ => None,
            };
            openapi::Streamed {
                body: Some(openapi::RawBody {
                    docs: "The signed file.",
                    media_types: &MEDIA_TYPES,
                    max: settings.max_file,
                }),
                answers: vec![
                    (StatusCode::OK, "Nothing was changed: a dry run, or a file that is there already. Or events."),
                    (StatusCode::CREATED, "It is installed."),
                    (StatusCode::ACCEPTED, "It is kept, and waits for an approval."),
                ],
                answer: case("installed"),
                events: "For who accepts events: `stage` with `{\"stage\": …}` for each that begins, at last `installed`, or \
                         `refused` with the error body and its `status`.",
                data: case("installed").map(|ty| ("installed", ty)).into_iter().collect(),
            }
        }
        Streamed::TailLogs => openapi::Streamed {
            body: None,
            answers: Vec::new(),
            answer: None,
            events: "`line` for each line. Comments come while there is nothing to tell.",
            data: plan.response_message().map(|ty| ("line", ty)).into_iter().collect(),
        },
    }
}
