//! The composition: settings → keys, stores, engine → plugins → listener → serve → drain.

mod private;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use arcana_signing::{SecretKey, TrustPolicy};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::backends::memory_cache::{CacheSettings, MemoryCache};
use crate::backends::sqlite::{self, SqlLimits, SqliteSettings, SqliteStores, SqliteThreads, open_host_database};
use crate::capabilities::{HostWork, Services};
use crate::config::{Algorithm, Config, Synchronous};
use crate::ingress::access::Gate;
use crate::ingress::admin::Admin;
use crate::ingress::connections::Traffic;
use crate::ingress::docs::Docs;
use crate::ingress::grpc::Grpc;
use crate::ingress::health::{Health, Phase};
use crate::ingress::host_routes::{HostRoutes, router};
use crate::ingress::rest::Rest;
use crate::ingress::{host_api, layers, listener};
use crate::plugins::attempts::Attempts;
use crate::plugins::live::{Failed, Parts, Plugins};
use crate::plugins::load::Loader;
use crate::plugins::registry::Registry;
use crate::principal::keys::{HostKeys, TokenAlgorithm};
use crate::principal::passwords::{PasswordSettings, Passwords};
use crate::principal::revocation::RevocationTable;
use crate::principal::tokens::{TokenSettings, Tokens};
use crate::runtime::catalog::LiveCatalog;
use crate::runtime::code_cache::CodeCache;
use crate::runtime::compile::Compiler;
use crate::runtime::engine::Engine;
use crate::runtime::live::{LiveInstances, LiveLimits};
use crate::telemetry::metrics::{Metrics, Watched};
use crate::telemetry::output;
use crate::telemetry::rendered::Rendered;
use crate::telemetry::tail::Tails;

/// The file of the key that development mode makes, in the data folder.
const DEVELOPMENT_KEY: &str = "keys/development.pem";

/// The time that stopping may take past the deadline for requests: first to notify the plugins, then to move the
/// write-ahead logs of the stores into their files.
const LAST_WORDS: Duration = Duration::from_millis(500);
const LAST_WRITES: Duration = Duration::from_millis(200);

/// How often what only grows with time is looked through.
const UPKEEP: Duration = Duration::from_secs(30);

/// What the command line says beside the settings.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder that relative paths of the settings are in.
    pub home: PathBuf,
    /// Development mode: loopback only, and a local key is trusted where there is no trust file.
    pub development: bool,
    /// The binary that compiles components as a child: this one.
    pub program: PathBuf,
}

/// What a host listens on.
pub struct Listeners {
    /// REST, and gRPC too where it is multiplexed.
    pub rest: TcpListener,
    /// gRPC, where it is enabled.
    pub grpc: Option<TcpListener>,
}

/// A host with its plugins loaded.
pub struct App {
    /// The settings.
    pub config: Arc<Config>,
    /// What is active.
    pub catalog: Arc<LiveCatalog>,
    /// What was refused at the start, with the reasons.
    pub failed: Vec<Failed>,
    health: Arc<Health>,
    tokens: Arc<Tokens>,
    metrics: Arc<Metrics>,
    admin: Arc<Admin>,
    plugins: Plugins,
    stores: Arc<SqliteStores>,
    _lock: DataLock,
}

impl App {
    /// Binds what the settings ask for.
    ///
    /// # Errors
    /// When an address is taken, or development mode is to listen on one that others can reach.
    pub async fn bind(config: &Config, development: bool) -> anyhow::Result<Listeners> {
        let (rest, grpc) = (&config.server.rest, &config.server.grpc);
        Ok(Listeners {
            rest: bind("server.rest", rest.address, rest.port, development).await?,
            grpc: match grpc.enabled {
                true => Some(bind("server.grpc", grpc.address, grpc.port, development).await?),
                false => None,
            },
        })
    }

    /// Opens everything and loads the plugins. Nothing is served yet.
    ///
    /// # Errors
    /// When something that the host cannot do without is missing; a plugin that does not load is no such thing.
    pub async fn start(config: Config, options: &Options) -> anyhow::Result<Self> {
        let config = Arc::new(config);
        let data = options.home.join(&config.app.data_dir);
        private::make_private();
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&data)
            .with_context(|| format!("app.data_dir: {} cannot be made", data.display()))?;
        private::tighten(&data, &data.join(&config.plugins.registry))?;
        let lock = DataLock::take(&data)?;

