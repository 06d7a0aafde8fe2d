//! `arcana user create-admin`, and the first administrator of development mode.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use clap::{Args, Subcommand};
use wasmtime::component::Val;

use super::serve::{Home, log_settings, runtime};
use crate::app::App;
use crate::contract::{Binding, json};
use crate::plugins::load::system_call;
use crate::principal::Principal;
use crate::telemetry::logs;

/// The function that makes accounts, whichever plugin provides it.
const USER_SERVICE: &str = "arcana:user/user-service@1.0.0";

#[derive(Debug, Args)]
pub(super) struct UserArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes an account that may do everything. The host must not be running on the same data folder.
    CreateAdmin(CreateAdmin),
}

#[derive(Debug, Args)]
struct CreateAdmin {
    /// The e-mail address to sign in with.
    #[arg(long)]
    email: String,
    /// A username to sign in with.
    #[arg(long)]
    username: Option<String>,
    /// Reads the password from standard input; where it is not given one is made and printed.
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    home: Home,
}

pub(super) fn run(args: &UserArgs) -> anyhow::Result<()> {
    let Verb::CreateAdmin(args) = &args.verb;
    let (config, options) = args.home.open(false)?;
    logs::init(&log_settings(&config))?;
    let (password, made) = if args.password_stdin {
        let mut password = String::new();
        std::io::stdin().read_to_string(&mut password).context("the password from standard input")?;
        (password.trim_end_matches(['\r', '\n']).to_owned(), false)
    } else {
        (random_password()?, true)
    };
    runtime()?.block_on(async {
        let app = App::start(config, &options).await?;
        let body = serde_json::json!({
            "email": args.email, "username": args.username, "password": password, "role": "superadmin",
        });
        let outcome = call(&app, "create", None, &body).await;
        app.close().await;
        let user = outcome?;
        // Written at once: the password is shown here or nowhere. A reader that is gone is no fault.
        let mut out = std::io::stdout();
        let _ = writeln!(out, "created {} with id {}", args.email, user["id"].as_str().unwrap_or_default());
        if made {
            let _ = writeln!(out, "password: {password}");
        }
        Ok(())
    })
}

/// Makes an administrator where there is none yet; answers the address and the password.
///
/// # Errors
/// When the users plugin fails; none where no plugin provides accounts.
pub(super) async fn first_admin(app: &App) -> anyhow::Result<Option<(String, String)>> {
    if app.catalog.load().exporter(USER_SERVICE).is_none() {
        return Ok(None);
    }
    let page = call(app, "list", Some("role=superadmin&size=1"), &serde_json::Value::Null).await?;
    if page["total_elements"].as_u64() != Some(0) {
        return Ok(None);
    }
    let (email, password) = ("admin@localhost.localdomain".to_owned(), random_password()?);
    let body = serde_json::json!({ "email": email, "username": "admin", "password": password, "role": "superadmin" });
    call(app, "create", None, &body).await?;
    Ok(Some((email, password)))
}

/// 120 bits in characters that survive a copy and a shell.
fn random_password() -> anyhow::Result<String> {
    let mut bytes = [0; 15];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

/// Calls a function of the user service as the host itself, through the same contract as a request.
async fn call(
    app: &App,
    function: &str,
    query: Option<&str>,
    body: &serde_json::Value,
) -> anyhow::Result<serde_json::Value> {
    let catalog = app.catalog.load_full();
    let plugin = catalog.exporter(USER_SERVICE).with_context(|| format!("no active plugin provides {USER_SERVICE}"))?;
    let method = plugin
        .services
        .iter()
        .filter(|service| service.full_name == USER_SERVICE)
        .flat_map(|service| &service.methods)
        .find(|method| method.plan.name == function)
        .with_context(|| format!("{} does not publish {function}", plugin.id))?;
    let binding = Binding::new(&method.plan, &[], query.is_none())?;
    let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
    let params: Vec<Val> =
        binding.decode(std::iter::empty(), query, &bytes).map_err(|problem| anyhow::anyhow!(explain(&problem)))?;
    let mut host_call = system_call();
    host_call.principal = Some(Arc::new(Principal::host()));
    let value = method.call(params, host_call).await.map_err(|problem| anyhow::anyhow!(explain(&problem)))?;
    let mut answer = Vec::new();
    match json::answer(&method.plan, value.as_slice(), &mut answer) {
        Ok(_) => Ok(serde_json::from_slice(&answer)?),
        Err(problem) => bail!(explain(&problem)),
    }
}

fn explain(problem: &crate::problem::Problem) -> String {
    let details: Vec<String> =
        problem.details.iter().map(|detail| format!("{}: {}", detail.field, detail.message)).collect();
    match details.is_empty() {
        true => problem.message.to_string(),
        false => format!("{} ({})", problem.message, details.join("; ")),
    }
}
