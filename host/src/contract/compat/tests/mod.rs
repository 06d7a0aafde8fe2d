mod against_codec;

use super::*;
use crate::contract::tests::contract;

/// `t:t/api` with these definitions and functions, all of them public and each at `POST /<function>` unless a route is given.
fn surface(api: &str, routes: &[(&str, &str)]) -> Surface {
    let mut contract = contract(api);
    let interface = contract.interfaces.remove(0);
    let methods = interface.functions.into_iter().map(|(name, plan)| {
        let plan = plan.expect("publishable");
        let own = routes.iter().filter(|(function, _)| *function == name).map(|(_, route)| *route);
        let mut own: Vec<&str> = own.collect();
        let usual = format!("POST /{name}");
        if own.is_empty() {
            own.push(&usual);
        }
        let route = |text: &str| {
            let (verb, template) = text.split_once(' ').expect("a route");
            let names: Vec<&str> =
                template.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            let binding = Binding::new(&plan, &names, verb != "GET" && verb != "DELETE").expect("binds");
            Route { verb: verb.parse().expect("a verb"), template: template.to_owned(), binding }
        };
        let routes = own.into_iter().filter(|route| !route.is_empty()).map(route).collect();
        Method { routes, allow: ["public".to_owned()].into(), status: 200, plan }
    });
    let methods = methods.collect();
    let service = Service { package: interface.package.expect("one"), name: interface.name, docs: None, methods };
    Surface { plugin: "t/t".into(), services: vec![service] }
}

/// Each finding in one line: `BREAKING gRPC, REST path: message`.
fn lines(findings: &[Finding]) -> Vec<String> {
    let line = |finding: &Finding| {
        let level = if finding.level == Level::Breaking { "BREAKING" } else { "notice" };
        let protocols: Vec<String> = finding.protocols.iter().map(ToString::to_string).collect();
        format!("{level} {} {}: {}", protocols.join("+"), finding.path, finding.message)
    };
    findings.iter().map(line).collect()
}

/// Compares two interfaces whose functions are at `POST /<function>`.
fn compared(old: &str, new: &str) -> Vec<String> {
    lines(&compare(&surface(old, &[]), &surface(new, &[])))
}

/// The findings are exactly these; each given by parts that must be in its line.
#[track_caller]
fn expect(old: &str, new: &str, wanted: &[&[&str]]) {
    let found = compared(old, new);
    assert_eq!(found.len(), wanted.len(), "{old}\n{new}\n{found:#?}");
    for (line, parts) in found.iter().zip(wanted) {
        for part in *parts {
            assert!(line.contains(part), "{old}\n{new}\n{part} is not in {line}");
        }
    }
}

/// A record that a function takes and one that it answers, with this field.
fn both(field: &str, defs: &str) -> String {
    format!("{defs} record i {{ k: u8, {field} }} record o {{ k: u8, {field} }} f: func(i: i) -> o;")
}

#[test]
fn what_is_the_same_or_only_added_is_no_finding() {
    let old = "enum e { a } variant v { x, y(u8) } flags g { p } record r { a: u8, b: option<string> }
        record all { e: e, v: v, g: g, r: r, t: tuple<u8, r>, l: list<list<r>>, c: text-change, o: result<u8, e>, oo: option<option<r>> }
        f: func(all: all) -> all; g1: func(a: u8, b: list<string>) -> result<list<u8>, problem>; h: func();";
    expect(old, old, &[]);
    expect(
        "enum e { a } flags g { p } variant v { x } record i { a: u8 } record o { a: u8 }
         f: func(i: i, e: e, g: g, v: v) -> o; g1: func(id: string); h: func() -> u8;",
        "enum e { a, b } flags g { p, q } variant v { x, y(i) } record i { a: u8, n: option<i2>, c: text-change }
         record i2 { x: u8 } record o { a: u8, e: e, l: list<o2> } record o2 { x: u8 }
         f: func(i: i, e: e, g: g, v: v, more: option<list<u8>>) -> o; g1: func(id: string, c: text-change) -> result<_, problem>;
         h: func() -> u8; new: func();",
        &[],
    );
}

