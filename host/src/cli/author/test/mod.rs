//! `arcana plugin test`: calls functions of a plugin on a host in memory, without a server.

mod calls;
mod expect;
mod host;
mod told;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde_json::Value;

use self::calls::{Call, CallFile, Expected, Variables};
use self::host::{Caller, TestHost};
use self::told::{Done, Told};
use super::build::{self, How};
use super::cannot;
use super::project::{CALLS, Project, SETTINGS};
use super::toolchain::Toolchain;
use crate::cli::serve::runtime;
use crate::telemetry::logs::{self, LogSettings};

/// What the host says for itself is told by this command in its own words.
const LOG_FILTER: &str = "error,arcana::app=off,plugin=debug";

#[derive(Debug, Args)]
pub(in crate::cli) struct TestArgs {
    /// The crate, which is built first, or a packed plugin (`.wasm`), signed or not; then calls, each a function of the manifest
    /// such as `notes.add`, followed by its input as JSON. Without a call those of the crate's `calls.toml` are made.
    #[arg(value_name = "PATH|FILE.wasm] [CALL [JSON]")]
    words: Vec<String>,
    /// Who calls: a subject, and a role (user, moderator, admin, superadmin) where it is not that of a user. Nobody is signed in
    /// where it is not given.
    #[arg(long = "as", value_name = "SUBJECT[:ROLE]")]
    caller: Option<Caller>,
    /// The file of calls, where it is not the crate's `calls.toml`.
    #[arg(long, value_name = "FILE")]
    calls: Option<PathBuf>,
    /// The settings of the host, where they are not in the crate's `dev.toml`.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    how: How,
}

/// Makes the calls. The exit code is 0 where every one came to what it should, 1 where one did not, 2 where none could be made.
pub(in crate::cli) fn run(args: &TestArgs) -> ExitCode {
    match test(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => cannot(&error),
    }
}

/// What is tested.
enum Subject {
    Crate(Project),
    File(PathBuf),
}

fn test(args: &TestArgs) -> Result<bool> {
    let (path, words) = match args.words.split_first() {
        Some((first, rest)) if is_path(first) => (first.as_str(), rest),
        _ => (".", &args.words[..]),
    };
    let subject = match Path::new(path) {
        file if file.is_file() && file.extension().is_some_and(|end| end == "wasm") => Subject::File(file.to_owned()),
        folder => Subject::Crate(Project::find(folder)?),
    };
    let beside = |name: &str| match &subject {
        Subject::Crate(project) => Some(project.path(name)),
        Subject::File(_) => None,
    };
    if let Some(settings) = args.settings.as_ref().filter(|settings| !settings.is_file()) {
        bail!("--settings: there is no file {}", settings.display());
    }
    let settings = args.settings.clone().or_else(|| beside(SETTINGS));
    // A mistake in the calls is told before anything is built.
    let calls = if words.is_empty() {
        let file = args.calls.clone().or_else(|| beside(CALLS).filter(|file| file.is_file()));
        let file = file.with_context(|| {
            format!("which calls? Give them (`arcana plugin test {path} INTERFACE.FUNCTION JSON`), or write a {CALLS}")
        })?;
        CallFile::read(&file)?.calls
    } else {
        ensure!(args.calls.is_none(), "--calls: there are calls on the command line already");
        direct(words, args.caller.as_ref())?
    };
    logs::init(&LogSettings::pretty(LOG_FILTER))?;
    let is_direct = !words.is_empty();
    runtime()?.block_on(async {
        let packed = packed(&subject, &args.how).await?;
        let host = TestHost::start(&packed, settings.as_deref()).await?;
        let mut told = Told::new(args.json, is_direct);
        let made = make(&host, &calls, is_direct, &mut told).await;
        host.close().await;
        made?;
        told.end()
    })
}

/// Whether the first word is what is tested and no call.
fn is_path(word: &str) -> bool {
    // The full name of a function has a slash too, and a colon before it.
    let slash = word.contains('/') && !word.contains(':');
    Path::new(word).exists() || slash || word.ends_with(".wasm") || word.starts_with('.')
}

/// The calls of a command line: each may be followed by its input.
fn direct(words: &[String], caller: Option<&Caller>) -> Result<Vec<Call>> {
    let mut calls: Vec<Call> = Vec::new();
    for word in words {
        if !word.trim_start().starts_with('{') {
            calls.push(Call::direct(word, caller.cloned()));
            continue;
        }
        let args: Value = serde_json::from_str(word).with_context(|| format!("{word} is no JSON"))?;
        let call = calls.last_mut().filter(|call| call.args.is_null());
        call.with_context(|| format!("{word}: the input stands behind the call it is for, once"))?.args = args;
    }
    Ok(calls)
}

async fn packed(subject: &Subject, how: &How) -> Result<Vec<u8>> {
    match subject {
        Subject::File(file) => std::fs::read(file).with_context(|| format!("{} cannot be read", file.display())),
        Subject::Crate(project) => {
            let toolchain = Toolchain::find(&project.folder)?;
            let component = build::compile(project, &toolchain, how, false).await?;
            Ok(build::pack(project, &component, &how.wit)?.bytes)
        }
    }
}

/// Makes one call after the other. What one needs of another that failed is a failure too, and the rest is made all the same.
async fn make(host: &TestHost, calls: &[Call], is_direct: bool, told: &mut Told) -> Result<()> {
    let mut variables = Variables::default();
    // All at once, before the first one changes anything.
    for call in calls {
        host.method(&call.call)?;
    }
    for call in calls {
        let mut done = Done { call, answer: None, differences: Vec::new() };
        match variables.fill(&call.args) {
            Err(missing) => done.differences.push(missing),
            Ok(args) => {
                let answer = host.call(&call.call, call.caller.as_ref(), &args).await?;
                done.differences = match (&answer, is_direct) {
                    (Err(_), true) => vec!["it came to a problem".to_owned()],
                    (Ok(_), true) => Vec::new(),
                    (answer, false) => compare(&call.expected, answer, &variables),
                };
                if let (Ok(value), true) = (&answer, done.differences.is_empty()) {
                    done.differences = variables.save(&call.save, value);
                }
                done.answer = Some(answer);
            }
        }
        told.tell(&done)?;
    }
    Ok(())
}

/// Where an answer is not what was expected.
fn compare(expected: &Expected, answer: &host::Answer, variables: &Variables) -> Vec<String> {
    let mut differences = Vec::new();
    match (expected, answer) {
        (Expected::Anything, Ok(_)) => {}
        (Expected::Value(wanted), Ok(value)) => expect::value(wanted, value, variables, &mut differences),
        (Expected::Problem(wanted), Err(problem)) => expect::problem(wanted, problem, &mut differences),
        (Expected::Problem(wanted), Ok(value)) => {
            differences.push(format!("- the problem {}\n+ {value}", wanted.code));
        }
        (Expected::Anything, Err(problem)) => {
            differences.push(format!("- an answer\n+ the problem {}", told::one_line(problem)));
        }
        (Expected::Value(wanted), Err(problem)) => {
            differences.push(format!("- {wanted}\n+ the problem {}", told::one_line(problem)));
        }
    }
    differences
}
