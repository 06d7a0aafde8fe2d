//! Whatever of a signed file is read after its signature was checked: where it is judged, and an attack by a publisher whom
//! the trust policy allows next to nothing. A field that is new belongs into this table.

use arcana::plugins::prepass::PrepassLimits;
use arcana::plugins::verify::{Verified, verify};
use arcana_signing::{Purpose, SecretKey, TrustPolicy, envelope};

use super::migrations::{bob, packed_unseen, section};
use crate::small::{answering, bare_manifest, manifest_of, unreachable_module};
use crate::support::Setup;

/// A part of a file, where it is judged, the attacks on it and the code that each is refused with.
struct Row {
    part: &'static str,
    judge: &'static str,
    attacks: Vec<(Vec<u8>, &'static str)>,
}

fn app(manifest: &str) -> Vec<u8> {
    packed_unseen(&answering("bob", 1), manifest)
}

/// The usual manifest with a part of it in another form.
fn changed(from: &str, to: &str) -> Vec<u8> {
    let manifest = manifest_of("bob/app", 1, "/bob/app");
    assert!(manifest.contains(from), "{from}");
    app(&manifest.replacen(from, to, 1))
}

fn asking(more: &str) -> Vec<u8> {
    app(&(manifest_of("bob/app", 1, "/bob/app") + more))
}

fn with_section(name: &str, data: &[u8]) -> Vec<u8> {
    [app(&manifest_of("bob/app", 1, "/bob/app")), section(name, data)].concat()
}

fn exporting(package: &str, interface: &str, more: &str) -> Vec<u8> {
    let wit = format!(
        "package {package}; interface {interface} {{ f: func() -> u32; }} world w {{ {more} export {interface}; }}"
    );
    packed_unseen(&unreachable_module(&wit), &bare_manifest("bob/app", 1))
}

fn importing(name: &str) -> Vec<u8> {
    let text = format!("(component (import \"{name}\" (instance (export \"f\" (func)))))");
    packed_unseen(&wat::parse_str(text).unwrap(), &bare_manifest("bob/app", 1))
}

fn rows() -> Vec<Row> {
    let row = |part, judge, attacks| Row { part, judge, attacks };
    let capability = |text: &str| (asking(&format!("[capabilities]\n{text}\n")), "CAPABILITY");
    let manifest_error = |file| (file, "MANIFEST_INVALID");
    let own = "[capabilities]\nstores = [\"own\"]\n[stores.own]\nowner = true\nmigrations = \"x\"\n";
    let plain = manifest_of("bob/app", 1, "/bob/app");
    let method = |text: &str| manifest_error(changed("allow = \"public\"\n", &format!("allow = \"public\"\n{text}\n")));
    vec![
        // Sections.
        row(
            "section `arcana:plugin`",
            "arcana_signing::envelope: the first section, and the only one of its name",
            vec![
                (with_section("arcana:plugin", plain.as_bytes()), "MANIFEST_NOT_FIRST_OR_NOT_UNIQUE"),
                (
                    [&envelope::COMPONENT_HEADER[..], &section("x", b""), &app(&plain)[8..]].concat(),
                    "MANIFEST_NOT_FIRST_OR_NOT_UNIQUE",
                ),
                manifest_error(app("\u{0}")),
            ],
        ),
        row(
            "section `signature`",
            "arcana_signing::envelope: before the signed bytes only",
            vec![(with_section("signature", b"x"), "SECOND_SIGNATURE_SECTION")],
        ),
        row(
            "section `arcana:migrations`",
            "plugins::verify: stores that the manifest declares, and that the policy lets the signers own",
            vec![
                (with_section("arcana:migrations", br#"{"identity":{}}"#), "STORE"),
                (with_section("arcana:migrations", br#"{"own":{}}"#), "STORE"),
                ([asking(own), section("arcana:migrations", br#"{"own.bob.other":{}}"#)].concat(), "STORE"),
                (with_section("arcana:migrations", b"{"), "SECTION_INVALID"),
            ],
        ),
        row(
            "section `arcana:wit`",
            "contract::compare: documentation of the same types, else refused; nothing else is taken from it",
            vec![
                (with_section("arcana:wit", b"x"), "SECTION_INVALID"),
                (with_section("arcana:wit", &wat::parse_str("(component)").unwrap()), "CONTRACT"),
                (with_section("arcana:wit", &other_wit()), "CONTRACT"),
            ],
        ),
        // `[plugin]`
        row(
            "plugin.id",
            "TrustPolicy::evaluate: rule and namespace",
            vec![
                (changed("bob/app", "arcana/users"), "NAMESPACE"),
                manifest_error(changed("bob/app", "bob/../arcana")),
            ],
        ),
        row(
            "plugin.version",
            "manifest::check: a semantic version of at most 128 bytes",
            vec![
                manifest_error(changed("1.0.1", "one")),
                manifest_error(changed("1.0.1", &format!("1.0.1+{}", "a".repeat(200)))),
            ],
        ),
        row(
            "plugin.seq",
            "manifest::check, TrustPolicy::evaluate (min_seq), sequence::check: within what databases keep",
            vec![
                manifest_error(changed("seq = 1", "seq = 9223372036854775808")),
                manifest_error(changed("seq = 1", "seq = 18446744073709551615")),
                manifest_error(changed("seq = 1", "seq = -1")),
            ],
        ),
        row(
            "plugin.description",
            "manifest::check: at most 1,000 bytes; cleaned where a terminal shows it",
            vec![manifest_error(changed("host =", &format!("description = \"{}\"\nhost =", "a".repeat(1_001))))],
        ),
        row("plugin.host", "TrustPolicy::evaluate", vec![(changed("\"0.1\"", "\"7\""), "HOST_VERSION")]),
        row(
            "plugin.expires",
            "TrustPolicy::evaluate",
            vec![(changed("host =", "expires = 2020-01-01T00:00:00Z\nhost ="), "EXPIRED")],
        ),
        // `[capabilities]`
        row(
            "capabilities.stores",
            "TrustPolicy::evaluate: `database:<store>`",
            vec![
                capability("stores = [\"identity\"]"),
                capability("stores = [\"own\", \"identity\"]"),
                manifest_error(asking("[capabilities]\nstores = [\"own.arcana.users\"]\n")),
                manifest_error(asking("[capabilities]\nstores = [\"../x\"]\n")),
            ],
        ),
        row(
            "capabilities.crypto",
            "TrustPolicy::evaluate: each part by its name",
            vec![
                capability("crypto = true"),
                capability("crypto = { hash = true }"),
                capability("crypto = { keys = [\"own\"] }"),
                capability("crypto = { issue_tokens = true }"),
                capability("crypto = { verify_tokens = true }"),
                capability("crypto = { revoke_tokens = true }"),
            ],
        ),
        row(
            "capabilities.events, capabilities.http",
            "manifest: this host has neither",
            vec![
                manifest_error(asking("[capabilities]\nevents = { publish = [\"x\"] }\n")),
                manifest_error(asking("[capabilities]\nhttp = [\"*\"]\n")),
            ],
        ),
        // `[stores]`
        row(
            "stores",
            "manifest: asked for too; TrustPolicy::evaluate: `owned_stores`",
            vec![
                manifest_error(asking("[stores.identity]\nowner = true\nmigrations = \"x\"\n")),
                manifest_error(asking(&own.replace("true", "false"))),
                (asking(&own.replace("\"own\"", "\"shared\"").replace("stores.own", "stores.shared")), "STORE"),
            ],
        ),
        // `[settings]`
        row(
            "settings",
            "manifest::settings: defaults are plain values, so that no file reads what the operator keeps elsewhere",
            vec![
                manifest_error(asking("[settings.a]\ntype = \"text\"\ndefault = { env = \"PATH\" }\n")),
                manifest_error(asking("[settings.a]\ntype = \"text\"\ndefault = { file = \"/etc/passwd\" }\n")),
                manifest_error(asking("[settings.\"../a\"]\ntype = \"text\"\n")),
            ],
        ),
        // `[[methods]]`
        row(
            "methods.call",
            "TrustPolicy::evaluate: the packages of all exports, called or not",
            vec![
                (exporting("arcana:auth@1.0.0", "auth-service", ""), "PACKAGE"),
                (exporting("test:other@1.0.0", "api", ""), "PACKAGE"),
            ],
        ),
        row(
            "methods.http",
            "manifest::check: nothing of the host's; TrustPolicy::evaluate: `routes`",
            vec![
                (changed("/bob/app", "/api/v1/users"), "ROUTE"),
                (changed("/bob/app", "/bobby"), "ROUTE"),
                (changed("/bob/app", "/{x}/app"), "ROUTE"),
                manifest_error(changed("/bob/app", "/health")),
                manifest_error(changed("/bob/app", "/api/v1/plugins/x")),
                manifest_error(changed("/bob/app", "/bob/../health")),
            ],
        ),
        row(
            "methods.allow, status, rate, concurrency, call_timeout",
            "manifest::check; runtime limits are cut to the operator's when it is loaded",
            vec![
                manifest_error(changed("allow = \"public\"", "allow = []")),
                method("status = 500"),
                method("concurrency = 0"),
                method("call_timeout = \"0s\""),
                method("rate = [{ by = \"address\", per_minute = 0 }]"),
                method("acces = \"public\""),
            ],
        ),
        row(
            "how many methods, routes and list entries",
            "manifest::file: before anything is compared with anything",
            vec![
                manifest_error(app(&(bare_manifest("bob/app", 1)
                    + &(0..1_001)
                        .map(|at| format!("[[methods]]\ncall = \"a.f{at}\"\nallow = \"public\"\n"))
                        .collect::<String>()))),
                manifest_error(changed(
                    "\"GET /bob/app\"",
                    &format!("[{}]", (0..2_001).map(|at| format!("\"GET /bob/{at}\",")).collect::<String>()),
                )),
                manifest_error(asking(&format!(
                    "[capabilities]\nstores = [{}]\n",
                    (0..65).map(|at| format!("\"s{at}\",")).collect::<String>()
                ))),
                manifest_error(asking(&format!("# {}", "x".repeat(256 << 10)))),
            ],
        ),
        row(
            "limits",
            "manifest::check; cut to limits.max_memory, max_call_timeout and max_concurrency when it is loaded",
            vec![
                manifest_error(asking("[limits]\nmemory = \"5GiB\"\n")),
                manifest_error(asking("[limits]\nmemory = \"1KiB\"\n")),
                manifest_error(asking("[limits]\nconcurrency = 0\n")),
                manifest_error(asking("[limits]\nmax_instances = 1\n")),
            ],
        ),
        // The component.
        row(
            "imports",
            "plugins::verify: each needs a capability of the manifest",
            vec![
                (importing("arcana:host/database@0.1.0"), "IMPORT_NOT_GRANTED"),
                (importing("arcana:host/token-issuer@0.1.0"), "IMPORT_NOT_GRANTED"),
                (importing("wasi:http/outgoing-handler@0.2.6"), "IMPORT_NOT_GRANTED"),
            ],
        ),
        row(
            "extension points",
            "contract::fit: of `arcana:plugin` only what the host calls",
            vec![(exporting("arcana:plugin@0.1.0", "plugin-service", ""), "misfit")],
        ),
    ]
}

/// A WIT package of this interface with another function.
fn other_wit() -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    let text = "package test:bob@1.0.0; interface api { answer: func() -> u64; }";
    let package = resolve.push_str("other.wit", text).unwrap();
    wit_component::encode(&resolve, package, false).unwrap()
}

#[test]
fn whatever_is_read_after_trust_is_judged_by_trust() {
    let setup = Setup::new();
    let bob = bob(&setup);
    let trust = TrustPolicy::parse(&std::fs::read_to_string(setup.path("config/trust.toml")).unwrap()).unwrap();
    let judged = |file: &[u8]| verify(file.to_vec(), &trust, Purpose::Install, &PrepassLimits::default());
    let signed = |packed: &[u8]| sign_unseen(packed, &bob);

    let plain = judged(&signed(&app(&manifest_of("bob/app", 1, "/bob/app"))));
    assert!(plain.is_ok(), "{:?}", plain.err());
    let mut parts = 0;
    for Row { part, judge, attacks } in rows() {
        for (place, (file, code)) in attacks.iter().enumerate() {
            let outcome = judged(&signed(file));
            let found = match &outcome {
                Ok(verified) if misfits(verified) => "misfit",
                Ok(_) => "accepted",
                Err(refusal) => refusal.code,
            };
            let reason = outcome.as_ref().err().map(|refusal| refusal.message.as_str()).unwrap_or_default();
            assert_eq!(found, *code, "{part} (judged by {judge}), attack {place}: {reason}");
            assert!(reason.len() < 5 << 10, "{part}: a message of {} bytes", reason.len());
        }
        parts += attacks.len();
    }
    assert!(parts > 50, "{parts}");
}

/// It is refused when it is loaded, before anything is compiled.
fn misfits(verified: &Verified) -> bool {
    !verified.contract.misfits.exports.is_empty()
}

/// Signed without a look at what it is.
fn sign_unseen(packed: &[u8], key: &SecretKey) -> Vec<u8> {
    let body = &packed[envelope::COMPONENT_HEADER.len()..];
    let digest = envelope::Digest::of(body);
    let mut set = [&[1][..], &digest.0, &[1, 0x4f, 0x0c]].concat();
    set.extend_from_slice(&key.public_key().key_id().0);
    set.extend_from_slice(&[1, 0x40]);
    set.extend_from_slice(&key.sign(&digest));
    let set = [&[1, 1, 1, 1, u8::try_from(set.len()).unwrap()][..], &set].concat();
    [&envelope::COMPONENT_HEADER[..], &section(envelope::SIGNATURE_SECTION, &set), body].concat()
}
