//! From a verified file to a plugin that can be called: code → grants → linker → methods → one instance as proof, and then
//! what lasts: migrations → on-enable.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Semaphore;
use wasmtime::component::{Component, Linker, Val};

use super::attempts::{Attempt, Attempts};
use super::live::view;
use super::manifest::{Instances, Manifest, Method};
use super::publish::{planned, publish};
use super::refusal::Refusal;
use super::settings;
use super::verify::Verified;
use crate::backends::memory_cache::MemoryCache;
use crate::backends::sqlite::{MigrationError, Policy, SqliteStores};
use crate::capabilities::{self, Call, CryptoGrants, GrantedStore, PluginGrants, Services, Setting};
use crate::config::Config;
use crate::contract::{Contract, names};
use crate::runtime::catalog::ActivePlugin;
use crate::runtime::code_cache::{CodeCache, CodeError};
use crate::runtime::compile::{CompileError, Compiler, Order};
use crate::runtime::engine::Engine;
use crate::runtime::live::LiveInstances;
use crate::runtime::plugin::{CallError, CallLimits, Function, PluginRuntime, START_TIMEOUT};
use crate::runtime::pool::{Pool, PoolLimits};
use crate::runtime::state::HostState;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::tail::Tails;

/// The interface of the extension point that is called when a plugin starts and stops, without its version.
const LIFECYCLE: &str = "arcana:plugin/lifecycle@";

/// What loading needs of the host.
pub struct Loader {
    /// The engine.
    pub engine: Arc<Engine>,
    /// The places of live instances.
    pub live: Arc<LiveInstances>,
    /// Compiled code.
    pub cache: Arc<CodeCache>,
    /// The compiler child.
    pub compiler: Arc<Compiler>,
    /// The stores.
    pub stores: Arc<SqliteStores>,
    /// The cache of which every plugin gets its namespace.
    pub memory_cache: Arc<MemoryCache>,
    /// What capabilities work on.
    pub services: Arc<Services>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The last log lines of each plugin.
    pub tails: Arc<Tails>,
    /// Which version is being brought up, for the next start.
    pub attempts: Arc<Attempts>,
    /// The settings.
    pub config: Arc<Config>,
    /// The folder that relative paths of the settings are in.
    pub home: PathBuf,
}

impl Loader {
    /// Makes a verified file ready: compiled, linked to what was granted, instantiated once. Nothing of it is reachable and
    /// nothing lasting was done.
    ///
    /// # Errors
    /// A [`Refusal`] that says which step failed; `COMPILER_BUSY` where no place to compile it became free within `wait`.
    pub async fn prepare(&self, verified: &Verified, wait: Option<Duration>) -> Result<Prepared, Refusal> {
        let manifest = &verified.manifest;
        let id: Arc<str> = manifest.plugin.id.as_str().into();
        if !verified.contract.misfits.exports.is_empty() {
            let text = verified.contract.misfits.exports.join("\n");
            return Err(Refusal::new("CONTRACT", 422, format!("the component does not fit this host:\n{text}")));
        }
        let settings = settings::resolve(manifest, self.config.plugins.settings.get(&*id), &self.home).await?;
        let component = self
            .cache
            .load(&self.compiler, &verified.digest.0, &verified.bytes, &order(verified, wait))
            .await
            .map_err(|error| match error {
                CodeError::Compile(CompileError::Busy(_)) => Refusal::new("COMPILER_BUSY", 503, error),
                error => Refusal::new("COMPILE_FAILED", 422, error),
            })?;
        let grants = Arc::new(self.grants(&id, manifest, settings).await?);

        let mut linker = Linker::<HostState>::new(self.engine.wasmtime());
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(Refusal::host)?;
        capabilities::link(&mut linker, &grants, HostState::view).map_err(Refusal::host)?;
        let pre = linker.instantiate_pre(&component).map_err(|error| not_linked(&verified.contract, &error))?;

        let limits = self.pool_limits(manifest);
        let pool = Pool::new(pre, grants, limits, self.live.clone(), self.metrics.plugin_pool(&id));
        let functions = self.functions(&id, manifest, &verified.contract, &component)?;
        let lifecycle = functions.lifecycle;
        let runtime = Arc::new(PluginRuntime::new(
            id.clone(),
            self.engine.clone(),
            pool,
            functions.all,
            self.call_limits(manifest),
            self.metrics.plugin(&id),
            self.tails.of(&id),
        ));
        let published = publish(manifest, &verified.contract, &runtime, &self.metrics)?;
        let attempt = self.attempt(verified, "its first instance was made").await;
        let proved = runtime.prove(system_call()).await;
        drop(attempt);
        proved.map_err(|error| match error {
            CallError::Trap(trap) => Refusal::new("START_FAILED", 422, format!("it fails when it starts: {trap}")),
            CallError::Timeout => Refusal::new("START_FAILED", 422, "it does not finish starting"),
            CallError::Overloaded(what) => Refusal::new("UNAVAILABLE", 503, what.message()),
            CallError::Host(cause) => Refusal::host(cause),
        })?;
        let plugin = Arc::new(ActivePlugin {
            id,
            version: manifest.plugin.version.clone(),
            seq: manifest.plugin.seq,
            digest: verified.digest.0,
            signers: verified.signers.clone(),
            exports: verified.contract.interfaces.iter().map(|interface| interface.full_name.clone()).collect(),
            runtime,
            services: published.services,
            routes: published.routes,
            on_disable: lifecycle.on_disable,
        });
        Ok(Prepared { plugin, on_enable: lifecycle.on_enable })
    }

