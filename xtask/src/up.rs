//! `cargo xtask up`: from nothing to a host that serves.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::{CommandExt, parent_id};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::dist::{self, BUILD_STEPS, Profile};
use crate::process::failure;
use crate::progress::Steps;

/// Where the host listens unless its configuration says otherwise.
const HOST: &str = "127.0.0.1";

/// More of a health answer is not read, in bytes.
const MAX_ANSWER: u64 = 65_536;

/// What `up` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How the host is built; components are always optimised
    #[arg(long, value_enum, default_value = "release")]
    profile: Profile,
}

/// Builds, then becomes the host: signals reach it as if it had been started by hand.
///
/// # Errors
/// A part does not build, or the host cannot be started.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut steps = Steps::new(BUILD_STEPS);
    let dist = dist::build(&mut steps, arguments.profile)?;
    let address = format!("{HOST}:{}", port(&dist)?);
    if TcpStream::connect(&address).is_ok() {
        return Err(failure(
            format!("something answers at {address} already"),
            "stop it, or choose another port: ARCANA_SERVER__REST__PORT=8081 cargo xtask up",
        ));
    }
    println!("{} is complete after {}; starting the host", dist::shown(&dist), steps.elapsed());
    let me = std::env::current_exe().context("the path of this program is not known")?;
    // A helper waits for the first answer, because this process is the host from here on.
    Command::new(me).args(["announce", &address]).stdin(Stdio::null()).spawn().context("the helper did not start")?;
    let error = Command::new(dist.join("arcana")).args(["serve", "--dev"]).current_dir(&dist).exec();
    Err(error).with_context(|| format!("{}/arcana could not be started", dist.display()))
}

/// The port of the REST listener: the environment's word, or the configuration's.
fn port(dist: &std::path::Path) -> Result<String> {
    if let Ok(port) = std::env::var("ARCANA_SERVER__REST__PORT") {
        return Ok(port);
    }
    let mut port = 8080.to_string();
    for layer in ["default.toml", "local.toml"] {
        let path = dist.join("config").join(layer);
        if path.exists() {
            let table = crate::workspace::read_toml(&path)?;
            let set = table.get("server").and_then(|server| server.get("rest")).and_then(|rest| rest.get("port"));
            port = set.map_or(port, ToString::to_string);
        }
    }
    Ok(port)
}

/// Waits for the host to answer and prints the first commands to try; gives up when the host is gone.
pub(crate) fn announce(address: &str) {
    let host = parent_id();
    while parent_id() == host {
        std::thread::sleep(Duration::from_millis(50));
        if answers(address).unwrap_or(false) {
            println!("{}", first_commands(address));
            return;
        }
    }
}

fn answers(address: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    write!(stream, "GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}

fn first_commands(address: &str) -> String {
    format!(
        r#"
Arcana answers at http://{address} (Ctrl-C stops it). Try in another terminal:

  curl -s http://{address}/health
  curl -s -H 'content-type: application/json' http://{address}/api/v1/auth/register \
       -d '{{"email":"ada@example.com","password":"correct horse","name":"Ada"}}'
  TOKEN=…                          # the access_token of the answer
  curl -s -H "authorization: Bearer $TOKEN" http://{address}/api/v1/auth/me

The whole API, to read and try: http://{address}/api/docs. gRPC is where the line above says, with reflection.

README.md goes on from there.
"#
    )
}
