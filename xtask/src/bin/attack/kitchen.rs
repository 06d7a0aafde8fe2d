//! The template of every host's home folder: made once, with compiled plugins and accounts, and copied for each attack.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use arcana_signing::envelope::sign;
use arcana_signing::{SecretKey, trust};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Client, request};
use crate::files;
use crate::host::{Host, Output};

/// The number of accounts that sign in during attacks.
pub(crate) const ACCOUNTS: usize = 10;

/// The password of every account here.
const PASSWORD: &str = "correct horse battery";

/// The administrator.
const ADMIN: &str = "admin@example.org";

/// The template, and the key that signs plugins for it.
pub(crate) struct Kitchen {
    folder: TempDir,
    arcana: PathBuf,
    key: SecretKey,
    /// The settings that attacks depend on.
    pub(crate) limits: Limits,
}

/// The settings that attacks and bounds depend on.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// `server.rest.max_connections`
    pub(crate) connections: usize,
    /// `server.rest.max_streams_per_connection`
    pub(crate) streams: usize,
    /// `limits.max_concurrency`
    pub(crate) concurrency: usize,
    /// `server.rest.shutdown_deadline`
    pub(crate) shutdown: Duration,
    /// The bound of all guests' linear memory in bytes.
    pub(crate) total_memory: u64,
}

impl Kitchen {
    /// Makes the template. `dist` has the layout of `cargo xtask build`, `guests` holds the guests' components and `sources`
    /// their crates.
    ///
    /// # Errors
    /// The host refuses a plugin or does not start.
    pub(crate) fn new(arcana: &Path, dist: &Path, guests: &Path, sources: &Path) -> Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        // A copy, because a concurrent build could replace the program.
        let copied = folder.path().join("arcana");
        std::fs::copy(arcana, &copied).with_context(|| format!("{} could not be copied", arcana.display()))?;
        let settings = read(&dist.join("config/default.toml"))?;
        let limits = Limits::read(&settings.parse().context("the default settings are not TOML")?)?;
        let kitchen = Self { folder, arcana: copied, key: SecretKey::generate()?, limits };
        let home = kitchen.home();
        for place in ["config", "plugins"] {
            std::fs::create_dir_all(home.join(place))?;
        }
        std::fs::write(home.join("config/default.toml"), &settings)?;
        // A policy whose principal is `development` would make the host warn.
        let policy = trust::development(&kitchen.key.public_key()).replace("\"development\"", "\"publisher\"");
        std::fs::write(home.join("config/trust.toml"), policy)?;
        let place = |name: &str, file: &[u8]| std::fs::write(home.join("plugins").join(name), file);
        for name in ["auth.wasm", "users.wasm"] {
            let path = dist.join("plugins").join(name);
            let file = std::fs::read(&path).with_context(|| format!("{} could not be read", path.display()))?;
            place(name, &sign(&file, &[&kitchen.key])?)?;
        }
        for (name, migration) in [("echo", None), ("hostile", Some("migrations/sqlite/own/0001_rows.sql"))] {
            let path = guests.join(name).with_extension("wasm");
            let component = std::fs::read(&path).with_context(|| format!("{} could not be read", path.display()))?;
            let source = sources.join(name);
            let mut manifest: toml::Table = read(&source.join("plugin.toml"))?.parse()?;
            if name == "hostile" {
                manifest.insert("limits".into(), settings_of_hostile(&settings)?.into());
            }
            let migration = migration.map(|migration| read(&source.join(migration))).transpose()?;
            place(&format!("{name}.wasm"), &kitchen.pack(&component, &manifest.to_string(), migration.as_deref())?)?;
        }
        let limits = "\n[limits]\ncall_timeout = \"20s\"\n";
        place(
            "handles.wasm",
            &kitchen.pack(&files::handles("handles")?, &files::manifest("handles", 1, limits), None)?,
        )?;
        kitchen.furnish()?;
        Ok(kitchen)
    }

    /// Creates the accounts and fills the code cache.
    fn furnish(&self) -> Result<()> {
        let mut create = Command::new(&self.arcana);
        create.args(["user", "create-admin", "--email", ADMIN, "--password-stdin"]).current_dir(self.home());
        create.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = crate::host::without_settings(&mut create).spawn().context("the host could not be started")?;
        if let Some(mut stdin) = child.stdin.take() {
            writeln!(stdin, "{PASSWORD}")?;
        }
        let made = child.wait_with_output()?;
        ensure!(made.status.success(), "no administrator: {}", String::from_utf8_lossy(&made.stderr));
        let mut host = Host::start(&self.arcana, &self.home(), Output::File)?;
        for account in 0..ACCOUNTS {
            let body = json!({ "email": email(account), "password": PASSWORD }).to_string();
            let answer = Client::new(host.port, address(200, account), Duration::from_secs(60)).ask(&request(
                "POST",
                "/api/v1/auth/register",
                None,
                Some(&body),
            ))?;
            ensure!(answer.status == 201, "no account: {} {}", answer.status, answer.text());
        }
        let (status, health) = get(host.port, "/health")?;
        ensure!(
            status == 200 && health.get("failed").and_then(Value::as_u64).unwrap_or_default() == 0,
            "a plugin was refused: {health}\n{}",
            host.log()
        );
        let end = host.terminate(Duration::from_secs(60));
        ensure!(end.is_clean(), "the host did not stop: {end:?}\n{}", host.log());
        Ok(())
    }

    /// Starts a host in a copy of the template.
    ///
    /// # Errors
    /// The host does not start.
    pub(crate) fn host(&self, output: Output) -> Result<(Host, TempDir)> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        copy(&self.home(), folder.path()).context("the home could not be copied")?;
        let host = Host::start(&self.arcana, folder.path(), output)?;
        Ok((host, folder))
    }

    /// Packs and signs a plugin; see [`files::pack`].
    ///
    /// # Errors
    /// The input is not a component.
    pub(crate) fn pack(&self, component: &[u8], manifest: &str, migration: Option<&str>) -> Result<Vec<u8>> {
        files::pack(component, manifest, migration, &self.key)
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }
}

