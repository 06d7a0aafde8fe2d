//! What `cargo xtask bench` lets run: starts the yardstick and the host on loopback, asks both in turns, and prints what
//! came of it. Built with optimisation, because it shares the processors with what it measures.

mod calls;
#[cfg(test)]
#[path = "../yardstick/echo.rs"]
mod echo;
mod figures;
mod grpc;
mod hpack;
mod http2;
mod load;
mod machine;
#[path = "../yardstick/messages.rs"]
mod messages;
mod process;
mod report;
mod rounds;
mod save;
mod sizes;
mod start;
mod storm;
mod turn;
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::runtime;
use tokio::task::LocalSet;

use crate::process::{Memory, Server};
use crate::report::Report;

/// Filled in by `cargo xtask bench`.
#[derive(Parser)]
struct Arguments {
    /// The folder that `cargo xtask build` leaves
    #[arg(long)]
    dist: PathBuf,
    /// The program that the host is compared with
    #[arg(long)]
    yardstick: PathBuf,
    /// The signed guest whose instances are used again
    #[arg(long)]
    warm: PathBuf,
    /// The signed guest with an instance for each call
    #[arg(long)]
    fresh: PathBuf,
    /// The `Cargo.lock` that the host was built with
    #[arg(long)]
    lock_file: PathBuf,
    /// Seconds of each target's turn
    #[arg(long)]
    seconds: u64,
    /// Turns of each target
    #[arg(long)]
    rounds: usize,
    /// Connections that ask
    #[arg(long)]
    connections: usize,
    /// Where the figures are written to
    #[arg(long)]
    json: Option<PathBuf>,
}

/// The servers that are asked. Each waits while another has its turn.
struct Servers {
    yardstick: Server,
    /// The shipped plugins, and the guest whose instances are used again.
    host: Server,
    /// The guest with an instance for each call: a host of its own, because an interface has one provider.
    fresh: Server,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// False where something was answered wrongly.
fn run(arguments: &Arguments) -> Result<bool> {
    let place = tempfile::tempdir().context("no temporary folder")?;
    let folder = |name: &str| place.path().join(name);
    // A copy of its own: a build that goes on beside the measuring must not replace what is measured.
    let arcana = folder("arcana");
    std::fs::copy(arguments.dist.join("arcana"), &arcana).context("the host could not be copied")?;
    let turn = Duration::from_secs(arguments.seconds);
    let facts = machine::facts(&arguments.lock_file, &arcana)?;
    let shipped = plugins_of(&arguments.dist)?;

    eprintln!("starts …");
    let bare = folder("bare");
    make_home(&arguments.dist, &bare, &shipped)?;
    let starts = start::measure(&arcana, &bare)?;

    eprintln!("saves …");
    let saves = save::measure(&arcana, place.path(), &arguments.lock_file)?;

    let (home, fresh_home) = (folder("home"), folder("fresh"));
    let with_guest: Vec<PathBuf> = shipped.iter().chain([&arguments.warm]).cloned().collect();
    make_home(&arguments.dist, &home, &with_guest)?;
    make_home(&arguments.dist, &fresh_home, std::slice::from_ref(&arguments.fresh))?;
    let servers = Servers {
        yardstick: Server::yardstick(&arguments.yardstick, place.path())?,
        host: Server::host(&arcana, &home)?,
        fresh: Server::host(&arcana, &fresh_home)?,
    };
    // One thread asks: the other processor is the server's.
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let measured = LocalSet::new().block_on(&runtime, async {
        let rows = rounds::measure(&servers, arguments.rounds, turn, arguments.connections).await?;
        let sizes = sizes::measure(&servers.host).await?;
        let loaded = settled(&servers.host)?;
        eprintln!("login storm …");
        let storm = storm::measure(&servers, turn * 3, arguments.connections).await?;
        Ok::<_, anyhow::Error>((rows, sizes, loaded, storm))
    });
    let (rows, sizes, loaded, storm) = measured.with_context(|| log_of(&home))?;
    let report = Report {
        facts,
        rounds: arguments.rounds,
        turn,
        connections: arguments.connections,
        rows,
        sizes,
        storm,
        starts,
        saves,
        loaded,
        after_storm: settled(&servers.host)?,
    };
    let Servers { yardstick, host, fresh } = servers;
    drop(yardstick);
    host.stop()?;
    fresh.stop()?;
    report.print();
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&report.json())?;
        std::fs::write(path, text + "\n").with_context(|| format!("{} could not be written", path.display()))?;
    }
    Ok(report.is_right())
}

/// Memory once what the load left behind has been tidied up.
fn settled(server: &Server) -> Result<Memory> {
    std::thread::sleep(Duration::from_secs(1));
    server.memory()
}

fn plugins_of(dist: &Path) -> Result<Vec<PathBuf>> {
    let folder = dist.join("plugins");
    let entries = folder.read_dir().with_context(|| format!("{} could not be read", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wasm"));
    files.sort();
    Ok(files)
}

/// A folder like `dist`, with these plugins and the default settings alone.
fn make_home(dist: &Path, home: &Path, plugins: &[PathBuf]) -> Result<()> {
    let copy = |from: &Path, to: &Path| {
        let name = from.file_name().unwrap_or_default();
        std::fs::copy(from, to.join(name)).with_context(|| format!("{} could not be copied", from.display()))
    };
    let (config, place) = (home.join("config"), home.join("plugins"));
    std::fs::create_dir_all(&config)?;
    std::fs::create_dir_all(&place)?;
    for file in ["default.toml", "trust.toml"] {
        copy(&dist.join("config").join(file), &config)?;
    }
    for plugin in plugins {
        copy(plugin, &place)?;
    }
    Ok(())
}

/// The end of a host's log, for a message.
fn log_of(home: &Path) -> String {
    let log = std::fs::read_to_string(home.join("host.log")).unwrap_or_default();
    let mut lines: Vec<&str> = log.lines().rev().take(10).collect();
    lines.reverse();
    format!("the host's log ends with\n{}\n", lines.join("\n"))
}