#[test]
fn the_order_gives_the_numbers() {
    let r = |fields: &str| format!("record r {{ {fields} }} f: func(r: r);");
    expect(
        &r("a: u8, b: u8"),
        &r("a: u8, x: option<u8>, b: u8"),
        &[&["BREAKING gRPC t.t.v1.R:", "field `x` was inserted before `b`", "append at the end"]],
    );
    expect(
        &r("a: u8, b: u8"),
        &r("x: u8, a: u8, b: u8"),
        &[
            &["BREAKING gRPC t.t.v1.R: field `x` was inserted before `a`"],
            &["BREAKING REST t.t.v1.R: field `x` is new and required"],
        ],
    );
    expect(&r("a: u8, b: string"), &r("b: string, a: u8"), &[&["BREAKING gRPC t.t.v1.R: field", "keep the order"]]);
    for new in ["a: u8", "b: u8"] {
        expect(&r("a: u8, b: u8"), &r(new), &[&["BREAKING gRPC+REST t.t.v1.R: field", "was removed"]]);
    }
    expect(
        &r("a: u8, first-name: u8"),
        &r("a: u8, given-name: u8"),
        &[&["BREAKING REST t.t.v1.R: field `first-name` was renamed to `given-name`"]],
    );
    expect(
        &r("a: u8, b: u8"),
        &r("a: u8, c: string"),
        &[&["BREAKING gRPC+REST t.t.v1.R: field `b: u8` made way for `c: string`"]],
    );
    expect("f: func(a: u8, b: u8);", "f: func(b: u8, a: u8);", &[&["BREAKING gRPC t.t.v1.Api.F: parameter"]]);
    expect(
        "f: func(a: u8);",
        "f: func();",
        &[
            &["BREAKING gRPC t.t.v1.Api.F: parameter `a` was removed"],
            &["BREAKING REST POST /f: field `a` was removed"],
        ],
    );
}

#[test]
fn what_is_new_and_must_be_there_breaks_who_does_not_know_it() {
    let defs = "enum e { a } record q { x: u8 } variant v { x }";
    for (ty, grpc) in [
        ("u8", "read as 0"),
        ("f64", "read as 0"),
        ("bool", "read as `false`"),
        ("string", "read as an empty string"),
        ("list<u8>", "read as no bytes"),
        ("list<q>", "read as an empty list"),
        ("char", ""),
        ("e", ""),
        ("q", ""),
        ("v", ""),
        ("tuple<u8>", ""),
        ("result<u8>", ""),
    ] {
        let old = format!("{defs} record r {{ a: u8 }} f: func(r: r) -> tuple<e, q, v>;");
        let new = format!("{defs} record r {{ a: u8, n: {ty} }} f: func(r: r) -> tuple<e, q, v>;");
        let required = "t.t.v1.R: field `n` is new and required: make it an option";
        match grpc {
            "" => expect(&old, &new, &[&["BREAKING gRPC+REST", required]]),
            read => expect(&old, &new, &[&["BREAKING REST", required], &["notice gRPC", read]]),
        }
        // In an answer nobody minds.
        let answer = |fields: &str| format!("{defs} record r {{ {fields} }} f: func() -> r;");
        expect(&answer("a: u8"), &answer(&format!("a: u8, n: {ty}")), &[]);
    }
}

