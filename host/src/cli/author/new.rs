//! `arcana plugin new`: a complete crate to start from.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use super::carried::{self, TEMPLATES, Template};
use crate::plugins::manifest::PluginId;

/// Where a new crate keeps the SDK.
const SDK_FOLDER: &str = "arcana-sdk";
/// The namespace of a plugin whose author names none.
const NAMESPACE: &str = "local";
/// The longest name in bytes; file names and ids have room for it.
const LONGEST: usize = 64;

/// Words of Rust that no crate and no module can be called by.
const RUST_WORDS: [&str; 52] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "union", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];
/// Crates that every build has already.
const CRATES: [&str; 7] = ["alloc", "arcana-sdk", "core", "proc-macro", "std", "test", "wit-bindgen"];
/// Namespaces of the host's own WIT packages, and of WASI's.
const NAMESPACES: [&str; 2] = ["arcana", "wasi"];

#[derive(Debug, Args)]
pub(in crate::cli) struct NewArgs {
    /// The name of the crate and of its folder: words of lower-case letters and digits, joined by `-`.
    name: String,
    /// What to start from.
    #[arg(long, value_name = "NAME", default_value = "service")]
    template: String,
    /// The folder to make; `./NAME` where it is not given.
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// The plugin's id, which also names its WIT package; `local/NAME` where it is not given.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    id: Option<String>,
    /// Uses the SDK in this folder, instead of a copy of the one that this program carries.
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

/// Makes the crate, whole or not at all.
///
/// # Errors
/// A name that cannot be used, an unknown template, a folder that has something in it, and files that cannot be written.
pub(in crate::cli) fn run(args: &NewArgs) -> Result<()> {
    let template = template(&args.template)?;
    check_crate(&args.name)?;
    let id = args.id.clone().unwrap_or_else(|| format!("{NAMESPACE}/{}", args.name));
    let id = PluginId::parse(&id).map_err(|error| anyhow::anyhow!("--id: {error}"))?;
    check_id(&id)?;
    let sdk = args.sdk.as_deref().map(checkout).transpose()?;
    let files = files(template, &args.name, &id, sdk.as_deref())?;
    let folder = args.dir.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    write(&folder, &files)?;

    println!("made {} ({id}, from the template {})\n", folder.display(), template.name);
    println!("  cd {}", folder.display());
    println!("  cargo test            # its unit tests, on this machine");
    println!("  arcana plugin test    # builds it and makes the calls of calls.toml on a host in memory");
    println!("  arcana dev            # serves it, and again whenever a file is saved");
    Ok(())
}

fn template(name: &str) -> Result<&'static Template> {
    let known = || TEMPLATES.iter().map(|known| format!("\n  {:10} {}", known.name, known.about)).collect::<String>();
    TEMPLATES
        .iter()
        .find(|template| template.name == name)
        .with_context(|| format!("--template: there is no template {name:?}; there are:{}", known()))
}

/// A name that can be that of a crate, a module, a folder and a WIT package.
fn check(what: &str, name: &str) -> Result<()> {
    let is_word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    if !name.split('-').all(is_word) {
        let near = nearest(name);
        let hint = if near.is_empty() { String::new() } else { format!("; try `{near}`") };
        bail!(
            "{what} {name:?}: words of lower-case letters and digits that begin with a letter, joined by single `-`{hint}"
        );
    }
    ensure!(name.len() <= LONGEST, "{what} {name:?}: it is longer than {LONGEST} bytes");
    ensure!(
        !RUST_WORDS.contains(&name),
        "{what} {name:?}: this is a word of Rust; choose another, such as `my-{name}`"
    );
    // The parser knows the words of WIT.
    let wit = format!("package {name}:{name};\ninterface x {{}}\n");
    let parsed = wit_parser::UnresolvedPackageGroup::parse("name.wit", &wit);
    ensure!(parsed.is_ok(), "{what} {name:?}: this is a word of WIT; choose another, such as `my-{name}`");
    Ok(())
}

