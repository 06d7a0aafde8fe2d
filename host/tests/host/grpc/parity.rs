//! The same over REST, gRPC and gRPC-Web: every published method of every shipped plugin is called with the same inputs on
//! three hosts that have lived through the same, and answers and errors are compared.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, TestRunner};
use prost::Message as _;
use prost_reflect::{DynamicMessage, Kind};
use reqwest::Method;
use serde_json::{Map, Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::client::{Client, How, path};
use super::forms::{to_json, to_message};
use super::inputs::echo_input;
use super::protocol::web;
use crate::support::{Host, PASSWORD, Setup, first_admin, guest, guest_manifest};

/// How one method is called over REST.
struct Rest {
    verb: Method,
    template: String,
}

/// The first route of every method, by `Service.Method`, from these manifests.
fn routes(manifests: &[String]) -> BTreeMap<String, Rest> {
    let camel = |kebab: &str| {
        let upper = |word: &str| word[..1].to_uppercase() + &word[1..];
        kebab.split('-').map(upper).collect::<String>()
    };
    let mut routes = BTreeMap::new();
    for manifest in manifests {
        let manifest: toml::Table = manifest.parse().unwrap();
        for method in manifest["methods"].as_array().unwrap() {
            let (interface, function) = method["call"].as_str().unwrap().split_once('.').unwrap();
            let http = match &method["http"] {
                toml::Value::String(one) => one.as_str(),
                many => many.as_array().unwrap().last().unwrap().as_str().unwrap(),
            };
            let (verb, template) = http.split_once(' ').unwrap();
            let rest = Rest { verb: verb.parse().unwrap(), template: template.to_owned() };
            routes.insert(format!("{}.{}", camel(interface), camel(function)), rest);
        }
    }
    routes
}

/// A protocol with a host that only it is used on.
struct Side {
    name: &'static str,
    host: Host,
    client: Client,
    routes: BTreeMap<String, Rest>,
}

/// What a call came to, in the words of REST.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Answer(Value),
    Error { kind: u16, code: String, message: String, details: Vec<(String, String, String)> },
}

impl Side {
    async fn call(&self, method: &str, input: &Value, token: Option<&str>) -> Outcome {
        match self.name {
            "REST" => self.rest(method, input, token).await,
            "gRPC" => match self.client.call(&self.full(method), input, &How::caller(token)).await {
                Ok(answer) => Outcome::Answer(unwrapped(&self.client, &self.full(method), answer)),
                Err(status) => told(&status),
            },
            _ => self.web(method, input, token).await,
        }
    }

    fn full(&self, method: &str) -> String {
        let ends = format!(".{method}");
        let found = self.client.methods().into_iter().find(|known| known.full_name().ends_with(&ends));
        found.unwrap_or_else(|| panic!("no method {method}")).full_name().to_owned()
    }

    async fn rest(&self, method: &str, input: &Value, token: Option<&str>) -> Outcome {
        let rest = &self.routes[method];
        let descriptor = self.client.method(&self.full(method)).input();
        let mut left: Map<String, Value> = input.as_object().unwrap().clone();
        let mut url = String::new();
        for part in rest.template.split('/').skip(1) {
            url.push('/');
            match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                Some(name) => {
                    let value = left.remove(name).unwrap_or_default();
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    url.extend(form_urlencoded(&text));
                }
                None => url.push_str(part),
            }
        }
        // A record that is left alone is the body itself.
        let fields: Vec<_> =
            descriptor.fields().filter(|field| !rest.template.contains(&format!("{{{}}}", field.name()))).collect();
        let mut body = Value::Object(left.clone());
        if let [only] = fields.as_slice()
            && fields.len() < descriptor.fields().len()
            && matches!(only.kind(), Kind::Message(ref inner) if inner.parent_message().is_none() && !only.is_list())
            && let Some(inner) = left.get(only.name())
        {
            body = inner.clone();
        }
        if matches!(rest.verb, Method::GET | Method::DELETE) {
            let mut pairs: Vec<String> = Vec::new();
            for (name, value) in &left {
                let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
                for value in values.iter().filter(|value| !value.is_null()) {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    pairs.push(format!("{name}={}", form_urlencoded(&text).collect::<String>()));
                }
            }
            url = format!("{url}?{}", pairs.join("&"));
            body = Value::Null;
        }
        let body = (!body.is_null()).then_some(body);
        let (status, answer) = self.host.call(rest.verb.clone(), &url, token, body).await;
        if status < 300 {
            return Outcome::Answer(answer);
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let details = answer["details"].as_array().unwrap_or_else(|| panic!("{method}: {answer}"));
        let detail = |detail: &Value| (text(&detail["field"]), text(&detail["message"]), text(&detail["code"]));
        Outcome::Error {
            kind: status,
            code: text(&answer["code"]),
            message: text(&answer["message"]),
            details: details.iter().map(detail).collect(),
        }
    }

