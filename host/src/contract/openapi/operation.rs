//! One function on one route: where its input is read from, and everything that may come back.

use std::collections::BTreeSet;

use http::StatusCode;

use super::super::names::camel;
use super::super::types::{Field, Presence, Type};
use super::components::Side;
use super::errors;
use super::example;
use super::node::{Node, Object};
use super::schema::{Schemas, described, typed};
use super::text;
use super::{Access, BEARER, HostRoute, Names, Operation, Streamed};

/// Every type that the operation's schemas refer to.
pub(super) fn types<'a>(operation: &Operation<'a>, mut add: impl FnMut(&'a Type, Side)) {
    let binding = operation.binding;
    let texts = binding.path_fields().map(|(_, field)| field).chain(binding.query_fields());
    texts.for_each(|field| add(field.ty.without_option(), Side::Request));
    match binding.body_type() {
        Some(record) => add(record, Side::Request),
        None => binding.body_fields().iter().for_each(|field| match &field.presence {
            Presence::Change(set) => add(set, Side::Request),
            Presence::Required | Presence::Optional => add(&field.ty, Side::Request),
        }),
    }
    if let Some(streamed) = &operation.streamed {
        streamed.answer.into_iter().chain(streamed.data.iter().map(|(_, ty)| *ty)).for_each(|ty| add(ty, Side::Answer));
    } else if let (Some(ok), true) = (&operation.plan.result.ok, has_body(operation.status)) {
        add(ok, Side::Answer);
    }
}

/// Whether an answer with this status has a body (RFC 9110).
fn has_body(status: StatusCode) -> bool {
    !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT)
}

/// The operation object.
pub(super) fn object(
    operation: &Operation<'_>,
    names: &Names,
    id: String,
    schemas: &Schemas<'_, '_>,
    used: &mut BTreeSet<u16>,
) -> Object {
    let plan = operation.plan;
    let (summary, rest) = plan.docs.as_deref().map(text::split).unwrap_or_default();
    let summary = if summary.is_empty() { spoken(&plan.name) } else { summary.to_owned() };
    let parts = [rest.to_owned(), text::who(&operation.access)].into_iter().chain(text::limits(&operation.limits));
    let description: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
    let security = match operation.access.contains(&Access::Public) {
        true => Node::List(Vec::new()),
        false => Node::from_iter([Object::new().with(BEARER, Node::List(Vec::new()))]),
    };
    let mut object = Object::new()
        .with("operationId", id)
        .with("tags", Node::from_iter([names.tag.clone()]))
        .with("summary", summary)
        .with("description", description.join("\n\n"))
        .with("security", security);
    let parameters = parameters(operation, schemas);
    if !parameters.is_empty() {
        object.push("parameters", parameters);
    }
    if let Some(body) = body(operation, schemas) {
        object.push("requestBody", body);
    }
    object
        .with("responses", responses(operation, schemas, used))
        .with("x-arcana-grpc", format!("{}/{}", names.grpc, camel(&plan.name)))
        .with("x-arcana-access", operation.access.iter().map(text::rule).collect::<Node>())
}

/// `validate-token` as `Validate token`: the summary of a function without a doc comment.
fn spoken(name: &str) -> String {
    let mut letters = name.chars().map(|c| if c == '-' { ' ' } else { c });
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn parameters(operation: &Operation<'_>, schemas: &Schemas<'_, '_>) -> Vec<Node> {
    let object = |name: &str, place: &'static str, field: &Field, required: bool| {
        let parameter = Object::new().with("name", name.to_owned()).with("in", place);
        let mut schema = schemas.parameter(&field.ty);
        let parameter = described(parameter, field.docs.as_deref()).with("required", required);
        // A path segment is never empty: such a path is another route.
        if place == "path" && matches!(field.ty.without_option(), Type::String | Type::Bytes) {
            schema.push("minLength", 1_u64);
        }
        let parameter = match field.ty.without_option() {
            Type::List(_) => parameter.with("style", "form").with("explode", true),
            _ => parameter,
        };
        let parameter = parameter.with("schema", schema);
        // The page fills examples in, which for optional ones would be in the way.
        let example = required.then(|| example::of(field.ty.without_option(), &field.json_name));
        Node::from(parameter.with_some("example", example))
    };
    let binding = operation.binding;
    let path = binding.path_fields().map(|(name, field)| object(name, "path", field, true));
    let query = binding.query_fields().iter().map(|field| {
        // No key at all is an empty list.
        let required = matches!(field.presence, Presence::Required) && !matches!(*field.ty, Type::List(_));
        object(&field.json_name, "query", field, required)
    });
    path.chain(query).collect()
}

