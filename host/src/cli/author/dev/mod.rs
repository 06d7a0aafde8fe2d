//! `arcana dev`: a host for development that takes each save of a plugin: build → sign → swap.

mod routes;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use arcana_signing::SecretKey;
use clap::Args;
use tokio_util::sync::CancellationToken;

use self::routes::Routes;
use self::watch::Watch;
use super::build::{self, DoesNotBuild, How};
use super::cannot;
use super::home::Home;
use super::project::Project;
use super::toolchain::Toolchain;
use crate::app::{App, Options};
use crate::cli::serve::{log_settings, runtime, watch_signals};
use crate::cli::{shown, user};
use crate::config::Config;
use crate::plugins::live::view::Installed;
use crate::plugins::live::{Actor, InstallOptions, Plugins, Progress};
use crate::plugins::refusal::Refusal;
use crate::runtime::catalog::LiveCatalog;
use crate::telemetry::logs::{self, LogSettings};
use crate::telemetry::output;

/// What is logged where the settings do not say: what the plugins write, and what somebody has to look at. Refusals are told by
/// this command.
const LOG_FILTER: &str = "warn,plugin=debug,access=info,arcana::plugins=error";

#[derive(Debug, Args)]
pub(in crate::cli) struct DevArgs {
    /// The crates of the plugins; the one around this folder where none is given.
    paths: Vec<PathBuf>,
    /// The folder of the host: its settings and its data. `.arcana` in the first crate where it is not given.
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

/// Serves until it is told to stop. The exit code is 2 where the host cannot start.
pub(in crate::cli) fn run(args: &DevArgs) -> ExitCode {
    match dev(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cannot(&error),
    }
}

fn dev(args: &DevArgs) -> Result<()> {
    let started = Instant::now();
    let here = [PathBuf::from(".")];
    let paths = if args.paths.is_empty() { &here[..] } else { &args.paths };
    let mut crates: Vec<Crate> = Vec::new();
    for path in paths {
        let project = Project::find(path)?;
        if crates.iter().all(|known| known.project.folder != project.folder) {
            let toolchain = Toolchain::find(&project.folder)?;
            crates.push(Crate { project, toolchain, running: None });
        }
    }
    let projects: Vec<Project> = crates.iter().map(|one| one.project.clone()).collect();
    let mut home = Home::open(args.home.as_deref(), &projects)?;
    let shipped = home.prepare()?;
    let (key, _) = home.key()?;
    logs::init(&LogSettings { filter: log_filter(&home.config), ..log_settings(&home.config) })?;
    output::print(&format!("home: {}", home.folder.display()));
    output::print(&shipped.to_string());
    runtime()?.block_on(serve(crates, home, key, &args.how, started))
}

/// The filter of the settings, where it is not the default one.
fn log_filter(config: &Config) -> &str {
    match config.observability.log.filter.as_str() {
        "info" => LOG_FILTER,
        filter => filter,
    }
}

/// A crate that is watched.
struct Crate {
    project: Project,
    toolchain: Toolchain,
    /// The version that was swapped in last.
    running: Option<Running>,
}

struct Running {
    id: String,
    /// The packed file before `seq` was replaced, to see whether anything has changed.
    packed: Vec<u8>,
}

async fn serve(crates: Vec<Crate>, home: Home, key: SecretKey, how: &How, started: Instant) -> Result<()> {
    let listeners = App::bind(&home.config, true).await?;
    let address = listeners.rest.local_addr()?;
    let grpc = listeners.grpc.as_ref().map(tokio::net::TcpListener::local_addr).transpose()?;
    let stop = CancellationToken::new();
    watch_signals(stop.clone(), home.config.server.rest.shutdown_deadline.get())?;
    // Before the first build: what is saved during it is not missed.
    let mut watch =
        Watch::start(&crates.iter().map(|one| (&one.project, &one.toolchain)).collect::<Vec<_>>(), &how.wit).await?;

    let program = std::env::current_exe().context("this program's own path")?;
    let options = Options { home: home.folder, development: true, program };
    let app = App::start(home.config, &options).await?;
    for failed in &app.failed {
        say(&format!("{} is refused: {}", failed.what, failed.refusal));
    }
    if let Some((email, password)) = user::first_admin(&app).await? {
        output::print(&format!("first administrator: {email} with password {password}  (shown once; change it)"));
    }
    if let Some(grpc) = grpc {
        output::print(&format!("gRPC on {grpc}"));
    }
    let elapsed = started.elapsed().as_millis();
    output::print(&format!("arcana is serving on http://{address} after {elapsed} ms (development mode)"));
    let mut workshop =
        Workshop { crates, plugins: app.plugins().clone(), catalog: app.catalog.clone(), key, how: how.clone() };
    let serving = tokio::spawn(app.serve(listeners, stop.clone()));
    tokio::select! {
        // Where a build is under way its cargo is ended with it.
        () = workshop.follow(&mut watch) => {}
        () = stop.cancelled() => {}
    }
    drop(watch);
    serving.await.context("the host has ended on its own")?;
    output::print("stopped");
    Ok(())
}

/// A line with a text that comes from a file.
fn say(text: &str) {
    output::print(&shown::lines(text));
}

/// Takes saves to the running host.
struct Workshop {
    crates: Vec<Crate>,
    plugins: Plugins,
    catalog: Arc<LiveCatalog>,
    key: SecretKey,
    how: How,
}

/// How a build ended.
enum Outcome {
    /// The host runs what was built.
    Swapped { built: Duration, swapped: Duration, installed: Box<Installed>, before: Routes },
    /// It is what runs already.
    Same,
    /// There was another save while it was built: what came of it is of no use any more.
    Overtaken,
}

impl Workshop {
    async fn follow(&mut self, watch: &mut Watch) {
        // The first builds take long and show how far they are; the later ones show what is wrong.
        for index in 0..self.crates.len() {
            watch.forget(index);
            self.take(index, watch, false).await;
        }
        output::print("watching; save a file to see it answer");
        loop {
            let Some(index) = watch.next().await else { return };
            watch.forget(index);
            self.take(index, watch, true).await;
        }
    }

