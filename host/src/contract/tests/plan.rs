use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::super::{Contract, ContractError, Type, names};
use super::{TYPES_WIT, contract};

const API: &str = "package arcana:t@1.2.0;
/// Things.
interface api {
  use arcana:types/types@1.0.0.{problem};
  /// A thing.
  record thing {
    /// Its id.
    thing-id: string,
    /// How many.
    count: u32,
  }
  /// Finds a thing.
  get: func(id: string) -> result<thing, problem>;
  stop: func();
}
interface spare { nothing: func(); }
world w { import spare; export api; }";

fn push(text: &str) -> (Resolve, wit_parser::PackageId) {
    let mut resolve = Resolve::new();
    resolve.push_source("types.wit", TYPES_WIT).expect("types");
    let package = resolve.push_source("t.wit", text).expect("parses");
    (resolve, package)
}

fn component() -> Vec<u8> {
    let (resolve, package) = push(API);
    let mut module = wat::parse_str(
        r#"(module
            (import "arcana:t/spare@1.2.0" "nothing" (func))
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
            (func (export "arcana:t/api@1.2.0#get") (param i32 i32) (result i32) i32.const 0)
            (func (export "arcana:t/api@1.2.0#stop")))"#,
    )
    .expect("the module parses");
    let world = resolve.packages[package].worlds["w"];
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).expect("metadata");
    ComponentEncoder::default().module(&module).expect("module").validate(true).encode().expect("component")
}

fn wit(text: &str) -> Vec<u8> {
    let (resolve, package) = push(text);
    wit_component::encode(&resolve, package, false).expect("encodes")
}

#[test]
fn a_component_without_its_wit_has_plans_without_docs() {
    let contract = Contract::decode(&component(), None).expect("decodes");
    let (interface, get) = contract.publish("api.get").expect("publishable");
    assert_eq!(interface.full_name, "arcana:t/api@1.2.0");
    assert_eq!(interface.name, "api");
    assert_eq!(interface.package.as_ref().expect("a package").proto(), "arcana.t.v1");
    assert_eq!(get.params[0].name, "id");
    assert!(get.result.fallible);
    let Some(Type::Record(thing)) = get.result.ok.as_deref() else { panic!("{get:?}") };
    assert_eq!(thing.name.name, "thing");
    assert_eq!(&*thing.fields[0].json_name, "thing_id");
    assert_eq!(get.docs, None);
    let imports: Vec<_> = contract.imports.iter().map(|i| (i.name.as_str(), i.functions.len())).collect();
    assert_eq!(imports, [("arcana:t/spare@1.2.0", 1), ("arcana:types/types@1.0.0", 0)]);
}

#[test]
fn docs_come_from_the_wit() {
    let (api, types) = (wit(API), wit_types());
    let contract = Contract::decode(&component(), [&*api, &*types]).expect("decodes");
    let (interface, get) = contract.publish("arcana:t/api@1.2.0.get").expect("publishable");
    assert_eq!(interface.docs.as_deref(), Some("Things."));
    assert_eq!(get.docs.as_deref(), Some("Finds a thing."));
    let Some(Type::Record(thing)) = get.result.ok.as_deref() else { panic!("{get:?}") };
    assert_eq!(thing.name.docs.as_deref(), Some("A thing."));
    assert_eq!(thing.fields[1].docs.as_deref(), Some("How many."));
}

fn wit_types() -> Vec<u8> {
    let mut resolve = Resolve::new();
    let package = resolve.push_source("types.wit", TYPES_WIT).expect("types");
    wit_component::encode(&resolve, package, false).expect("encodes")
}