    async fn web(&self, method: &str, input: &Value, token: Option<&str>) -> Outcome {
        let descriptor = self.client.method(&self.full(method));
        let message = to_message(&descriptor.input(), input).encode_to_vec();
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("authorization", &**bearer)).collect();
        let (_, first, trailers) =
            web(&self.host, &self.host.grpc, &path(&descriptor), &message, &headers, false).await;
        match Status::from_header_map(&trailers) {
            Some(status) if status.code() != Code::Ok => told(&status),
            _ => {
                let answer = to_json(&DynamicMessage::decode(descriptor.output(), &*first).unwrap());
                Outcome::Answer(unwrapped(&self.client, descriptor.full_name(), answer))
            }
        }
    }
}

fn form_urlencoded(text: &str) -> impl Iterator<Item = char> {
    let bytes: Vec<u8> = text.bytes().collect();
    bytes.into_iter().flat_map(|byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        }
        .chars()
        .collect::<Vec<_>>()
    })
}

/// A response that holds a bare value, or none, as REST has it.
fn unwrapped(client: &Client, method: &str, answer: Value) -> Value {
    let output = client.method(method).output();
    let derived = output.name() == format!("{}Response", method.rsplit('.').next().unwrap());
    match (derived, answer.as_object().map(|members| members.len())) {
        (true, Some(0)) => Value::Null,
        (true, Some(1)) => answer["value"].clone(),
        _ => answer,
    }
}

fn told(status: &Status) -> Outcome {
    let details = status.get_error_details();
    let code = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    let kind = match (status.code(), &*code) {
        (Code::InvalidArgument, "INVALID_JSON" | "INVALID_PROTOBUF") => 400,
        (Code::InvalidArgument, _) => 422,
        (Code::Unauthenticated, _) => 401,
        (Code::PermissionDenied, _) => 403,
        (Code::NotFound, _) => 404,
        (Code::AlreadyExists, _) => 409,
        (Code::ResourceExhausted, _) => 429,
        (Code::Unavailable, _) => 503,
        (Code::DeadlineExceeded, _) => 504,
        _ => 500,
    };
    Outcome::Error {
        kind,
        code,
        message: status.message().to_owned(),
        details: violations.into_iter().map(|bad| (bad.field, bad.description, bad.reason)).collect(),
    }
}

/// What differs from host to host gets a name by the order in which it turns up: ids, tokens, times.
#[derive(Default)]
struct Names(HashMap<String, usize>);

impl Names {
    fn tidy(&mut self, key: &str, value: &mut Value) {
        match value {
            Value::Object(members) => members.iter_mut().for_each(|(key, value)| self.tidy(key, value)),
            Value::Array(items) => items.iter_mut().for_each(|item| self.tidy(key, item)),
            Value::String(text)
                if key.ends_with("_at") || key.ends_with("token") || key.ends_with("id") || key == "subject" =>
            {
                let next = self.0.len();
                let number = *self.0.entry(text.clone()).or_insert(next);
                *text = format!("<{}>", if key.ends_with("_at") { 0 } else { number });
            }
            Value::Number(_) if key.ends_with("_at") => *value = json!("<time>"),
            _ => {}
        }
    }
}

async fn sides(plugins: &[(&str, Vec<u8>)], manifests: &[String]) -> Vec<Side> {
    let mut sides = Vec::new();
    for name in ["REST", "gRPC", "gRPC-Web"] {
        let mut setup = Setup::identity().dev();
        for (plugin, bytes) in plugins {
            setup = setup.plugin(plugin, bytes);
        }
        let host = setup.start();
        let client = Client::new(&host, None).await;
        sides.push(Side { name, host, client, routes: routes(manifests) });
    }
    sides
}

