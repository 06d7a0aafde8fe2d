//! `arcana serve`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::config::ConfigDir;
use super::user;
use crate::app::{App, Options};
use crate::config::{Config, LogFormat};
use crate::plugins::attempts;
use crate::telemetry::logs::{self, LogSettings};
use crate::telemetry::output;

/// Where the host lives and how it behaves.
#[derive(Debug, Args)]
pub(super) struct Home {
    /// The folder that holds `config/`, `plugins/` and `data/`; where it is not given the current folder if it has a
    /// `config/`, else the folder of this program.
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigDir,
}

/// Serves the plugins until it is told to stop.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Development mode: listens on loopback only, makes a first administrator, and without a trust file trusts a local key.
    #[arg(long)]
    dev: bool,
    #[command(flatten)]
    home: Home,
}

impl Home {
    /// The settings and the folder that their relative paths are in.
    pub(super) fn open(&self, development: bool) -> anyhow::Result<(Config, Options)> {
        let program = std::env::current_exe().context("this program's own path")?;
        let here = PathBuf::from(".");
        let home = match (&self.home, program.parent()) {
            (Some(home), _) => home.clone(),
            (None, Some(beside)) if !here.join("config").is_dir() && beside.join("config").is_dir() => {
                beside.to_owned()
            }
            (None, _) => here,
        };
        let config = self.config.load(&home).map_err(|errors| anyhow::anyhow!("{errors}"))?;
        // `absolute` keeps a leading `./` of the second part; paths are shown to people.
        let home = std::path::absolute(&home)?.components().collect();
        Ok((config, Options { home, development, program }))
    }
}

pub(super) fn run(args: &ServeArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    let (config, options) = args.home.open(args.dev)?;
    logs::init(&log_settings(&config))?;
    let runtime = runtime()?;
    let result = runtime.block_on(serve(config, options, started));
    // Do not wait for threads that still run: the process ends when this returns.
    runtime.shutdown_background();
    result
}

/// How to log.
pub(super) fn log_settings(config: &Config) -> LogSettings<'_> {
    let log = &config.observability.log;
    LogSettings {
        format: match log.format {
            LogFormat::Pretty => logs::Format::Pretty,
            LogFormat::Json => logs::Format::Json,
        },
        filter: &log.filter,
        buffer: log.buffer.as_usize(),
        flush: log.flush.get(),
    }
}

/// The threads that serve.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("arcana").build()?)
}

async fn serve(config: Config, options: Options, started: Instant) -> anyhow::Result<()> {
    let development = options.development;
    // Bound before anything else: a taken port is the most common mistake, and the cheapest to find.
    let listeners = App::bind(&config, development).await?;
    let address = listeners.rest.local_addr()?;
    let grpc = listeners.grpc.as_ref().map(tokio::net::TcpListener::local_addr).transpose()?;
    let stop = CancellationToken::new();
    watch_signals(stop.clone(), config.server.rest.shutdown_deadline.get())?;

    let data: PathBuf = options.home.join(&config.app.data_dir).components().collect();
    let app = App::start(config, &options).await?;
    let catalog = app.catalog.load_full();
    let routes: usize = catalog.plugins().iter().map(|plugin| plugin.routes.len()).sum();
    if development && let Some((email, password)) = user::first_admin(&app).await? {
        output::print(&format!("first administrator: {email} with password {password}  (shown once; change it)"));
    }
    output::print(&format!("data folder: {}", data.display()));
    let (active, refused) = (catalog.plugins().len(), app.failed.len());
    output::print(&format!("plugins: {active} active with {routes} routes, {refused} refused"));
    if let Some(grpc) = grpc {
        output::print(&format!("gRPC on {grpc}"));
    }
    let mode = if development { " (development mode)" } else { "" };
    let elapsed = started.elapsed().as_millis();
    output::print(&format!("arcana is serving on http://{address} after {elapsed} ms{mode}"));
    tracing::info!(%address, grpc = grpc.map(tracing::field::display), development, data = %data.display(), "serving");
    app.serve(listeners, stop).await;
    tracing::info!("stopped");
    Ok(())
}

/// How long after the deadline for requests the process ends by force, where it has not ended by itself.
const FORCE_AFTER: Duration = Duration::from_millis(900);

/// SIGTERM and SIGINT start the shutdown; a second one, or [`FORCE_AFTER`] the deadline, ends the process at once. That
/// holds where every thread that serves is busy too: signals have a thread of their own.
pub(super) fn watch_signals(stop: CancellationToken, deadline: Duration) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut term, mut int) = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    let watch = async move {
        let mut signalled = async || {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        };
        signalled().await;
        tracing::info!("stopping; requests in flight are finished first");
        stop.cancel();
        if tokio::time::timeout(deadline + FORCE_AFTER, signalled()).await.is_ok() {
            tracing::warn!("stopped at once by a second signal");
            attempts::abandon();
            output::flush();
            std::process::exit(130);
        }
        // Not flushed: that may take `observability.log.flush`, and the time is over.
        tracing::warn!("stopped at the deadline with work that does not end");
        attempts::abandon();
        std::process::exit(0);
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(watch))?;
    Ok(())
}
