//! The catalog as what the documents describe.

use std::sync::Arc;

use super::{Settings, host};
use crate::contract::openapi::{self, Api, Operation};
use crate::runtime::catalog::{ActivePlugin, Catalog, Route};
use crate::runtime::method::{Method, RateKey, Service};

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
        services: catalog.plugins().iter().flat_map(|plugin| services(plugin, settings)).collect(),
        host: Some(host::routes(settings.metrics)),
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
    plugin.services.iter().map(|service| described(plugin, service, settings)).filter(|s| !s.operations.is_empty())
}

fn described<'c>(plugin: &'c ActivePlugin, service: &'c Service, settings: &Settings) -> openapi::Service<'c> {
    let routes = |method: &'c Arc<Method>| {
        let routes = plugin.routes.iter().filter(move |route| Arc::ptr_eq(&route.method, method));
        routes.map(|route| operation(route, settings))
    };
    openapi::Service {
        name: &service.name,
        package: &service.package,
        docs: service.docs.as_deref(),
        plugin: &plugin.id,
        operations: service.methods.iter().flat_map(routes).collect(),
    }
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
    }
}
