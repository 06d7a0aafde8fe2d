//! Text of a signed file that is made to be obeyed by the terminal that shows it.

use arcana_signing::envelope;
use serde_json::Value;

use super::migrations::{packed_unseen, section};
use crate::small::{answering, manifest, signed};
use crate::support::{KEY, Setup};

/// What clears a screen, turns a line around, or cannot be seen.
const HOSTILE: &str = "\u{1b}]0;x\u{7}\u{1b}[2J\u{9b}31m\u{202e}evil\u{202c}\u{2066}\u{200f}\u{61c}\u{200b}\u{feff}\u{2028}\u{85}\r\u{7f}";

fn hidden(text: &str) -> Vec<char> {
    let odd = |c: &char| {
        (c.is_control() && *c != '\n')
            || ('\u{202a}'..='\u{202e}').contains(c)
            || ('\u{2066}'..='\u{2069}').contains(c)
            || "\u{200b}\u{200e}\u{200f}\u{61c}\u{feff}\u{2028}\u{2029}".contains(*c)
    };
    text.chars().filter(odd).collect()
}

/// Runs a command and answers all that it wrote; none of it may be obeyed by a terminal.
fn said(setup: &Setup, args: &[&str]) -> String {
    let output = setup.command(args).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(hidden(&text).is_empty(), "{args:?}: {:?} in {text:?}", hidden(&text));
    text
}

/// Packed and signed whatever it says.
fn saying(manifest: &str) -> Vec<u8> {
    envelope::sign(&packed_unseen(&answering("app", 1), manifest), &[&KEY]).unwrap()
}

#[test]
fn no_command_prints_what_a_terminal_would_obey() {
    let setup = Setup::new();
    // TOML has JSON's escapes, and takes no raw DEL.
    let json = serde_json::to_string(HOSTILE).unwrap().replace('\u{7f}', "\\u007f");
    let described = manifest("app", 1).replace("host =", &format!("description = {json}\nhost ="));
    let refused = [
        manifest("app", 1).replace("\"1.0.1\"", &json),
        manifest("app", 1).replace("\"public\"", &json),
        manifest("app", 1).replace("GET /app", &format!("GET /{}", json.trim_matches('"'))),
        format!("{}[settings.{json}]\ntype = \"text\"\n", manifest("app", 1)),
        manifest("app", 1).replace("[plugin]", &format!("{json} = 1\n[plugin]")),
    ];
    let settings = format!("{}[settings.a]\ntype = \"text\"\ndescription = {json}\n", manifest("app", 1));
    let migrating = section("arcana:migrations", format!("{{{json}: {{}}}}").as_bytes());
    let mut files: Vec<Vec<u8>> = refused.iter().map(|text| saying(text)).collect();
    files.push(saying(&described));
    files.push(saying(&settings));
    files.push(signed(&answering("app", 1), &manifest("app", 1)));
    let body = arcana::plugins::pack::pack(&answering("app", 1), &manifest("app", 1), &[], "".as_ref()).unwrap();
    files.push(envelope::sign(&[&body[..], &migrating].concat(), &[&KEY]).unwrap());
    for (place, file) in files.iter().enumerate() {
        std::fs::write(setup.path("app.wasm"), file).unwrap();
        std::fs::write(setup.path("old.wasm"), signed(&answering("app", 1), &manifest("app", 1))).unwrap();
        let trust = ["--trust", "config/trust.toml"];
        let verified = said(&setup, &[&["plugin", "verify", "app.wasm"][..], &trust].concat());
        let inspected = said(&setup, &[&["plugin", "inspect", "app.wasm"][..], &trust].concat());
        if place < refused.len() {
            assert!(verified.contains("MANIFEST_INVALID") && inspected.contains("MANIFEST_INVALID"), "{verified}");
            // It is still told, written out.
            assert!(verified.contains("\\u{202e}evil"), "{place}: {verified}");
        }
        let shown = said(&setup, &[&["plugin", "inspect", "--json", "app.wasm"][..], &trust].concat());
        let _: Value = serde_json::from_str(&shown).unwrap_or_else(|error| panic!("{error}: {shown}"));
        said(&setup, &["plugin", "compat", "old.wasm", "app.wasm"]);
        said(&setup, &["plugin", "compat", "--json", "old.wasm", "app.wasm"]);
        said(&setup, &["plugin", "proto", "app.wasm"]);
        if place == refused.len() {
            said(&setup, &["plugin", "test", "app.wasm", "api.answer"]);
        }
        said(&setup, &["plugin", "sign", "app.wasm", "--key", "app.wasm"]);
    }
    // Names of files come from elsewhere too.
    said(&setup, &["plugin", "verify", "\u{1b}[2J\u{202e}.wasm", "--trust", "config/trust.toml"]);
    said(&setup, &["plugin", "compat", "\u{1b}[2J.wasm", "\u{202e}.wasm"]);
    said(&setup, &["plugin", "pack", "\u{1b}[2J.wasm", "-o", "x.wasm"]);
}
