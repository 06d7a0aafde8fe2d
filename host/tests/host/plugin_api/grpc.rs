//! Both protocols say the same: what REST answers over one is the message over the other, and so with what is refused.

use reqwest::Method;
use serde_json::{Map, Value, json};
use tonic_types::StatusExt as _;

use super::{admin, upload};
use crate::grpc::client::{Client, How};
use crate::small::plugin;
use crate::support::{Host, Setup};

/// The routes by method, with the inputs that are in the path left out of the rest.
const ROUTES: [(&str, Method, &str); 8] = [
    ("List", Method::GET, "/api/v1/plugins"),
    ("Get", Method::GET, "/api/v1/plugins/{}"),
    ("Enable", Method::POST, "/api/v1/plugins/{}/enable"),
    ("Disable", Method::POST, "/api/v1/plugins/{}/disable"),
    ("Rollback", Method::POST, "/api/v1/plugins/{}/rollback"),
    ("SetGrants", Method::PUT, "/api/v1/plugins/{}"),
    ("Remove", Method::DELETE, "/api/v1/plugins/{}"),
    ("Changes", Method::GET, "/api/v1/plugin-changes"),
];

/// An administrator with a host of their own, and the protocol that is used on it.
struct Side {
    host: Host,
    token: String,
    client: Option<Client>,
}

impl Side {
    async fn new(grpc: bool) -> Self {
        let host = Setup::new().dev().start();
        let token = admin(&host);
        let client = if grpc { Some(Client::new(&host, None).await) } else { None };
        for (name, seq, number) in [("small", 1, 1), ("small", 2, 2), ("other", 1, 3)] {
            let (status, answer) = upload(&host, &token, "", plugin(name, seq, number)).await;
            assert_eq!(status, 201, "{answer}");
        }
        Self { host, token, client }
    }

    /// What a call comes to: the answer, or the code, the message and the fields of its refusal.
    async fn call(&self, method: &str, id: Option<&str>, input: &Value) -> Value {
        match &self.client {
            Some(client) => {
                let mut input = input.clone();
                if let Some((namespace, name)) = id.and_then(|id| id.split_once('/')) {
                    input["namespace"] = namespace.into();
                    input["name"] = name.into();
                }
                let full_name = format!("arcana.plugin.v1.PluginService.{method}");
                match client.call(&full_name, &input, &How::caller(Some(&self.token))).await {
                    // What is no record is the value of the response.
                    Ok(answer) => match method {
                        "Changes" => answer["value"].clone(),
                        "Remove" => Value::Null,
                        _ => answer,
                    },
                    Err(status) => {
                        let details = status.get_error_details();
                        let fields = details.bad_request().map(|bad| &*bad.field_violations).unwrap_or_default();
                        let fields: Vec<_> = fields.iter().map(|field| [&field.field, &field.reason]).collect();
                        json!([details.error_info().unwrap().reason, status.message(), fields])
                    }
                }
            }
            None => {
                let (_, verb, path) = ROUTES.iter().find(|(name, ..)| *name == method).unwrap();
                let path = path.replace("{}", id.unwrap_or_default());
                let has_body = matches!(*verb, Method::POST | Method::PUT);
                let query: Vec<String> = input.as_object().unwrap().iter().map(pair).collect();
                let path = if has_body { path } else { format!("{path}?{}", query.join("&")) };
                let body = has_body.then(|| input.clone());
                let (status, answer) = self.host.call(verb.clone(), &path, Some(&self.token), body).await;
                if status < 400 {
                    return answer;
                }
                let details = answer["details"].as_array().unwrap();
                let fields: Vec<_> = details.iter().map(|detail| json!([detail["field"], detail["code"]])).collect();
                json!([answer["code"], answer["message"], fields])
            }
        }
    }
}

fn pair((name, value): (&String, &Value)) -> String {
    format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// The same without what differs between two hosts that have lived through the same: times and figures.
fn comparable(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(comparable).collect(),
        Value::Object(members) => {
            let same = |(name, _): &(String, Value)| !name.ends_with("at") && name != "figures";
            let members = members.into_iter().filter(same);
            Value::Object(members.map(|(name, value)| (name, comparable(value))).collect::<Map<_, _>>())
        }
        other => other,
    }
}

#[tokio::test]
async fn both_protocols_say_the_same() {
    let (rest, grpc) = (Side::new(false).await, Side::new(true).await);
    let small = Some("test/small");
    for (method, id, input) in [
        ("List", None, json!({})),
        ("List", None, json!({ "state": "active" })),
        ("List", None, json!({ "state": "pending_approval" })),
        ("Get", small, json!({})),
        ("Get", Some("test/none"), json!({})),
        ("Disable", small, json!({})),
        ("List", None, json!({ "state": "disabled" })),
        ("Enable", small, json!({})),
        ("Enable", Some("test/none"), json!({})),
        ("Rollback", small, json!({})),
        ("Rollback", small, json!({ "version": "1.0.2" })),
        ("Rollback", small, json!({ "version": "7.0.0" })),
        ("Rollback", small, json!({ "digest": "00" })),
        ("Rollback", small, json!({ "digest": "00", "version": "1.0.1" })),
        ("SetGrants", small, json!({ "capabilities": ["cache"] })),
        ("SetGrants", Some("test/none"), json!({ "capabilities": [] })),
        ("Changes", None, json!({ "size": 3 })),
        ("Changes", None, json!({ "size": 501 })),
        ("Changes", None, json!({ "id": "test/small" })),
        ("Remove", Some("test/other"), json!({})),
        ("Remove", Some("test/other"), json!({})),
        ("Get", small, json!({})),
        ("Changes", None, json!({})),
    ] {
        let (left, right) = (rest.call(method, id, &input).await, grpc.call(method, id, &input).await);
        assert_eq!(comparable(left), comparable(right), "{method} {id:?} {input}");
    }
}