        let keys = HostKeys::open(&data, token_algorithm(&config)).context("the host's keys")?;
        let token_settings = token_settings(&config);
        let revocations = Arc::new(RevocationTable::new(Tokens::keep_ms(&token_settings)));
        let tokens = Arc::new(Tokens::new(token_settings, keys.tokens, revocations));
        let services = Arc::new(Services {
            tokens: tokens.clone(),
            passwords: Passwords::new(&password_settings(&config)).context("security.passwords")?,
            keys: keys.plugins,
            work: HostWork::new(usize::try_from(config.limits.host_work)?),
        });

        let engine = Arc::new(Engine::new(&config.limits)?);
        let live = LiveInstances::new(&live_limits(&config));
        let cache = CodeCache::new(&data.join("cache/code"), &keys.cache_mac, engine.wasmtime())
            .context("the cache of compiled code")?;
        let metrics = Arc::new(Metrics::new()?);
        let compiler = Arc::new(Compiler::new(options.program.clone(), config.limits.compile.clone()));
        watch(&metrics, &services, &live, &compiler)?;
        let sqlite = sqlite_settings(&config);
        let threads = SqliteThreads::new(&sqlite, metrics.sqlite());
        // A plugin's file is kept in one transaction.
        let max_wal_bytes = sqlite.max_wal_bytes.max(config.plugins.max_file_bytes.as_u64().saturating_mul(4));
        let of_host = SqliteSettings { max_wal_bytes, ..sqlite.clone() };
        let host_database = open_host_database(&data.join(&config.plugins.registry), of_host, &threads)
            .await
            .context("plugins.registry")?;
        let stores = Arc::new(SqliteStores::open(&data.join("stores"), sqlite, threads)?);
        let used = (stores.clone(), host_database.clone());
        metrics.watch_stores(move || used.0.usage().into_iter().chain([used.1.usage()]).collect())?;

