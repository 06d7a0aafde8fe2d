//! The command line.

mod author;
mod config;
mod key;
mod plugin;
mod remote;
mod serve;
mod shown;
mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::runtime::compile;
use crate::telemetry::output::{self, FlushAtEnd};

/// A small host for signed WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "arcana", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serves the plugins.
    Serve(serve::ServeArgs),
    /// Serves the plugins that are being written, and takes each save: builds, signs and swaps while it serves.
    Dev(author::dev::DevArgs),
    /// Looks at the settings.
    Config(config::ConfigArgs),
    /// Makes and shows signing keys.
    Key(key::KeyArgs),
    /// Packs, signs and inspects plugins; installs and manages those of a running host.
    Plugin(plugin::PluginArgs),
    /// Signs in to a running host, for the commands that speak with it.
    Login(remote::LoginArgs),
    /// Ends the session of `arcana login`.
    Logout(remote::LogoutArgs),
    /// Manages accounts on this machine.
    User(user::UserArgs),
    /// Compiles a component from standard input; the host starts this for itself.
    #[command(name = compile::WORKER_VERB, hide = true)]
    CompileWorker {
        /// CPU seconds.
        cpu: u64,
        /// Bytes of address space.
        memory: u64,
    },
}

/// Reads the command line and carries it out. Failures are told on standard error.
#[must_use]
pub fn run() -> ExitCode {
    let _flush = FlushAtEnd;
    let outcome = match Cli::parse().verb {
        Verb::Serve(args) => serve::run(&args),
        Verb::Dev(args) => return author::dev::run(&args),
        Verb::Config(args) => return config::run(&args),
        Verb::Key(args) => key::run(args),
        Verb::Plugin(args) => match plugin::run(args) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Verb::Login(args) => return remote::login(args),
        Verb::Logout(args) => return remote::logout(args),
        Verb::User(args) => user::run(&args),
        Verb::CompileWorker { cpu, memory } => compile::worker(cpu, memory),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // After the log, and without waiting for a reader that is gone or asleep.
            output::complain(&format!("arcana: {}", shown::clean(&format!("{error:#}"))));
            ExitCode::FAILURE
        }
    }
}
