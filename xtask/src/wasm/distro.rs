//! The WebAssembly target from Debian 12's own packages: a compiler (`rustc-web`), the source of the standard library
//! (`rust-web-src`) and a C library with `wasm32-wasip2` (`wasi-libc` of the backports). The standard library is built
//! once from that source. Every part that is there already is left alone.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{TARGET, Toolchain, sources};
use crate::process::{cargo_path, output};

/// The name under which rustup knows the distribution's compiler, for tools that ask rustup (`cargo component`).
pub(crate) const RUSTUP_NAME: &str = "arcana-wasm";
/// Where the distribution's compiler is.
const RUSTC: &str = "/usr/bin/rustc";
/// The libraries of its targets.
const RUSTLIB: &str = "/usr/lib/rustlib";
/// The C library of the target.
const LIBC: &str = "/usr/lib/wasm32-wasip2";
/// The only release whose packages are known to fit together.
const SUITE: &str = "bookworm";
/// The linker and the tool that makes a component of a core module; a rustup toolchain brings both.
const LINKER_TOOLS: [&str; 2] = ["rust-lld", "wasm-component-ld"];

/// The compiler of the distribution, whether or not it has the target yet.
pub(super) fn toolchain() -> Toolchain {
    Toolchain { cargo: cargo_path(), rustc: Some(RUSTC.into()), origin: "Debian's packages".into() }
}

/// Whether all parts are in place.
pub(super) fn is_ready() -> bool {
    Path::new(RUSTC).exists()
        && std_is_current().unwrap_or(false)
        && tool_links().is_ok_and(|(_, missing)| missing.is_empty())
}

/// Puts what is missing into place. `say` is told what takes long.
///
/// # Errors
/// This is not Debian 12, there is no right to install packages, or one of the steps failed.
pub(super) fn install(say: &dyn Fn(&str)) -> Result<()> {
    if !has_packages() {
        check_system()?;
        say("installing rustc-web, rust-web-src and wasi-libc with apt-get");
        install_packages()?;
    }
    link_tools()?;
    if !std_is_current()? {
        say("building the standard library from the packaged source (about two minutes)");
        build_std(&std_dir())?;
    }
    link_toolchain();
    Ok(())
}

/// Builds the standard library anew, where the one that is there turned out not to work.
///
/// # Errors
/// It does not build, or cannot be put in place.
pub(super) fn rebuild_std() -> Result<()> {
    build_std(&std_dir())
}

fn std_dir() -> PathBuf {
    Path::new(RUSTLIB).join(TARGET).join("lib")
}

fn has_packages() -> bool {
    let source = Path::new(RUSTLIB).join("src/rust/library/Cargo.lock");
    [Path::new(RUSTC), &source, &Path::new(LIBC).join("libc.a")].iter().all(|path| path.exists())
}

fn check_system() -> Result<()> {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !release.lines().any(|line| line.trim_matches('"') == format!("VERSION_CODENAME={SUITE}")) {
        bail!("the packages are known to work on Debian 12 ({SUITE}) only");
    }
    Ok(())
}

