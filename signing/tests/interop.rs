//! The outside check: the tool `wasmsign2` accepts what we sign, and refuses what we would refuse.

mod common;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use common::*;

const VERSION: &str = "0.2.8";

/// The tool, or the reason why it cannot be had. One installation serves all tests of this file.
fn tool() -> Result<&'static PathBuf, &'static str> {
    static TOOL: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    TOOL.get_or_init(install).as_ref().map_err(String::as_str)
}

/// Installs the tool into the target folder, where it is not there from an earlier run.
fn install() -> Result<PathBuf, String> {
    let tmp = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let root = tmp.parent().ok_or("no target folder")?.join("tools");
    let tool = root.join("bin").join(format!("wasmsign2{}", std::env::consts::EXE_SUFFIX));
    let version = |tool: &PathBuf| Command::new(tool).arg("--version").output().ok().map(|out| out.stdout);
    let is_ours =
        |tool: &PathBuf| version(tool).is_some_and(|out| String::from_utf8_lossy(&out).trim().ends_with(VERSION));
    if is_ours(&tool) {
        return Ok(tool);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["install", "wasmsign2-cli", "--version", VERSION, "--locked", "--quiet", "--root"])
        .arg(&root)
        .arg("--target-dir")
        .arg(root.join("build"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cargo cannot be run: {error}"))?;
    if output.status.success() && is_ours(&tool) {
        return Ok(tool);
    }
    Err(format!("cargo install wasmsign2-cli {VERSION}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

#[test]
fn wasmsign2_accepts_our_files() {
    let tool = match tool() {
        Ok(tool) => tool,
        Err(reason) => {
            println!("skipped: the tool is not here: {reason}");
            return;
        }
    };
    let dir = tempfile::tempdir().unwrap();
    let verify = |bytes: &[u8], seed: u8| {
        let (file, public) = (dir.path().join("plugin.wasm"), dir.path().join("public.key"));
        std::fs::write(&file, bytes).unwrap();
        std::fs::write(&public, key(seed).public_key().to_wasmsign2()).unwrap();
        Command::new(tool).arg("verify").arg("-i").arg(&file).arg("-K").arg(&public).output().unwrap().status.success()
    };
    let one = signed(1);
    let two = arcana_signing::envelope::sign(&one, &[&key(2)]).unwrap();
    assert!(verify(&one, 1), "one signature");
    assert!(verify(&two, 1) && verify(&two, 2), "two signatures");
    assert!(!verify(&one, 2), "another key");
    let mut flipped = one;
    *flipped.last_mut().unwrap() ^= 1;
    assert!(!verify(&flipped, 1), "a flipped bit");
}

#[test]
fn we_accept_files_of_wasmsign2() {
    let tool = match tool() {
        Ok(tool) => tool,
        Err(reason) => {
            println!("skipped: the tool is not here: {reason}");
            return;
        }
    };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("in.wasm"), packed()).unwrap();
    std::fs::write(path("public.key"), key(1).public_key().to_wasmsign2()).unwrap();
    let pair = ed25519_dalek::SigningKey::from_bytes(&[1; 32]).to_keypair_bytes();
    std::fs::write(path("secret.key"), [&[0x81][..], &pair].concat()).unwrap();
    let made = Command::new(tool)
        .arg("sign")
        .args(["-i".as_ref(), path("in.wasm").as_os_str(), "-o".as_ref(), path("out.wasm").as_os_str()])
        .args(["-k".as_ref(), path("secret.key").as_os_str(), "-K".as_ref(), path("public.key").as_os_str()])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert_eq!(std::fs::read(path("out.wasm")).unwrap(), signed(1), "the same bytes as ours");
}
