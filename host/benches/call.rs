//! One call of a component, by the host's library and by bare wasmtime: the same component, the same engine, dynamic
//! values on both sides. What lies between the two figures is what the host adds: turns, deadline, pool, metrics.
//!
//! The component is the guest `echo`; `cargo xtask bench --calls` builds it and names its file in `ARCANA_BENCH_GUEST`.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use arcana::capabilities::{self, HostWork, PluginGrants, Services};
use arcana::config::Config;
use arcana::plugins::load::system_call;
use arcana::principal::keys::{HostKeys, TokenAlgorithm};
use arcana::principal::passwords::{PasswordSettings, Passwords};
use arcana::principal::revocation::RevocationTable;
use arcana::principal::tokens::{TokenSettings, Tokens};
use arcana::runtime::engine::Engine;
use arcana::runtime::live::{LiveInstances, LiveLimits};
use arcana::runtime::plugin::{CallLimits, Function, PluginRuntime};
use arcana::runtime::pool::{Pool, PoolLimits};
use arcana::runtime::state::HostState;
use arcana::telemetry::metrics::Metrics;
use arcana::telemetry::tail::Tails;
use criterion::Criterion;
use tokio::runtime::Runtime;
use wasmtime::Store;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker, ResourceTable, Val};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

const INTERFACE: &str = "test:echo/kitchen@1.0.0";
const FUNCTION: &str = "hello";

/// As the guest's manifest says.
const MEMORY: usize = 16 << 20;