#[test]
fn a_wit_of_another_shape_is_refused_by_place() {
    let component = component();
    for (from, to, place, ours, theirs) in [
        ("count: u32", "count: u64", "field `count`", "`u32`", "`u64`"),
        ("count: u32", "counter: u32", "", "`thing-id`, `count`", "`thing-id`, `counter`"),
        (
            "func(id: string)",
            "func(id: option<string>)",
            "function `get` of `arcana:t/api@1.2.0`, parameter `id`",
            "`string`",
            "`option<string>`",
        ),
        ("func(id: string)", "func(key: string)", "function `get`", "`id`", "`key`"),
        ("func(id: string)", "func()", "function `get`", "1 parameters", "0 parameters"),
        ("stop: func()", "stop: func() -> u8", "function `stop` of `arcana:t/api@1.2.0`, result", "none", "`u8`"),
        ("stop: func();", "", "function `stop`", "it", "none"),
        ("stop: func();", "stop: func(); more: func();", "function `more`", "none", "it"),
        ("result<thing, problem>", "result<thing, string>", "function `get`", "`problem`", "`string`"),
    ] {
        let error = Contract::decode(&component, [&*wit(&API.replace(from, to))]).expect_err(to);
        let ContractError::WitDiffers { place: at, component: found, wit } = &error else { panic!("{error}") };
        assert!(at.contains(place) && found.contains(ours) && wit.contains(theirs), "{error}");
    }
}

#[test]
fn what_is_no_component_or_no_wit_is_told() {
    assert!(matches!(Contract::decode(b"hello", None), Err(ContractError::Unreadable(_))));
    assert!(matches!(Contract::decode(&wit(API), None), Err(ContractError::Unreadable(_))));
    assert!(matches!(Contract::decode(&component(), [&b"hello"[..]]), Err(ContractError::UnreadableWit(_))));
    assert!(matches!(Contract::decode(&component(), [&*component()]), Err(ContractError::UnreadableWit(_))));
}

#[test]
fn types_that_cannot_be_published_are_refused_by_function_parameter_and_type() {
    for (defs, ty, blamed) in [
        ("resource file;", "file", "own<file>"),
        ("resource file;", "own<file>", "own<file>"),
        ("resource file;", "borrow<file>", "borrow<file>"),
        ("", "stream<u8>", "stream<u8>"),
        ("", "list<option<future<string>>>", "future<string>"),
        ("", "map<string, u8>", "map<string, u8>"),
        ("", "list<u8, 4>", "list<u8, 4>"),
        ("", "error-context", "error-context"),
        ("record deep { inner: tuple<u8, stream> }", "deep", "stream"),
        ("variant deep { inner(result<future, u8>) }", "list<deep>", "future"),
    ] {
        // A handle that is lent cannot be a result at all.
        let result = if ty.starts_with("borrow") { "error-context".to_owned() } else { format!("tuple<{ty}>") };
        let text = format!("{defs} fine: func() -> string; bad: func(ok: u8, it: {ty}); worse: func() -> {result};");
        let contract = contract(&text);
        contract.publish("api.fine").expect("the others can be published");
        let bad = contract.publish("api.bad").expect_err(ty).to_string();
        for part in ["bad", "it", blamed] {
            assert!(bad.contains(&format!("`{part}`")), "{bad}");
        }
        let worse = contract.publish("api.worse").expect_err(ty).to_string();
        let blamed = if ty.starts_with("borrow") { "error-context" } else { blamed };
        assert!(worse.contains("`worse`") && worse.contains("its result") && worse.contains(blamed), "{worse}");
    }
}

#[test]
fn the_error_type_must_be_problem() {
    for (result, blamed) in
        [("result<u8, string>", "`string`"), ("result<u8>", "none"), ("result", "none"), ("result<u8, fake>", "`fake`")]
    {
        let contract = contract(&format!("record fake {{ kind: u8 }}\nf: func() -> {result};"));
        let error = contract.publish("api.f").expect_err(result).to_string();
        assert!(error.contains("`problem`") && error.contains(blamed), "{error}");
    }
    let fine = contract("type oops = problem; type answer = result<u8, oops>; f: func() -> answer;");
    assert!(fine.publish("api.f").expect("aliases are seen through").1.result.fallible);
}

