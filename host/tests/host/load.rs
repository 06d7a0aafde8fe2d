//! What is loaded, what is refused, and in which words.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use arcana_signing::envelope;
use serde_json::{Value, json};

use crate::small::{
    self, answer, answering, bare_manifest, codes, core_module, expect, health, json_log, manifest, manifest_of,
    plugin, refused, signed, signed_unseen, stopped,
};
use crate::support::{KEY, guest, guest_component};

/// The machine code of a component, as the compiler of this host makes it.
fn precompiled(component: &[u8]) -> Vec<u8> {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_arcana"))
        .args(["compile-worker", "60", "8589934592"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(component).unwrap();
    let output = child.wait_with_output().unwrap();
    let (kind, code) = output.stdout.split_first().unwrap();
    assert!(*kind == 0 && code.starts_with(b"\x7fELF"), "no machine code came out");
    code.to_vec()
}

/// A component that imports an instance with one function.
fn importing(name: &str) -> Vec<u8> {
    wat::parse_str(format!("(component (import \"{name}\" (instance (export \"clear\" (func)))))")).unwrap()
}

#[tokio::test]
async fn each_bad_file_is_refused_with_words_of_its_own_and_the_others_serve() {
    let mut flipped = guest("echo");
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let unsigned =
        arcana::plugins::pack::pack(&answering("unsigned", 1), &manifest("unsigned", 1), &[], "".as_ref()).unwrap();
    let core = answering("core", 1);
    let component = guest_component("greedy");

    let setup = json_log()
        .plugin("fine", &plugin("fine", 1, 42))
        .plugin("flipped", &flipped)
        .plugin("unsigned", &unsigned)
        .plugin("greedy", &guest("greedy"))
        .plugin("appended", &[&plugin("appended", 1, 1)[..], b"\0\x02\x01x"].concat())
        .plugin("cut", &plugin("cut", 1, 1)[..60])
        .plugin("empty", b"")
        .plugin("core", &core)
        .plugin("text", b"(component)")
        .plugin("elf", &fs::read(env!("CARGO_BIN_EXE_arcana")).unwrap()[..4096])
        .plugin("precompiled", &precompiled(&component))
        .plugin("locals", &signed(&small::with_locals(50_000), &bare_manifest("test/locals", 1)))
        .plugin("deep", &signed(&small::nested(9), &bare_manifest("test/deep", 1)))
        .plugin(
            "version",
            &signed(
                &importing("arcana:host/cache@0.9.0"),
                &(bare_manifest("test/v", 1) + "[capabilities]\ncache = true\n"),
            ),
        )
        .plugin("stranger", &signed(&importing("wasi:http/outgoing-handler@0.2.6"), &bare_manifest("test/s", 1)))
        .plugin("later", &signed(&answering("later", 1), &manifest("later", 1).replace("\"0.1\"", "\"7\"")))
        .plugin(
            "expired",
            &signed(
                &answering("expired", 1),
                &manifest("expired", 1).replace("host =", "expires = 2020-01-01T00:00:00Z\nhost ="),
            ),
        );
    let large = fs::File::create(setup.path("plugins/large.wasm")).unwrap();
    large.set_len((32 << 20) + 1).unwrap();
    std::os::unix::fs::symlink(setup.path("plugins/fine.wasm"), setup.path("plugins/link.wasm")).unwrap();
    fs::create_dir(setup.path("plugins/folder.wasm")).unwrap();
    let fifo = setup.path("plugins/fifo.wasm");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    // Not offered at all.
    fs::write(setup.path("plugins/README.md"), "no plugin").unwrap();

    let host = setup.start();
    assert_eq!(answer(&host, "/fine").await, (200, json!(42)));
    let expected = expect([
        ("appended", "DIGEST_MISMATCH"),
        ("core", "NOT_COMPONENT"),
        ("cut", "TRUNCATED"),
        ("deep", "NESTING_TOO_DEEP"),
        ("elf", "NOT_COMPONENT"),
        ("empty", "NOT_COMPONENT"),
        ("expired", "EXPIRED"),
        ("fifo", "NOT_A_FILE"),
        ("flipped", "DIGEST_MISMATCH"),
        ("folder", "NOT_A_FILE"),
        ("later", "HOST_VERSION"),
        ("greedy", "IMPORT_NOT_GRANTED"),
        ("large", "TOO_LARGE"),
        ("link", "NOT_A_FILE"),
        ("locals", "TOO_MANY_LOCALS"),
        ("precompiled", "NOT_COMPONENT"),
        ("stranger", "IMPORT_NOT_GRANTED"),
        ("text", "NOT_COMPONENT"),
        ("unsigned", "UNSIGNED"),
        ("version", "LINK_FAILED"),
    ]);
    assert_eq!(codes(&host), expected);
    assert_eq!(health(&host).await, (1, 20));
    assert!(host.printed.contains(&"plugins: 1 active with 1 routes, 20 refused".to_owned()), "{:?}", host.printed);
    // None of it is reachable.
    for path in ["/test/echo/hello/x", "/test/greedy/x", "/unsigned", "/later", "/expired"] {
        assert_eq!(host.get(path).await.0, 404, "{path}");
    }

    // The three that people meet first say what is wrong and what to do, each in words of its own.
    let refused = refused(&host);
    let reason = |name: &str| refused[name].1.as_str();
    for (name, words) in [
        ("flipped", &["changed after it was signed"][..]),
        ("unsigned", &["not signed"]),
        ("greedy", &["arcana:host/cache@0.1.0", "cache = true", "[capabilities]"]),
        ("stranger", &["wasi:http/outgoing-handler@0.2.6", "does not offer"]),
        ("version", &["imports `arcana:host/cache@0.9.0`", "has `arcana:host/cache@0.1.0`", "it wants clear: func()"]),
        ("large", &["33554432", "plugins.max_file_bytes"]),
        ("locals", &["2000"]),
        ("link", &["link"]),
    ] {
        for word in words {
            assert!(reason(name).contains(word), "{name}: {}", reason(name));
        }
    }
}

#[tokio::test]
async fn mistakes_of_the_author_are_told_by_function_parameter_type_and_key() {
    let numbers = std::cell::Cell::new(0);
    // Each is a plugin of its own.
    let id = || {
        numbers.set(numbers.get() + 1);
        format!("test/api{}", numbers.get())
    };
    let api =
        |functions: &str| format!("package test:api@1.0.0; interface api {{ {functions} }} world w {{ export api; }}");
    let module = |functions: &str, name: &str, signature: &str| {
        let export = format!("(func (export \"test:api/api@1.0.0#{name}\") {signature} unreachable)");
        core_module(&api(functions), &format!("(module (memory (export \"memory\") 1) {export})"))
    };
    let publish = |call: &str, http: &str| {
        format!("{}[[methods]]\ncall = \"{call}\"\nhttp = \"{http}\"\nallow = \"public\"\n", bare_manifest(&id(), 1))
    };
    let handle =
        module("resource thing; take: func(id: u32, what: own<thing>) -> u32;", "take", "(param i32 i32) (result i32)");
    let error = module("f: func() -> result<u32, u32>;", "f", "(result i32)");
    let fine = || answering("api", 1);
    // `pack` of the command line would tell the first ones too; here the host does.
    let broken = |from: &str, to: &str| {
        let text = manifest_of("test/api", 1, "/healthy");
        let packed = arcana::plugins::pack::pack(&fine(), &text, &[], "".as_ref()).unwrap();
        let changed = text.replace(from, to);
        assert_eq!(changed.len(), text.len(), "the section keeps its length");
        let at = packed.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
        let file = [&packed[..at], changed.as_bytes(), &packed[at + text.len()..]].concat();
        envelope::sign(&file, &[&KEY]).unwrap()
    };
    let host = json_log()
        .plugin("fine", &plugin("fine", 1, 7))
        .plugin("handle", &signed(&handle, &publish("api.take", "POST /take")))
        .plugin("error", &signed(&error, &publish("api.f", "GET /f")))
        .plugin("missing", &signed(&fine(), &publish("api.anwser", "GET /x")))
        .plugin("interface", &signed(&fine(), &publish("apl.answer", "GET /x")))
        .plugin("unbound", &signed(&fine(), &publish("api.answer", "GET /x/{id}")))
        .plugin("unknown-key", &broken("allow =", "alowe ="))
        .plugin("bad-value", &broken("\"public\"", "\"publik\""))
        .plugin("reserved", &broken("/healthy", "/health/"))
        .plugin("no-id", &broken("id = \"test/api\"", "id = \"test.api\""))
        .start();
    assert_eq!(answer(&host, "/fine").await, (200, json!(7)));
    let refused = refused(&host);
    assert_eq!(refused.len(), 9, "{refused:#?}");
    for (name, code, words) in [
        ("handle", "CONTRACT", &["`take`", "test:api/api@1.0.0", "`what`", "own<thing>"][..]),
        ("error", "CONTRACT", &["`f`", "result<u32, u32>", "problem"]),
        ("missing", "CONTRACT", &["`api.anwser`", "did you mean `answer`?"]),
        ("interface", "CONTRACT", &["`apl`", "did you mean `test:api/api@1.0.0`?"]),
        ("unbound", "CONTRACT", &["GET /x/{id}", "id"]),
        ("unknown-key", "MANIFEST_INVALID", &["alowe", "allow"]),
        ("bad-value", "MANIFEST_INVALID", &["methods[0].allow", "publik"]),
        ("reserved", "MANIFEST_INVALID", &["methods[0].http", "host's own"]),
        ("no-id", "MANIFEST_INVALID", &["plugin.id", "test.api"]),
    ] {
        let (found, reason) = &refused[name];
        assert_eq!(found, code, "{name}: {reason}");
        assert!(words.iter().all(|word| reason.contains(word)), "{name}: {reason}");
    }
}

#[tokio::test]
async fn a_compilation_that_takes_too_much_ends_and_the_others_serve() {
    // By processor time: the compiler gets a second, and this one needs more.
    let host = json_log()
        .env("ARCANA_LIMITS__COMPILE__CPU", "1s")
        .plugin("fine", &plugin("fine", 1, 1))
        .plugin("slow", &signed(&small::laborious(), &bare_manifest("test/slow", 1)))
        .start();
    assert_eq!(answer(&host, "/fine").await, (200, json!(1)));
    let refusals = refused(&host);
    let (code, reason) = &refusals["slow"];
    assert!(code == "COMPILE_FAILED" && reason.contains("limits.compile"), "{code}: {reason}");

    // By time: these take a second and are given a millisecond, and what is compiled already needs none.
    let setup = stopped(host).env("ARCANA_LIMITS__COMPILE__TIMEOUT", "1ms").env("ARCANA_LIMITS__COMPILE__CPU", "10m");
    let host = setup.plugin("new", &signed(&small::laborious(), &bare_manifest("test/new", 1))).start();
    assert_eq!(answer(&host, "/fine").await, (200, json!(1)));
    assert_eq!(codes(&host), expect([("new", "COMPILE_FAILED"), ("slow", "COMPILE_FAILED")]));
    assert!(refused(&host)["new"].1.contains("limits.compile"), "{:?}", refused(&host));

    // With enough time it is fine: nothing was held against it.
    let setup = stopped(host).env("ARCANA_LIMITS__COMPILE__TIMEOUT", "10m");
    std::fs::remove_file(setup.path("plugins/slow.wasm")).unwrap();
    let host = setup.start();
    assert_eq!((codes(&host), health(&host).await.0), (expect([]), 2));
}

/// Types can be hostile too: chains that a recursion would not come back from, and trees that double at every level.
#[tokio::test]
async fn types_nested_without_measure_are_refused_and_the_others_serve() {
    let manifest = |name: &str| manifest(name, 1).replace("api.answer", "api.f").replace("GET", "POST");
    let chain = |name: &str, count| {
        signed_unseen(&small::with_types(name, count, |at| format!("(list $t{at})")), &manifest(name))
    };
    let tree = |name: &str, count| {
        signed_unseen(&small::with_types(name, count, |at| format!("(list (tuple $t{at} $t{at}))")), &manifest(name))
    };
    let host = json_log()
        .plugin("fine", &plugin("fine", 1, 3))
        .plugin("chain-100", &chain("chaina", 100))
        .plugin("chain-2000", &chain("chainb", 2_000))
        .plugin("chain-100000", &chain("chainc", 100_000))
        .plugin("tree-10", &tree("treea", 10))
        .plugin("tree-18", &tree("treec", 18))
        .plugin("tree-60", &tree("treeb", 60))
        .start();
    assert_eq!(answer(&host, "/fine").await, (200, json!(3)));
    let deep = |name: &str| refused(&host)[name].1.contains("too deep");
    assert!(deep("chain-100") && deep("chain-2000") && deep("chain-100000"), "{:?}", refused(&host));
    let mut expected = expect(["chain-100", "chain-2000", "chain-100000", "tree-60"].map(|name| (name, "CONTRACT")));
    expected.insert("tree-18".into(), "CONTRACT_TOO_LARGE".into());
    assert_eq!((codes(&host), health(&host).await), (expected, (2, 5)));
    // What is within the limits works: the smaller tree is decoded like any other type.
    let (status, answer) = host.post("/treea", json!({ "a": [] })).await;
    assert_eq!((status, answer), (204, Value::Null));
}