#[test]
fn presence_is_judged_by_direction() {
    let option = |ty: &str| {
        (
            both(&format!("x: {ty}"), "enum e { a } record q { y: u8 }"),
            both(&format!("x: option<{ty}>"), "enum e { a } record q { y: u8 }"),
        )
    };
    for (ty, default) in [("u32", "0"), ("string", "an empty string"), ("list<u8>", "no bytes")] {
        let (plain, optional) = option(ty);
        expect(
            &plain,
            &optional,
            &[
                &["BREAKING REST t.t.v1.O.x: is an option", "`null`"],
                &["notice gRPC t.t.v1.I.x: is an option", default, "none"],
                &["notice gRPC t.t.v1.O.x: is an option", "default"],
            ],
        );
        expect(
            &optional,
            &plain,
            &[
                &["BREAKING REST t.t.v1.I.x: was an option and is required"],
                &["notice gRPC t.t.v1.I.x: was an option", "is read as", default],
                &["notice gRPC t.t.v1.O.x: was an option", default, "as none"],
            ],
        );
    }
    for ty in ["e", "q", "tuple<u8>"] {
        let (plain, optional) = option(ty);
        expect(&plain, &optional, &[&["BREAKING REST", "`null`"], &["notice gRPC t.t.v1.O.x: is an option"]]);
        expect(&optional, &plain, &[&["BREAKING gRPC+REST t.t.v1.I.x: was an option and is required"]]);
    }
    // What needs a message around it in gRPC is another type.
    let (plain, optional) = option("list<string>");
    expect(
        &plain,
        &optional,
        &[
            &["BREAKING gRPC t.t.v1.I.x: was `list<string>` and is `option<list<string>>`"],
            &["BREAKING gRPC t.t.v1.O.x: was `list<string>` and is `option<list<string>>`"],
            &["BREAKING REST", "`null`"],
        ],
    );
    let item = |ty: &str| both(&format!("x: list<{ty}>"), "");
    expect(
        &item("u8"),
        &item("u16"),
        &[&["BREAKING gRPC+REST t.t.v1.I.x: was `list<u8>`"], &["BREAKING gRPC+REST t.t.v1.O.x"]],
    );
    expect(
        &item("string"),
        &item("option<string>"),
        &[&["BREAKING gRPC t.t.v1.I.x: was `string`"], &["BREAKING gRPC t.t.v1.O.x"], &["BREAKING REST", "`null`"]],
    );
}

