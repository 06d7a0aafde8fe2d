//! A toolchain that builds components: which one is taken, and how it comes onto the machine.

mod distro;
mod sources;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process::{cargo_path, failure, output};
use crate::workspace::wasm_target_dir;

/// The target of every component.
pub(crate) const TARGET: &str = "wasm32-wasip2";
/// Names the toolchain to use: one of rustup's, or `distro`.
const VARIABLE: &str = "ARCANA_WASM_TOOLCHAIN";

/// A compiler that has the target, with the cargo that drives it.
#[derive(Debug, Clone)]
pub(crate) struct Toolchain {
    cargo: PathBuf,
    /// None for the active toolchain, whose cargo finds its compiler by itself.
    rustc: Option<PathBuf>,
    origin: String,
}

/// A way to a toolchain.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    /// The active toolchain has the target.
    Active,
    /// A toolchain of rustup's that was asked for.
    Named(String),
    /// rustup adds the target to the active toolchain.
    RustupAdd,
    /// The packages of the distribution.
    Distro,
}

/// The ways to try, in order. What is on the machine already comes before what has to be fetched.
fn ways(asked: Option<&str>, active_has_target: bool, distro_is_ready: bool) -> Vec<Way> {
    let mut ways = Vec::new();
    if active_has_target {
        ways.push(Way::Active);
    }
    match asked {
        Some("distro") => ways.push(Way::Distro),
        Some(name) => ways.push(Way::Named(name.to_owned())),
        None if distro_is_ready => ways.extend([Way::Distro, Way::RustupAdd]),
        None => ways.extend([Way::RustupAdd, Way::Distro]),
    }
    ways
}

impl Toolchain {
    /// A call of cargo with this compiler.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        if let Some(rustc) = &self.rustc {
            command.env("RUSTC", rustc);
        }
        command
    }

    /// Where it comes from and its version, for people.
    pub(crate) fn describe(&self) -> String {
        let version = output(Command::new(self.compiler()).arg("--version")).unwrap_or_default();
        format!("{}: {version}", self.origin)
    }

    fn active() -> Self {
        Self { cargo: cargo_path(), rustc: None, origin: "the active toolchain".into() }
    }

    fn compiler(&self) -> PathBuf {
        let beside = || Some(self.cargo.with_file_name("rustc")).filter(|path| path.is_file());
        let named = || std::env::var_os("RUSTC").map(PathBuf::from);
        self.rustc.clone().or_else(named).or_else(beside).unwrap_or_else(|| "rustc".into())
    }

    /// The standard library's file, where the compiler has one for the target.
    fn std_file(&self) -> Option<PathBuf> {
        let folder =
            output(Command::new(self.compiler()).args(["--print", "target-libdir", "--target", TARGET])).ok()?;
        let entries = Path::new(&folder).read_dir().ok()?;
        entries.flatten().map(|entry| entry.path()).find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libstd-") && name.ends_with(".rlib")
        })
    }

    /// Tells this compiler and its standard library apart from any other.
    fn identity(&self) -> Result<String> {
        let version = output(Command::new(self.compiler()).arg("-vV"))?;
        let std = self.std_file().with_context(|| format!("{} has no {TARGET}", self.origin))?;
        // The same compiler may be known by several paths.
        let std = std.canonicalize().unwrap_or(std);
        let time = std.metadata().and_then(|data| data.modified()).context("the standard library could not be read")?;
        let time = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
        Ok(format!("{version}\n{}\n{time}\n", std.display()))
    }

    /// Builds a component of one function: the only proof that compiler, libraries and linker work together.
    fn try_out(&self) -> Result<()> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let file = folder.path().join("trial.wasm");
        let mut compile = Command::new(self.compiler());
        compile.args([
            "--edition",
            "2024",
            "--crate-type",
            "cdylib",
            "--crate-name",
            "trial",
            "--target",
            TARGET,
            "-o",
        ]);
        let mut child =
            compile.arg(&file).arg("-").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(b"#[unsafe(no_mangle)] pub extern \"C\" fn f() -> usize { std::env::args().count() }")?;
        }
        let out = child.wait_with_output()?;
        if !out.status.success() {
            bail!(
                "a trial component does not build with {}: {}",
                self.origin,
                String::from_utf8_lossy(&out.stderr).trim()
            );
        }
        if !std::fs::read(&file).is_ok_and(|bytes| bytes.starts_with(b"\0asm\x0d\0\x01\0")) {
            bail!("{} builds no component for {TARGET}", self.origin);
        }
        Ok(())
    }
}

/// A call of the cargo that builds components, in the target folder of the components.
///
/// # Errors
/// No way leads to a toolchain; says what was tried and what to do.
pub(crate) fn component_cargo() -> Result<Command> {
    static FOUND: std::sync::OnceLock<Toolchain> = std::sync::OnceLock::new();
    let toolchain = match FOUND.get() {
        Some(toolchain) => toolchain.clone(),
        None => {
            let toolchain = ensure(&|_| {})?;
            FOUND.get_or_init(|| toolchain).clone()
        }
    };
    let mut command = toolchain.command();
    command.env("CARGO_TARGET_DIR", wasm_target_dir());
    Ok(command)
}

