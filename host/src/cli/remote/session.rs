//! `arcana login` and `arcana logout`.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};

use clap::Args;
use serde_json::json;

use super::client::{Client, is_in_the_clear};
use super::failure::Failure;
use super::text::clean;
use super::{Remote, output};

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The host, such as https://apps.example.com; the one of the last sign-in where it is not given.
    #[arg(env = "ARCANA_SERVER_URL")]
    url: Option<String>,
    /// The e-mail address or the username; asked for where it is not given.
    #[arg(long, value_name = "NAME")]
    email: Option<String>,
    /// Reads the password from standard input instead of asking for it.
    #[arg(long)]
    password_stdin: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// The host; the one of the last sign-in where it is not given.
    #[arg(env = "ARCANA_SERVER_URL")]
    url: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl LoginArgs {
    pub(super) fn json(&self) -> bool {
        self.json
    }
}

impl LogoutArgs {
    pub(super) fn json(&self) -> bool {
        self.json
    }
}

pub(super) async fn login(args: LoginArgs) -> Result<(), Failure> {
    let client = client(args.url.as_deref())?;
    if is_in_the_clear(client.server()) {
        eprintln!("arcana: {} is not encrypted: the password can be read on the way", client.server());
    }
    let name = match args.email {
        Some(name) => name,
        None => ask("e-mail: ")?,
    };
    let password = if args.password_stdin {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| Failure::Use(format!("the password from standard input: {error}")))?;
        text.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        rpassword::prompt_password("password: ").map_err(|error| {
            Failure::Use(format!("the password cannot be asked for ({error}); give it with --password-stdin"))
        })?
    };
    let (account, role) = client.login(name.trim(), &password).await?;
    if args.json {
        output::json(&json!({ "server": client.server().as_str(), "account": account, "role": role }));
    } else {
        output::line(&format!("signed in to {} as {} ({})", client.server(), clean(&account), clean(&role)));
    }
    Ok(())
}

pub(super) async fn logout(args: LogoutArgs) -> Result<(), Failure> {
    let client = client(args.url.as_deref())?;
    let ended = client.logout().await?;
    match (args.json, ended) {
        (true, ended) => output::json(&json!({ "server": client.server().as_str(), "ended": ended })),
        (false, true) => output::line(&format!("signed out of {}", client.server())),
        (false, false) => output::line(&format!("nobody was signed in to {}", client.server())),
    }
    Ok(())
}

fn client(url: Option<&str>) -> Result<Client, Failure> {
    match url.filter(|url| !url.is_empty()) {
        Some(url) => Client::to(url),
        None => Client::new(&Remote::of_session()),
    }
}

/// A line from whoever sits there.
fn ask(question: &str) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Use("there is nobody to ask: give the name with --email".into()));
    }
    eprint!("{question}");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::Use(format!("standard input: {error}")))?;
    Ok(line.trim().to_owned())
}
