//! What a document says of each type, each place of an input and each answer.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::super::openapi::{Access, Api, Limit, Operation, Service, document};
use super::super::{Binding, Contract, Interface};
use super::contract;
use crate::principal::Role;

/// A function on a route: its name, the method and the template.
type On = (&'static str, Method, &'static str);

/// The document of an interface `api` with these routes.
fn described(api: &str, routes: &[On]) -> Value {
    let contract = contract(api);
    of(&[(&contract, routes)], |_, _| {})
}

/// The document of several contracts, each operation changed as the test likes.
fn of(contracts: &[(&Contract, &[On])], mut change: impl FnMut(&str, &mut Operation<'_>)) -> Value {
    let bindings: Vec<Vec<Binding>> = contracts
        .iter()
        .map(|(contract, routes)| routes.iter().map(|on| binding(&contract.interfaces[0], on)).collect())
        .collect();
    let services = contracts.iter().zip(&bindings).map(|((contract, routes), bindings)| {
        let interface = &contract.interfaces[0];
        let operations = routes.iter().zip(bindings).map(|((function, verb, template), binding)| {
            let plan = interface.publish(function).expect("publishable");
            let status = if plan.result.ok.is_some() { StatusCode::OK } else { StatusCode::NO_CONTENT };
            let (access, limits) = (vec![Access::Public], Vec::new());
            let mut operation = Operation { verb, template, plan, binding, access, limits, status, streamed: None };
            change(function, &mut operation);
            operation
        });
        Service {
            name: &interface.name,
            package: interface.package.as_ref().expect("a package"),
            docs: interface.docs.as_deref(),
            plugin: Some("t/t"),
            operations: operations.collect(),
        }
    });
    let api =
        Api { title: "T".into(), version: "1".into(), max_body: 1000, services: services.collect(), ..Api::default() };
    let document = serde_json::to_value(document(&api)).expect("it is JSON");
    assert_references(&document);
    document
}

fn binding(interface: &Interface, (function, verb, template): &On) -> Binding {
    let names: Vec<&str> = template.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
    let plan = interface.publish(function).unwrap_or_else(|error| panic!("{error}"));
    Binding::new(plan, &names, matches!(*verb, Method::POST | Method::PUT | Method::PATCH)).expect("binds")
}

/// Every reference leads somewhere, and nothing is there that none leads to.
fn assert_references(document: &Value) {
    fn collect(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(target)) = members.get("$ref") {
                    found.insert(target.clone());
                }
                members.values().for_each(|value| collect(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| collect(value, found)),
            _ => {}
        }
    }
    let mut used = BTreeSet::new();
    collect(document, &mut used);
    let mut there = BTreeSet::new();
    for kind in ["schemas", "responses", "headers"] {
        let names = document["components"][kind].as_object().expect("an object").keys();
        there.extend(names.map(|name| format!("#/components/{kind}/{name}")));
    }
    // Some documents have no 429.
    used.insert("#/components/headers/RetryAfter".into());
    assert_eq!(used, there);
}

fn schema<'d>(document: &'d Value, name: &str) -> &'d Value {
    let schema = &document["components"]["schemas"][name];
    assert!(schema.is_object(), "no {name} in {}", document["components"]["schemas"]);
    schema
}

/// The schema of the member `p` of the body of `f: func(p: T, q: u8)`, and that of the answer where it is a T.
fn both(defs: &str, ty: &str) -> (Value, Value, Value) {
    let document = described(
        &format!("{defs}\nrecord out {{ v: {ty} }}\nf: func(p: {ty}, q: u8) -> out;"),
        &[("f", Method::POST, "/f")],
    );
    let body = &document["paths"]["/f"]["post"]["requestBody"]["content"]["application/json"]["schema"];
    let answer = schema(&document, "Out")["properties"]["v"].clone();
    (body["properties"]["p"].clone(), answer, document)
}