    /// Compiles a component ahead of its turn. What is wrong with it is told when it is prepared.
    pub async fn warm(&self, verified: &Verified) {
        let _ = self.cache.load(&self.compiler, &verified.digest.0, &verified.bytes, &order(verified, None)).await;
    }

    /// What lasts: its stores are migrated and `on-enable` runs. The plugin may be called from now on.
    ///
    /// # Errors
    /// A [`Refusal`] that says which step failed.
    pub async fn enable(&self, prepared: &Prepared, verified: &Verified, options: &LoadOptions) -> Result<(), Refusal> {
        if !verified.manifest.stores.is_empty() {
            let _attempt = self.attempt(verified, "its stores were migrated").await;
            self.migrate(verified, options).await?;
        }
        let Some(place) = prepared.on_enable else { return Ok(()) };
        let _attempt = self.attempt(verified, "its on-enable ran").await;
        on_enable(&prepared.plugin.runtime, place).await
    }

    /// What follows is the version's own doing, in case that the host does not survive it.
    async fn attempt(&self, verified: &Verified, doing: &str) -> Attempt {
        let plugin = &verified.manifest.plugin;
        self.attempts.begin(plugin.id.as_str(), &plugin.version, verified.digest, doing).await
    }

    /// Brings the stores that the plugin owns up to date.
    async fn migrate(&self, verified: &Verified, options: &LoadOptions) -> Result<(), Refusal> {
        let policy = if options.allow_breaking { Policy::Any } else { Policy::ExpandOnly };
        // Keyed by what the manifest declares, which is what the trust policy has judged.
        for name in verified.manifest.stores.keys() {
            let list = verified.sections.migrations(name, "sqlite");
            if list.is_empty() {
                continue;
            }
            let refused = |error: MigrationError| {
                let (code, status) = match error {
                    MigrationError::NotExpanding { .. } => ("MIGRATION_NOT_EXPANDING", 409),
                    _ => ("MIGRATION_FAILED", 422),
                };
                Refusal::new(code, status, format!("store {name:?}: {error}"))
            };
            let file = store_file(&verified.manifest, name);
            let store = self.stores.store(&file).await.map_err(|error| refused(error.into()))?;
            store.migrate(&list, policy).await.map_err(refused)?;
        }
        Ok(())
    }

