//! Whether clients of one version of a plugin can go on with another one, over gRPC and over REST.
//!
//! Clients were made for the old version and are not changed: they write requests and read answers. So each direction is
//! judged by itself: what the old contract can write in a request the new one must be able to read, and what the new one
//! can write in an answer the old one must.
//!
//! For gRPC the rules are those of "Updating A Message Type" in the language guide
//! (<https://protobuf.dev/programming-guides/proto3/#updating>), with what this host adds when it reads a request: an enum
//! or a message that is no option must be there. Numbers follow the order of declaration, so an insertion, a removal or a
//! change of the order changes them. Names do not matter in messages; they do in generated code. For REST names matter
//! and the order does not; an input that is no option must be there.
//!
//! What is only added is no finding.

mod calls;
mod diff;
mod kinds;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::BTreeSet;
use std::fmt;

use http::Method as Verb;
use serde::Serialize;

use self::walk::{Side, Walk, Way};
use super::bind::Binding;
use super::error::ContractError;
use super::plan::{FunctionPlan, PackageName};
use super::proto::{self, Files};

/// What a plugin publishes, as its clients see it.
#[derive(Debug)]
pub struct Surface {
    /// The plugin's id.
    pub plugin: String,
    /// The interfaces that it publishes functions of.
    pub services: Vec<Service>,
}

/// An interface with published functions.
#[derive(Debug)]
pub struct Service {
    /// The package of the interface.
    pub package: PackageName,
    /// The name of the interface in WIT.
    pub name: String,
    /// The doc comment.
    pub docs: Option<String>,
    /// The published functions, in the order of the interface.
    pub methods: Vec<Method>,
}

/// A published function.
#[derive(Debug)]
pub struct Method {
    /// Its types.
    pub plan: FunctionPlan,
    /// Who may call it, as the manifest says it.
    pub allow: BTreeSet<String>,
    /// The HTTP status of a success.
    pub status: u16,
    /// Its routes; none where it is not on REST.
    pub routes: Vec<Route>,
}

/// A route.
#[derive(Debug)]
pub struct Route {
    /// The HTTP method.
    pub verb: Verb,
    /// The path template.
    pub template: String,
    /// Where the parameters come from.
    pub binding: Binding,
}

impl Surface {
    /// The gRPC contract.
    ///
    /// # Errors
    /// Those of [`Files::of`].
    pub fn files(&self) -> Result<Files, ContractError> {
        Files::of(self.services.iter().map(|service| proto::Service {
            package: &service.package,
            name: &service.name,
            docs: service.docs.as_deref(),
            functions: service.methods.iter().map(|method| &method.plan).collect(),
        }))
    }

    fn service(&self, full_name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.full_name() == full_name)
    }

    fn methods(&self) -> impl Iterator<Item = (&Service, &Method)> {
        self.services.iter().flat_map(|service| service.methods.iter().map(move |method| (service, method)))
    }
}

impl Service {
    fn full_name(&self) -> String {
        proto::service_name(&self.package, &self.name)
    }

    fn method_name(&self, method: &Method) -> String {
        format!("{}.{}", self.full_name(), proto::method_name(&method.plan.name))
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.template)
    }
}

/// A difference that clients can notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// Whose clients it concerns; never empty, in order.
    pub protocols: Vec<Protocol>,
    /// A full name of protobuf with the field after it, or a route.
    pub path: String,
    /// What it is, in words of WIT, and what to do instead.
    pub message: String,
}

/// How bad a finding is; worse ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Some clients stop working.
    Breaking,
    /// Clients go on working, and their authors should know.
    Notice,
}

/// How clients call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Protobuf.
    Grpc,
    /// JSON.
    Rest,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grpc => "gRPC",
            Self::Rest => "REST",
        })
    }
}