/// What a component needs at least: the WASI base set.
struct Bare {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Bare {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// The component on one engine.
struct Guest {
    engine: Arc<Engine>,
    component: Component,
    export: ComponentExportIndex,
}

fn main() -> anyhow::Result<()> {
    let Some(file) = std::env::var_os("ARCANA_BENCH_GUEST") else {
        println!("ARCANA_BENCH_GUEST is not set: run `cargo xtask bench --calls`");
        return Ok(());
    };
    let bytes = std::fs::read(&file).with_context(|| format!("{} could not be read", file.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let folder = tempfile::tempdir()?;
    let config = Config::load(folder.path(), []).map_err(|errors| anyhow::anyhow!("{errors}"))?;
    let guest = Guest::new(&config, &bytes)?;
    let grants = grants(folder.path())?;
    let params = [Val::String("ada".into())];
    let warm = guest.plugin(&config, &grants, config.limits.calls_per_instance)?;
    let fresh = guest.plugin(&config, &grants, 1)?;
    let bare = guest.bare()?;
    // Both answer what they should before they are measured.
    for answer in [runtime.block_on(arcana_call(&warm, &params))?, runtime.block_on(bare_call(&guest, &bare, &params))?]
    {
        ensure!(matches!(&answer, Val::String(text) if text == "Hello, ada!"), "{answer:?} is no greeting");
    }

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("warm");
    let (mut store, func) = runtime.block_on(async {
        let mut store = bare_store(&guest);
        let instance = bare.instantiate_async(&mut store).await?;
        let func = instance.get_func(&mut store, guest.export).context("the export")?;
        anyhow::Ok((store, func))
    })?;
    group.bench_function("wasmtime", |bencher| {
        bencher.iter_custom(|times| {
            timed(&runtime, times, async || {
                let mut results = [Val::Bool(false)];
                func.call_async(&mut store, &params, &mut results).await?;
                Ok(results)
            })
        });
    });
    group.bench_function("arcana", |bencher| {
        bencher.iter_custom(|times| timed(&runtime, times, async || arcana_call(&warm, &params).await));
    });
    group.finish();

    let mut group = criterion.benchmark_group("fresh");
    group.bench_function("wasmtime", |bencher| {
        bencher.iter_custom(|times| timed(&runtime, times, async || bare_call(&guest, &bare, &params).await));
    });
    group.bench_function("arcana", |bencher| {
        bencher.iter_custom(|times| timed(&runtime, times, async || arcana_call(&fresh, &params).await));
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}

/// The time of so many calls, one after the other. A call that fails would be measured as a quick one, so it ends the run.
fn timed<T>(runtime: &Runtime, times: u64, mut call: impl AsyncFnMut() -> anyhow::Result<T>) -> Duration {
    runtime.block_on(async {
        let start = Instant::now();
        for _ in 0..times {
            if let Err(error) = black_box(call().await) {
                eprintln!("a call failed: {error:#}");
                std::process::exit(1);
            }
        }
        start.elapsed()
    })
}

async fn arcana_call(plugin: &PluginRuntime, params: &[Val]) -> anyhow::Result<Val> {
    let answer = plugin.call(0, params, system_call()).await;
    answer.map_err(|error| anyhow::anyhow!("{error:?}"))?.context("no value")
}

async fn bare_call(guest: &Guest, pre: &InstancePre<Bare>, params: &[Val]) -> anyhow::Result<Val> {
    let mut store = bare_store(guest);
    let instance = pre.instantiate_async(&mut store).await?;
    let func = instance.get_func(&mut store, guest.export).context("the export")?;
    let mut results = [Val::Bool(false)];
    func.call_async(&mut store, params, &mut results).await?;
    let [value] = results;
    Ok(value)
}

fn bare_store(guest: &Guest) -> Store<Bare> {
    let bare = Bare { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
    let mut store = Store::new(guest.engine.wasmtime(), bare);
    // The code looks at the epoch, as the host has it compiled. Nothing ends a call here.
    store.set_epoch_deadline(u64::MAX / 2);
    store
}

impl Guest {
    fn new(config: &Config, bytes: &[u8]) -> anyhow::Result<Self> {
        let engine = Arc::new(Engine::new(&config.limits)?);
        let component = Component::new(engine.wasmtime(), bytes)?;
        let interface = component.get_export_index(None, INTERFACE).context(INTERFACE)?;
        let export = component.get_export_index(Some(&interface), FUNCTION).context(FUNCTION)?;
        Ok(Self { engine, component, export })
    }

    /// As the host loads it, less what happens once: verifying, storing, routing.
    fn plugin(&self, config: &Config, grants: &Arc<PluginGrants>, calls: u64) -> anyhow::Result<PluginRuntime> {
        let mut linker = Linker::<HostState>::new(self.engine.wasmtime());
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        capabilities::link(&mut linker, grants, HostState::view)?;
        let metrics = Metrics::new()?;
        let concurrency = usize::try_from(config.limits.concurrency)?;
        let limits = PoolLimits {
            transfer: config.limits.max_transfer.as_usize(),
            memory: MEMORY,
            handles: usize::try_from(config.limits.max_handles)?,
            watermark: config.limits.memory_watermark.as_usize(),
            calls_per_instance: calls,
            max_idle: concurrency,
        };
        let live = LiveInstances::new(&LiveLimits {
            instances: usize::try_from(config.limits.max_instances)?,
            reserved: usize::try_from(config.limits.instances_reserved)?,
            share: usize::try_from(config.limits.instance_share)?,
            memory: usize::try_from(config.limits.total_memory_bytes())?,
        });
        let id: Arc<str> = "test/echo".into();
        let pre = linker.instantiate_pre(&self.component)?;
        let pool = Pool::new(pre, grants.clone(), limits, live, metrics.plugin_pool(&id));
        let function = Function {
            name: FUNCTION.into(),
            export: self.export,
            has_result: true,
            timeout: config.limits.call_timeout.get(),
            concurrency: None,
            metrics: metrics.call(&id, FUNCTION),
        };
        let queue = CallLimits {
            concurrency,
            max_queue: usize::try_from(config.limits.queue)?,
            queue_wait: config.limits.queue_wait.get(),
        };
        let counted = metrics.plugin(&id);
        Ok(PluginRuntime::new(id, self.engine.clone(), pool, vec![function], queue, counted, grants.tail.clone()))
    }

    fn bare(&self) -> anyhow::Result<InstancePre<Bare>> {
        let mut linker = Linker::<Bare>::new(self.engine.wasmtime());
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        // The greeting calls nothing of the host.
        linker.define_unknown_imports_as_traps(&self.component)?;
        Ok(linker.instantiate_pre(&self.component)?)
    }
}

/// No capability but those that everybody has.
fn grants(folder: &std::path::Path) -> anyhow::Result<Arc<PluginGrants>> {
    let keys = HostKeys::open(folder, TokenAlgorithm::EdDsa)?;
    let minute = Duration::from_secs(60);
    let settings = TokenSettings {
        issuer: "bench".into(),
        audience: "bench".into(),
        life: minute,
        leeway: Duration::ZERO,
        cache_entries: 8,
    };
    let revocations = Arc::new(RevocationTable::new(Tokens::keep_ms(&settings)));
    let passwords =
        PasswordSettings { memory_kib: 64, iterations: 1, parallelism: 1, concurrency: 1, queue: 1, max_cost: 4 };
    let services = Services {
        tokens: Arc::new(Tokens::new(settings, keys.tokens, revocations)),
        passwords: Passwords::new(&passwords)?,
        keys: keys.plugins,
        work: HostWork::new(1),
    };
    let work = services.work.share();
    Ok(Arc::new(PluginGrants {
        plugin: "test/echo".into(),
        stores: Vec::new(),
        cache: None,
        crypto: None,
        settings: HashMap::new(),
        services: Arc::new(services),
        work,
        large_input_bytes: Metrics::new()?.plugin_large_input_bytes("test/echo"),
        log_lines_per_call: 100,
        log_line_bytes: 4096,
        log_lines_dropped: Metrics::new()?.plugin_log_lines_dropped("test/echo"),
        tail: Tails::new(500, 4096, 1000).of("test/echo"),
    }))
}