        let catalog = Arc::new(LiveCatalog::default());
        let health = Arc::new(Health::new(catalog.clone(), options.development));
        let kept = usize::try_from(config.plugins.log_lines)?;
        let limits = &config.limits;
        let tails = Arc::new(Tails::new(kept, limits.log_line_bytes.as_usize(), limits.log_lines_per_second));
        let admin = Arc::new(Admin::new(tails.clone(), metrics.clone(), &config));
        let host = host_api::services(&health, &admin, config.plugins.admin_role, &metrics);
        let host = Arc::new(host.context("the host's own services")?);
        let loader = Loader {
            engine,
            live,
            cache: Arc::new(cache),
            compiler,
            stores: stores.clone(),
            memory_cache: Arc::new(MemoryCache::new(cache_settings(&config))),
            services: services.clone(),
            metrics: metrics.clone(),
            tails: tails.clone(),
            attempts: Arc::new(Attempts::open(&data.join("starting")).context("the versions that were being started")?),
            config: config.clone(),
            home: options.home.clone(),
        };
        let trust_file = options.home.join(&config.plugins.trust);
        let trust = trust_policy(&trust_file, &data, options.development)?;
        let plugins = Plugins::new(Parts {
            loader,
            registry: Registry::new(host_database, config.plugins.keep_changes),
            trust,
            trust_file: trust_file.exists().then_some(trust_file),
            catalog: catalog.clone(),
            host,
            folder: options.home.join(&config.plugins.dir),
            kept: data.join("plugins"),
            development: options.development,
            development_key: SecretKey::load(&data.join(DEVELOPMENT_KEY)).ok().map(|key| key.public_key()),
            failed: health.failures().clone(),
        });
        admin.manage(plugins.clone());
        let failed = plugins.start().await?;
        for failure in &failed {
            tracing::error!(
                plugin = failure.what,
                code = failure.refusal.code,
                reason = failure.refusal.message,
                "plugin refused"
            );
        }
        Ok(Self { config, catalog, failed, health, tokens, metrics, admin, plugins, stores, _lock: lock })
    }

    /// The plugins, to be changed while the host serves.
    #[must_use]
    pub const fn plugins(&self) -> &Plugins {
        &self.plugins
    }

    /// Serves until `stop`, finishes what is in flight, tells the plugins, and closes the stores. All of that ends within
    /// `shutdown_deadline` and a second after `stop`, whatever still runs.
    pub async fn serve(self, listeners: Listeners, stop: CancellationToken) {
        let (config, health) = (&self.config, &self.health);
        let gate = Arc::new(Gate::new(self.tokens.clone(), self.metrics.clone(), config));
        let (shown, rest) = (&config.observability.metrics, &config.server.rest);
        let metrics = shown.allow.allowed(health.development).filter(|_| shown.enabled);
        let docs = rest.docs_allow.allowed(health.development).filter(|_| rest.docs);
        let host_routes = router(HostRoutes {
            health: health.clone(),
            tokens: self.tokens.clone(),
            gate: gate.clone(),
            metrics: metrics.map(|allowed| (Rendered::new(self.metrics.clone(), shown.max_age.get()), allowed)),
            docs: docs.map(|allowed| (Docs::new(self.catalog.clone(), config, health.development), allowed)),
        });
        let (metrics, admin) = (&self.metrics, &self.admin);
        let grpc = config.server.grpc.enabled.then(|| {
            Arc::new(Grpc::new(health.clone(), gate.clone(), metrics.clone(), admin.clone(), config, stop.clone()))
        });
        let multiplexed = grpc.clone().filter(|_| config.server.grpc.multiplexed);
        let rest = Rest::new(self.catalog.clone(), gate, metrics.clone(), admin.clone(), host_routes, config);
        let rest = Arc::new(rest);
        health.reach(Phase::Serving);
        self.plugins.watch();
        let upkeep = tokio::spawn(upkeep(self.catalog.clone(), self.tokens.clone()));
        let traffic = Arc::new(Traffic::new(config, metrics.clone()));
        let watch = tokio::spawn(traffic.clone().watch());
        let draining = {
            let (stop, health, admin) = (stop.clone(), health.clone(), admin.clone());
            tokio::spawn(async move {
                stop.cancelled().await;
                health.reach(Phase::Draining);
                admin.stop();
                Instant::now()
            })
        };
        let beside = async {
            if let (Some(listener), Some(grpc)) = (listeners.grpc, grpc) {
                layers::serve_grpc(listener, config, grpc, (traffic.clone(), stop.clone())).await;
            }
        };
        let rest = layers::serve_rest(listeners.rest, config, rest, multiplexed, (traffic.clone(), stop.clone()));
        tokio::join!(rest, beside);
        upkeep.abort();
        watch.abort();
        let stopped = draining.await.unwrap_or_else(|_| Instant::now());
        self.close_since(stopped).await;
    }

    /// Ends a host that does not serve.
    pub async fn close(self) {
        self.close_since(Instant::now()).await;
    }

    async fn close_since(self, stopped: Instant) {
        let until = stopped + self.config.server.rest.shutdown_deadline.get() + LAST_WORDS;
        let gently = async {
            self.admin.finish(until.saturating_duration_since(Instant::now())).await;
            self.plugins.stop().await;
        };
        if tokio::time::timeout_at(until.into(), gently).await.is_err() {
            tracing::warn!("plugins were still at work at the deadline; they are cut off");
        }
        self.stores.close(until + LAST_WRITES).await;
    }
}