/// The request body object; an empty body is read as an empty object.
fn body(operation: &Operation<'_>, schemas: &Schemas<'_, '_>) -> Option<Object> {
    if let Some(raw) = operation.streamed.as_ref().and_then(|streamed| streamed.body) {
        let media = || Object::new().with("schema", typed("string").with("format", "binary"));
        let content: Object = raw.media_types.iter().map(|media_type| (*media_type, media())).collect();
        return Some(Object::new().with("description", raw.docs).with("required", true).with("content", content));
    }
    let fields = operation.binding.body_fields();
    if fields.is_empty() {
        return None;
    }
    let schema = match operation.binding.body_type() {
        Some(record) => schemas.of(record, Side::Request),
        None => schemas.record(fields.iter(), Side::Request),
    };
    let required = fields.iter().any(|field| matches!(field.presence, Presence::Required));
    let media = Object::new().with("schema", schema).with("example", example::fields(fields.iter()));
    Some(Object::new().with("required", required).with("content", Object::new().with("application/json", media)))
}

fn responses(operation: &Operation<'_>, schemas: &Schemas<'_, '_>, used: &mut BTreeSet<u16>) -> Object {
    let binding = operation.binding;
    let raw = operation.streamed.as_ref().and_then(|streamed| streamed.body);
    let mut responses = match &operation.streamed {
        Some(streamed) => streams(streamed, schemas),
        None => Object::new().with(operation.status.as_str().to_owned(), success(operation, schemas)),
    };
    if let Some(raw) = raw {
        let (too_large, other) = (format!("The body is larger than {} bytes. `TOO_LARGE`", raw.max), raw.media_types);
        responses.push("413", errors::own(too_large));
        responses.push("415", errors::own(format!("The body is neither of {}.", other.join(", "))));
    }
    let reads_body = binding.reads_body();
    let has_input = reads_body || binding.path_fields().next().is_some() || !binding.query_fields().is_empty();
    // A function that may answer a problem may answer one of any kind.
    let fallible = operation.plan.result.fallible;
    let public = operation.access.contains(&Access::Public);
    let restricted = !public && !operation.access.contains(&Access::Authenticated);
    let possible = [
        (400, reads_body || fallible),
        (401, !public || fallible),
        (403, restricted || fallible),
        (404, fallible),
        (408, reads_body || raw.is_some()),
        (409, fallible),
        (413, reads_body),
        (415, reads_body),
        (422, has_input || fallible),
        (429, !operation.limits.is_empty() || fallible),
        (500, true),
        (503, true),
        (504, true),
    ];
    let possible = possible.into_iter().filter(|(_, possible)| *possible).map(|(status, _)| status);
    errors::add(responses, possible, used)
}

fn success(operation: &Operation<'_>, schemas: &Schemas<'_, '_>) -> Object {
    let answer = operation.plan.result.ok.as_deref().filter(|_| has_body(operation.status));
    let headers = errors::request_id_header();
    let description = if answer.is_some() { "Success." } else { "Success, without a body." };
    let success = Object::new().with("description", description).with("headers", headers);
    match answer {
        Some(ty) => success.with("content", Object::new().with("application/json", answered(ty, schemas))),
        None => success,
    }
}

fn answered(ty: &Type, schemas: &Schemas<'_, '_>) -> Object {
    Object::new().with("schema", schemas.of(ty, Side::Answer)).with("example", example::of(ty, "value"))
}

/// The successes of a function with streams: in one piece, and as events.
fn streams(streamed: &Streamed<'_>, schemas: &Schemas<'_, '_>) -> Object {
    let data: Object = streamed.data.iter().map(|(name, ty)| (*name, schemas.of(ty, Side::Answer))).collect();
    let events = Object::new()
        .with("schema", typed("string").with("description", streamed.events))
        .with("x-arcana-events", data);
    let mut responses = Object::new();
    let only_events = [(StatusCode::OK, "Events.")];
    let answers = if streamed.answers.is_empty() { &only_events[..] } else { streamed.answers.as_slice() };
    for (status, description) in answers {
        let mut content = Object::new();
        if let Some(ty) = streamed.answer {
            content.push("application/json", answered(ty, schemas));
        }
        if *status == StatusCode::OK {
            content.push("text/event-stream", events.clone());
        }
        let response = Object::new().with("description", *description).with("headers", errors::request_id_header());
        responses.push(status.as_str().to_owned(), response.with("content", content));
    }
    responses
}

/// The operation object of a route of the host's own.
pub(super) fn host(route: &HostRoute, tag: &'static str, used: &mut BTreeSet<u16>) -> Object {
    let (summary, rest) = text::split(route.docs);
    let mut object = Object::new()
        .with("operationId", route.id)
        .with("tags", Node::from_iter([tag]))
        .with("summary", summary.to_owned());
    if !rest.is_empty() {
        object.push("description", rest.to_owned());
    }
    object.push("security", Node::List(Vec::new()));
    if !route.parameters.is_empty() {
        object.push("parameters", route.parameters.iter().cloned().collect::<Node>());
    }
    let mut responses = Object::new();
    for (status, description, content) in &route.answers {
        let mut response = Object::new().with("description", *description).with("headers", errors::request_id_header());
        if let Some((media_type, schema)) = content {
            let media = Object::new().with("schema", schema.clone());
            response.push("content", Object::new().with(*media_type, media));
        }
        responses.push(status.to_string(), response);
    }
    object.with("responses", errors::add(responses, route.errors.iter().copied(), used))
}