#[test]
fn types_without_a_name_are_written_in_place() {
    let integer = |format: &str, min: i64, max: u64| json!({ "type": "integer", "format": format, "minimum": min, "maximum": max });
    let words = json!({ "type": "string", "enum": ["NaN", "Infinity", "-Infinity"] });
    let f64 = json!({ "type": "number", "format": "double" });
    let bytes = json!({ "$ref": "#/components/schemas/Base64" });
    for (ty, expected) in [
        ("bool", json!({ "type": "boolean" })),
        ("s8", integer("int8", -128, 127)),
        ("u8", integer("uint8", 0, 255)),
        ("s16", integer("int16", -32_768, 32_767)),
        ("u16", integer("uint16", 0, 65_535)),
        ("s32", integer("int32", i32::MIN.into(), 2_147_483_647)),
        ("u32", integer("uint32", 0, u32::MAX.into())),
        ("s64", integer("int64", i64::MIN, 9_223_372_036_854_775_807)),
        ("u64", integer("uint64", 0, u64::MAX)),
        ("f64", json!({ "oneOf": [f64, words] })),
        ("char", json!({ "type": "string", "minLength": 1, "maxLength": 1 })),
        ("string", json!({ "type": "string" })),
        ("list<u8>", bytes.clone()),
        ("list<bool>", json!({ "type": "array", "items": { "type": "boolean" } })),
        ("list<list<u8>>", json!({ "type": "array", "items": bytes })),
        ("option<string>", json!({ "type": ["string", "null"] })),
        ("option<list<bool>>", json!({ "type": ["array", "null"], "items": { "type": "boolean" } })),
        ("option<list<u8>>", json!({ "oneOf": [bytes, { "type": "null" }] })),
        ("option<f64>", json!({ "oneOf": [f64, words, { "type": "null" }] })),
        (
            "tuple<bool, string>",
            json!({
                "type": "array", "prefixItems": [{ "type": "boolean" }, { "type": "string" }],
                "items": false, "minItems": 2, "maxItems": 2,
            }),
        ),
        (
            "result<bool>",
            json!({ "oneOf": [
                {
                    "type": "object", "properties": { "ok": { "type": "boolean" } }, "required": ["ok"],
                    "propertyNames": { "not": { "enum": ["err"] } },
                },
                {
                    "type": "object", "properties": { "err": { "type": "null" } }, "required": ["err"],
                    "propertyNames": { "not": { "enum": ["ok"] } },
                },
            ] }),
        ),
    ] {
        let (request, answer, _) = both("", ty);
        assert_eq!(request, expected, "{ty}");
        assert_eq!(answer, expected, "{ty}");
    }
    let (f32, ..) = both("", "f32");
    let limit = f64::from(f32::MAX) + 2_f64.powi(103);
    assert_eq!((limit as f32, limit.next_down() as f32), (f32::INFINITY, f32::MAX));
    assert_eq!(f32["oneOf"][0]["exclusiveMaximum"], json!(limit));
    assert_eq!(f32["oneOf"][0]["exclusiveMinimum"], json!(-limit));
}

#[test]
fn an_option_in_an_option_has_a_wrapper_that_answers_never_leave_empty() {
    let (request, answer, _) = both("", "option<option<bool>>");
    let inner = json!({ "type": ["boolean", "null"] });
    assert_eq!(request, json!({ "type": ["object", "null"], "properties": { "value": inner } }));
    assert_eq!(answer, json!({ "type": ["object", "null"], "properties": { "value": inner }, "required": ["value"] }));
}

#[test]
fn named_types_are_components_with_their_docs() {
    let defs = "
      /// A color.
      enum color {
        /// Like
        /// fire.
        red,
        dark-blue }
      /// What lies on it.
      flags toppings {
        /// The usual.
        cheese, extra-onions }
      /// A place.
      record point {
        /// To the right.
        x-axis: s8,
        /// What it is called.
        label: option<string> }
      /// A shape.
      variant shape {
        /// Nothing.
        empty,
        /// A corner.
        a-dot(point) }
      variant text { plain(string) }
    ";
    let ty = "tuple<color, toppings, shape, text>";
    let (request, answer, document) = both(defs, ty);
    let items = |names: [&str; 4]| -> Vec<Value> {
        names.iter().map(|name| json!({ "$ref": format!("#/components/schemas/{name}") })).collect()
    };
    assert_eq!(request["prefixItems"], json!(items(["Color", "ToppingsInput", "ShapeInput", "Text"])));
    assert_eq!(answer["prefixItems"], json!(items(["Color", "Toppings", "Shape", "Text"])));
    assert_eq!(
        schema(&document, "Color"),
        &json!({ "type": "string", "enum": ["red", "dark_blue"], "description": "A color.\n\n- `red`: Like fire." })
    );
    let labels = json!({ "type": "string", "enum": ["cheese", "extra_onions"] });
    let docs = "What lies on it.\n\n- `cheese`: The usual.";
    // Read with repetitions, written without.
    assert_eq!(
        schema(&document, "ToppingsInput"),
        &json!({ "type": "array", "items": labels, "description": docs, "examples": [["cheese"]] })
    );
    assert_eq!(
        schema(&document, "Toppings"),
        &json!({ "type": "array", "items": labels, "uniqueItems": true, "description": docs, "examples": [["cheese"]] })
    );
    let properties = json!({
        "x_axis": { "type": "integer", "format": "int8", "minimum": -128, "maximum": 127, "description": "To the right." },
        "label": { "type": ["string", "null"], "description": "What it is called." },
    });
    let example = json!([{ "x_axis": 1, "label": "label" }]);
    let record = |required: Value| json!({ "type": "object", "properties": properties, "required": required, "description": "A place.", "examples": example });
    assert_eq!(schema(&document, "PointInput"), &record(json!(["x_axis"])));
    assert_eq!(schema(&document, "Point"), &record(json!(["x_axis", "label"])));
    assert_eq!(
        schema(&document, "ShapeInput"),
        &json!({ "oneOf": [
            { "title": "Shape empty", "type": "string", "const": "empty", "description": "Nothing." },
            {
                "title": "Shape a_dot", "type": "object", "properties": { "a_dot": { "$ref": "#/components/schemas/PointInput" } },
                "required": ["a_dot"], "propertyNames": { "not": { "enum": ["empty"] } }, "description": "A corner.",
            },
        ], "description": "A shape.", "examples": ["empty"] })
    );
    assert_eq!(schema(&document, "Text")["examples"], json!([{ "plain": "plain" }]));
}

