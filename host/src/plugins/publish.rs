//! What of a plugin is published: its methods, the gRPC services that they make up, and their routes.

use std::fmt::Display;
use std::sync::Arc;

use http::StatusCode;

use super::manifest::{Allow, HttpRoute, Manifest, Method as Declared, RateBy};
use super::refusal::Refusal;
use crate::contract::{Binding, Contract, FunctionPlan, Interface, Locator, PackageName, proto};
use crate::runtime::catalog::Route;
use crate::runtime::method::{Access, Callee, Method, Own, RateKey, Service};
use crate::runtime::plugin::PluginRuntime;
use crate::runtime::rate::Rate;
use crate::telemetry::metrics::Metrics;

/// What a plugin publishes.
pub(super) struct Published {
    /// The interfaces with their methods.
    pub(super) services: Vec<Service>,
    /// The routes of the REST side.
    pub(super) routes: Vec<Arc<Route>>,
}

/// The interface and the plan of a method of the manifest.
///
/// # Errors
/// The component exports no such function, or it cannot be published.
pub(super) fn planned<'c>(
    contract: &'c Contract,
    method: &Declared,
) -> Result<(&'c Interface, &'c FunctionPlan), Refusal> {
    contract.publish(&method.call).map_err(|error| Refusal::new("CONTRACT", 422, error))
}

/// Publishes every method of the manifest; the place of each in `runtime` is its place in the manifest.
///
/// # Errors
/// A method, an access rule or a route that does not fit the function.
pub(super) fn publish(
    manifest: &Manifest,
    contract: &Contract,
    runtime: &Arc<PluginRuntime>,
    metrics: &Metrics,
) -> Result<Published, Refusal> {
    let mut published = Published { services: Vec::new(), routes: Vec::new() };
    for (place, declared) in manifest.methods.iter().enumerate() {
        let (interface, plan) = planned(contract, declared)?;
        let invalid = |error: &dyn Display| Refusal::new("CONTRACT", 422, format!("{}: {error}", declared.call));
        let Some(package) = &interface.package else {
            return Err(invalid(&"its interface has no package to be named after"));
        };
        let service = service(&mut published.services, interface, package);
        let name = proto::method_name(&plan.name);
        let method = Arc::new(Method {
            callee: Callee::Plugin { plugin: runtime.clone(), place },
            access: access(declared, plan).map_err(|error| invalid(&error))?,
            rates: rates(declared, plan).map_err(|error| invalid(&error))?,
            grpc_path: format!("/{}/{name}", service.proto).into(),
            grpc: metrics.grpc(&service.proto, &name),
            plan: Arc::new(plan.clone()),
        });
        service.methods.push(method.clone());
        for http in &declared.http {
            published.routes.push(Arc::new(route(declared, http, &method, metrics)?));
        }
    }
    for service in &mut published.services {
        // As the interface declares them: what clients are shown does not depend on the order of the manifest.
        let declared = contract.interfaces.iter().find(|interface| interface.full_name == service.full_name);
        let place =
            |method: &Arc<Method>| declared?.functions.iter().position(|(function, _)| *function == method.plan.name);
        service.methods.sort_by_key(place);
    }
    Ok(published)
}

fn service<'s>(services: &'s mut Vec<Service>, interface: &Interface, package: &PackageName) -> &'s mut Service {
    let at = services.iter().position(|known| known.full_name == interface.full_name).unwrap_or_else(|| {
        services.push(Service {
            full_name: interface.full_name.clone(),
            name: interface.name.clone(),
            package: package.clone(),
            docs: interface.docs.clone(),
            proto: proto::service_name(package, &interface.name).into(),
            methods: Vec::new(),
        });
        services.len() - 1
    });
    &mut services[at]
}

fn route(declared: &Declared, http: &HttpRoute, method: &Arc<Method>, metrics: &Metrics) -> Result<Route, Refusal> {
    let invalid =
        |error: &dyn Display| Refusal::new("CONTRACT", 422, format!("{} {}: {error}", http.method, http.path));
    let plan = &method.plan;
    let binding = Binding::new(plan, &http.param_names(), has_body(&http.method)).map_err(|error| invalid(&error))?;
    let status = declared.status.unwrap_or(if plan.result.ok.is_some() { 200 } else { 204 });
    Ok(Route {
        method: method.clone(),
        binding,
        status: StatusCode::from_u16(status).map_err(|error| invalid(&error))?,
        template: http.path.as_str().into(),
        metrics: metrics.route(http.method.as_str(), &http.path),
        verb: http.method.clone(),
    })
}

fn access(declared: &Declared, plan: &FunctionPlan) -> Result<Access, String> {
    let mut access = Access::default();
    for allow in &declared.allow {
        match allow {
            Allow::Public => access.public = true,
            Allow::Authenticated => access.authenticated = true,
            Allow::Role(role) => access.role = Some(access.role.map_or(*role, |known| known.min(*role))),
            Allow::SelfParam(name) => {
                let at = plan
                    .locate(name)
                    .ok_or_else(|| format!("allow = \"self:{name}\" names no text parameter of {}", declared.call))?;
                access.own.push(Own { name: name.as_str().into(), at });
            }
        }
    }
    Ok(access)
}

fn rates(declared: &Declared, plan: &FunctionPlan) -> Result<Vec<(RateKey, Rate)>, String> {
    let mut rates = Vec::with_capacity(declared.rate.len());
    for rule in &declared.rate {
        let key = match &rule.by {
            RateBy::Address => RateKey::Address,
            RateBy::Fields(names) => {
                let locate = |name: &String| -> Result<Locator, String> {
                    plan.locate(name).ok_or_else(|| format!("rate by {name:?}: there is no such text input"))
                };
                RateKey::Fields(names.iter().map(locate).collect::<Result<_, _>>()?)
            }
        };
        rates.push((key, Rate::new(rule.per_minute, rule.burst)));
    }
    Ok(rates)
}

/// Whether requests of this method bring their input in a body.
pub(super) fn has_body(verb: &http::Method) -> bool {
    !matches!(*verb, http::Method::GET | http::Method::DELETE | http::Method::HEAD)
}