    async fn grants(
        &self,
        id: &Arc<str>,
        manifest: &Manifest,
        settings: HashMap<String, Setting>,
    ) -> Result<PluginGrants, Refusal> {
        let capabilities = &manifest.capabilities;
        let mut stores = Vec::with_capacity(capabilities.stores.len());
        for name in &capabilities.stores {
            let failed = |error| Refusal::new("STORE_UNAVAILABLE", 503, format!("store {name:?}: {error}"));
            let store = self.stores.store(&store_file(manifest, name)).await.map_err(failed)?;
            // Before the first token is verified: what was revoked before the restart is revoked.
            let (now_ms, deadline) = (Timestamp::now().as_millisecond(), Instant::now() + START_TIMEOUT);
            store.purge_revocations(now_ms, deadline).await.map_err(failed)?;
            let revoked = store.load_revocations(now_ms, deadline).await.map_err(failed)?;
            self.services.tokens.revocations().load(revoked);
            let metrics = self.metrics.store(store.name());
            stores.push(GrantedStore { name: name.as_str().into(), store, metrics });
        }
        let crypto = capabilities.crypto.as_ref().map(|grant| CryptoGrants {
            hash: grant.hash,
            keys: grant.keys.clone(),
            issue_tokens: grant.issue_tokens,
            verify_tokens: grant.verify_tokens,
            revoke_tokens: grant.revoke_tokens,
        });
        Ok(PluginGrants {
            plugin: id.clone(),
            stores,
            cache: capabilities.cache.then(|| self.memory_cache.space(id)),
            crypto,
            settings,
            services: self.services.clone(),
            work: self.services.work.share(),
            large_input_bytes: self.metrics.plugin_large_input_bytes(id),
            log_lines_per_call: self.config.limits.log_lines_per_call,
            log_line_bytes: self.config.limits.log_line_bytes.as_usize(),
            log_lines_dropped: self.metrics.plugin_log_lines_dropped(id),
            tail: self.tails.of(id),
        })
    }

    /// What a plugin with this manifest may use; without one what a plugin may that says nothing.
    #[must_use]
    pub fn limits(&self, manifest: Option<&Manifest>) -> view::Limits {
        let limits = &self.config.limits;
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let Some(manifest) = manifest else {
            return view::Limits {
                memory_bytes: limits.memory.as_u64(),
                call_timeout_ms: millis(limits.call_timeout.get()),
                concurrency: limits.concurrency,
                calls_per_instance: limits.calls_per_instance,
            };
        };
        let pool = self.pool_limits(manifest);
        view::Limits {
            memory_bytes: number(pool.memory),
            call_timeout_ms: millis(self.timeout(manifest, None)),
            concurrency: u32::try_from(self.concurrency(manifest)).unwrap_or(u32::MAX),
            calls_per_instance: pool.calls_per_instance,
        }
    }

    fn pool_limits(&self, manifest: &Manifest) -> PoolLimits {
        let limits = &self.config.limits;
        let memory = manifest.limits.memory.unwrap_or(limits.memory.as_u64()).min(limits.max_memory.as_u64());
        let memory = usize::try_from(memory).unwrap_or(usize::MAX);
        let calls_per_instance = match manifest.limits.instances {
            Instances::PerCall => 1,
            Instances::Reuse => manifest.limits.max_calls.map_or(limits.calls_per_instance, u64::from),
        };
        PoolLimits {
            memory,
            handles: usize::try_from(limits.max_handles).unwrap_or(usize::MAX),
            watermark: limits.memory_watermark.as_usize(),
            transfer: limits.max_transfer.as_usize(),
            calls_per_instance,
            max_idle: self.concurrency(manifest),
        }
    }

    fn concurrency(&self, manifest: &Manifest) -> usize {
        let limits = &self.config.limits;
        let wanted = manifest.limits.concurrency.unwrap_or(limits.concurrency).min(limits.max_concurrency);
        // Calls wait for an instance that the plugin may have; they do not fail for one that it may not.
        usize::try_from(wanted).unwrap_or(Semaphore::MAX_PERMITS).min(self.live.most_of_one())
    }

    fn call_limits(&self, manifest: &Manifest) -> CallLimits {
        let limits = &self.config.limits;
        CallLimits {
            concurrency: self.concurrency(manifest),
            max_queue: usize::try_from(limits.queue).unwrap_or(usize::MAX),
            queue_wait: limits.queue_wait.get(),
        }
    }

    fn timeout(&self, manifest: &Manifest, method: Option<&Method>) -> Duration {
        let limits = &self.config.limits;
        let own = method.and_then(|method| method.call_timeout).or(manifest.limits.call_timeout);
        own.unwrap_or(limits.call_timeout.get()).min(limits.max_call_timeout.get())
    }