#[test]
fn a_change_is_a_member_of_a_merge_patch_and_elsewhere_a_variant() {
    let api = "record patch { name: text-change, size: u8 } record out { old: list<text-change> }
      f: func(id: string, patch: patch) -> out;
      g: func(name: text-change, id: string);";
    let document = described(api, &[("f", Method::PATCH, "/f/{id}"), ("g", Method::PATCH, "/g/{id}")]);
    let name = json!({ "type": ["string", "null"] });
    let patch = schema(&document, "Patch");
    assert_eq!((&patch["properties"]["name"], &patch["required"]), (&name, &json!(["size"])));
    let body = |path: &str| document["paths"][path]["patch"]["requestBody"].clone();
    assert_eq!(body("/f/{id}")["required"], json!(true));
    // An empty patch changes nothing, and so does none.
    assert_eq!(body("/g/{id}")["required"], json!(false));
    assert_eq!(
        body("/g/{id}")["content"]["application/json"]["schema"],
        json!({ "type": "object", "properties": { "name": name } })
    );
    assert_eq!(schema(&document, "TextChange")["oneOf"][2]["required"], json!(["set"]));
}

#[test]
fn inputs_are_where_the_binding_reads_them() {
    let api = "enum order { asc, desc }
      record search { text: string, /// How many.
        max-size: option<u32>, order: option<order>, tags: list<string>, kinds: option<list<u8>>, raw: option<list<s8>> }
      record user { email: string, name: option<string> }
      record loose-one { a: option<u8>, b: list<u8> }
      find: func(query: search) -> u8;
      update: func(user-id: string, user: user) -> u8;
      moved: func(user: user) -> u8;
      loose: func(loose: loose-one) -> u8;
      nothing: func();";
    let document = described(
        api,
        &[
            ("find", Method::GET, "/find"),
            ("update", Method::PUT, "/users/{user-id}"),
            ("moved", Method::POST, "/moved/{email}"),
            ("loose", Method::POST, "/loose"),
            ("nothing", Method::POST, "/nothing"),
        ],
    );
    let paths = &document["paths"];
    let parameters = paths["/find"]["get"]["parameters"].as_array().expect("parameters");
    let told: Vec<(&Value, &Value, &Value, &Value)> =
        parameters.iter().map(|p| (&p["name"], &p["in"], &p["required"], &p["explode"])).collect();
    let (query, yes, no, once) = (json!("query"), json!(true), json!(false), Value::Null);
    assert_eq!(
        told,
        [
            (&json!("text"), &query, &yes, &once),
            (&json!("max_size"), &query, &no, &once),
            (&json!("order"), &query, &no, &once),
            (&json!("tags"), &query, &no, &yes),
            (&json!("kinds"), &query, &no, &once),
            (&json!("raw"), &query, &no, &yes),
        ]
    );
    // There is no null in a query.
    assert_eq!(parameters[1]["schema"]["type"], "integer");
    assert_eq!(parameters[1]["description"], "How many.");
    assert_eq!(parameters[2]["schema"], json!({ "$ref": "#/components/schemas/Order" }));
    assert_eq!(parameters[4]["schema"], json!({ "$ref": "#/components/schemas/Base64" }));
    assert_eq!((&parameters[0]["example"], &parameters[1]["example"]), (&json!("text"), &Value::Null));

    let update = &paths["/users/{user-id}"]["put"];
    let id = json!({
        "name": "user-id", "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 },
        "example": "0198c8e2-4f6a-7b1c-9d3e-5a7f0c2b4d68",
    });
    assert_eq!(update["parameters"], json!([id]));
    let media = &update["requestBody"]["content"]["application/json"];
    assert_eq!(media["schema"], json!({ "$ref": "#/components/schemas/User" }));
    assert_eq!(media["example"], json!({ "email": "ada@example.com", "name": "name" }));
    // What the path has is no member of the body.
    let moved = &paths["/moved/{email}"]["post"];
    assert_eq!(moved["parameters"][0]["name"], "email");
    assert_eq!(
        moved["requestBody"],
        json!({ "required": false, "content": { "application/json": {
            "schema": { "type": "object", "properties": { "name": { "type": ["string", "null"] } } },
            "example": { "name": "name" },
        } } })
    );
    assert_eq!(paths["/loose"]["post"]["requestBody"]["required"], true);
    assert_eq!(paths["/nothing"]["post"]["requestBody"], Value::Null);
}