/// Finds a toolchain with the target, or brings one onto the machine. What worked last time and did not change is taken
/// without trying it out again. `say` is told what takes long.
///
/// # Errors
/// No way leads to a toolchain; says what was tried and what to do.
pub(crate) fn ensure(say: &dyn Fn(&str)) -> Result<Toolchain> {
    let asked = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty());
    let active = Toolchain::active();
    let tries = ways(asked.as_deref(), active.std_file().is_some(), distro::is_ready());
    let mut reasons = Vec::new();
    for way in &tries {
        match reach(way, &active, say) {
            Ok(toolchain) => return Ok(toolchain),
            Err(reason) => reasons.push(format!("  {}: {reason:#}", describe(way))),
        }
    }
    Err(failure(
        format!("no Rust toolchain here can build for {TARGET}\n{}", reasons.join("\n")),
        format!(
            "do one of these, then run the command again:\n  \
             - `rustup target add {TARGET}` with a network connection\n  \
             - set {VARIABLE} to a rustup toolchain that has the target (`rustup toolchain list`)\n  \
             - on Debian 12, as root: {VARIABLE}=distro cargo xtask wasm\n\
             docs/toolchain.md tells more"
        ),
    ))
}

fn describe(way: &Way) -> String {
    match way {
        Way::Active => "the active toolchain".into(),
        Way::Named(name) => format!("the toolchain {name} of {VARIABLE}"),
        Way::RustupAdd => format!("rustup target add {TARGET}"),
        Way::Distro => "the distribution's packages".into(),
    }
}

fn reach(way: &Way, active: &Toolchain, say: &dyn Fn(&str)) -> Result<Toolchain> {
    let toolchain = match way {
        Way::Active => active.clone(),
        Way::Named(name) => named(name)?,
        Way::RustupAdd => {
            say(&format!("asking rustup for {TARGET}"));
            output(Command::new("rustup").args(["target", "add", TARGET]).env("RUST_BACKTRACE", "0"))?;
            active.clone()
        }
        Way::Distro => {
            distro::install(say)?;
            distro::toolchain()
        }
    };
    let proof = wasm_target_dir().join(".toolchain");
    let known = std::fs::read_to_string(&proof).ok();
    if known.is_some() && known == toolchain.identity().ok() {
        return Ok(toolchain);
    }
    let tried = toolchain.try_out();
    if let (Err(_), Way::Distro) = (&tried, way) {
        // The distribution's compiler was updated under the standard library.
        say("the standard library does not fit the compiler any more: building it again");
        distro::rebuild_std()?;
        toolchain.try_out()?;
    } else {
        tried?;
    }
    if proof.parent().is_some_and(Path::exists) && known.is_some() {
        // What was built against another standard library cannot be linked with this one.
        std::fs::remove_dir_all(wasm_target_dir()).context("the old components could not be removed")?;
    }
    std::fs::create_dir_all(wasm_target_dir()).context("the target folder could not be made")?;
    std::fs::write(&proof, toolchain.identity()?).context("the target folder could not be written")?;
    Ok(toolchain)
}

/// A toolchain by its rustup name. One that has no cargo of its own (a linked compiler) is driven by ours.
fn named(name: &str) -> Result<Toolchain> {
    let which = |tool| {
        let mut rustup = Command::new("rustup");
        output(rustup.args(["which", "--toolchain", name, tool]).env("RUST_BACKTRACE", "0")).map(PathBuf::from)
    };
    let rustc = which("rustc")?;
    let toolchain = Toolchain {
        cargo: which("cargo").unwrap_or_else(|_| cargo_path()),
        rustc: Some(rustc),
        origin: format!("the toolchain {name}"),
    };
    if toolchain.std_file().is_none() {
        bail!("it does not have the target; `rustup target add --toolchain {name} {TARGET}` may add it");
    }
    Ok(toolchain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_active_toolchain_comes_first_whatever_was_asked() {
        assert_eq!(ways(Some("distro"), true, true), [Way::Active, Way::Distro]);
        assert_eq!(ways(None, true, false).first(), Some(&Way::Active));
    }

    #[test]
    fn what_was_asked_for_is_not_replaced_by_a_download() {
        assert_eq!(ways(Some("nightly"), false, true), [Way::Named("nightly".into())]);
        assert_eq!(ways(Some("distro"), false, false), [Way::Distro]);
    }

    #[test]
    fn rustup_is_asked_before_packages_are_installed_but_not_before_those_that_are_there() {
        assert_eq!(ways(None, false, false), [Way::RustupAdd, Way::Distro]);
        assert_eq!(ways(None, false, true), [Way::Distro, Way::RustupAdd]);
    }
}