async fn bind(section: &str, address: IpAddr, port: u16, development: bool) -> anyhow::Result<TcpListener> {
    let address = match (development, address) {
        (false, address) => address,
        // The default is every address; in development that becomes loopback. Asking for another one is a mistake.
        (true, address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        (true, address) if address.is_loopback() => address,
        (true, address) => bail!("{section}.address is {address}, and development mode listens on loopback only"),
    };
    listener::bind(SocketAddr::new(address, port), section).await
}

/// Shows on `/metrics` what other parts count for themselves.
fn watch(
    metrics: &Metrics,
    services: &Arc<Services>,
    live: &Arc<LiveInstances>,
    compiler: &Arc<Compiler>,
) -> anyhow::Result<()> {
    let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let compiling = compiler.clone();
    metrics.watch(Watched::CompilesRunning, move || number(compiling.stats().running))?;
    let compiling = compiler.clone();
    metrics.watch(Watched::CompilesWaiting, move || number(compiling.stats().waiting))?;
    let compiling = compiler.clone();
    metrics.watch(Watched::CompilesRefused, move || compiling.stats().refused)?;
    let tokens = services.tokens.clone();
    metrics.watch(Watched::TokenCacheHits, move || tokens.cache_stats().0)?;
    let tokens = services.tokens.clone();
    metrics.watch(Watched::TokenCacheMisses, move || tokens.cache_stats().1)?;
    let tokens = services.tokens.clone();
    metrics.watch(Watched::Revocations, move || number(tokens.revocations().len()))?;
    let passwords = services.clone();
    metrics.watch(Watched::PasswordsDone, move || passwords.passwords.stats().done)?;
    let passwords = services.clone();
    metrics.watch(Watched::PasswordsRejected, move || passwords.passwords.stats().rejected)?;
    let passwords = services.clone();
    metrics.watch(Watched::PasswordsRunning, move || number(passwords.passwords.stats().running))?;
    let passwords = services.clone();
    metrics.watch(Watched::PasswordsQueued, move || number(passwords.passwords.stats().queued))?;
    let passwords = services.clone();
    metrics.watch(Watched::PasswordsAbandoned, move || passwords.passwords.stats().abandoned)?;
    let passwords = services.clone();
    metrics.watch(Watched::PasswordsTooCostly, move || passwords.passwords.stats().too_costly)?;
    let instances = live.clone();
    metrics.watch(Watched::InstancesMemory, move || number(instances.memory().0))?;
    let instances = live.clone();
    metrics.watch(Watched::InstancesMemoryLimit, move || number(instances.memory().1))?;
    let instances = live.clone();
    metrics.watch(Watched::InstancesEvicted, move || instances.evicted())?;
    metrics.watch(Watched::LogLinesFull, || output::stderr().dropped_full())?;
    metrics.watch(Watched::LogLinesFailed, || output::stderr().dropped_failed())?;
    metrics.watch(Watched::LogQueued, move || number(output::stderr().queued()))?;
    Ok(())
}

async fn upkeep(catalog: Arc<LiveCatalog>, tokens: Arc<Tokens>) {
    let mut every = tokio::time::interval(UPKEEP);
    loop {
        every.tick().await;
        tokens.revocations().purge(Timestamp::now().as_millisecond());
        for plugin in catalog.load_full().plugins() {
            for method in plugin.services.iter().flat_map(|service| &service.methods) {
                method.rates.iter().for_each(|(_, rate)| rate.forget_idle());
            }
        }
    }
}

/// The trust policy of the file, or in development, where there is none, one that trusts a key of this data folder.
fn trust_policy(path: &Path, data: &Path, development: bool) -> anyhow::Result<TrustPolicy> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && development => {
            let (key, key_file) = development_key(data)?;
            tracing::warn!(key = %key_file.display(), "there is no trust file; development mode trusts this key");
            arcana_signing::trust::development(&key.public_key())
        }
        Err(error) => bail!("plugins.trust: {} cannot be read: {error}", path.display()),
    };
    TrustPolicy::parse(&text).with_context(|| format!("plugins.trust: {}", path.display()))
}

/// The key that development mode trusts where there is no trust file, and its file in the data folder; made where it is missing.
///
/// # Errors
/// It cannot be made or read, or the folder `keys` is not there.
pub fn development_key(data: &Path) -> anyhow::Result<(SecretKey, PathBuf)> {
    let file = data.join(DEVELOPMENT_KEY);
    if file.exists() {
        return Ok((SecretKey::load(&file)?, file));
    }
    // Under its name it is there whole or not at all, also when the host is killed here.
    let (key, new) = (SecretKey::generate()?, file.with_extension("new"));
    let _ = std::fs::remove_file(&new);
    key.write_new(&new)?;
    std::fs::rename(&new, &file)?;
    Ok((key, file))
}