fn shipped_manifests() -> Vec<String> {
    let read = |name: &str| {
        std::fs::read_to_string(format!("{}/../components/{name}/plugin.toml", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    vec![read("auth"), read("users")]
}

/// The steps of a life: method, input, and whose token; `$name` is what an earlier answer held.
fn life() -> Vec<(&'static str, Value, &'static str)> {
    let ada = json!({ "email": "Ada@Example.org", "password": PASSWORD, "name": "Ada", "first_name": "Ää", "username": "ada" });
    vec![
        ("AuthService.Register", ada.clone(), ""),
        ("AuthService.Register", ada, ""),
        ("AuthService.Register", json!({ "email": "no address", "password": "short", "username": "x" }), ""),
        ("AuthService.Login", json!({ "email": "ada@example.org", "password": PASSWORD }), ""),
        ("AuthService.Login", json!({ "username_or_email": "ada", "password": "wrong password" }), ""),
        ("AuthService.Login", json!({ "password": PASSWORD }), ""),
        ("AuthService.Login", json!({ "email": "a@b.de", "username": "ada", "password": PASSWORD }), ""),
        ("AuthService.GetCurrentUser", json!({}), "ada"),
        ("AuthService.GetCurrentUser", json!({}), ""),
        ("AuthService.GetCurrentUser", json!({}), "nonsense"),
        ("AuthService.ValidateToken", json!({ "token": "$ada" }), ""),
        ("AuthService.ValidateToken", json!({ "token": "nonsense" }), ""),
        ("AuthService.Refresh", json!({ "refresh_token": "nonsense" }), ""),
        ("AuthService.Refresh", json!({ "refresh_token": "$refresh" }), ""),
        ("UserService.List", json!({ "page": 0, "size": 5, "sort": "email", "order": "desc" }), "admin"),
        ("UserService.List", json!({}), "admin"),
        ("UserService.List", json!({ "size": 1000, "sort": "shoe size" }), "admin"),
        ("UserService.List", json!({ "search": "ää&=?/", "role": "user", "status": "active" }), "admin"),
        ("UserService.List", json!({}), "ada"),
        ("UserService.List", json!({}), ""),
        (
            "UserService.Create",
            json!({ "email": "bob@example.org", "password": PASSWORD, "role": "moderator", "status": "active" }),
            "admin",
        ),
        ("UserService.Create", json!({ "email": "bob@example.org", "password": PASSWORD }), "admin"),
        ("UserService.Create", json!({ "email": "", "password": "" }), "admin"),
        ("UserService.Create", json!({ "email": "eve@example.org", "password": PASSWORD }), "ada"),
        ("UserService.Get", json!({ "id": "$ada.id" }), "ada"),
        ("UserService.Get", json!({ "id": "$admin.id" }), "ada"),
        ("UserService.Get", json!({ "id": "00000000-0000-0000-0000-000000000000" }), "admin"),
        ("UserService.Get", json!({ "id": "no/id at all?" }), "admin"),
        (
            "UserService.Update",
            json!({ "id": "$ada.id", "user": { "email": "ada@example.org", "name": "Countess" } }),
            "ada",
        ),
        ("UserService.Update", json!({ "id": "$ada.id", "user": { "email": "", "username": "a b" } }), "ada"),
        ("UserService.Patch", json!({ "id": "$ada.id", "user": { "name": null, "last_name": "Lovelace" } }), "ada"),
        ("UserService.Patch", json!({ "id": "$ada.id", "user": {} }), "ada"),
        ("UserService.Patch", json!({ "id": "$ada.id", "user": { "email": null } }), "ada"),
        ("UserService.UpdateRole", json!({ "id": "$ada.id", "role": "superadmin" }), "ada"),
        ("UserService.UpdateRole", json!({ "id": "$ada.id", "role": "moderator" }), "admin"),
        ("AuthService.GetCurrentUser", json!({}), "ada"),
        ("UserService.UpdateStatus", json!({ "id": "$ada.id", "status": "locked" }), "admin"),
        ("UserService.UpdateStatus", json!({ "id": "$ada.id", "status": "active" }), "admin"),
        ("AuthService.Login", json!({ "email": "ada@example.org", "password": PASSWORD }), ""),
        (
            "UserService.ChangePassword",
            json!({ "id": "$ada.id", "request": { "current_password": "wrong password", "new_password": "correct battery" } }),
            "ada",
        ),
        (
            "UserService.ChangePassword",
            json!({ "id": "$ada.id", "request": { "current_password": PASSWORD, "new_password": "x" } }),
            "ada",
        ),
        (
            "UserService.ChangePassword",
            json!({ "id": "$ada.id", "request": { "current_password": PASSWORD, "new_password": "correct battery" } }),
            "ada",
        ),
        ("AuthService.Login", json!({ "username": "ada", "password": "correct battery" }), ""),
        ("AuthService.Logout", json!({ "refresh_token": "$refresh" }), ""),
        ("AuthService.GetCurrentUser", json!({}), "ada"),
        ("UserService.Delete", json!({ "id": "$ada.id" }), "ada"),
        ("UserService.Delete", json!({ "id": "$ada.id" }), "admin"),
        ("UserService.Delete", json!({ "id": "$ada.id" }), "admin"),
        ("UserService.Delete", json!({ "id": "$admin.id" }), "admin"),
    ]
}

fn fill(value: &Value, known: &HashMap<String, String>) -> Value {
    match value {
        Value::String(text) => match text.strip_prefix('$') {
            Some(name) => json!(known[name]),
            None => value.clone(),
        },
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), fill(value, known))).collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn the_shipped_plugins_answer_the_same_on_every_protocol() {
    let sides = sides(&[], &shipped_manifests()).await;
    let mut outcomes: Vec<Vec<Outcome>> = Vec::new();
    for side in &sides {
        let admin = first_admin(&side.host).await;
        let mut known = HashMap::from([
            ("admin".to_owned(), admin.access.clone()),
            ("admin.id".to_owned(), admin.id),
            ("nonsense".to_owned(), "nonsense".to_owned()),
        ]);
        let mut names = Names::default();
        let mut told = Vec::new();
        for (method, input, caller) in life() {
            let token = (!caller.is_empty()).then(|| known.get(caller).cloned().unwrap_or_default());
            let mut outcome = side.call(method, &fill(&input, &known), token.as_deref()).await;
            if let Outcome::Answer(answer) = &mut outcome {
                if let Some(access) = answer["access_token"].as_str() {
                    known.insert("ada".into(), access.to_owned());
                    known.insert("refresh".into(), answer["refresh_token"].as_str().unwrap().to_owned());
                    known.insert("ada.id".into(), answer["user"]["id"].as_str().unwrap().to_owned());
                }
                names.tidy("", answer);
            }
            told.push(outcome);
        }
        outcomes.push(told);
    }
    for (at, (method, input, caller)) in life().iter().enumerate() {
        for (side, told) in sides.iter().zip(&outcomes).skip(1) {
            assert_eq!(told[at], outcomes[0][at], "{} and REST: {method} {input} as {caller:?}", side.name);
        }
    }
    let called: BTreeSet<&str> = life().iter().map(|(method, ..)| *method).collect();
    let published: BTreeSet<&str> = sides[0].routes.keys().map(String::as_str).collect();
    assert_eq!(called, published, "every method is called");
    let went_well = outcomes[0].iter().filter(|outcome| matches!(outcome, Outcome::Answer(_))).count();
    assert!((15..life().len() - 15).contains(&went_well), "{went_well} of {}", life().len());
}

#[tokio::test]
async fn every_type_is_the_same_on_every_protocol() {
    let sides = sides(&[("echo", guest("echo"))], &[guest_manifest("echo")]).await;
    let mut runner = TestRunner::new(Config { cases: 400, ..Config::default() });
    let mut called = BTreeSet::new();
    for _ in 0..400 {
        let (method, input) = echo_input().new_tree(&mut runner).unwrap().current();
        called.insert(method);
        let expected = sides[0].call(method, &input, None).await;
        for side in &sides[1..] {
            let got = side.call(method, &input, None).await;
            assert_eq!(got, expected, "{} and REST: {method} {input}", side.name);
        }
    }
    assert_eq!(called.len(), sides[0].routes.len(), "{called:?}");
}
