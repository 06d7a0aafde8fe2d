//! The common error body, and the answers that have it.

use std::collections::BTreeSet;

use super::node::{Node, Object};
use super::schema::{reference, typed};

/// The schema of the error body.
pub(super) const SCHEMA: &str = "Error";
/// The schema of its details.
pub(super) const DETAIL: &str = "ErrorDetail";

/// Status, name of the response, what it means, and code and message that its body may have.
const RESPONSES: [(u16, &str, &str, &str, &str); 13] = [
    (
        400,
        "BadRequest",
        "The input could not be read at all, such as a body that is no JSON.",
        "INVALID_JSON",
        "the body is not valid JSON: expected value at line 1 column 1",
    ),
    (
        401,
        "Unauthorized",
        "Nobody is signed in, or the credentials are wrong: `UNAUTHORIZED`, `INVALID_TOKEN`, `TOKEN_EXPIRED`, or a code of \
         the operation.",
        "UNAUTHORIZED",
        "sign in to do this",
    ),
    (403, "Forbidden", "The caller is known and may not do this.", "FORBIDDEN", "you may not do this"),
    (404, "NotFound", "There is no such thing.", "NOT_FOUND", "there is no such thing"),
    (408, "RequestTimeout", "The body did not arrive in time.", "REQUEST_TIMEOUT", "the body did not arrive in time"),
    (409, "Conflict", "It contradicts what is there, such as a name that is taken.", "CONFLICT", "the name is taken"),
    (413, "PayloadTooLarge", "The body is too large.", "PAYLOAD_TOO_LARGE", "the body is too large"),
    (
        415,
        "UnsupportedMediaType",
        "The body is not `application/json`, nor built on it.",
        "UNSUPPORTED_MEDIA_TYPE",
        "the body must be application/json",
    ),
    (
        422,
        "UnprocessableContent",
        "The input was read and breaks a rule; `details` has every field that is to blame.",
        "VALIDATION_FAILED",
        "one field is not valid",
    ),
    (
        429,
        "TooManyRequests",
        "Too many requests; try again later.",
        "RATE_LIMIT_EXCEEDED",
        "too many requests; try again later",
    ),
    (
        500,
        "InternalError",
        "A fault that is not the caller's: `INTERNAL_ERROR`, or `PLUGIN_EXECUTION_ERROR` where the plugin failed.",
        "INTERNAL_ERROR",
        "an internal error occurred; the request id is in the log",
    ),
    (
        503,
        "Unavailable",
        "Something this needs is not there right now, or too much is asked for at once.",
        "SERVICE_UNAVAILABLE",
        "too many calls at once; try again later",
    ),
    (504, "Timeout", "It took too long.", "TIMEOUT", "it took too long"),
];

/// The response to all that no other says.
const OTHER: (&str, &str) =
    ("OtherError", "Any other error. A 405 has an `Allow` header with the methods of the path.");

/// The responses of an operation with references to those of these statuses, and to the one for all others.
pub(super) fn add(mut responses: Object, statuses: impl Iterator<Item = u16>, used: &mut BTreeSet<u16>) -> Object {
    for status in statuses {
        if let Some((_, name, ..)) = RESPONSES.iter().find(|(known, ..)| *known == status) {
            used.insert(status);
            responses.push(status.to_string(), response_reference(name));
        }
    }
    responses.with("default", response_reference(OTHER.0))
}

/// An answer with the common error body that one operation alone has.
pub(super) fn own(description: String) -> Object {
    response(description, request_id_header(), None)
}

fn response_reference(name: &str) -> Object {
    Object::new().with("$ref", format!("#/components/responses/{name}"))
}