/// One host a data folder: two would each believe that they know every revocation.
struct DataLock {
    _file: std::fs::File,
}

impl DataLock {
    fn take(data: &Path) -> anyhow::Result<Self> {
        let path = data.join("lock");
        let file = std::fs::File::options().create(true).truncate(false).write(true).open(&path)?;
        let until = Instant::now() + Duration::from_secs(2);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                // A host that was just told to stop may need a moment.
                Err(std::fs::TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(std::fs::TryLockError::WouldBlock) => {
                    bail!("another host is using the data folder {} (app.data_dir)", data.display())
                }
                Err(std::fs::TryLockError::Error(error)) => return Err(error.into()),
            }
        }
    }
}

fn token_algorithm(config: &Config) -> TokenAlgorithm {
    match config.security.tokens.algorithm {
        Algorithm::EdDsa => TokenAlgorithm::EdDsa,
        Algorithm::Hs256 => TokenAlgorithm::Hs256,
    }
}

fn token_settings(config: &Config) -> TokenSettings {
    let tokens = &config.security.tokens;
    TokenSettings {
        issuer: tokens.issuer.clone(),
        audience: tokens.audience.clone(),
        life: tokens.life.get(),
        leeway: tokens.leeway.get(),
        cache_entries: usize::try_from(tokens.cache_entries).unwrap_or(usize::MAX),
    }
}

fn live_limits(config: &Config) -> LiveLimits {
    let limits = &config.limits;
    let number = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    LiveLimits {
        instances: number(limits.max_instances),
        reserved: number(limits.instances_reserved),
        share: number(limits.instance_share),
        memory: usize::try_from(limits.total_memory_bytes()).unwrap_or(usize::MAX),
    }
}

fn password_settings(config: &Config) -> PasswordSettings {
    let passwords = &config.security.passwords;
    PasswordSettings {
        memory_kib: u32::try_from(passwords.memory.as_u64() / 1024).unwrap_or(u32::MAX),
        iterations: passwords.iterations,
        parallelism: passwords.parallelism,
        concurrency: usize::try_from(passwords.concurrency).unwrap_or(usize::MAX),
        queue: usize::try_from(passwords.queue).unwrap_or(usize::MAX),
        max_cost: passwords.max_cost,
    }
}

fn sqlite_settings(config: &Config) -> SqliteSettings {
    let sqlite = &config.database.sqlite;
    SqliteSettings {
        threads: sqlite.threads,
        max_stuck_threads: sqlite.max_stuck_threads,
        busy_timeout: sqlite.busy_timeout.get(),
        synchronous: match sqlite.synchronous {
            Synchronous::Normal => sqlite::Synchronous::Normal,
            Synchronous::Full => sqlite::Synchronous::Full,
        },
        read_connections: sqlite.read_connections,
        statement_timeout: sqlite.statement_timeout.get(),
        max_rows: sqlite.max_rows,
        max_result_bytes: sqlite.max_result_bytes.as_u64(),
        max_database_bytes: sqlite.max_size.as_u64(),
        wal_checkpoint_bytes: sqlite.wal_checkpoint.as_u64(),
        max_wal_bytes: sqlite.max_wal.as_u64(),
        max_memory_bytes: sqlite.max_memory.as_u64(),
        max_total_memory_bytes: sqlite.max_total_memory.as_u64(),
        limits: SqlLimits {
            nesting: sqlite.limits.nesting,
            common_tables: sqlite.limits.common_tables,
            sources: sqlite.limits.sources,
            references: sqlite.limits.references,
            tables: sqlite.limits.tables,
            indexes: sqlite.limits.indexes,
            triggers: sqlite.limits.triggers,
            trigger_chain: sqlite.limits.trigger_chain,
        },
        ..SqliteSettings::default()
    }
}

fn cache_settings(config: &Config) -> CacheSettings {
    let cache = &config.cache;
    CacheSettings {
        max_bytes: cache.max_bytes_per_plugin.as_u64(),
        max_value_bytes: cache.max_value_bytes.as_usize(),
        max_key_bytes: cache.max_key_bytes.as_usize(),
        max_ttl: cache.max_ttl.get(),
        ..CacheSettings::default()
    }
}
