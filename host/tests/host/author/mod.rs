//! The author's loop: a new plugin, built, tested, served, and developed while it is served.

mod built;
mod dev;
mod new;
mod tested;
mod walkthrough;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;

/// What a command said, and its exit code.
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// A folder of an author's. It is below the target folder, so that programs can be linked into it.
pub fn desk() -> TempDir {
    tempfile::Builder::new().prefix("author-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A command with this environment: no variable of Arcana's but the toolchain, and one target folder for all crates of these
/// tests, so that what they depend on is built once.
pub fn command(program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env("NO_COLOR", "1").env("CARGO_TERM_COLOR", "never");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ARCANA_")) {
        command.env_remove(name);
    }
    if let Some(toolchain) = std::env::var_os("ARCANA_WASM_TOOLCHAIN") {
        command.env("ARCANA_WASM_TOOLCHAIN", toolchain);
    }
    if let Some(compiler) = std::env::var_os("ARCANA_TEST_RUSTC") {
        command.env("RUSTC", compiler);
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("author");
    // What crates of this workspace depend on is on this machine already.
    command.env("CARGO_TARGET_DIR", target).env("CARGO_NET_OFFLINE", "true");
    command.env("ARCANA_LIMITS__COMPILE__MEMORY", "4GiB");
    command
}

/// `arcana` in this folder.
pub fn arcana(folder: &Path, args: &[&str]) -> Said {
    said(command(env!("CARGO_BIN_EXE_arcana"), folder).args(args))
}

pub fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs what must succeed; answers what it printed.
pub fn ok(folder: &Path, args: &[&str]) -> String {
    let said = arcana(folder, args);
    assert_eq!(said.code, Some(0), "{args:?}:\n{}\n{}", said.out, said.err);
    said.out
}

/// Runs what must end with this code, with these words on the standard error output.
pub fn fails(folder: &Path, code: i32, args: &[&str], words: &[&str]) {
    let said = arcana(folder, args);
    assert_eq!(said.code, Some(code), "{args:?}:\n{}\n{}", said.out, said.err);
    for word in words {
        assert!(said.err.contains(word), "{args:?}: {word} is not in:\n{}", said.err);
    }
}

/// A new plugin, with the versions of dependencies that this workspace has. Each test has a name of its own, because the crates
/// share one target folder.
pub fn make(desk: &Path, name: &str, more: &[&str]) -> PathBuf {
    ok(desk, &[&["plugin", "new", name], more].concat());
    let folder = desk.join(name);
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    folder
}

/// A plugin that tests look at and do not change.
pub fn shared() -> &'static Path {
    static SHARED: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
        let desk = desk();
        let folder = make(desk.path(), "shared-notes", &["--id", "acme/notes"]);
        (desk, folder)
    });
    &SHARED.1
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Replaces a text that is in a file once.
pub fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from:?} in {}", file.display());
    fs::write(file, text.replace(from, to)).unwrap();
}

/// Says of a test that it could not do its work here. Past the harness, which shows nothing of what a test prints that does not
/// fail. `cargo xtask test` counts it.
pub fn skipped(test: &str, why: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\nskipped: author::{test}: {why}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}
