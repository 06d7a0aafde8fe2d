use wasmtime::component::Val;

use super::super::Binding;
use super::contract;
use crate::problem::{Kind, Problem};

const API: &str = "
  enum order { asc, most-recent }
  record address { zip-code: string }
  record user { email: string, full-name: option<string>, address: option<address> }
  record search { text: option<string>, max-size: option<u32>, order: option<order>, tags: list<string>, kinds: option<list<u8-ish>> }
  type u8-ish = u16;
  get: func(user-id: string) -> u8;
  update: func(user-id: string, user: user) -> u8;
  role: func(id: string, role: order) -> u8;
  create: func(user: user) -> u8;
  mixed: func(user: user, address: address, flag: bool) -> u8;
  find: func(query: search) -> u8;
  list-all: func(page: option<u32>, size: u8, exact: bool, at: f64, letter: option<char>, raw: option<list<u8>>) -> u8;
  patch: func(id: string, name: text-change) -> u8;
  nothing: func();";

fn bind(function: &str, path: &[&str], body: bool) -> Result<Binding, String> {
    let contract = contract(API);
    let (_, plan) = contract.publish(&format!("api.{function}")).expect("publishable");
    Binding::new(plan, path, body).map_err(|e| e.to_string())
}

fn text(text: &str) -> Val {
    Val::String(text.into())
}

fn some(value: Val) -> Val {
    Val::Option(Some(Box::new(value)))
}

fn errors(result: Result<Vec<Val>, Problem>) -> Vec<String> {
    let problem = result.expect_err("a problem");
    assert_eq!(problem.kind, Kind::Validation);
    problem.details.iter().map(|e| format!("{} {}", e.field, e.code)).collect()
}

#[test]
fn path_values_are_unescaped_and_bind_by_either_name() {
    for name in ["user_id", "user-id"] {
        let binding = bind("get", &[name], false).expect("binds");
        assert!(!binding.reads_body());
        let params = binding.decode([(name, "a%2Fb+c%C3%A9")], None, b"").expect("decodes");
        assert_eq!(params, [text("a/b+cé")]);
        assert_eq!(errors(binding.decode([(name, "%C3")], None, b"")), ["user_id INVALID_FORMAT"]);
        assert_eq!(errors(binding.decode([(name, "%4")], None, b"")), ["user_id INVALID_FORMAT"]);
        assert_eq!(errors(binding.decode([], None, b"")), ["user_id REQUIRED"]);
    }
}

#[test]
fn a_single_record_left_is_the_whole_body() {
    let user = |email: &str| {
        Val::Record(vec![
            ("email".into(), text(email)),
            ("full-name".into(), Val::Option(None)),
            ("address".into(), some(Val::Record(vec![("zip-code".into(), text("z"))]))),
        ])
    };
    let body = br#"{"address":{"zip_code":"z"},"email":"e","user_id":"other","id":1}"#;
    let update = bind("update", &["user_id"], true).expect("binds");
    assert_eq!(update.decode([("user_id", "1")], Some("email=q"), body).expect("decodes"), [text("1"), user("e")]);
    assert_eq!(bind("create", &[], true).expect("binds").decode([], None, body).expect("decodes"), [user("e")]);
    assert_eq!(
        errors(update.decode([("user_id", "%")], None, b"{\"address\":{}}")),
        ["user_id INVALID_FORMAT", "address.zip_code REQUIRED", "email REQUIRED"]
    );
    assert_eq!(errors(update.decode([("user_id", "1")], None, b" ")), ["email REQUIRED"]);
    assert_eq!(errors(update.decode([("user_id", "1")], None, b"[1]")), [" WRONG_TYPE"]);
    assert_eq!(update.decode([("user_id", "1")], None, b"{").expect_err("cut off").kind, Kind::Malformed);
}