    /// One callable function for each method of the manifest, and those of the lifecycle after them.
    fn functions(
        &self,
        id: &str,
        manifest: &Manifest,
        contract: &Contract,
        component: &Component,
    ) -> Result<Functions, Refusal> {
        let published =
            manifest.methods.iter().map(|method| planned(contract, method)).collect::<Result<Vec<_>, _>>()?;
        names::check(published).map_err(|error| Refusal::new("CONTRACT", 422, error))?;
        let mut all = Vec::with_capacity(manifest.methods.len() + 2);
        for method in &manifest.methods {
            let (interface, plan) = planned(contract, method)?;
            let name = format!("{}.{}", interface.name, plan.name);
            let has_result = plan.result.fallible || plan.result.ok.is_some();
            let concurrency = method.concurrency.and_then(|n| usize::try_from(n).ok());
            all.push(Function {
                export: export(component, &interface.full_name, &plan.name)?,
                has_result,
                timeout: self.timeout(manifest, Some(method)),
                concurrency: concurrency.map(|n| Arc::new(Semaphore::new(n))),
                metrics: self.metrics.call(id, &name),
                name: name.into(),
            });
        }
        let mut lifecycle = Lifecycle::default();
        let interface = contract.interfaces.iter().find(|interface| interface.full_name.starts_with(LIFECYCLE));
        if let Some(interface) = interface {
            for (function, place) in
                [("on-enable", &mut lifecycle.on_enable), ("on-disable", &mut lifecycle.on_disable)]
            {
                let name = format!("lifecycle.{function}");
                *place = Some(all.len());
                all.push(Function {
                    export: export(component, &interface.full_name, function)?,
                    has_result: true,
                    timeout: self.timeout(manifest, None),
                    concurrency: None,
                    metrics: self.metrics.call(id, &name),
                    name: name.into(),
                });
            }
        }
        Ok(Functions { all, lifecycle })
    }
}

/// Compiles a file for its plugin and its first signer.
fn order(verified: &Verified, wait: Option<Duration>) -> Order<'_> {
    let publisher = verified.signers.first().map_or("", String::as_str);
    Order { plugin: verified.manifest.plugin.id.as_str(), publisher, wait }
}

/// How a version is brought in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Its migrations may change the stores in ways that kept versions cannot live with.
    pub allow_breaking: bool,
}

/// A plugin that could be called, if it were let.
pub struct Prepared {
    /// The plugin.
    pub plugin: Arc<ActivePlugin>,
    /// The place of its `on-enable` among its functions.
    on_enable: Option<usize>,
}

struct Functions {
    all: Vec<Function>,
    lifecycle: Lifecycle,
}

#[derive(Default)]
struct Lifecycle {
    on_enable: Option<usize>,
    on_disable: Option<usize>,
}

/// The file of a store: its own name, or for `own` one that only this plugin has.
fn store_file(manifest: &Manifest, name: &str) -> String {
    match name {
        "own" => format!("own.{}", manifest.plugin.id.as_str().replace('/', ".")),
        shared => shared.to_owned(),
    }
}

fn export(
    component: &Component,
    interface: &str,
    function: &str,
) -> Result<wasmtime::component::ComponentExportIndex, Refusal> {
    component
        .get_export_index(None, interface)
        .and_then(|instance| component.get_export_index(Some(&instance), function))
        .ok_or_else(|| Refusal::new("CONTRACT", 422, format!("the component does not export {interface}.{function}")))
}

/// Why it cannot be linked: both sides where they can be told apart, else the linker's own words.
fn not_linked(contract: &Contract, error: &wasmtime::Error) -> Refusal {
    let text = match &contract.misfits.imports[..] {
        [] => format!(" {error:#}"),
        misfits => format!("\n{}", misfits.join("\n")),
    };
    Refusal::new("LINK_FAILED", 422, format!("the component does not fit this host:{text}"))
}

/// A call that the host makes for itself, without a caller. The function's own time limit is its deadline.
#[must_use]
pub fn system_call() -> Call {
    Call::of_host()
}

async fn on_enable(runtime: &PluginRuntime, place: usize) -> Result<(), Refusal> {
    let refused = |why: String| Refusal::new("ON_ENABLE_FAILED", 422, format!("on-enable refused: {why}"));
    match runtime.call(place, &[], system_call()).await {
        Ok(Some(Val::Result(Err(Some(text))))) => Err(refused(match *text {
            Val::String(text) => text,
            other => format!("{other:?}"),
        })),
        Ok(_) => Ok(()),
        Err(CallError::Trap(trap)) => Err(refused(trap.to_string())),
        Err(CallError::Host(cause)) => Err(refused(cause)),
        Err(CallError::Timeout) => Err(refused("it took longer than it may".into())),
        Err(CallError::Overloaded(what)) => Err(refused(what.message().into())),
    }
}
