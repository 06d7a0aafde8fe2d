//! `cargo xtask bench`: builds what is measured and what measures it, both optimised, and lets it run.
//!
//! What measures is a program of its own (`src/bin/measure`), because this one is built without optimisation.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::components::{self, Component};
use crate::dist::{self, BUILD_STEPS, Profile};
use crate::process::{cargo, output};
use crate::progress::Steps;
use crate::wasm::component_cargo;
use crate::workspace::{at_root, local_dir, read_toml, root, target_dir};

/// The guest whose calls are measured.
const GUEST: &str = "echo";

/// What `bench` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How long each target is measured in each round, in seconds
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// How often each target has its turn
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=50))]
    rounds: u64,
    /// Connections that ask without pause
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=64))]
    connections: u64,
    /// Measures single calls against bare wasmtime as well, without the network; the rates come first
    #[arg(long)]
    calls: bool,
    /// Writes the figures to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Builds everything, then measures it.
///
/// # Errors
/// A part does not build. That something answered wrongly while it was measured is a failing exit code.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let guests: Vec<Component> = components::guests()?.into_iter().filter(|guest| guest.name == GUEST).collect();
    let guest = guests.first().with_context(|| format!("host/tests/guests/{GUEST} is not there"))?;
    let mut steps = Steps::new(BUILD_STEPS + 3);
    let dist = dist::build(&mut steps, Profile::Release)?;
    // Not `build_guests`, which would take the other guests out of the folder that the tests use.
    steps.step("Building the guest", |step| components::build(step, &guests))?;
    let place = target_dir().join("bench");
    let (warm, fresh) = steps.step("Packing and signing the guest", |_| {
        std::fs::create_dir_all(&place).with_context(|| format!("{} could not be made", place.display()))?;
        Ok((pack(&dist, guest, None, &place)?, pack(&dist, guest, Some("per-call"), &place)?))
    })?;
    steps.step("Building the yardstick", |step| {
        let mut build = at_root(cargo());
        build.args([
            "build",
            "-p",
            "xtask",
            "--release",
            "--features",
            "bench",
            "--bin",
            "measure",
            "--bin",
            "yardstick",
        ]);
        build.arg("--target-dir").arg(target_dir());
        step.run(build, "the compiler's message is above")
    })?;
    eprintln!("built after {}", steps.elapsed());

    let built = target_dir().join("release");
    let mut measure = Command::new(built.join("measure"));
    // The author's loop is measured too: its builds take the compiler that built the components.
    let compiler = component_cargo()?;
    measure.envs(
        compiler.get_envs().filter_map(|(name, value)| Some((name, value?))).filter(|(name, _)| *name == "RUSTC"),
    );
    measure.arg("--dist").arg(&dist).arg("--yardstick").arg(built.join("yardstick"));
    measure.arg("--lock-file").arg(root().join("Cargo.lock")).arg("--warm").arg(warm).arg("--fresh").arg(fresh);
    measure.args(["--seconds", &arguments.seconds.to_string(), "--rounds", &arguments.rounds.to_string()]);
    measure.args(["--connections", &arguments.connections.to_string()]);
    if let Some(json) = &arguments.json {
        measure.arg("--json").arg(json);
    }
    let mut right = measure.status().context("what measures could not be started")?.success();
    if arguments.calls {
        let mut calls = at_root(cargo());
        calls.args(["bench", "-p", "arcana", "--bench", "call", "--target-dir"]).arg(target_dir());
        calls.env("ARCANA_BENCH_GUEST", &guest.wasm);
        right &= calls.status().context("cargo bench could not be started")?.success();
    }
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The guest as a signed file. With `instances` it is another plugin with routes of its own, so that both can be told apart.
fn pack(dist: &Path, guest: &Component, instances: Option<&str>, place: &Path) -> Result<PathBuf> {
    let name = instances.map_or_else(|| GUEST.to_owned(), |instances| format!("{GUEST}-{instances}"));
    let file = |extension: &str| place.join(&name).with_extension(extension);
    let mut manifest = read_toml(&guest.folder.join("plugin.toml"))?;
    if let Some(instances) = instances {
        vary(&mut manifest, &name, instances).context("the guest's plugin.toml is not as expected")?;
    }
    std::fs::write(file("toml"), manifest.to_string()).context("the manifest could not be written")?;
    let arcana = dist.join("arcana");
    let mut pack = Command::new(&arcana);
    pack.args(["plugin", "pack"]).arg(&guest.wasm).arg("--manifest").arg(file("toml"));
    output(pack.arg("-o").arg(file("unsigned")).args(["--seq", "now"]))?;
    let mut sign = Command::new(&arcana);
    sign.args(["plugin", "sign"]).arg(file("unsigned")).arg("--key").arg(local_dir().join("dev-key.pem"));
    output(sign.arg("-o").arg(file("wasm")))?;
    Ok(file("wasm"))
}

/// The manifest under another name, with other routes, and with this way of using instances.
fn vary(manifest: &mut Table, name: &str, instances: &str) -> Option<()> {
    manifest.get_mut("plugin")?.as_table_mut()?.insert("id".into(), Value::String(format!("test/{name}")));
    for method in manifest.get_mut("methods")?.as_array_mut()? {
        let routes = match method.get_mut("http") {
            Some(Value::Array(routes)) => routes.iter_mut().collect(),
            Some(route) => vec![route],
            None => Vec::new(),
        };
        for route in routes {
            let moved = route.as_str()?.replace(&format!("/test/{GUEST}/"), &format!("/test/{name}/"));
            *route = Value::String(moved);
        }
    }
    let limits = manifest.entry("limits").or_insert_with(|| Value::Table(Table::new()));
    limits.as_table_mut()?.insert("instances".into(), Value::String(instances.to_owned()));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variant_shares_neither_id_nor_route_with_the_guest() {
        let guest = root().join("host/tests/guests").join(GUEST).join("plugin.toml");
        let mut manifest = read_toml(&guest).unwrap();
        vary(&mut manifest, "echo-per-call", "per-call").unwrap();
        let text = manifest.to_string();
        assert!(!text.contains("\"test/echo\"") && !text.contains("/test/echo/"), "{text}");
        assert!(text.contains("GET /test/echo-per-call/hello/{name}"), "{text}");
        assert_eq!(manifest["limits"]["instances"].as_str(), Some("per-call"));
    }
}
