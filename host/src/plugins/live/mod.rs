//! The plugins of a running host: installed, swapped, rolled back and taken away while requests are in flight.
//!
//! Files are verified, compiled, linked and instantiated side by side. What follows is done by one at a time, in its turn
//! ([`switch`]): migrations, `on-enable`, the row in the registry, and then the catalog is swapped. Until that moment every
//! failure leaves the running version serving. Requests in flight finish on the version that they began with.

mod admin;
mod compare;
mod describe;
mod follow;
mod install;
mod kept;
mod left_off;
mod probation;
mod start;
mod status;
mod switch;
pub mod view;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use arc_swap::ArcSwap;
use arcana_signing::trust::KeyStatus;
use arcana_signing::{PublicKey, TrustPolicy};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::install::{InstallOptions, Progress, Stage};
pub use self::start::Failed;
use self::status::Status;
use super::load::Loader;
use super::prepass::PrepassLimits;
use super::refusal::Refusal;
use super::registry::Registry;
use crate::config;
use crate::runtime::catalog::{HostServices, LiveCatalog};

/// The plugins of this host. Cheap to clone.
#[derive(Clone)]
pub struct Plugins(Arc<Inner>);

/// What [`Plugins`] are made of.
pub struct Parts {
    /// Makes plugins ready.
    pub loader: Loader,
    /// Remembers what is to run.
    pub registry: Registry,
    /// Who may sign what.
    pub trust: TrustPolicy,
    /// The file of the trust policy; none where development mode made one up.
    pub trust_file: Option<PathBuf>,
    /// What requests are served from.
    pub catalog: Arc<LiveCatalog>,
    /// What the host itself publishes.
    pub host: Arc<HostServices>,
    /// The folder that offers files.
    pub folder: PathBuf,
    /// Where installed files are kept at hand.
    pub kept: PathBuf,
    /// Whether the folder is what there is: a plugin whose file is taken away is switched off.
    pub development: bool,
    /// The key that development mode makes, where there is one.
    pub development_key: Option<PublicKey>,
    /// How many plugins and files were refused, for `/health`.
    pub failed: Arc<AtomicUsize>,
}

struct Inner {
    loader: Loader,
    registry: Registry,
    trust: ArcSwap<TrustPolicy>,
    trust_file: Option<PathBuf>,
    catalog: Arc<LiveCatalog>,
    host: Arc<HostServices>,
    folder: PathBuf,
    kept: PathBuf,
    development: bool,
    development_key: Option<PublicKey>,
    settings: config::Plugins,
    max_plugins: usize,
    prepass: PrepassLimits,
    /// Places for files that are verified.
    verifying: Arc<Semaphore>,
    /// Whoever changes what runs holds it.
    turn: Mutex<()>,
    /// The revision of the registry that this host runs.
    seen: AtomicU64,
    status: Status,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The folder as it is recorded among those who change something.
const FOLDER: &str = "directory";

/// Who changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// An administrator, by the subject of the token.
    Admin(Arc<str>),
    /// A file of the plugin folder, by its name.
    Directory(Arc<str>),
    /// A developer's save.
    Development,
    /// The host itself.
    Host,
}

/// A version to go back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The one that ran before.
    Previous,
    /// The one with this digest in hexadecimal, or the only one whose digest begins so (8 characters at least).
    Digest(String),
    /// The one of this version; of several the one with the highest sequence number.
    Version(String),
}

impl Actor {
    /// As it is recorded.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Admin(subject) => subject,
            Self::Directory(_) => FOLDER,
            Self::Development => "development",
            Self::Host => "host",
        }
    }

    /// Where a file that this one brings comes from.
    fn source(&self) -> &str {
        match self {
            Self::Directory(file) => file,
            Self::Admin(_) | Self::Host => "api",
            Self::Development => "development",
        }
    }
}

impl Plugins {
    /// The plugins over these parts, with nothing active yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            loader,
            registry,
            trust,
            trust_file,
            catalog,
            host,
            folder,
            kept,
            development,
            development_key,
            failed,
        } = parts;
        let limits = &loader.config.limits;
        Self(Arc::new(Inner {
            max_plugins: usize::try_from(limits.max_plugins).unwrap_or(usize::MAX),
            prepass: PrepassLimits {
                max_function_body: limits.max_function_body.as_usize(),
                max_memory: limits.max_memory.as_u64(),
                max_parts: limits.contract.parts,
                max_expanded: limits.contract.expanded,
                max_wit: limits.contract.wit.as_usize(),
                max_migrations: usize::try_from(loader.config.plugins.max_migrations).unwrap_or(usize::MAX),
                max_migration_bytes: loader.config.plugins.max_migration_bytes.as_usize(),
                ..PrepassLimits::default()
            },
            settings: loader.config.plugins.clone(),
            loader,
            registry,
            trust: ArcSwap::from_pointee(trust),
            trust_file,
            catalog,
            host,
            folder,
            kept,
            development,
            development_key,
            verifying: Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from).max(2))),
            turn: Mutex::new(()),
            seen: AtomicU64::new(0),
            status: Status::new(failed),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// The largest file that is taken, in bytes (`plugins.max_file_bytes`).
    #[must_use]
    pub fn max_file(&self) -> u64 {
        self.0.settings.max_file_bytes.as_u64()
    }

    /// Follows the registry, the trust file and, where that is asked for, the folder, until [`Self::stop`].
    pub fn watch(&self) {
        let inner = &self.0;
        inner.tasks.spawn(follow::run(inner.clone()));
        if inner.development || inner.settings.watch {
            inner.tasks.spawn(watch::run(inner.clone()));
        }
    }

    /// Tells every plugin that it will not be called again, after what was under way.
    pub async fn stop(&self) {
        let inner = &self.0;
        inner.stop.cancel();
        // Whoever is changing something finishes first.
        let _turn = inner.turn.lock().await;
        inner.tasks.close();
        let _ = tokio::time::timeout(switch::LAST_DRAIN, inner.tasks.wait()).await;
        for plugin in inner.catalog.load_full().plugins() {
            switch::end(plugin).await;
        }
    }
}

impl Inner {
    fn max_file(&self) -> u64 {
        self.settings.max_file_bytes.as_u64()
    }

    /// Says that a policy for development is in force where nobody develops.
    fn warn_of_development(&self, trust: &TrustPolicy) {
        if self.development {
            return;
        }
        let made_here = |key: &PublicKey| self.development_key.as_ref() == Some(key);
        let keys = trust.keys.iter().filter(|trusted| trusted.status == KeyStatus::Active);
        for trusted in keys.filter(|trusted| trusted.principal == "development" || made_here(&trusted.key)) {
            tracing::warn!(key = %trusted.key.key_id(), principal = trusted.principal,
                "plugins.trust trusts a key for development, and this host does not run in development mode: its owner can bring \
                 in every plugin that it may sign");
        }
    }

    /// The name of a file of the folder, for messages and records.
    fn name_of(path: &Path) -> Arc<str> {
        path.file_name().map_or_else(|| path.to_string_lossy(), std::ffi::OsStr::to_string_lossy).into()
    }
}

impl Refusal {
    fn unknown(id: &str) -> Self {
        Self::new("NOT_FOUND", 404, format!("there is no plugin {id}"))
    }
}