#[test]
fn types_that_are_read_as_each_other_are_told_apart_from_those_that_are_not() {
    let mut wrong = Vec::new();
    // Request over gRPC and REST, answer over gRPC and REST: `.` nothing, `n` a notice, `B` breaking.
    for (old, new, wanted) in [
        ("u8", "u32", "..nn"),
        ("u32", "u8", "BB.."),
        ("u32", "u64", "n.Bn"),
        ("u64", "u32", "BBn."),
        ("u32", "s64", "n.Bn"),
        ("u64", "s64", "BBBn"),
        ("s8", "s32", "..nn"),
        ("s32", "s64", "B.Bn"),
        ("s32", "u32", "BBBn"),
        ("u8", "f64", "BnBB"),
        ("f64", "u8", "BBBn"),
        ("f32", "f64", "BnBn"),
        ("f64", "f32", "BBBn"),
        ("bool", "u8", "nBBB"),
        ("u8", "bool", "BBnB"),
        ("en", "u32", "nBBB"),
        ("u32", "en", "BBnB"),
        ("char", "string", "..nn"),
        ("string", "char", "BB.."),
        ("string", "list<u8>", "nBBB"),
        ("list<u8>", "string", "BBnB"),
        ("string", "u8", "BBBB"),
        ("string", "en", "BBBB"),
        ("string", "list<string>", "nBBB"),
        ("list<string>", "string", "BBnB"),
        ("option<string>", "list<string>", "nBBB"),
        ("string", "option<option<string>>", "BBBB"),
        ("option<option<string>>", "option<string>", "BBBB"),
        ("list<option<string>>", "list<string>", "BBB."),
        ("list<u32>", "u32", "BBnB"),
        ("u8", "list<u32>", "nBBB"),
        ("list<list<u8>>", "list<u8>", "BBnB"),
        ("list<option<u8>>", "u8", "BBBB"),
        ("list<u16>", "list<u32>", "..nn"),
        ("fl", "list<en>", "BBBB"),
        ("fl", "fl2", "n.n."),
        ("re", "va", "BBBB"),
        ("re", "tuple<u8, string>", "nBnB"),
        ("tuple<u8>", "tuple<u8, option<u8>>", ".B.B"),
        ("tuple<u8>", "tuple<u8, u8>", "nB.B"),
        ("tuple<u8, u8>", "tuple<u8>", "BBBB"),
        ("result<u8>", "result<u8, string>", "BBBB"),
        ("result<u8>", "result<u16>", "..nn"),
        ("result<u8>", "result<option<u8>>", "B.BB"),
        ("re", "re2", "n.n."),
        ("re", "re3", "BBBB"),
        ("text-change", "ch", "n.n."),
        ("text-change", "option<string>", "BBBB"),
    ] {
        let defs = "enum en { a } flags fl { a } flags fl2 { a } record re { x: u8, y: string } record re2 { x: u8, y: string }
            record re3 { x: u8, y: u8 } variant va { x(u8), y(string) } variant ch { keep, clear, set(string) }";
        let mut found = String::new();
        for side in ["record i { x: TYPE } f: func(i: i) -> u8;", "record o { x: TYPE } f: func() -> o;"] {
            let of = |ty: &str| surface(&format!("{defs} {}", side.replace("TYPE", ty)), &[]);
            let findings = compare(&of(old), &of(new));
            for protocol in [Protocol::Grpc, Protocol::Rest] {
                let levels = findings.iter().filter(|finding| finding.protocols.contains(&protocol));
                found.push(match levels.map(|finding| finding.level).min() {
                    None => '.',
                    Some(Level::Notice) => 'n',
                    Some(Level::Breaking) => 'B',
                });
            }
        }
        if found != wanted {
            wrong.push(format!("{old} became {new}: {found} and not {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn cases_are_judged_by_direction() {
    let takes = |cases: &str| format!("enum e {{ {cases} }} f: func(e: e);");
    let answers = |cases: &str| format!("enum e {{ {cases} }} f: func() -> e;");
    expect(&answers("a"), &answers("a, b"), &[&["notice gRPC+REST t.t.v1.E: case `b` is new"]]);
    expect(&takes("a, b"), &takes("a"), &[&["BREAKING gRPC+REST t.t.v1.E: case `b` was removed"]]);
    expect(&answers("a, b"), &answers("a"), &[&["notice gRPC+REST t.t.v1.E: case `b` was removed"]]);
    expect(&answers("a, b"), &answers("b"), &[&["BREAKING gRPC t.t.v1.E: case `a` was removed"]]);
    expect(&takes("a, b"), &takes("x, a, b"), &[&["BREAKING gRPC t.t.v1.E: case `x` was inserted before `a`"]]);
    expect(
        &answers("a, b"),
        &answers("a, x, b"),
        &[&["BREAKING gRPC t.t.v1.E: case `x` was inserted before `b`"], &["notice REST t.t.v1.E: case `x` is new"]],
    );
    expect(&takes("a, b"), &takes("b, a"), &[&["BREAKING gRPC t.t.v1.E: case", "keep the order"]]);
    expect(&takes("a, b"), &takes("a, c"), &[&["BREAKING REST t.t.v1.E: case `b` was renamed to `c`"]]);
    let flags = |list: &str| format!("flags g {{ {list} }} f: func(g: g);");
    expect(&flags("a, b"), &flags("a"), &[&["BREAKING gRPC+REST t.t.v1.G: flag `b` was removed"]]);
    let variant = |cases: &str| format!("variant v {{ {cases} }} f: func(v: v) -> v;");
    expect(&variant("a, b(u8)"), &variant("a, b(u8), c"), &[&["notice gRPC+REST t.t.v1.V: case `c` is new"]]);
    expect(&variant("a"), &variant("a(u8)"), &[&["BREAKING gRPC+REST t.t.v1.V.a: had no payload and has a `u8`"]]);
    expect(&variant("a(u8)"), &variant("a"), &[&["BREAKING gRPC+REST t.t.v1.V.a: had a `u8` and has no payload"]]);
    // A payload is wrapped in gRPC, and bare in JSON.
    expect(
        &variant("a(u8)"),
        &variant("a(option<u8>)"),
        &[&["BREAKING gRPC t.t.v1.V.a: was `u8`"], &["BREAKING REST t.t.v1.V.a: is an option", "`null`"]],
    );
    // A change that gets a case is no change any more: no member of a merge patch.
    let change = |cases: &str| format!("variant c {{ {cases} }} record p {{ x: c }} f: func(p: p);");
    expect(
        &change("keep, clear, set(u8)"),
        &change("keep, clear, set(u8), add(u8)"),
        &[&["BREAKING REST t.t.v1.P.x: was `c` and is `c`"]],
    );
}

#[test]
fn requests_and_answers_change_as_a_whole() {
    let record = "record r { a: u8 } record s { a: u8 } record w { a: string }";
    let of = |function: &str| format!("{record} {function}");
    // A parameter beside the record that was the request.
    expect(
        &of("f: func(r: r);"),
        &of("f: func(r: r, more: option<u8>);"),
        &[
            &["BREAKING gRPC t.t.v1.Api.F: the request was the record `r` and is made of `r`, `more`", "append to it"],
            &["BREAKING REST POST /f: the body was `t.t.v1.R` itself and has it as `r`", "append to that record"],
        ],
    );
    // The same fields under another name.
    expect(
        &of("f: func(r: r);"),
        &of("f: func(r: s);"),
        &[&["notice gRPC t.t.v1.Api.F: the request was the record `r`"]],
    );
    expect(&of("f: func(r: r);"), &of("f: func(a: u8);"), &[&["notice gRPC", "is made of `a`"]]);
    expect(
        &of("f: func(r: r);"),
        &of("f: func(r: w);"),
        &[&["BREAKING gRPC t.t.v1.Api.F: the request"], &["BREAKING REST POST /f.a: was `u8` and is `string`"]],
    );
    expect(
        &of("f: func() -> r;"),
        &of("f: func() -> option<r>;"),
        &[
            &["BREAKING gRPC t.t.v1.Api.F: the answer was the record `r` and is made of `value`"],
            &["BREAKING REST POST /f: is an option"],
        ],
    );
    expect(&of("f: func() -> r;"), &of("f: func() -> result<r, problem>;"), &[]);
    expect(
        &of("f: func() -> u8;"),
        &of("f: func();"),
        &[
            &["BREAKING gRPC t.t.v1.Api.F: result `value` was removed"],
            &["BREAKING REST POST /f: the answer has no body"],
        ],
    );
    expect(
        &of("f: func();"),
        &of("f: func() -> r;"),
        &[&["notice gRPC", "the answer was empty and is the record `r`"]],
    );
    expect(
        &of("f: func() -> list<r>;"),
        &of("f: func() -> list<w>;"),
        &[&["BREAKING gRPC t.t.v1.Api.F.value", "t.t.v1.W", "which is not the same"], &["BREAKING REST"]],
    );
}

#[test]
fn services_methods_and_routes_that_are_gone_are_told() {
    let api = "f: func(id: string); g: func(id: string);";
    let routes = [("f", "GET /a/{id}"), ("g", "PUT /b/{id}")];
    let old = || surface(api, &routes);
    let against = |new: &Surface| lines(&compare(&old(), new));
    let renamed = surface("f: func(key: string); g: func(id: string);", &[("f", "GET /a/{key}"), ("g", "PUT /b/{id}")]);
    assert_eq!(against(&renamed), ["notice gRPC t.t.v1.Api.F: parameter `id` was renamed to `key`"]);
    let verb = surface(api, &[("f", "GET /a/{id}"), ("g", "PATCH /b/{id}")]);
    assert_eq!(
        against(&verb),
        ["BREAKING REST PUT /b/{id}: the route was removed; the function is at `PATCH /b/{id}` now"]
    );
    let more = surface(api, &[("f", "GET /a/{id}"), ("f", "GET /c/{id}"), ("g", "PUT /b/{id}")]);
    assert!(against(&more).is_empty());
    let gone = surface("f: func(id: string);", &routes);
    assert_eq!(
        against(&gone),
        ["BREAKING gRPC t.t.v1.Api.G: the method was removed", "BREAKING REST PUT /b/{id}: the route was removed"]
    );
    // Another function at the same route is fine where it takes and answers the same.
    let other = surface("f: func(id: string); h: func(id: string);", &[("f", "GET /a/{id}"), ("h", "PUT /b/{id}")]);
    assert_eq!(against(&other), ["BREAKING gRPC t.t.v1.Api.G: the method was removed"]);

    let mut next = old();
    next.services[0].package.version = Some((2, 0, "2.0.0".into()));
    assert_eq!(
        against(&next),
        ["BREAKING gRPC t.t.v1.Api: the service was removed; `t.t.v2.Api` is another service to its clients"]
    );
    let mut guarded = old();
    guarded.services[0].methods[0].allow = ["role:admin".to_owned(), "self:id".to_owned()].into();
    guarded.services[0].methods[1].status = 204;
    guarded.plugin = "t/u".into();
    assert_eq!(
        against(&guarded),
        [
            "notice gRPC+REST t/u: the plugins are two: `t/t` and `t/u`",
            "notice gRPC+REST t.t.v1.Api.F: those admitted were `public`, and are `role:admin` or `self:id`",
            "notice REST PUT /b/{id}: a success was answered with 200, and now with 204",
        ]
    );
}

#[test]
fn inputs_of_a_route_are_found_by_place_and_name() {
    let of = |function: &str, route: &str| surface(function, &[("f", route)]);
    let against = |old: (&str, &str), new: (&str, &str)| lines(&compare(&of(old.0, old.1), &of(new.0, new.1)));
    let rest = |lines: Vec<String>| lines.into_iter().filter(|line| line.contains("REST")).collect::<Vec<_>>();

    let get = |params: &str| (format!("f: func({params});"), "GET /f".to_owned());
    let query = |old: &str, new: &str| {
        let (old, new) = (get(old), get(new));
        rest(against((&old.0, &old.1), (&new.0, &new.1)))
    };
    assert!(query("a: option<u32>", "a: option<u32>, b: option<u8>, l: list<string>").is_empty());
    assert_eq!(
        query("a: u32", "a: u32, b: string"),
        ["BREAKING REST GET /f b: is new in the query and required: make it an option"]
    );
    assert_eq!(query("a: u32, b: u32", "a: u32"), ["BREAKING REST GET /f b: is no longer read from the query"]);
    assert_eq!(
        query("a: option<u32>", "a: u32"),
        ["BREAKING REST GET /f a: was an option and is required: old clients may leave it out"]
    );
    // Whatever was read from a text is a text.
    assert!(query("a: u32, b: option<bool>", "a: string, b: option<string>").is_empty());
    assert_eq!(query("a: string", "a: u32"), ["BREAKING REST GET /f a: was `string` and is `u32`"]);

    let (id, user) = ("record user { name: string }", "PUT /users/{id}");
    let put = |params: &str| format!("{id} f: func({params});");
    assert_eq!(
        rest(against(
            (&put("id: string, user: user"), user),
            (&put("id: string, user: user, notify: option<bool>"), user)
        )),
        [
            "BREAKING REST PUT /users/{id}: the body was `t.t.v1.User` itself and has it as `user`: append to that record instead \
             of adding a parameter"
        ]
    );
    assert!(rest(against((&put("id: u64, user: user"), user), (&put("id: string, user: user"), user))).is_empty());
    assert_eq!(
        rest(against((&put("id: string, user: user"), user), (&put("id: u64, user: user"), user))),
        ["BREAKING REST PUT /users/{id} id: was `string` and is `u64`"]
    );
}

#[test]
fn a_type_of_many_paths_is_compared_once() {
    let types = |leaf: &str| {
        let mut defs = format!("record t0 {{ a: {leaf} }}");
        for level in 1..60 {
            defs += &format!("record t{level} {{ a: t{0}, b: t{0} }}", level - 1);
        }
        defs + " f: func(p: t59);"
    };
    expect(&types("u8"), &types("string"), &[&["BREAKING gRPC+REST t.t.v1.T0.a: was `u8` and is `string`"]]);
    // Renamed at every level.
    let renamed = types("string").replace(" t", " new-t").replace(" new-t: ", " t: ");
    assert!(!compared(&types("u8"), &renamed).is_empty());
}
