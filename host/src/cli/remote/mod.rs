//! What speaks with a running host: `arcana login | logout` and the verbs of `arcana plugin` for administrators.
//!
//! Exit codes: 0 done, 1 refused by the host, 2 used wrongly, 3 no host or not signed in.

mod client;
mod credentials;
mod failure;
mod install;
mod logs;
mod output;
mod plugin;
mod progress;
mod session;
mod sse;
#[cfg(test)]
mod tests;
mod text;

use std::process::ExitCode;

use clap::Args;

use self::failure::Failure;
use super::shown;
use crate::plugins::live::view;
use crate::plugins::manifest::PluginId;

pub(super) use self::plugin::PluginVerb;
pub(super) use self::session::{LoginArgs, LogoutArgs};

/// Which host is spoken with, and by whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct Remote {
    /// The host, such as https://apps.example.com; that of the last `arcana login` where it is not given.
    #[arg(long, value_name = "URL", env = "ARCANA_SERVER_URL")]
    server: Option<String>,
    /// An access token in the place of a session, for scripts. In the environment nobody else sees it.
    #[arg(long, value_name = "TOKEN", env = "ARCANA_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Answers as JSON.
    #[arg(long)]
    json: bool,
}

impl Remote {
    /// As if nothing had been said.
    const fn of_session() -> Self {
        Self { server: None, token: None, json: false }
    }
}

/// `arcana login`
pub(super) fn login(args: LoginArgs) -> ExitCode {
    run(args.json(), session::login(args))
}

/// `arcana logout`
pub(super) fn logout(args: LogoutArgs) -> ExitCode {
    run(args.json(), session::logout(args))
}

/// A verb of `arcana plugin`.
pub(super) fn plugin(verb: PluginVerb) -> ExitCode {
    run(verb.json(), plugin::run(verb))
}

fn run(json: bool, work: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(Failure::Use(format!("no runtime: {error}"))),
    };
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    if json {
        output::json(&failure.body());
    }
    eprintln!("arcana: {}", shown::lines(&failure.to_string()));
    failure.exit_code()
}

/// The two parts of an id.
fn plugin_id(id: &str) -> Result<(&str, &str), Failure> {
    PluginId::parse(id).map_err(Failure::Use)?;
    id.split_once('/').ok_or_else(|| Failure::Use(format!("`{id}` is no id")))
}
