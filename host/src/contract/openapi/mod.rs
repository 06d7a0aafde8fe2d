//! Call plans as an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.1).
//!
//! The document says what REST does with a plan, no more and no less: [`schema`] has the types, [`operation`] what is
//! read from where and what may come back, [`components`] the names.

mod components;
mod errors;
mod example;
mod node;
mod operation;
mod schema;
mod text;

use std::collections::{BTreeSet, HashMap};

use http::{Method, StatusCode};

use super::bind::Binding;
use super::names::camel;
use super::plan::{FunctionPlan, PackageName};
use super::types::Type;
use crate::principal::Role;
use components::Components;
pub use node::{Node, Object};
use schema::Schemas;

/// The name of the security scheme for access tokens.
pub const BEARER: &str = "bearerAuth";

/// What a document describes.
#[derive(Debug, Default)]
pub struct Api<'a> {
    /// The title of the document.
    pub title: String,
    /// The version of what it describes.
    pub version: String,
    /// CommonMark below the title.
    pub description: String,
    /// The longest request body in bytes.
    pub max_body: u64,
    /// The services of the host and of plugins, in the order they are to be shown in.
    pub services: Vec<Service<'a>>,
    /// What the host serves besides, under one tag.
    pub host: Option<HostApi>,
}

/// An interface with published functions.
#[derive(Debug)]
pub struct Service<'a> {
    /// The name in WIT, such as `auth-service`.
    pub name: &'a str,
    /// The package of the interface.
    pub package: &'a PackageName,
    /// The doc comment of the interface.
    pub docs: Option<&'a str>,
    /// The plugin that provides it, such as `arcana/auth`; none for the host itself.
    pub plugin: Option<&'a str>,
    /// Its functions, once for each route.
    pub operations: Vec<Operation<'a>>,
}

/// A published function on one route.
#[derive(Debug)]
pub struct Operation<'a> {
    /// The HTTP method.
    pub verb: &'a Method,
    /// The path template, such as `/api/v1/users/{id}`.
    pub template: &'a str,
    /// The types of the function.
    pub plan: &'a FunctionPlan,
    /// Where its parameters come from.
    pub binding: &'a Binding,
    /// Who may call it: whoever any of these admits.
    pub access: Vec<Access<'a>>,
    /// How often.
    pub limits: Vec<Limit<'a>>,
    /// The status of a success.
    pub status: StatusCode,
    /// What is no JSON of it, where the function has streams.
    pub streamed: Option<Streamed<'a>>,
}

/// What REST makes of a function with streams: a body as it is, and server-sent events.
#[derive(Debug)]
pub struct Streamed<'a> {
    /// The body, where there is one.
    pub body: Option<RawBody>,
    /// The answers in one piece: status and description.
    pub answers: Vec<(StatusCode, &'static str)>,
    /// The type of these.
    pub answer: Option<&'a Type>,
    /// What the events mean, in CommonMark. They come with 200.
    pub events: &'static str,
    /// The events by name with the type of their data, where that has a name.
    pub data: Vec<(&'static str, &'a Type)>,
}

/// A request body that is taken as it is.
#[derive(Debug, Clone, Copy)]
pub struct RawBody {
    /// What it is.
    pub docs: &'static str,
    /// The media types that it may come as.
    pub media_types: &'static [&'static str],
    /// The most bytes.
    pub max: u64,
}

/// One way to be admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access<'a> {
    /// Everybody.
    Public,
    /// Everybody who is signed in.
    Authenticated,
    /// Those with this role or a higher one.
    Role(Role),
    /// Those whose subject is the value of this input, named as in JSON.
    Own(&'a str),
}

/// A limit of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit<'a> {
    /// The first of these inputs that is there is counted by; none of them is the client's address.
    pub by: Vec<&'a str>,
    /// Sustained requests a minute.
    pub per_minute: u32,
    /// Requests at once.
    pub burst: u32,
}

/// Routes that are no plugin's.
#[derive(Debug, Default)]
pub struct HostApi {
    /// The tag that they are shown under.
    pub tag: &'static str,
    /// What the tag stands for.
    pub docs: &'static str,
    /// The routes; all are GET, and public.
    pub routes: Vec<HostRoute>,
    /// The schemas that they refer to, by name.
    pub schemas: Vec<(&'static str, Object)>,
}

/// One of them.
#[derive(Debug)]
pub struct HostRoute {
    /// The path.
    pub path: &'static str,
    /// The operation's id.
    pub id: &'static str,
    /// CommonMark: the first sentence is the summary.
    pub docs: &'static str,
    /// The parameter objects.
    pub parameters: Vec<Object>,
    /// What it answers where nothing is wrong.
    pub answers: Vec<HostAnswer>,
    /// The statuses that it answers with the common error body.
    pub errors: Vec<u16>,
}

/// Status, description, and media type with schema where there is a body.
pub type HostAnswer = (u16, &'static str, Option<(&'static str, Object)>);