#[test]
fn an_operation_says_who_may_call_it_how_often_and_what_may_come_back() {
    let contract = contract(
        "/// Gives `a. b` a role. Ends its
      /// sessions.
      ///
      /// Much more.
      set-role: func(id: string, role: u8) -> result<string, problem>;
      list-all: func() -> list<string>;
      /// Nothing
      ///
      /// to say.
      clear: func(id: string);",
    );
    let routes: &[On] = &[
        ("set-role", Method::PUT, "/role/{id}"),
        ("list-all", Method::GET, "/all"),
        ("clear", Method::DELETE, "/{id}"),
    ];
    let document = of(&[(&contract, routes)], |name, operation| match name {
        "set-role" => {
            operation.access = vec![Access::Role(Role::Admin), Access::Own("id")];
            let limit = |by| Limit { by, per_minute: 30, burst: 5 };
            operation.limits = vec![limit(vec![]), limit(vec!["id", "role"])];
            operation.status = StatusCode::CREATED;
        }
        "list-all" => operation.access = vec![Access::Authenticated],
        _ => {}
    });
    let statuses = |operation: &Value| -> Vec<String> {
        operation["responses"].as_object().expect("responses").keys().cloned().collect()
    };
    let role = &document["paths"]["/role/{id}"]["put"];
    assert_eq!((&role["operationId"], &role["tags"]), (&json!("Api_SetRole"), &json!(["Api"])));
    assert_eq!(role["summary"], "Gives `a. b` a role");
    assert_eq!(
        role["description"],
        "Ends its\nsessions.\n\nMuch more.\n\n**Who may call:** the role `admin` or a higher one; or the account itself, whose id is \
         `id`.\n\n**Limits:** 30 a minute, 5 at once, for each client address; 30 a minute, 5 at once, for each `id` or `role`."
    );
    assert_eq!(role["security"], json!([{ "bearerAuth": [] }]));
    assert_eq!(role["x-arcana-access"], json!(["role:admin", "self:id"]));
    assert_eq!(role["x-arcana-grpc"], "t.t.v1.Api/SetRole");
    assert_eq!(
        statuses(role),
        ["201", "400", "401", "403", "404", "408", "409", "413", "415", "422", "429", "500", "503", "504", "default"]
    );
    let all = &document["paths"]["/all"]["get"];
    assert_eq!(all["summary"], "List all");
    assert_eq!(statuses(all), ["200", "401", "500", "503", "504", "default"]);
    assert_eq!(all["responses"]["200"]["content"]["application/json"]["example"], json!(["value"]));
    let clear = &document["paths"]["/{id}"]["delete"];
    assert_eq!((&clear["summary"], &clear["security"]), (&json!("Nothing"), &json!([])));
    assert_eq!(clear["description"], "to say.\n\n**Who may call:** everybody; no token is needed.");
    assert_eq!(statuses(clear), ["204", "422", "500", "503", "504", "default"]);
    assert_eq!(clear["responses"]["204"]["content"], Value::Null);
    let responses = &document["components"]["responses"];
    assert_eq!(responses["PayloadTooLarge"]["description"], "The body is larger than 1000 bytes. `PAYLOAD_TOO_LARGE`");
    assert_eq!(responses["TooManyRequests"]["headers"]["Retry-After"]["$ref"], "#/components/headers/RetryAfter");
    assert_eq!(document["tags"], json!([{ "name": "Api", "description": "The interface.", "x-arcana-plugin": "t/t" }]));
}

