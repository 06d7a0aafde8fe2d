//! Migrations of the stores that a plugin owns: from files to the JSON that is packed, and back.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::super::manifest::Manifest;
use super::super::prepass::PrepassLimits;
use crate::backends::sqlite::Migration;

/// The databases that migrations can be written for.
const BACKENDS: [&str; 3] = ["sqlite", "postgres", "mysql"];

/// The longest name of a migration in bytes.
const MAX_NAME: usize = 128;

/// By store, then by backend: the migrations in ascending order.
pub(super) type Stores = BTreeMap<String, BTreeMap<String, Vec<Packed>>>;

/// A JSON object without a key that is there twice, of which readers would take one or the other.
struct Unique<T>(BTreeMap<String, T>);

/// A migration as it is packed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Packed {
    version: u64,
    name: String,
    sql: String,
}

impl From<Packed> for Migration {
    fn from(Packed { version, name, sql }: Packed) -> Self {
        Self { version, name, sql }
    }
}

/// Reads `<folder>/<backend>/<store>/NNNN_name.sql` of every owned store, or `<folder>/<backend>/NNNN_name.sql` where a
/// backend has no folder for the store.
pub(super) fn read(manifest: &Manifest, base: &Path) -> Result<Stores> {
    let mut stores = Stores::new();
    for (store, owned) in &manifest.stores {
        let folder = base.join(&owned.migrations);
        let mut backends = BTreeMap::new();
        for backend in BACKENDS {
            let shared = folder.join(backend);
            let own = shared.join(store);
            let list = read_folder(if own.is_dir() { &own } else { &shared })?;
            if !list.is_empty() {
                backends.insert(backend.to_owned(), list);
            }
        }
        ensure!(
            !backends.is_empty(),
            "stores.{store}.migrations: there are no migrations in {0}: they are called {0}/sqlite/{store}/0001_name.sql, or \
             {0}/sqlite/0001_name.sql",
            folder.display()
        );
        stores.insert(store.clone(), backends);
    }
    Ok(stores)
}

/// Reads the packed section and checks its order, its sizes and its numbers. Which stores it may name is for
/// [`super::super::verify`] to judge.
pub(super) fn parse(json: &[u8], limits: &PrepassLimits) -> Result<Stores> {
    let Unique(stores) = serde_json::from_slice::<Unique<Unique<Vec<Packed>>>>(json)?;
    let stores: Stores = stores.into_iter().map(|(store, Unique(backends))| (store, backends)).collect();
    let mut count = 0_usize;
    for (store, backends) in &stores {
        for (backend, list) in backends {
            ensure!(BACKENDS.contains(&backend.as_str()), "`{backend}` is no backend");
            if let Some([_, second]) = list.array_windows().find(|[first, second]| first.version >= second.version) {
                bail!("migration {} of the store `{store}` is not in order", second.version);
            }
            count = count.saturating_add(list.len());
            let max = limits.max_migrations;
            ensure!(count <= max, "there are more than {max} migrations (plugins.max_migrations)");
            list.iter().try_for_each(|migration| migration.check(store, limits))?;
        }
    }
    Ok(stores)
}

impl Packed {
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    fn check(&self, store: &str, limits: &PrepassLimits) -> Result<()> {
        let Self { version, name, sql } = self;
        ensure!(
            i64::try_from(*version).is_ok(),
            "migration {version} of the store `{store}`: a version is at most {}",
            i64::MAX
        );
        ensure!(
            (1..=MAX_NAME).contains(&name.len()) && !name.contains(char::is_control),
            "migration {version} of the store `{store}`: a name has 1 to {MAX_NAME} bytes without control characters"
        );
        let (len, max) = (sql.len(), limits.max_migration_bytes);
        ensure!(
            len <= max,
            "migration {version} of the store `{store}` has {len} bytes, of at most {max} (plugins.max_migration_bytes)"
        );
        Ok(())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Unique<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Keys<T> {
            type Value = Unique<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Unique<T>, A::Error> {
                let mut found = BTreeMap::new();
                while let Some((key, value)) = object.next_entry::<String, T>()? {
                    if found.contains_key(&key) {
                        return Err(A::Error::custom(format_args!("`{key}` is there twice")));
                    }
                    found.insert(key, value);
                }
                Ok(Unique(found))
            }
        }

        deserializer.deserialize_map(Keys(PhantomData))
    }
}

fn read_folder(folder: &Path) -> Result<Vec<Packed>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let cannot = || format!("{} cannot be read", folder.display());
    let mut list = Vec::new();
    for entry in folder.read_dir().with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        if path.extension().is_none_or(|extension| extension != "sql") || !path.is_file() {
            continue;
        }
        let (version, name) = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.split_once('_'))
            .filter(|(digits, name)| digits.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty())
            .and_then(|(digits, name)| Some((digits.parse().ok()?, name.to_owned())))
            .with_context(|| format!("{} is not called NNNN_name.sql", path.display()))?;
        let sql = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        list.push(Packed { version, name, sql });
    }
    list.sort_by_key(|migration| migration.version);
    if let Some([first, second]) = list.array_windows().find(|[first, second]| first.version == second.version) {
        let (first, second) = (&first.name, &second.name);
        bail!("{}: `{first}` and `{second}` have the same version", folder.display());
    }
    Ok(list)
}