/// What clients of `old` meet when `new` takes its place: the breaking findings first, each kind in the order of the old
/// contract.
#[must_use]
pub fn compare(old: &Surface, new: &Surface) -> Vec<Finding> {
    let mut walk = Walk::default();
    if old.plugin != new.plugin {
        let message = format!("the plugins are two: `{}` and `{}`", old.plugin, new.plugin);
        walk.add(Level::Notice, Protocol::Grpc, &new.plugin, message.clone());
        walk.add(Level::Notice, Protocol::Rest, &new.plugin, message);
    }
    for service in &old.services {
        grpc_service(&mut walk, service, new);
    }
    for (service, method) in old.methods() {
        for route in &method.routes {
            rest_route(&mut walk, (service, method, route), new);
        }
    }
    let mut findings = walk.findings;
    findings.sort_by_key(|finding| finding.level);
    if walk.more > 0 {
        findings.push(Finding {
            level: Level::Notice,
            protocols: vec![Protocol::Grpc, Protocol::Rest],
            path: new.plugin.clone(),
            message: format!("{} more differences are not listed", walk.more),
        });
    }
    findings
}

fn grpc_service(walk: &mut Walk, old: &Service, new: &Surface) {
    let full_name = old.full_name();
    let Some(service) = new.service(&full_name) else {
        let other =
            new.services.iter().find(|service| service.name == old.name && service.package.name == old.package.name);
        let other = other.map(|other| format!("; `{}` is another service to its clients", other.full_name()));
        let message = format!("the service was removed{}", other.unwrap_or_default());
        return walk.add(Level::Breaking, Protocol::Grpc, &full_name, message);
    };
    for method in &old.methods {
        let path = old.method_name(method);
        match service.methods.iter().find(|known| old.method_name(known) == path) {
            Some(new) => {
                access(walk, Protocol::Grpc, &path, method, new);
                walk.request(&path, &method.plan, &new.plan);
                walk.response(&path, &method.plan, &new.plan);
            }
            None => walk.add(Level::Breaking, Protocol::Grpc, &path, "the method was removed".to_owned()),
        }
    }
}

fn rest_route(walk: &mut Walk, (service, method, route): (&Service, &Method, &Route), new: &Surface) {
    let path = route.to_string();
    let routes = || new.methods().flat_map(|(s, m)| m.routes.iter().map(move |route| (s, m, route)));
    let same_place = |other: &Route| anonymous(&other.template) == anonymous(&route.template);
    let Some((_, found, at)) = routes().find(|(_, _, other)| other.verb == route.verb && same_place(other)) else {
        let name = service.method_name(method);
        let moved: Vec<String> = routes()
            .filter(|(s, m, other)| s.method_name(m) == name || same_place(other) && m.plan.name == method.plan.name)
            .map(|(_, _, other)| format!("`{other}`"))
            .collect();
        let message = match moved.as_slice() {
            [] => "the route was removed".to_owned(),
            moved => format!("the route was removed; the function is at {} now", moved.join(", ")),
        };
        return walk.add(Level::Breaking, Protocol::Rest, &path, message);
    };
    access(walk, Protocol::Rest, &service.method_name(method), method, found);
    if method.status != found.status {
        let message = format!("a success was answered with {}, and now with {}", method.status, found.status);
        walk.add(Level::Notice, Protocol::Rest, &path, message);
    }
    walk.inputs(&path, &route.binding, &at.binding);
    let way = Way { protocol: Protocol::Rest, side: Side::Answer };
    match (&method.plan.result.ok, &found.plan.result.ok) {
        (Some(old), Some(new)) => walk.field(way, &path, old, new),
        (Some(_), None) => {
            walk.add(Level::Breaking, Protocol::Rest, &path, "the answer has no body any more".to_owned())
        }
        (None, _) => {}
    }
}

fn access(walk: &mut Walk, protocol: Protocol, path: &str, old: &Method, new: &Method) {
    if old.allow != new.allow {
        let words =
            |allow: &BTreeSet<String>| allow.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(" or ");
        let message = format!("those admitted were {}, and are {}", words(&old.allow), words(&new.allow));
        walk.add(Level::Notice, protocol, path, message);
    }
}

/// A path template without the names of its parameters, which clients do not see.
fn anonymous(template: &str) -> Vec<&str> {
    template.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment }).collect()
}
