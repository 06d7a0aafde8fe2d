//! The host's own routes, as the document describes them.

use crate::contract::openapi::{HostApi, HostRoute, Node, Object};

/// The routes of [`crate::ingress::host_routes`] and of this module; `/metrics` only where it is served. `metrics` and
/// `docs` tell whether requests for it and for the documentation can be refused.
pub(super) fn routes(metrics: Option<bool>, docs: bool) -> HostApi {
    let refusals = |guarded: bool| if guarded { vec![401, 403] } else { Vec::new() };
    let mut routes = vec![
        HostRoute {
            docs: "How the host is. For people: what it is doing, and how many plugins it runs.",
            answers: both("Health", "It serves.", "It is starting, or about to end."),
            ..route("/health", "Host_Health")
        },
        HostRoute {
            docs: "Whether the process answers at all.",
            answers: vec![(200, "It does.", json("Probe"))],
            ..route("/health/live", "Host_Live")
        },
        HostRoute {
            docs: "Whether new requests are wanted.",
            answers: both("Probe", "They are.", "Not yet, or no longer."),
            ..route("/health/ready", "Host_Ready")
        },
        HostRoute {
            docs: "Whether the start is done.",
            answers: both("Probe", "It is, for good.", "It is not."),
            ..route("/health/startup", "Host_Startup")
        },
        HostRoute {
            docs: "The public keys of access tokens (RFC 7517). There are none where tokens are signed with a shared secret.",
            answers: vec![(200, "The keys.", Some(("application/jwk-set+json", reference("KeySet"))))],
            ..route("/.well-known/jwks.json", "Host_Keys")
        },
        HostRoute {
            docs: "This document. It describes what is active right now, or one plugin of it alone.",
            parameters: vec![
                Object::new()
                    .with("name", "plugin")
                    .with("in", "query")
                    .with("description", "The plugin to describe, as `namespace/name`.")
                    .with("required", false)
                    .with("schema", typed("string")),
            ],
            answers: vec![
                (200, "The document.", json("OpenApi")),
                (304, "The client has it already: `If-None-Match` has its `ETag`.", None),
            ],
            errors: refusals(docs).into_iter().chain([404]).collect(),
            ..route("/api/openapi.json", "Host_OpenApi")
        },
        HostRoute {
            docs: "This document as a page to read and try out.",
            answers: vec![
                (200, "The page.", Some(("text/html", typed("string")))),
                (304, "The client has it already: `If-None-Match` has its `ETag`.", None),
            ],
            errors: refusals(docs),
            ..route("/api/docs", "Host_Docs")
        },
    ];
    if let Some(guarded) = metrics {
        routes.push(HostRoute {
            docs: "Metrics in the text format of Prometheus.",
            answers: vec![(200, "The metrics.", Some(("text/plain", typed("string"))))],
            errors: refusals(guarded),
            ..route("/metrics", "Host_Metrics")
        });
    }
    HostApi { tag: "Host", docs: "What the host serves itself.", routes, schemas: schemas() }
}

fn route(path: &'static str, id: &'static str) -> HostRoute {
    HostRoute { path, id, docs: "", parameters: Vec::new(), answers: Vec::new(), errors: Vec::new() }
}

type Answer = (u16, &'static str, Option<(&'static str, Object)>);

/// One body for yes and no.
fn both(schema: &'static str, yes: &'static str, no: &'static str) -> Vec<Answer> {
    vec![(200, yes, json(schema)), (503, no, json(schema))]
}

fn json(schema: &'static str) -> Option<(&'static str, Object)> {
    Some(("application/json", reference(schema)))
}

fn reference(schema: &'static str) -> Object {
    Object::new().with("$ref", format!("#/components/schemas/{schema}"))
}

fn typed(name: &'static str) -> Object {
    Object::new().with("type", name)
}

fn words<const N: usize>(words: [&'static str; N]) -> Object {
    typed("string").with("enum", Node::from_iter(words))
}

fn schemas() -> Vec<(&'static str, Object)> {
    let count = |what: &'static str| typed("integer").with("minimum", 0_u64).with("description", what);
    let health = [
        ("status", words(["starting", "ok", "draining"]).with("description", "How far it is.")),
        ("mode", words(["development", "production"]).with("description", "Development mode is for one machine only.")),
        ("version", typed("string").with("description", "The version of the host.")),
        ("plugins", count("How many plugins are active.")),
        ("failed", count("How many plugins were refused at the start; the log has the reasons.")),
    ];
    let key = [
        ("kty", words(["OKP"])),
        ("crv", words(["Ed25519"])),
        ("x", typed("string").with("description", "The public key, base64url without padding (RFC 8037).")),
        ("kid", typed("string").with("description", "The id of the key, as tokens name it.")),
        ("alg", words(["EdDSA"])),
        ("use", words(["sig"])),
    ];
    let document = [
        ("openapi", typed("string").with("pattern", "^3\\.1\\.")),
        ("info", typed("object")),
        ("paths", typed("object")),
        ("components", typed("object")),
    ];
    vec![
        ("Health", object(health)),
        ("Probe", object([("status", words(["ok", "unavailable"]))])),
        ("KeySet", object([("keys", typed("array").with("items", object(key)))])),
        (
            "OpenApi",
            object(document).with("description", "An OpenAPI document (https://spec.openapis.org/oas/v3.1.1)."),
        ),
    ]
}

/// An object that always has all of these members.
fn object<const N: usize>(members: [(&'static str, Object); N]) -> Object {
    let required: Node = members.iter().map(|(name, _)| *name).collect();
    typed("object").with("properties", members.into_iter().collect::<Object>()).with("required", required)
}