    /// Builds one crate and puts it in; tells what came of it.
    async fn take(&mut self, index: usize, watch: &Watch, quiet: bool) {
        let Some(one) = self.crates.get(index) else { return };
        let name = one.project.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let goes_on = if one.running.is_some() { "; the version before goes on" } else { "" };
        match self.build(index, watch, quiet).await {
            Ok(Outcome::Same | Outcome::Overtaken) => {}
            Ok(Outcome::Swapped { built, swapped, installed, before }) => {
                let millis = |time: Duration| time.as_millis();
                output::print(&format!(
                    "{name}: {} {} answers (built in {} ms, swapped in {} ms)",
                    installed.id,
                    installed.version,
                    millis(built),
                    millis(swapped)
                ));
                let after = Routes::of(&self.catalog, &installed.id);
                let changes = after.since(&before, &installed.comparison.findings);
                output::stdout().write(shown::lines(&changes).as_bytes());
            }
            Err(error) if error.is::<DoesNotBuild>() => output::print(&format!("{name}: it does not build{goes_on}")),
            Err(error) => match error.downcast_ref::<Refusal>() {
                Some(refusal) => say(&format!("{name}: refused, {refusal}{goes_on}")),
                None => say(&format!("{name}: {error:#}{goes_on}")),
            },
        }
    }

    async fn build(&mut self, index: usize, watch: &Watch, quiet: bool) -> Result<Outcome> {
        let start = Instant::now();
        let one = self.crates.get_mut(index).context("no such crate")?;
        let component = build::compile(&one.project, &one.toolchain, &self.how, quiet).await?;
        // A build that was begun is finished, because the next one goes on from it; only the newest is put in.
        if watch.has_changed(index) {
            return Ok(Outcome::Overtaken);
        }
        let packed = build::pack(&one.project, &component, &self.how.wit)?;
        if one.running.as_ref().is_some_and(|running| running.packed == packed.bytes) {
            return Ok(Outcome::Same);
        }
        let (id, before_time) = (packed.id.to_string(), packed.bytes.clone());
        let signed = packed.with_time()?.sign(&self.key)?;
        let built = start.elapsed();

        let start = Instant::now();
        if let Some(running) = one.running.take_if(|running| running.id != id) {
            // Its routes are those of the new one.
            self.plugins.remove(&running.id, &Actor::Development).await?;
        }
        let before = Routes::of(&self.catalog, &id);
        let options = InstallOptions { allow_breaking: true, ..InstallOptions::default() };
        let installed = self.plugins.install(signed, &options, &Actor::Development, &Progress::default()).await?;
        one.running = Some(Running { id, packed: before_time });
        Ok(Outcome::Swapped { built, swapped: start.elapsed(), installed: Box::new(installed), before })
    }
}