/// The document.
#[must_use]
pub fn document(api: &Api<'_>) -> Object {
    let mut components = Components::default();
    for operation in api.services.iter().flat_map(|service| &service.operations) {
        operation::types(operation, |ty, side| components.add(ty, side));
    }
    let own = api.host.iter().flat_map(|host| host.schemas.iter().map(|(name, _)| *name));
    components.name([errors::SCHEMA, errors::DETAIL, schema::BYTES].into_iter().chain(own));
    let mut builder = Builder { schemas: Schemas(&components), paths: Vec::new(), errors: BTreeSet::new() };
    let mut tags = Vec::new();
    for service in &api.services {
        let names = Names::of(service, api);
        let tag = Object::new().with("name", names.tag.clone());
        let plugin = service.plugin.map(str::to_owned);
        let tag = schema::described(tag, service.docs).with_some("x-arcana-plugin", plugin);
        tags.push(Node::from(tag));
        let mut ids = HashMap::new();
        for operation in &service.operations {
            let id = names.operation(operation, &mut ids);
            builder.add(operation.template, operation.verb, |errors, schemas| {
                operation::object(operation, &names, id, schemas, errors)
            });
        }
    }
    if let Some(host) = &api.host {
        tags.push(Object::new().with("name", host.tag).with("description", host.docs).into());
        for route in &host.routes {
            builder.add(route.path, &Method::GET, |errors, _| operation::host(route, host.tag, errors));
        }
    }
    let Builder { schemas, paths, errors } = builder;
    let paths: Object = paths.into_iter().collect();
    let info = Object::new()
        .with("title", api.title.clone())
        .with("version", api.version.clone())
        .with("description", api.description.clone());
    Object::new()
        .with("openapi", "3.1.1")
        .with("info", info)
        .with("servers", Node::from_iter([Object::new().with("url", "/")]))
        .with("tags", tags)
        .with("paths", paths)
        .with("components", all_components(api, &schemas, &errors))
}

fn all_components(api: &Api<'_>, schemas: &Schemas<'_, '_>, used: &BTreeSet<u16>) -> Object {
    let mut all: Vec<(String, Object)> =
        schemas.0.schemas().map(|(name, ty, side)| (name.to_owned(), schemas.definition(ty, side))).collect();
    if schemas.0.has_bytes() {
        all.push((schema::BYTES.into(), schema::bytes()));
    }
    all.extend(errors::schemas().map(|(name, schema)| (name.to_owned(), schema)));
    all.extend(api.host.iter().flat_map(|host| host.schemas.iter().map(|(name, s)| ((*name).to_owned(), s.clone()))));
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    let bearer = Object::new()
        .with("type", "http")
        .with("scheme", "bearer")
        .with("bearerFormat", "JWT")
        .with("description", "An access token of this host (RFC 6750).");
    Object::new()
        .with("schemas", all.into_iter().collect::<Object>())
        .with("responses", errors::responses(used, api.max_body))
        .with("headers", errors::headers())
        .with("securitySchemes", Object::new().with(BEARER, bearer))
}

/// The parts of a document while it grows.
struct Builder<'s, 'a> {
    schemas: Schemas<'s, 'a>,
    paths: Vec<(String, Object)>,
    /// The statuses of errors that operations refer to.
    errors: BTreeSet<u16>,
}

impl<'s, 'a> Builder<'s, 'a> {
    fn add(
        &mut self,
        path: &str,
        verb: &Method,
        operation: impl FnOnce(&mut BTreeSet<u16>, &Schemas<'s, 'a>) -> Object,
    ) {
        let operation = operation(&mut self.errors, &self.schemas);
        let verb = verb.as_str().to_ascii_lowercase();
        match self.paths.iter_mut().find(|(known, _)| known == path) {
            Some((_, item)) => item.push(verb, operation),
            None => self.paths.push((path.to_owned(), Object::new().with(verb, operation))),
        }
    }
}

/// What a service is called: by its short name, or with its package where another one has the same.
struct Names {
    tag: String,
    prefix: String,
    /// The name of the gRPC service.
    grpc: String,
}

impl Names {
    fn of(service: &Service<'_>, api: &Api<'_>) -> Self {
        let name = camel(service.name);
        let grpc = format!("{}.{name}", service.package.proto());
        let alone = api.services.iter().filter(|other| camel(other.name) == name).count() == 1;
        let taken = api.host.as_ref().is_some_and(|host| host.tag == name);
        if alone && !taken {
            Self { tag: name.clone(), prefix: name, grpc }
        } else {
            Self { tag: grpc.clone(), prefix: grpc.replace('.', "_"), grpc }
        }
    }

    /// The id of an operation. The first route of a function has the plain one, so that it stays when others are added.
    fn operation(&self, operation: &Operation<'_>, ids: &mut HashMap<String, usize>) -> String {
        let plain = format!("{}_{}", self.prefix, camel(&operation.plan.name));
        let mut count = |id: &str| {
            let met = ids.entry(id.to_owned()).or_default();
            *met += 1;
            *met
        };
        if count(&plain) == 1 {
            return plain;
        }
        let verb = operation.verb.as_str().to_ascii_lowercase();
        let by_verb = format!("{plain}_{}", camel(&verb));
        match count(&by_verb) {
            1 => by_verb,
            number => format!("{by_verb}{number}"),
        }
    }
}
