//! The developer commands of Arcana: `cargo xtask …`.

mod attack;
mod bench;
mod components;
mod dist;
mod lint;
mod process;
mod progress;
mod proto;
mod python;
mod stale;
mod suite;
mod up;
mod wasm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::process::Failure;
use crate::progress::Steps;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The developer commands of Arcana")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything from nothing to a host that serves, in development mode
    Up(up::Arguments),
    /// The host, its signed components and their configuration, as the folder dist/
    Build {
        /// How the host is built; components are always optimised
        #[arg(long, value_enum, default_value = "release")]
        profile: dist::Profile,
    },
    /// Every test, or those whose names contain one of the filters
    Test {
        /// Parts of test names
        filter: Vec<String>,
    },
    /// The host against a bare server and against its aims: rates, start, memory, size
    Bench(bench::Arguments),
    /// Attacks the host in every known way and measures how it fares: times, memory, shutdown
    Attack(attack::Arguments),
    /// The gRPC contracts of all that ships, derived from their WIT, as the folder proto/
    Proto,
    /// Formatting and lints; warnings are errors
    Lint,
    /// Makes sure that components can be built here
    Wasm,
    /// Prints the first commands to try once the host answers; `up` starts it
    #[command(hide = true)]
    Announce {
        /// Where the host listens, as `address:port`
        address: String,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            if let Some(failure) = error.chain().find_map(|cause| cause.downcast_ref::<Failure>()) {
                eprintln!("\nnext: {}", failure.next());
            }
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Up(arguments) => up::run(&arguments)?,
        Task::Build { profile } => {
            let mut steps = Steps::new(dist::BUILD_STEPS);
            let dist = dist::build(&mut steps, profile)?;
            println!(
                "{} is complete after {}. Start it: cd {0} && ./arcana serve",
                dist::shown(&dist),
                steps.elapsed()
            );
        }
        Task::Test { filter } => return suite::run(&filter),
        Task::Bench(arguments) => return bench::run(&arguments),
        Task::Attack(arguments) => return attack::run(&arguments),
        Task::Proto => proto::run()?,
        Task::Lint => lint::run()?,
        Task::Wasm => {
            let toolchain = wasm::ensure(&|what| eprintln!("{what} …"))?;
            println!("{} can be built with {}", wasm::TARGET, toolchain.describe());
        }
        Task::Announce { address } => up::announce(&address),
    }
    Ok(ExitCode::SUCCESS)
}