#[test]
fn names_stay_apart() {
    // Two packages with the same names inside, and one that is called like the body of errors.
    let text = |package: &str, fields: &str| {
        let mut resolve = wit_parser::Resolve::new();
        let text = format!(
            "package {package};\ninterface api {{ record user {{ {fields} }} record error {{ m: string }}
             get: func() -> user; put: func(user: user) -> error; }}\nworld w {{ export api; }}"
        );
        let package = resolve.push_source("t.wit", &text).expect("it parses");
        let world = resolve.packages[package].worlds["w"];
        Contract::from_world(&resolve, world, &super::super::docs::Docs::default())
    };
    let (one, two) = (text("a:one@1.0.0", "id: string"), text("a:two@2.1.0", "id: option<string>"));
    let first: &[On] = &[
        ("get", Method::GET, "/1"),
        ("put", Method::PUT, "/1"),
        ("put", Method::PUT, "/3"),
        ("put", Method::PUT, "/4"),
    ];
    let document = of(&[(&one, first), (&two, &[("get", Method::GET, "/2"), ("put", Method::PUT, "/2")])], |_, _| {});
    let names: Vec<&String> = document["components"]["schemas"].as_object().expect("schemas").keys().collect();
    assert_eq!(
        names,
        [
            "Error",
            "ErrorDetail",
            "a.one.v1.Error",
            "a.one.v1.User",
            "a.two.v2.Error",
            "a.two.v2.User",
            "a.two.v2.UserInput"
        ]
    );
    let id = |path: &str, verb: &str| document["paths"][path][verb]["operationId"].as_str().expect("an id").to_owned();
    assert_eq!(id("/1", "get"), "a_one_v1_Api_Get");
    assert_eq!(id("/2", "get"), "a_two_v2_Api_Get");
    // A function with several routes.
    assert_eq!(
        [id("/1", "put"), id("/3", "put"), id("/4", "put")],
        ["a_one_v1_Api_Put", "a_one_v1_Api_Put_Put", "a_one_v1_Api_Put_Put2",]
    );
    assert_eq!(document["tags"][1]["name"], "a.two.v2.Api");

    // The same type from two plugins is one; another shape under the same name is another.
    let again = text("a:one@1.0.0", "id: string");
    let longer = text("a:one@1.0.0", "id: string, more: bool");
    let document = of(
        &[
            (&one, &[("get", Method::GET, "/1")]),
            (&again, &[("get", Method::GET, "/2")]),
            (&longer, &[("get", Method::GET, "/3")]),
        ],
        |_, _| {},
    );
    let reference = |path: &str| {
        document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].clone()
    };
    assert_eq!(reference("/1"), "#/components/schemas/a.one.v1.User");
    assert_eq!(reference("/1"), reference("/2"));
    assert_eq!(reference("/3"), "#/components/schemas/a.one.v1.User_2");
}

#[test]
fn a_whole_document() {
    let contract = contract(
        "/// A person.
      record person {
        /// The name.
        name: string,
        /// Where to write to.
        email: option<string> }
      /// Puts a person down. It is there from then on.
      put: func(id: string, person: person) -> result<person, problem>;",
    );
    let route = ("put", Method::PUT, "/people/{id}");
    let interface = &contract.interfaces[0];
    let binding = binding(interface, &route);
    let (_, verb, template) = &route;
    let plan = interface.publish("put").expect("publishable");
    let access = vec![Access::Own("id")];
    let operation = Operation {
        verb,
        template,
        plan,
        binding: &binding,
        access,
        limits: vec![],
        status: StatusCode::OK,
        streamed: None,
    };
    let package = interface.package.as_ref().expect("a package");
    let service =
        Service { name: "api", package, docs: Some("People."), plugin: Some("t/t"), operations: vec![operation] };
    let (title, version, description) = ("People".into(), "1.2.3".into(), "Who is there.".into());
    let api = Api { title, version, description, max_body: 1 << 20, services: vec![service], host: None };
    insta::assert_snapshot!(serde_json::to_string_pretty(&document(&api)).expect("it is JSON"));
}
