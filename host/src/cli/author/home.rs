//! The home of a host for development: its settings, its data folder and the key that it trusts.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use arcana_signing::{SecretKey, TrustPolicy};

use super::project::{Project, SETTINGS};
use crate::app;
use crate::config::Config;
use crate::plugins::files;

/// The home in a crate whose author names none. New crates tell git to ignore it.
const FOLDER: &str = ".arcana";

/// A home with its settings.
pub(super) struct Home {
    /// The folder that relative paths of the settings are in, absolute.
    pub(super) folder: PathBuf,
    /// The settings: those of the home's `config/`, over them the `dev.toml` of every crate, over them the environment.
    pub(super) config: Config,
}

impl Home {
    /// The home in this folder, or that of the first of the crates.
    ///
    /// # Errors
    /// Every mistake in the settings.
    pub(super) fn open(folder: Option<&Path>, projects: &[Project]) -> Result<Self> {
        let folder = match (folder, projects.first()) {
            (Some(folder), _) => folder.to_owned(),
            (None, Some(first)) => first.path(FOLDER),
            (None, None) => PathBuf::from(FOLDER),
        };
        let folder = std::path::absolute(&folder).with_context(|| format!("{} cannot be used", folder.display()))?;
        let mut files = vec![folder.join("config/default.toml"), folder.join("config/local.toml")];
        files.extend(projects.iter().map(|project| project.path(SETTINGS)));
        let config = Config::from_files(&files, std::env::vars_os()).map_err(|errors| anyhow::anyhow!("{errors}"))?;
        Ok(Self { folder, config })
    }

    /// Makes the home ready for a host: the folder, and who is trusted. Answers what is to be told of the shipped plugins.
    ///
    /// A home with a trust file, or with plugins of its own, is taken as it is. Otherwise the plugins beside this program are
    /// offered, and besides the development key those that this program's own trust file lists are trusted, each for what it
    /// says there: nothing is signed anew.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub(super) fn prepare(&mut self) -> Result<String> {
        let (key, _) = self.key()?;
        if self.folder.join(&self.config.plugins.trust).exists() {
            return Ok(format!("trust: {}, as it is there", self.config.plugins.trust.display()));
        }
        let has_own = self.folder.join(&self.config.plugins.dir).is_dir();
        let shipped = if has_own { None } else { shipped()? };
        let mut trust = arcana_signing::trust::development(&key.public_key());
        let told = match shipped {
            Some(Shipped { plugins, trusted, files }) => {
                trust.push_str(&trusted_keys(&trusted, &key.public_key().to_string())?);
                self.config.plugins.dir = plugins;
                format!("shipped plugins: {}", files.join(", "))
            }
            None if has_own => format!("plugins of {}", self.folder.join(&self.config.plugins.dir).display()),
            None => {
                "shipped plugins: none beside this program (plugins/ and config/trust.toml), so nobody can sign in; \
                     `arcana plugin test --as` calls in somebody's name"
                    .to_owned()
            }
        };
        let path = self.folder.join("trust.toml");
        std::fs::write(&path, trust).with_context(|| format!("{} cannot be written", path.display()))?;
        self.config.plugins.trust = path;
        Ok(told)
    }

    /// The data folder, made where it is missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn data(&self) -> Result<PathBuf> {
        let data = self.folder.join(&self.config.app.data_dir);
        private_folder(&data)?;
        Ok(data)
    }

    /// The development key and its file, made where it is missing.
    ///
    /// # Errors
    /// It cannot be made or read.
    pub(super) fn key(&self) -> Result<(SecretKey, PathBuf)> {
        let data = self.data()?;
        private_folder(&data.join("keys"))?;
        app::development_key(&data)
    }
}

/// What lies beside this program.
struct Shipped {
    plugins: PathBuf,
    /// The text of the trust file.
    trusted: String,
    files: Vec<String>,
}

/// The plugins beside this program, as `cargo xtask build` lays them out; none where there are none.
fn shipped() -> Result<Option<Shipped>> {
    let program = std::env::current_exe().context("this program's own path")?;
    let Some(beside) = program.parent() else { return Ok(None) };
    let (plugins, trust) = (beside.join("plugins"), beside.join("config/trust.toml"));
    let files = files::offered(&plugins).with_context(|| format!("{} cannot be read", plugins.display()))?;
    if files.is_empty() || !trust.is_file() {
        return Ok(None);
    }
    let trusted = std::fs::read_to_string(&trust).with_context(|| format!("{} cannot be read", trust.display()))?;
    TrustPolicy::parse(&trusted).with_context(|| format!("{} cannot be used", trust.display()))?;
    let name = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Some(Shipped { plugins, trusted, files: files.iter().map(name).collect() }))
}

/// The keys of a trust file as they are there, without the one that is trusted anyway.
fn trusted_keys(text: &str, known: &str) -> Result<String> {
    let table: toml::Table = text.parse()?;
    let mut keys = table.get("keys").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    keys.retain(|key| key.get("key").and_then(toml::Value::as_str) != Some(known));
    if keys.is_empty() {
        return Ok(String::new());
    }
    let table = toml::Table::from_iter([("keys".to_owned(), toml::Value::Array(keys))]);
    Ok(format!("\n# Those that the program's own trust file lists.\n{}", toml::to_string(&table)?))
}

/// Makes a folder that only its owner may look into, with those above it.
pub(super) fn private_folder(path: &Path) -> Result<()> {
    let make = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    make.with_context(|| format!("{} cannot be made", path.display()))
}

#[cfg(test)]
mod tests {
    use arcana_signing::trust::development;

    use super::*;

    #[test]
    fn both_keys_are_trusted_and_none_twice() {
        let (own, other) = (SecretKey::from_seed(&[1; 32]).public_key(), SecretKey::from_seed(&[2; 32]).public_key());
        for shipped in [&own, &other] {
            let text = development(&own) + &trusted_keys(&development(shipped), &own.to_string()).unwrap();
            let policy = TrustPolicy::parse(&text).unwrap();
            assert!(policy.key(own.key_id()).is_some() && policy.key(shipped.key_id()).is_some());
            assert!(policy.rule_for("acme/notes").is_some_and(|rule| rule.threshold == 1));
        }
    }
}
