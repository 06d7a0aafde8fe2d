//! What the program carries for authors: the SDK, the WIT packages that plugins use, and the templates. `build.rs` lists them.

use anyhow::{Context as _, Result};
use toml::{Table, Value};

include!(concat!(env!("OUT_DIR"), "/carried.rs"));

/// The manifest of the SDK as it is in its workspace, and that of the workspace.
const SDK_MANIFEST: &str = include_str!("../../../../sdk/Cargo.toml");
const WORKSPACE_MANIFEST: &str = include_str!("../../../../Cargo.toml");

/// The files of the SDK as a crate that stands alone: the WIT packages are in it instead of beside it.
///
/// # Errors
/// Never in practice: the texts are the program's own, and tested.
pub(super) fn sdk() -> Result<Vec<(String, String)>> {
    let mut files: Vec<(String, String)> =
        SDK.iter().map(|(place, text)| ((*place).to_owned(), text.replace("\"../wit/", "\"wit/"))).collect();
    files.push(("Cargo.toml".to_owned(), sdk_manifest()?));
    Ok(files)
}

/// The SDK's `Cargo.toml` with what it takes from its workspace written out.
fn sdk_manifest() -> Result<String> {
    let workspace: Table = WORKSPACE_MANIFEST.parse()?;
    let mut manifest: Table = SDK_MANIFEST.parse()?;
    let workspace = workspace.get("workspace").and_then(Value::as_table).context("no workspace")?;
    let of_workspace = |list: &str, key: &str| workspace.get(list)?.as_table()?.get(key).cloned();
    manifest.remove("lints");
    let package = manifest.get_mut("package").and_then(Value::as_table_mut).context("no package")?;
    for (key, value) in package.iter_mut() {
        if is_inherited(value) {
            *value = of_workspace("package", key).with_context(|| format!("the workspace says no {key}"))?;
        }
    }
    let dependencies = manifest.get_mut("dependencies").and_then(Value::as_table_mut).context("no dependencies")?;
    for (name, wanted) in dependencies.iter_mut().filter(|(_, wanted)| is_inherited(wanted)) {
        let known = of_workspace("dependencies", name).with_context(|| format!("the workspace has no {name}"))?;
        let mut whole = match known {
            Value::Table(known) => known,
            version => Table::from_iter([("version".to_owned(), version)]),
        };
        let more = wanted.get("features").and_then(Value::as_array).cloned().unwrap_or_default();
        let features = whole.entry("features").or_insert_with(|| Value::Array(Vec::new()));
        features.as_array_mut().context("features are no list")?.extend(more);
        *wanted = Value::Table(whole);
    }
    Ok(toml::to_string(&manifest)?)
}

fn is_inherited(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

/// A kind of plugin to start from.
pub(super) struct Template {
    /// What `--template` says.
    pub(super) name: &'static str,
    /// What it is, in a few words.
    pub(super) about: &'static str,
    /// The files with their places.
    files: &'static [(&'static str, &'static str)],
}

/// Every template.
pub(super) const TEMPLATES: [Template; 1] =
    [Template { name: "service", about: "functions over REST and gRPC with a store of their own", files: SERVICE }];

impl Template {
    /// The files with these values in the places of `{{key}}`.
    ///
    /// # Errors
    /// Names a key that has no value: a mistake in the template.
    pub(super) fn render(&self, values: &[(&str, &str)]) -> Result<Vec<(String, String)>> {
        let one = |(place, text): &(&str, &str)| {
            // Under their own names they would be taken for parts of this repository.
            let place = place.trim_end_matches(".in").replace("dot-", ".");
            let text = fill(text, values).with_context(|| place.clone())?;
            Ok((place, text))
        };
        self.files.iter().map(one).collect()
    }
}

fn fill(text: &str, values: &[(&str, &str)]) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (key, behind) = after.split_once("}}").context("`{{` without `}}`")?;
        let (_, value) = values.iter().find(|(name, _)| *name == key).with_context(|| format!("no value for {key}"))?;
        out.push_str(before);
        out.push_str(value);
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_stands_alone() {
        let manifest: Table = sdk_manifest().unwrap().parse().unwrap();
        let package = manifest["package"].as_table().unwrap();
        assert_eq!(package["version"].as_str(), Some(env!("CARGO_PKG_VERSION")));
        assert_eq!(package["edition"].as_str(), Some("2024"));
        let bindgen = &manifest["dependencies"]["wit-bindgen"];
        let features: Vec<&str> = bindgen["features"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(features.contains(&"macros") && features.contains(&"bitflags"), "{bindgen}");
        assert!(!toml::to_string(&manifest).unwrap().contains("workspace"));
        let files = sdk().unwrap();
        assert!(files.iter().all(|(_, text)| !text.contains("\"../wit")));
    }

    #[test]
    fn every_place_of_a_value_is_filled() {
        assert_eq!(fill("a {{x}}b{{y}}", &[("x", "1"), ("y", "2")]).unwrap(), "a 1b2");
        assert_eq!(fill("fn f() {}", &[]).unwrap(), "fn f() {}");
        assert!(fill("{{z}}", &[("x", "1")]).unwrap_err().to_string().contains('z'));
    }
}