impl Limits {
    fn read(settings: &toml::Table) -> Result<Self> {
        let value = |path: &str| {
            let (section, key) = path.rsplit_once('.').unwrap_or_default();
            let table = section.split('.').try_fold(settings, |table, name| table.get(name)?.as_table());
            table.and_then(|table| table.get(key)).with_context(|| format!("the settings have no {path}"))
        };
        let count = |path: &str| -> Result<usize> {
            Ok(value(path)?.as_integer().with_context(|| format!("{path} is no number"))?.try_into()?)
        };
        let text = |path: &str| value(path)?.as_str().with_context(|| format!("{path} is no text"));
        let shutdown = text("server.rest.shutdown_deadline")?;
        let shutdown = shutdown.strip_suffix('s').and_then(|seconds| seconds.parse().ok());
        Ok(Self {
            connections: count("server.rest.max_connections")?,
            streams: count("server.rest.max_streams_per_connection")?,
            concurrency: count("limits.max_concurrency")?,
            shutdown: Duration::from_secs(shutdown.context("server.rest.shutdown_deadline is not in seconds")?),
            total_memory: quarter_of_memory()?,
        })
    }
}

/// A quarter of the machine's or the control group's memory: the default of `limits.total_memory`.
fn quarter_of_memory() -> Result<u64> {
    let text = read(Path::new("/proc/meminfo"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).context("no MemTotal")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(u64::MAX);
    Ok((kib * 1024).min(group) / 4)
}

/// The `[limits]` of the hostile plugin: the maxima of the host's settings.
fn settings_of_hostile(settings: &str) -> Result<toml::Table> {
    let settings: toml::Table = settings.parse()?;
    let limits = settings.get("limits").and_then(toml::Value::as_table).context("the settings have no limits")?;
    let most = [("memory", "max_memory"), ("call_timeout", "max_call_timeout"), ("concurrency", "max_concurrency")];
    let mut table = toml::Table::new();
    for (key, setting) in most {
        let value = limits.get(setting).with_context(|| format!("the settings have no limits.{setting}"))?;
        table.insert(key.into(), value.clone());
    }
    Ok(table)
}

/// The e-mail address of an account.
pub(crate) fn email(account: usize) -> String {
    format!("ada{account}@example.org")
}

/// The client address 127.`group`.x.y with this number.
pub(crate) fn address(group: u8, number: usize) -> Ipv4Addr {
    let number = u16::try_from(number % 64_000).unwrap_or_default() + 1;
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, group, high, low)
}

/// Signs in from this address and returns the access token.
///
/// # Errors
/// The host refuses or does not answer.
pub(crate) fn sign_in(port: u16, source: Ipv4Addr, name: &str, limit: Duration) -> Result<String> {
    let body = json!({ "email": name, "password": PASSWORD }).to_string();
    let answer = Client::new(port, source, limit).ask(&request("POST", "/api/v1/auth/login", None, Some(&body)))?;
    let session: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match session.get("access_token").and_then(Value::as_str) {
        Some(token) if answer.status == 200 => Ok(token.to_owned()),
        _ => bail!("signing in: {} {}", answer.status, code(&session)),
    }
}

/// Signs the administrator in and returns the access token.
///
/// # Errors
/// The host refuses or does not answer.
pub(crate) fn admin(port: u16) -> Result<String> {
    sign_in(port, address(201, 0), ADMIN, Duration::from_secs(60))
}

/// The code of a problem.
pub(crate) fn code(problem: &Value) -> &str {
    problem.get("code").and_then(Value::as_str).unwrap_or_default()
}

fn get(port: u16, path: &str) -> Result<(u16, Value)> {
    let answer =
        Client::new(port, Ipv4Addr::LOCALHOST, Duration::from_secs(60)).ask(&request("GET", path, None, None))?;
    Ok((answer.status, serde_json::from_slice(&answer.body).unwrap_or_default()))
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} could not be read", path.display()))
}

/// Copies files and folders with their modes.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, from.metadata()?.permissions())?;
    for entry in from.read_dir()? {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
