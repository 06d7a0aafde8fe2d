//! Small files whose types are large once they are written out.

use std::fmt::Write as _;
use std::time::Instant;

use arcana::plugins::prepass::PrepassLimits;
use arcana::plugins::verify::verify;
use arcana_signing::{Purpose, TrustPolicy, trust};
use reqwest::Method;
use serde_json::json;

use crate::live::{Admin, setup};
use crate::small::{bare_manifest, signed, signed_unseen, unreachable_module, with_types};
use crate::support::{KEY, guest, shipped};

/// `api.f` at one route.
fn manifest(name: &str, seq: u64) -> String {
    bare_manifest(&format!("test/{name}"), seq)
        + &format!("[[methods]]\ncall = \"api.f\"\nhttp = \"POST /{name}\"\nallow = \"public\"\n")
}

fn bomb(name: &str, seq: u64, depth: u32) -> Vec<u8> {
    signed_unseen(&with_types(name, depth, |at| format!("(list (tuple $t{at} $t{at}))")), &manifest(name, seq))
}

/// A plugin whose interface has this in it, with a function `f`.
fn with_wit(name: &str, inside: &str) -> Vec<u8> {
    let wit = format!("package test:{name}@1.0.0; interface api {{ {inside} }} world w {{ export api; }}");
    signed(&unreachable_module(&wit), &manifest(name, 1))
}

fn list(count: usize, entry: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for at in 0..count {
        let _ = write!(text, "{}, ", entry(at));
    }
    text
}

/// Everything that doubles, widens or repeats without bytes of its own.
fn bombs() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    let large: &[&str] = &["CONTRACT_TOO_LARGE"];
    let doubling = |deep: usize, level: &dyn Fn(usize, &str) -> String| {
        let mut text = level(0, "u8");
        for at in 1..deep {
            text += &level(at, &format!("t{}", at - 1));
        }
        text + &format!("f: func(a: t{}) -> u8;", deep - 1)
    };
    let record = |at: usize, inner: &str| format!("record t{at} {{ a: {inner}, b: {inner} }} ");
    let variant = |at: usize, inner: &str| format!("variant t{at} {{ a({inner}), b({inner}) }} ");
    let result = (0..14).fold(String::from("u8"), |inner, _| format!("result<{inner}, {inner}>"));
    vec![
        ("pairs", bomb("pairs", 1, 18), large),
        ("deep pairs", bomb("deep", 1, 45), &["CONTRACT_TOO_LARGE", "CONTRACT"]),
        (
            "pairs of options",
            signed_unseen(
                &with_types("options", 18, |at| format!("(list (tuple (option $t{at}) (list $t{at})))")),
                &manifest("options", 1),
            ),
            large,
        ),
        ("records", with_wit("records", &doubling(16, &record)), large),
        ("variants", with_wit("variants", &doubling(16, &variant)), large),
        ("results", with_wit("results", &format!("f: func(a: {result}) -> u8;")), large),
        (
            "cases",
            with_wit(
                "cases",
                &format!("variant v {{ {} }} f: func(a: v) -> u8;", list(9_999, |at| format!("c{at}(list<u32>)"))),
            ),
            large,
        ),
        (
            "labels",
            with_wit(
                "labels",
                &(0..3)
                    .map(|e| format!("enum e{e} {{ {} }} ", list(9_000, |at| format!("c{at}"))))
                    .chain(["f: func(a: e0, b: e1, c: e2) -> u8;".into()])
                    .collect::<String>(),
            ),
            large,
        ),
        (
            "functions",
            with_wit(
                "functions",
                &format!(
                    "record r {{ {} }} f: func(a: r) -> u8; {}",
                    list(250, |at| format!("a{at}: u8")),
                    (0..300).map(|at| format!("g{at}: func(a: r) -> r; ")).collect::<String>()
                ),
            ),
            large,
        ),
        (
            "names",
            with_wit(
                "names",
                &format!(
                    "record r {{ {} }} f: func(a: r) -> u8;",
                    list(20, |at| format!("a{at}{}: u8", "x".repeat(90_000)))
                ),
            ),
            large,
        ),
        (
            "routes",
            {
                let wit = format!(
                    "package test:routes@1.0.0; interface api {{ record r {{ {} }} f: func(a: list<r>, b: tuple<{}>) -> u8; }} world w {{ export api; }}",
                    list(500, |at| format!("a{at}: u8")),
                    list(500, |_| "u8".into()).trim_end_matches(", ")
                );
                let routes = list(500, |at| format!("\"POST /routes/{at}\""));
                signed(
                    &unreachable_module(&wit),
                    &(bare_manifest("test/routes", 1)
                        + &format!("[[methods]]\ncall = \"api.f\"\nhttp = [{routes}]\nallow = \"public\"\n")),
                )
            },
            large,
        ),
    ]
}

