use arcana_signing::{SecretKey, trust};

use super::inspect::inspect;
use super::*;

fn packed(component: &str, capabilities: &str) -> Vec<u8> {
    let manifest = format!(
        "[plugin]\nid = \"acme/small\"\nversion = \"1.0.0\"\nseq = 1\nhost = \"{}\"\n[capabilities]\n{capabilities}\n",
        env!("CARGO_PKG_VERSION")
    );
    pack::pack(&wat::parse_str(component).unwrap(), &manifest, &[], Path::new(".")).unwrap()
}

/// The codes of the problems, and what a host that trusts `key` answers.
fn look(bytes: &[u8], key: &SecretKey) -> (Vec<&'static str>, &'static str) {
    let policy = TrustPolicy::parse(&trust::development(&key.public_key())).unwrap();
    let report = inspect("x.wasm", bytes, Some(&policy));
    // The text is made of every report, whatever is missing in it.
    let text = text::render(&report);
    assert!(report.problems.iter().all(|problem| text.contains(problem.code)), "{text}");
    let answer = report.trust.map_or("none", |trust| trust.code.unwrap_or("accepted"));
    (report.problems.iter().map(|problem| problem.code).collect(), answer)
}

#[test]
fn each_defect_is_told_by_its_code_and_the_rest_is_shown() {
    let (key, other) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
    let good = envelope::sign(&packed("(component)", ""), &[&key]).unwrap();
    assert_eq!(look(&good, &key), (vec![], "accepted"));
    assert_eq!(look(&good, &other), (vec![], "UNKNOWN_KEY"));
    assert_eq!(look(&packed("(component)", ""), &key), (vec!["UNSIGNED"], "UNSIGNED"));

    let flipped = [&good[..], &[0, 2, 1, b'x']].concat();
    assert_eq!(look(&flipped, &key), (vec!["DIGEST_MISMATCH"], "DIGEST_MISMATCH"));
    let report = inspect("x.wasm", &flipped, None);
    assert_eq!(report.plugin.unwrap().id, "acme/small");

    let log = r#"(component (import "arcana:host/log@0.1.0" (instance
        (type $level' (enum "trace" "debug" "info" "warn" "error")) (export "level" (type $level (eq $level')))
        (export "enabled" (func (param "level" $level) (result bool))))))"#;
    let always = envelope::sign(&packed(log, ""), &[&key]).unwrap();
    assert_eq!(look(&always, &key), (vec![], "accepted"));
    let cache = r#"(component (import "arcana:host/cache@0.1.0" (instance (export "clear" (func)))))"#;
    let asking = envelope::sign(&packed(cache, "cache = true"), &[&key]).unwrap();
    // There is no such function: the host would find out when it links it.
    assert_eq!(look(&asking, &key), (vec!["LINK_FAILED"], "accepted"));
    let silent = envelope::sign(&packed(cache, ""), &[&key]).unwrap();
    assert_eq!(look(&silent, &key), (vec!["IMPORT_NOT_GRANTED", "LINK_FAILED"], "IMPORT_NOT_GRANTED"));

    assert_eq!(look(b"not even close", &key), (vec!["NOT_COMPONENT"], "NOT_COMPONENT"));
    assert_eq!(look(&good[..60], &key), (vec!["TRUNCATED"], "TRUNCATED"));
}

#[test]
fn a_file_is_replaced_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plugin.wasm");
    write(&path, b"one").unwrap();
    write(&path, b"two").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"two");
    assert_eq!(dir.path().read_dir().unwrap().count(), 1);
}
