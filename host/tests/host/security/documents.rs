//! What the guides show works as it stands there, and a host says when it trusts more than it should.

use std::path::Path;

use arcana::plugins::manifest::Manifest;
use arcana_signing::TrustPolicy;

use crate::small::{events, json_log, plugin, stopped};
use crate::support::Setup;

/// The examples in TOML of a file, each with the line that it begins at.
fn examples(file: &Path) -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if line.trim() == "```toml" {
            let example: Vec<&str> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```").collect();
            found.push((at + 1, example.join("\n") + "\n"));
        }
    }
    found
}

/// A trust file that did not parse keeps the host of an operator who copies it from starting.
#[test]
fn every_example_in_toml_of_the_guides_is_read_by_its_real_parser() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = vec![root.join("README.md"), root.join("sdk/README.md")];
    files.extend(root.join("docs").read_dir().unwrap().map(|entry| entry.unwrap().path()));
    let setup = Setup::new();
    let (mut trust, mut manifests, mut settings) = (0, 0, 0);
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
        for (line, example) in examples(file) {
            let at = format!("{}:{line}", file.display());
            let has = |words: &[&str]| example.lines().any(|line| words.iter().any(|word| line.starts_with(word)));
            if has(&["serial", "[[keys]]"]) {
                TrustPolicy::parse(&example).unwrap_or_else(|error| panic!("{at}: {error}"));
                trust += 1;
            } else if has(&["[plugin]"]) {
                Manifest::parse(&example).unwrap_or_else(|error| panic!("{at}: {error}"));
                manifests += 1;
            } else if has(&["[settings]", "[capabilities]", "[[methods]]"]) {
                let head = "[plugin]\nid = \"a/b\"\nversion = \"1.0.0\"\nseq = 1\nhost = \"0.1\"\n";
                Manifest::parse(&format!("{head}{example}")).unwrap_or_else(|error| panic!("{at}: {error}"));
                manifests += 1;
            } else if has(&["[[calls]]"]) {
                // Read by a test beside its parser.
                let _: toml::Table = example.parse().unwrap_or_else(|error| panic!("{at}: {error}"));
            } else if has(&["[package]"]) {
                let _: toml::Table = example.parse().unwrap_or_else(|error| panic!("{at}: {error}"));
            } else {
                // Whatever else is shown are settings of a host.
                std::fs::write(setup.path("config/local.toml"), &example).unwrap();
                let output = setup.command(&["config", "check"]).output().unwrap();
                assert!(output.status.success(), "{at}: {}", String::from_utf8_lossy(&output.stderr));
                settings += 1;
            }
        }
    }
    assert!(trust > 0 && manifests > 1 && settings > 0, "{trust} {manifests} {settings}");
}

#[tokio::test]
async fn a_host_that_serves_with_a_policy_for_development_says_so() {
    let said = "plugins.trust trusts a key for development, and this host does not run in development mode: its owner can \
                bring in every plugin that it may sign";
    let host = json_log().plugin("fine", &plugin("fine", 1, 1)).start();
    let warned = events(&host, said);
    assert!(warned.len() == 1 && warned[0]["level"] == "WARN", "{}", host.log());
    let host = stopped(host).dev().start();
    assert!(events(&host, said).is_empty(), "{}", host.log());
}
