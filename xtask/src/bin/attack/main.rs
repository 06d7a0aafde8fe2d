//! The program behind `cargo xtask attack`: starts a host for each attack, attacks it, and prints how its other clients fared.
//! Each attacker is a thread that blocks on sockets: the attacks need no speed, and only the probes measure time.

mod attacks;
mod client;
mod field;
mod files;
mod h2;
mod host;
mod kitchen;
mod probe;
mod report;
mod round;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::attacks::{ALL, Attack};
use crate::kitchen::Kitchen;
use crate::report::Judged;
use crate::round::Times;

/// `cargo xtask attack` fills them in.
#[derive(Parser)]
struct Arguments {
    /// The host's program
    #[arg(long)]
    program: PathBuf,
    /// A folder like the one that `cargo xtask build` leaves
    #[arg(long)]
    dist: PathBuf,
    /// The folder of the guests' components
    #[arg(long)]
    guests: PathBuf,
    /// The folder of the guests' sources
    #[arg(long)]
    sources: PathBuf,
    /// Seconds of each attack
    #[arg(long)]
    seconds: u64,
    /// Judges conduct, not figures
    #[arg(long)]
    short: bool,
    /// Only attacks with one of these words in their names
    #[arg(long)]
    only: Vec<String>,
    /// Where the figures are written to
    #[arg(long)]
    json: Option<PathBuf>,
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

/// Answers false if an attack succeeded.
fn run(arguments: &Arguments) -> Result<bool> {
    // Some attacks open thousands of connections.
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum })?;
    let wanted = |attack: &&Attack| {
        arguments.only.is_empty() || arguments.only.iter().any(|word| attack.name.contains(word.as_str()))
    };
    let attacks: Vec<&Attack> = ALL.iter().filter(wanted).collect();
    ensure!(!attacks.is_empty(), "no attack has {} in its name", arguments.only.join(" or "));
    eprintln!("preparing …");
    let kitchen = Kitchen::new(&arguments.program, &arguments.dist, &arguments.guests, &arguments.sources)?;
    let judged = if arguments.short { Judged::Conduct } else { Judged::Figures };
    let quiet = Duration::from_millis(if arguments.short { 300 } else { 3000 });
    let times = Times { quiet, attack: Duration::from_secs(arguments.seconds) };

    println!("{}", report::heads());
    let (mut rows, mut failed): (Vec<Value>, Vec<&str>) = (Vec::new(), Vec::new());
    for attack in attacks {
        match round::run(&kitchen, attack, times) {
            Ok(outcome) => {
                let faults = report::faults(&outcome, &kitchen.limits, judged);
                println!("{}", report::row(&outcome, &faults));
                if !faults.is_empty() {
                    eprintln!("the host's log ends with\n{}", outcome.log);
                    failed.push(attack.name);
                }
                rows.push(report::json(&outcome, &faults));
            }
            // The other attacks can still run.
            Err(error) => {
                println!("{:42}FAILED: {error:#}", attack.name);
                failed.push(attack.name);
                rows.push(json!({ "name": attack.name, "error": format!("{error:#}") }));
            }
        }
    }
    if judged == Judged::Figures {
        println!("{}", report::legend(&kitchen.limits));
    }
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&json!({ "seconds": arguments.seconds, "attacks": rows }))?;
        std::fs::write(path, text + "\n").with_context(|| format!("{} could not be written", path.display()))?;
    }
    match failed.as_slice() {
        [] => println!("{} attacks, all held off", rows.len()),
        failed => println!("{} of {} attacks succeeded: {}", failed.len(), rows.len(), failed.join(", ")),
    }
    Ok(failed.is_empty())
}