/// A command that changes the system: as it is for root, through sudo where that asks no password.
fn privileged(program: &str) -> Result<Command> {
    if output(Command::new("id").arg("-u"))? == "0" {
        return Ok(Command::new(program));
    }
    if output(Command::new("sudo").args(["-n", "true"])).is_err() {
        bail!("installing packages needs root: run `sudo true` first or run this command as root");
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    Ok(command)
}

fn install_packages() -> Result<()> {
    let backports = format!("{SUITE}-backports");
    let files = source_files();
    if !files.iter().any(|(_, text)| sources::has_suite(text, &backports)) {
        let stanza = files.iter().find_map(|(path, text)| {
            let deb822 = path.extension().is_some_and(|end| end == "sources");
            let text =
                if deb822 { sources::backports_stanza(text, SUITE) } else { sources::backports_line(text, SUITE) }?;
            Some((text, if deb822 { "backports.sources" } else { "backports.list" }))
        });
        let (text, name) =
            stanza.with_context(|| format!("no source of {SUITE} in /etc/apt to take the address from"))?;
        let file = tempfile::NamedTempFile::new().context("no temporary file")?;
        std::fs::write(file.path(), text).context("no temporary file")?;
        let mut install = privileged("install")?;
        output(install.args(["-m", "644"]).arg(file.path()).arg(Path::new("/etc/apt/sources.list.d").join(name)))?;
    }
    output(privileged("apt-get")?.args(["update", "-qq"]))?;
    let mut install = privileged("apt-get")?;
    install.args(["install", "-y", "-qq", "--no-install-recommends", "rustc-web", "rust-web-src"]);
    output(install.arg(format!("wasi-libc/{backports}")).env("DEBIAN_FRONTEND", "noninteractive"))?;
    if !has_packages() {
        bail!("the packages are installed, but do not hold {RUSTC}, the library's source and {LIBC}/libc.a");
    }
    Ok(())
}

/// Every file of package sources with its text.
fn source_files() -> Vec<(PathBuf, String)> {
    let entries = Path::new("/etc/apt/sources.list.d").read_dir();
    let mut paths: Vec<PathBuf> = entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.push("/etc/apt/sources.list".into());
    paths.sort();
    paths.into_iter().filter_map(|path| std::fs::read_to_string(&path).ok().map(|text| (path, text))).collect()
}

/// The folder where the compiler looks for linker tools, and those it does not find there.
fn tool_links() -> Result<(PathBuf, Vec<&'static str>)> {
    let version = output(Command::new(RUSTC).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let folder = Path::new(RUSTLIB).join(host).join("bin");
    // A dangling link (its toolchain was removed) counts as missing.
    let missing = LINKER_TOOLS.into_iter().filter(|tool| !folder.join(tool).exists()).collect();
    Ok((folder, missing))
}

fn link_tools() -> Result<()> {
    let (folder, missing) = tool_links()?;
    for tool in missing {
        let file = find_tool(&folder, tool).with_context(|| {
            format!(
                "no installed Rust toolchain has the linker tool {tool}; `rustup toolchain install stable` brings it"
            )
        })?;
        output(privileged("mkdir")?.arg("-p").arg(&folder))?;
        output(privileged("ln")?.arg("-sfn").arg(file).arg(folder.join(tool)))?;
    }
    Ok(())
}

/// A linker tool of the active toolchain, or of any that rustup has.
fn find_tool(links: &Path, tool: &str) -> Option<PathBuf> {
    let mut sysroots = Vec::new();
    sysroots.extend(output(Command::new("rustc").args(["--print", "sysroot"])).ok().map(PathBuf::from));
    let home = std::env::var_os("RUSTUP_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".rustup")));
    let toolchains = home.and_then(|home| home.join("toolchains").read_dir().ok());
    sysroots.extend(toolchains.into_iter().flatten().flatten().map(|entry| entry.path()));
    let host = links.parent()?.file_name()?;
    sysroots
        .into_iter()
        .map(|sysroot| sysroot.join("lib/rustlib").join(host).join("bin"))
        // The distribution's own folder is where the link goes: it must not point at itself.
        .filter(|folder| folder.canonicalize().ok() != links.canonicalize().ok() || !links.exists())
        .map(|folder| folder.join(tool))
        .find(|file| file.is_file())
}

/// Whether the standard library is there and was built by the compiler that is installed now.
fn std_is_current() -> Result<bool> {
    let Ok(mark) = std::fs::read_to_string(std_dir().join(".complete")) else { return Ok(false) };
    let version = output(Command::new(RUSTC).arg("-vV"))?;
    // An empty mark says nothing about the compiler; the trial build finds out.
    Ok(mark.trim().is_empty() || mark.trim() == version)
}

/// Builds the standard library and puts it, complete, where the compiler looks for it.
fn build_std(place: &Path) -> Result<()> {
    let seed = tempfile::tempdir().context("no temporary folder")?;
    let manifest = "[package]\nname = \"std-seed\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[lib]\npath = \"lib.rs\"\n[workspace]\n";
    std::fs::write(seed.path().join("Cargo.toml"), manifest).context("no temporary file")?;
    std::fs::write(seed.path().join("lib.rs"), "").context("no temporary file")?;
    let mut build = toolchain().command();
    build.current_dir(seed.path());
    build.args(["build", "--quiet", "--release", "-Zbuild-std=std,panic_abort,panic_unwind", "--target", TARGET]);
    // Bitcode is what lets components be linked with `lto = true`. The unstable switch is for this one build.
    build.env("RUSTFLAGS", "-C embed-bitcode=yes").env("RUSTC_BOOTSTRAP", "1");
    build.env("CARGO_TARGET_DIR", seed.path().join("target")).env_remove("CARGO_ENCODED_RUSTFLAGS");
    output(&mut build)?;

    let staged = seed.path().join("lib");
    let libc = staged.join("self-contained");
    std::fs::create_dir_all(&libc).context("no temporary folder")?;
    let built = seed.path().join("target").join(TARGET).join("release/deps");
    for entry in built.read_dir().with_context(|| format!("{} could not be read", built.display()))? {
        let path = entry.context("the folder could not be read")?.path();
        let name = path.file_name().unwrap_or_default();
        let wanted =
            path.extension().is_some_and(|end| end == "rlib") && !name.to_string_lossy().starts_with("libstd_seed");
        if wanted {
            std::fs::copy(&path, staged.join(name))
                .with_context(|| format!("{} could not be copied", path.display()))?;
        }
    }
    for file in ["libc.a", "crt1-command.o", "crt1-reactor.o"] {
        let from = Path::new(LIBC).join(file);
        std::fs::copy(&from, libc.join(file)).with_context(|| format!("{} could not be copied", from.display()))?;
    }
    std::fs::write(staged.join(".complete"), output(Command::new(RUSTC).arg("-vV"))?).context("no temporary file")?;

    let parent = place.parent().context("no parent folder")?;
    let fresh = parent.join("lib.new");
    output(privileged("mkdir")?.arg("-p").arg(parent))?;
    output(privileged("rm")?.arg("-rf").arg(&fresh))?;
    output(privileged("cp")?.arg("-rT").arg(&staged).arg(&fresh))?;
    output(privileged("chmod")?.args(["-R", "a+rX"]).arg(&fresh))?;
    output(privileged("rm")?.arg("-rf").arg(place))?;
    output(privileged("mv")?.arg("-T").arg(&fresh).arg(place))?;
    Ok(())
}

/// Makes the compiler known to rustup, where there is one. Nothing here needs it; `cargo component` does.
fn link_toolchain() {
    let known = output(Command::new("rustup").args(["toolchain", "list"]));
    if known.is_ok_and(|list| !list.lines().any(|line| line.split(' ').next() == Some(RUSTUP_NAME))) {
        // Without the link everything of this project builds all the same.
        let _ = output(Command::new("rustup").args(["toolchain", "link", RUSTUP_NAME, "/usr"]));
    }
}
