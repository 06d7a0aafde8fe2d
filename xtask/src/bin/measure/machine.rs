//! Where and of what the figures were taken.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// What one has to know to compare figures.
pub(crate) struct Facts {
    /// The processors that this program may use.
    pub(crate) cores: usize,
    /// Their name.
    pub(crate) cpu: String,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// The compiler.
    pub(crate) rustc: String,
    /// The version of wasmtime.
    pub(crate) wasmtime: String,
    /// How busy the machine was in the minute before.
    pub(crate) load: String,
    /// Bytes of the program.
    pub(crate) binary: u64,
}

/// Looks at the machine, the compiler, `Cargo.lock` and the host's program.
///
/// # Errors
/// The program or the lock file is not there.
pub(crate) fn facts(lock_file: &Path, arcana: &Path) -> Result<Facts> {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = file("/proc/cpuinfo");
    let model = cpu.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    let rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("--version").output();
    let lock: toml::Table = std::fs::read_to_string(lock_file)
        .with_context(|| format!("{} could not be read", lock_file.display()))?
        .parse()
        .context("Cargo.lock is not TOML")?;
    let packages = lock.get("package").and_then(toml::Value::as_array).into_iter().flatten();
    let text = |package: &toml::Value, key: &str| package.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    Ok(Facts {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        cpu: model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, model)| model.to_owned()),
        kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
        rustc: rustc.map_or_else(
            |_| "unknown".to_owned(),
            |out| {
                let version = String::from_utf8_lossy(&out.stdout).into_owned();
                version.split_whitespace().nth(1).unwrap_or("unknown").to_owned()
            },
        ),
        wasmtime: packages
            .filter(|package| text(package, "name").as_deref() == Some("wasmtime"))
            .find_map(|package| text(package, "version"))
            .unwrap_or_else(|| "unknown".to_owned()),
        load: file("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        binary: std::fs::metadata(arcana).with_context(|| format!("{} is not there", arcana.display()))?.len(),
    })
}
