//! What the clients of a plugin see of it, from its file alone: nothing is verified, compiled or run.

use anyhow::{Context as _, Result};
use arcana_signing::envelope;

use super::limited;
use super::manifest::Manifest;
use super::pack;
use super::prepass::{self, PrepassLimits};
use super::publish::has_body;
use crate::contract::compat::{Method, Route, Service, Surface};
use crate::contract::{Binding, Contract, ContractError, FunctionPlan};

/// What a manifest publishes of a component: services and methods in the order of the component.
///
/// # Errors
/// A method of the manifest that the component does not export or that cannot be published, and a route that does not fit.
pub fn surface(manifest: &Manifest, contract: &Contract) -> Result<Surface, ContractError> {
    let published = manifest
        .methods
        .iter()
        .map(|method| Ok((contract.publish(&method.call)?, method)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut services = Vec::new();
    for interface in &contract.interfaces {
        // A function can only be published where its interface has a package.
        let Some(package) = interface.package.clone() else { continue };
        let mut methods = Vec::new();
        for (name, _) in &interface.functions {
            let found =
                published.iter().find(|((i, plan), _)| i.full_name == interface.full_name && plan.name == *name);
            let Some(((_, plan), method)) = found else { continue };
            let routes = method.http.iter().map(|http| {
                let binding = Binding::new(plan, &http.param_names(), has_body(&http.method))?;
                Ok(Route { verb: http.method.clone(), template: http.path.clone(), binding })
            });
            methods.push(Method {
                plan: FunctionPlan::clone(plan),
                allow: method.allow.iter().map(ToString::to_string).collect(),
                status: method.status.unwrap_or(if plan.result.ok.is_some() { 200 } else { 204 }),
                routes: routes.collect::<Result<_, ContractError>>()?,
            });
        }
        if !methods.is_empty() {
            services.push(Service { package, name: interface.name.clone(), docs: interface.docs.clone(), methods });
        }
    }
    Ok(Surface { plugin: manifest.plugin.id.to_string(), services })
}

/// The manifest of a packed file, signed or not, and what it publishes.
///
/// # Errors
/// Where it is no packed plugin, or the parts of it do not fit together.
pub fn read(bytes: &[u8]) -> Result<(Manifest, Surface)> {
    let contents = envelope::contents(bytes).context("it is no packed plugin")?;
    let text = std::str::from_utf8(contents.manifest).context("the manifest is not UTF-8")?;
    let manifest = Manifest::parse(text).context("the manifest cannot be used")?;
    let limits = PrepassLimits::default();
    prepass::check(bytes, &limits)?;
    let sections = pack::sections(contents.body, &limits)?;
    let contract = Contract::decode(bytes, sections.wit.iter().map(Vec::as_slice))?;
    limited::check(&manifest, &contract, &limits)?;
    let surface = surface(&manifest, &contract)?;
    Ok((manifest, surface))
}