/// The closest name that can be used; empty where there is none.
fn nearest(name: &str) -> String {
    let mut near = String::new();
    let mut before = ' ';
    for c in name.chars() {
        if c.is_ascii_uppercase() && before.is_ascii_lowercase() {
            near.push('-');
        }
        near.push(if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
        before = c;
    }
    let words = near.split('-').map(|word| word.trim_start_matches(|c: char| c.is_ascii_digit()));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join("-")
}

fn check_crate(name: &str) -> Result<()> {
    check("NAME", name)?;
    ensure!(!CRATES.contains(&name), "NAME {name:?}: every build has a crate of this name already; choose another");
    Ok(())
}

fn check_id(id: &PluginId) -> Result<()> {
    check("--id: the namespace", id.namespace())?;
    check("--id: the name", id.name())?;
    ensure!(
        !NAMESPACES.contains(&id.namespace()),
        "--id: the namespace {:?} is that of packages which are not yours; choose another",
        id.namespace()
    );
    Ok(())
}

/// The folder of an SDK that is not carried.
fn checkout(path: &Path) -> Result<String> {
    let manifest = path.join("Cargo.toml");
    let text =
        std::fs::read_to_string(&manifest).with_context(|| format!("--sdk: {} cannot be read", manifest.display()))?;
    let table: toml::Table = text.parse().with_context(|| format!("--sdk: {}", manifest.display()))?;
    let name = table.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
    ensure!(name == Some("arcana-sdk"), "--sdk: {} is not the package arcana-sdk", manifest.display());
    let folder = path.canonicalize().with_context(|| format!("--sdk: {}", path.display()))?;
    Ok(folder.to_str().context("--sdk: the path is not UTF-8")?.to_owned())
}

/// All files of the new crate with their places.
fn files(template: &Template, name: &str, id: &PluginId, sdk: Option<&str>) -> Result<Vec<(String, String)>> {
    let snake = |name: &str| name.replace('-', "_");
    let version: semver::Version = env!("CARGO_PKG_VERSION").parse()?;
    let host = format!("{}.{}", version.major, version.minor);
    // In a TOML text between double quotes.
    let sdk_path = sdk.unwrap_or(SDK_FOLDER).replace('\\', "\\\\").replace('"', "\\\"");
    let values = [
        ("crate", name),
        ("id", id.as_str()),
        ("name", id.name()),
        ("package", &format!("{}:{}", id.namespace(), id.name())),
        ("module", &format!("{}::{}", snake(id.namespace()), snake(id.name()))),
        ("host", &host),
        ("sdk", &sdk_path),
    ];
    let mut files = template.render(&values)?;
    files.extend(carried::WIT.iter().map(|(place, text)| (format!("wit/deps/{place}"), (*text).to_owned())));
    if sdk.is_none() {
        files.extend(carried::sdk()?.into_iter().map(|(place, text)| (format!("{SDK_FOLDER}/{place}"), text)));
    }
    Ok(files)
}

/// Writes a folder aside and moves it to its place, so that nothing is left of one that could not be finished.
fn write(folder: &Path, files: &[(String, String)]) -> Result<()> {
    match folder.read_dir().map(Iterator::count) {
        Ok(0) => {}
        Ok(_) => bail!("{} is there already and has something in it; nothing was written", folder.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("{} cannot be used", folder.display())),
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    ensure!(parent.is_dir(), "the folder {} is not there: make it first", parent.display());
    let written = || -> std::io::Result<()> {
        let aside = tempfile::Builder::new().prefix(".arcana-new-").tempdir_in(parent)?;
        let whole = aside.path().join("new");
        std::fs::create_dir(&whole)?;
        for (place, text) in files {
            let path = whole.join(place);
            std::fs::create_dir_all(path.parent().unwrap_or(&whole))?;
            std::fs::write(path, text)?;
        }
        std::fs::rename(&whole, folder)
    };
    written().with_context(|| format!("{} cannot be made", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_crate_or_package_can_have_are_told_with_a_way_out() {
        for good in ["notes", "my-notes", "a1", "x-2-ray".trim_end_matches("-2-ray")] {
            check_crate(good).unwrap();
        }
        for (bad, words) in [
            ("", "words of lower-case letters"),
            ("Notes", "try `notes`"),
            ("MyNotes", "try `my-notes`"),
            ("my_notes", "try `my-notes`"),
            ("my--notes", "try `my-notes`"),
            ("-notes", "try `notes`"),
            ("../notes", "try `notes`"),
            ("7up", "try `up`"),
            ("notes/x", "try `notes-x`"),
            ("ノート", "words of lower-case letters"),
            ("match", "a word of Rust"),
            ("self", "a word of Rust"),
            ("list", "a word of WIT"),
            ("interface", "a word of WIT"),
            ("test", "every build has a crate"),
            ("arcana-sdk", "every build has a crate"),
        ] {
            let error = check_crate(bad).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains(&format!("{bad:?}")), "{bad}: {error}");
        }
        assert!(check_crate(&"x".repeat(65)).unwrap_err().to_string().contains("64 bytes"));
        let id = |text: &str| check_id(&PluginId::parse(text).unwrap()).map_err(|error| error.to_string());
        assert_eq!(id("acme/book-marks"), Ok(()));
        assert!(id("arcana/notes").unwrap_err().contains("not yours"));
        assert!(id("acme/type").unwrap_err().contains("--id"));
    }
}