#[test]
fn a_path_value_may_be_a_field_of_the_record() {
    let binding = bind("create", &["email"], true).expect("binds");
    let params = binding.decode([("email", "p")], None, br#"{"email":"b","full_name":"n"}"#).expect("decodes");
    let Val::Record(user) = &params[0] else { panic!("{params:?}") };
    assert_eq!((&user[0].1, &user[1].1), (&text("p"), &some(text("n"))));
}

#[test]
fn several_parameters_are_members_of_the_body() {
    let role = bind("role", &["id"], true).expect("binds");
    let params = role.decode([("id", "1")], None, br#"{"role":"most_recent"}"#).expect("decodes");
    assert_eq!(params, [text("1"), Val::Enum("most-recent".into())]);
    let mixed = bind("mixed", &[], true).expect("binds");
    assert_eq!(
        errors(mixed.decode([], None, br#"{"user":{},"flag":1}"#)),
        ["user.email REQUIRED", "flag WRONG_TYPE", "address REQUIRED"]
    );
    let patch = bind("patch", &["id"], true).expect("binds");
    let params = patch.decode([("id", "1")], None, b"").expect("an absent change keeps");
    assert_eq!(params[1], Val::Variant("keep".into(), None));
}

#[test]
fn the_query_stands_in_for_a_body() {
    let find = bind("find", &[], false).expect("binds");
    let query = "text=a+b%26&max-size=10&order=most_recent&tags=x&tags=&kinds=1&kinds=2&unknown=%zz&flag";
    let params = find.decode([], Some(query), b"ignored").expect("decodes");
    let Val::Record(search) = &params[0] else { panic!("{params:?}") };
    let values: Vec<_> = search.iter().map(|(_, value)| value.clone()).collect();
    assert_eq!(
        values,
        [
            some(text("a b&")),
            some(Val::U32(10)),
            some(Val::Enum("most-recent".into())),
            Val::List(vec![text("x"), text("")]),
            some(Val::List(vec![Val::U16(1), Val::U16(2)])),
        ]
    );
    let params = find.decode([], None, b"").expect("all of it is optional");
    let Val::Record(search) = &params[0] else { panic!("{params:?}") };
    assert_eq!((&search[3].1, &search[4].1), (&Val::List(vec![]), &Val::Option(None)));
    let wrong = "text=a&text=b&max_size=5000000000&order=up&kinds=1&kinds=x&kinds=70000";
    let mut found = errors(find.decode([], Some(wrong), b""));
    found.sort();
    assert_eq!(
        found,
        [
            "kinds[1] WRONG_TYPE",
            "kinds[2] OUT_OF_RANGE",
            "max_size OUT_OF_RANGE",
            "order UNKNOWN_VALUE",
            "text DUPLICATE_FIELD"
        ]
    );
}

#[test]
fn scalars_from_text() {
    let list = bind("list-all", &[], false).expect("binds");
    let params = list.decode([], Some("size=255&exact=true&at=-1.5e3&letter=%C3%A9&raw=AQI"), b"").expect("decodes");
    let raw = some(Val::List(vec![Val::U8(1), Val::U8(2)]));
    assert_eq!(
        params,
        [Val::Option(None), Val::U8(255), Val::Bool(true), Val::Float64(-1500.0), some(Val::Char('é')), raw]
    );
    let at = |value: &str| list.decode([], Some(&format!("size=1&exact=false&at={value}")), b"");
    assert_eq!(at("-Infinity").expect("a word")[3], Val::Float64(f64::NEG_INFINITY));
    for (value, code) in [("inf", "WRONG_TYPE"), ("1e999", "OUT_OF_RANGE"), ("", "WRONG_TYPE"), ("1-", "WRONG_TYPE")] {
        assert_eq!(errors(at(value)), [format!("at {code}")]);
    }
    let many_nines = "9".repeat(60);
    assert_eq!(errors(list.decode([], Some(&format!("size={many_nines}&exact=1&page=-1")), b"")).len(), 4);
}

#[test]
fn bindings_that_cannot_work_are_refused_at_load() {
    for (function, path, body, told) in [
        ("get", &["id"][..], false, "`{id}`"),
        ("get", &["user_id", "user-id"], false, "twice"),
        ("update", &["user"], true, "`user`"),
        ("mixed", &[], false, "`user`"),
        ("create", &[], false, "`address`"),
        ("patch", &["id"], false, "`name`"),
    ] {
        let error = bind(function, path, body).expect_err(function);
        assert!(error.contains(told) && error.contains(function), "{error}");
    }
    bind("nothing", &[], true).expect("nothing to bind").decode([], None, b"not json").expect("the body is not read");
}

#[test]
fn values_are_located_by_name() {
    let update = bind("update", &["user_id"], true).expect("binds");
    let params = update.decode([("user_id", "7")], None, br#"{"email":"e@x"}"#).expect("decodes");
    let text = |name: &str| update.locate(name).and_then(|at| at.text(&params).map(std::borrow::Cow::into_owned));
    assert_eq!(text("user_id").as_deref(), Some("7"));
    assert_eq!(text("user-id").as_deref(), Some("7"));
    assert_eq!(text("email").as_deref(), Some("e@x"));
    assert_eq!(text("full_name"), None);
    assert!(update.locate("full_name").is_some() && update.locate("address").is_none());
    // Two records: neither is meant.
    assert!(bind("mixed", &[], true).expect("binds").locate("email").is_none());
}