/// `components.responses`: those of these statuses.
pub(super) fn responses(used: &BTreeSet<u16>, max_body: u64) -> Object {
    let mut all = Object::new();
    for (status, name, description, code, message) in RESPONSES.iter().filter(|(status, ..)| used.contains(status)) {
        let mut headers = request_id_header();
        match status {
            401 => {
                let challenge = Object::new()
                    .with("description", "The scheme to sign in with (RFC 9110).")
                    .with("required", true)
                    .with("schema", typed("string").with("const", "Bearer"));
                headers.push("WWW-Authenticate", challenge);
            }
            429 | 503 => headers.push("Retry-After", Object::new().with("$ref", "#/components/headers/RetryAfter")),
            _ => {}
        }
        let description = match status {
            413 => format!("The body is larger than {max_body} bytes."),
            _ => (*description).to_owned(),
        };
        let description = if description.contains(code) { description } else { format!("{description} `{code}`") };
        all.push(*name, response(description, headers, Some(example(code, message, *status == 422))));
    }
    all.with(OTHER.0, response(OTHER.1.into(), request_id_header(), None))
}

fn response(description: String, headers: Object, example: Option<Object>) -> Object {
    let media = Object::new().with("schema", reference(SCHEMA)).with_some("example", example);
    Object::new()
        .with("description", description)
        .with("headers", headers)
        .with("content", Object::new().with("application/json", media))
}

fn example(code: &'static str, message: &'static str, has_details: bool) -> Object {
    let detail = Object::new().with("field", "name").with("message", "is required").with("code", "REQUIRED");
    let details = if has_details { vec![detail.into()] } else { Vec::new() };
    Object::new()
        .with("code", code)
        .with("message", message)
        .with("details", details)
        .with("request_id", "4f6a0c2b4d687b1c9d3e5a7f0198c8e2")
        .with("timestamp", "2026-01-31T12:00:00Z")
}

/// The header that every answer has.
pub(super) fn request_id_header() -> Object {
    Object::new().with("X-Request-Id", Object::new().with("$ref", "#/components/headers/RequestId"))
}

/// `components.headers`
pub(super) fn headers() -> Object {
    let id = Object::new()
        .with(
            "description",
            "The id of the request: what the client sent under this name, or a new one. The log has it too.",
        )
        .with("required", true)
        .with("schema", request_id());
    let wait = Object::new()
        .with("description", "Whole seconds until another try makes sense, where that is known.")
        .with("schema", typed("integer").with("minimum", 1_u64));
    Object::new().with("RequestId", id).with("RetryAfter", wait)
}

fn request_id() -> Object {
    typed("string").with("pattern", "^[A-Za-z0-9._:-]+$").with("maxLength", 64_u64)
}

/// The schemas of the error body.
pub(super) fn schemas() -> impl Iterator<Item = (&'static str, Object)> {
    let text = |description: &'static str| typed("string").with("description", description);
    let object = |properties: Object| {
        let required: Node = properties.iter().map(|(name, _)| name.to_owned()).collect();
        typed("object").with("properties", properties).with("required", required)
    };
    let details = typed("array")
        .with("description", "One entry for every field that is wrong; empty where no field is to blame.")
        .with("items", reference(DETAIL));
    let error = Object::new()
        .with("code", text("A code for programs. Operations may have finer ones than the status."))
        .with("message", text("A sentence for people."))
        .with("details", details)
        .with("request_id", request_id().with("description", "The id of the request, as in the header `X-Request-Id`."))
        .with("timestamp", text("When it happened (RFC 3339).").with("format", "date-time"));
    let detail = Object::new()
        .with("field", text("The path of the field as the client wrote it, such as `address.zip_code` or `tags[2]`."))
        .with("message", text("A sentence for people."))
        .with("code", text("A code for programs, such as `REQUIRED`, `WRONG_TYPE` or `OUT_OF_RANGE`."));
    let error = object(error)
        .with("description", "The body of every error, whoever it comes from.")
        .with("examples", Node::from_iter([example("VALIDATION_FAILED", "one field is not valid", true)]));
    let detail = object(detail).with("description", "What is wrong with one field of the input.");
    [(SCHEMA, error), (DETAIL, detail)].into_iter()
}