#[test]
fn methods_of_resources_are_refused() {
    let contract = contract("resource file { read: func() -> u8; }");
    let error = contract.publish("api.[method]file.read").expect_err("no such interface").to_string();
    assert!(error.contains("api"), "{error}");
    let error = contract.interfaces[0].publish("[method]file.read").expect_err("a method").to_string();
    assert!(error.contains("resource"), "{error}");
}

#[test]
fn unknown_calls_name_what_there_is() {
    let contract = contract("one: func(); two: func();");
    for (call, told) in [("api.three", "one, two"), ("apo.one", "t:t/api@1.2.0"), ("one", "interface.function")] {
        let error = contract.publish(call).expect_err(call).to_string();
        assert!(error.contains(told), "{error}");
    }
    for (call, near) in [("api.onee", "`one`"), ("t:t/api@1.2.0.twoo", "`two`"), ("apo.one", "`t:t/api@1.2.0`")] {
        let error = contract.publish(call).expect_err(call).to_string();
        assert!(error.contains(&format!("; did you mean {near}?; there are: ")), "{error}");
    }
    assert!(!contract.publish("api.three").expect_err("unknown").to_string().contains("did you mean"));
}

#[test]
fn names_that_collide_are_refused() {
    let one = contract("record f-request { a: u8 } f: func(a: f-request, b: u8);");
    let error = one.publish("api.f").expect_err("collides").to_string();
    assert!(
        error.contains("t.t.v1.FRequest") && error.contains("type `f-request`") && error.contains("function `f`"),
        "{error}"
    );
    let service = contract("record api { a: u8 } f: func(a: api);");
    assert!(matches!(service.publish("api.f"), Err(ContractError::Collision { .. })));
    // Each alone is fine, both together are not.
    let two = contract("record f-request { a: u8 } f: func(); g: func(r: f-request);");
    let both = ["api.f", "api.g"].map(|call| two.publish(call).expect("alone"));
    assert!(matches!(names::check(both), Err(ContractError::Collision { .. })));
}

#[test]
fn names_on_the_wire() {
    assert_eq!(names::snake("HTTP-get2"), "http_get2");
    assert_eq!(names::camel("HTTP-get2"), "HttpGet2");
    assert_eq!(names::camel("validate-token"), "ValidateToken");
}

#[test]
fn deep_types_are_refused_and_shared_ones_planned_once() {
    // 2^60 paths lead to `t0`: planning and checking must go by definitions.
    let mut defs = String::from("record t0 { a: u8 }");
    for level in 1..60 {
        defs += &format!("record t{level} {{ a: t{0}, b: t{0} }}", level - 1);
    }
    contract(&format!("{defs} f: func(p: t59);")).publish("api.f").expect("wide is fine");
    for level in 60..120 {
        defs += &format!("record t{level} {{ a: t{0} }}", level - 1);
    }
    let error = contract(&format!("f: func(p: t119); {defs}")).publish("api.f").expect_err("too deep").to_string();
    assert!(error.contains("levels deep"), "{error}");
}

#[test]
fn what_is_planned_already_counts_with_all_that_is_below_it() {
    let mut defs = String::from("record t0 { a: u8 }");
    for level in 1..240 {
        defs += &format!("record t{level} {{ a: t{0} }}", level - 1);
    }
    // Each function goes no more than 80 levels beyond what the one before it has planned.
    let functions = "f: func(p: t79); g: func(p: t159); h: func(p: t239);";
    let contract = contract(&format!("{defs} {functions}"));
    contract.publish("api.f").expect("80 levels are fine");
    for call in ["api.g", "api.h"] {
        let error = contract.publish(call).expect_err(call).to_string();
        assert!(error.contains("levels deep"), "{error}");
    }
    // The limit is the same on whichever way a type is reached.
    let alone = |level: usize| super::contract(&format!("{defs} f: func(p: t{level});")).publish("api.f").is_ok();
    let after = |level: usize| {
        let both = super::contract(&format!("{defs} e: func(p: t50); f: func(p: t{level});"));
        both.publish("api.f").is_ok()
    };
    for level in 90..110 {
        assert_eq!(alone(level), after(level), "t{level}");
    }
    assert!(alone(95) && !alone(105));
}