/// Each cost gigabytes and minutes on the threads that serve, or would have.
#[test]
fn types_that_are_large_once_they_are_written_out_are_refused_by_counting() {
    let trust = TrustPolicy::parse(&trust::development(&KEY.public_key())).unwrap();
    for (name, file, codes) in bombs() {
        let begun = Instant::now();
        let refusal = verify(file, &trust, Purpose::Install, &PrepassLimits::default()).err();
        let refusal = refusal.unwrap_or_else(|| panic!("{name} was accepted"));
        assert!(codes.contains(&refusal.code), "{name}: {refusal}");
        if refusal.code == "CONTRACT_TOO_LARGE" {
            assert!(refusal.message.contains("limits.contract."), "{name}: {refusal}");
        }
        // A hang guard: writing one of them out takes minutes.
        assert!(begun.elapsed().as_secs() < 30, "{name} took {:?}", begun.elapsed());
    }
    // What there really is is far below.
    let limits = PrepassLimits { max_parts: 5_000, max_expanded: 20_000, ..PrepassLimits::default() };
    for file in [shipped("users"), shipped("auth"), guest("chaos"), guest("echo")] {
        let size = file.len();
        let refusal = verify(file, &trust, Purpose::Install, &limits).err();
        assert!(refusal.is_none(), "{size} bytes: {refusal:?}");
    }
}

/// Two versions of the same bomb were compared part by part.
#[tokio::test]
async fn a_type_bomb_over_the_api_is_refused_and_the_host_serves_on() {
    let admin = Admin::start(setup()).await;
    // As large as it may be: it is taken, documented and compared.
    admin.install(&bomb("pairs", 1, 11)).await;
    let (status, answer) = admin.upload(&bomb("pairs", 2, 12), "?allow_breaking=true").await;
    assert_eq!(status, 201, "{answer}");
    for (depth, query) in [(18, "?dry_run=true"), (18, ""), (60, "")] {
        let (status, answer) = admin.upload(&bomb("pairs", 3, depth), query).await;
        let code = answer["code"].as_str().unwrap_or_default();
        assert!(status == 422 && ["CONTRACT_TOO_LARGE", "CONTRACT"].contains(&code), "{status} {answer}");
    }
    let api = admin.host.client.get(format!("{}/api/openapi.json", admin.host.url)).send().await.unwrap();
    assert!(api.bytes().await.unwrap().len() < 8 << 20);
    let (status, shown) = admin.call(Method::GET, "/api/v1/plugins/test/pairs", None).await;
    assert_eq!((status, &shown["plugin"]["seq"]), (200, &json!(2)), "{shown}");
}

/// The WIT that is packed for the documentation is read before it is compared with anything.
#[test]
fn packed_wit_is_bounded_like_the_component() {
    let trust = TrustPolicy::parse(&trust::development(&KEY.public_key())).unwrap();
    let plain = arcana::plugins::pack::pack(
        &crate::small::answering("app", 1),
        &crate::small::manifest("app", 1),
        &[],
        "".as_ref(),
    )
    .unwrap();
    let with = |sections: &[Vec<u8>]| {
        let file = [&plain[..], &sections.concat()].concat();
        let file = arcana_signing::envelope::sign(&file, &[&KEY]).unwrap();
        verify(file, &trust, Purpose::Install, &PrepassLimits::default())
            .err()
            .map(|refusal| (refusal.code, refusal.message))
    };
    let wit = |text: &str| {
        let mut resolve = wit_parser::Resolve::default();
        let package = resolve.push_str("x.wit", text).unwrap();
        super::migrations::section("arcana:wit", &wit_component::encode(&resolve, package, false).unwrap())
    };
    let documented = wit(&format!(
        "package test:app@1.0.0; interface api {{ /// {}\nanswer: func() -> u32; }}",
        "x".repeat(3 << 20)
    ));
    let (code, message) = with(&[documented]).unwrap();
    assert!(code == "SECTION_INVALID" && message.contains("limits.contract.wit"), "{code}: {message}");
    let many = wit("package test:other@1.0.0; interface x { f: func(); }");
    let (code, message) = with(&vec![many; 40_000]).unwrap();
    assert!(code == "SECTION_INVALID" && message.contains("limits.contract.wit"), "{code}: {message}");
    let long = wit(&format!(
        "package test:app@1.0.0; interface api {{ /// {}\nanswer: func() -> u32; }}",
        "x".repeat(1_500_000)
    ));
    let (code, message) = with(&[long]).unwrap();
    assert!(code == "CONTRACT_TOO_LARGE" && message.contains("limits.contract.parts"), "{code}: {message}");
}
