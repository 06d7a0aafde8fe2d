//! Compiling a component in a child process, so that a hostile file can exhaust a child and not the host.
//!
//! The child is this same binary (`arcana compile-worker`). It reads the component from its standard input, limits its own
//! CPU time and address space, and answers the compiled bytes on its standard output. Nothing of the file is run.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rlimit::Resource;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::engine::compile_config;
use super::places::{Place, Places, Seeker};
use crate::config::Compile;

/// Why there is no compiled code.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The component is not valid, or uses a feature that is switched off.
    #[error("the component does not compile: {0}")]
    Invalid(String),
    /// It took more than it may.
    #[error("compiling took longer than limits.compile allows ({0:?})")]
    Timeout(Duration),
    /// The child ended without an answer, which is what running out of its limits looks like.
    #[error("compiling needed more than limits.compile allows: the compiler ended with {0}")]
    Exhausted(String),
    /// Every place was taken for longer than the order may wait.
    #[error("the compiler is busy: no place became free within {0:?} (limits.compile.wait); try again")]
    Busy(Duration),
    /// The child could not be run.
    #[error("the compiler cannot be run: {0}")]
    Spawn(#[from] std::io::Error),
}

/// Runs compilations, a bounded number at once.
pub struct Compiler {
    program: PathBuf,
    limits: Compile,
    places: Arc<Places>,
    refused: AtomicU64,
}

/// For whom a component is compiled, and how long that may wait for its turn.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The plugin.
    pub plugin: &'a str,
    /// Who signed it.
    pub publisher: &'a str,
    /// The longest wait for a place; none waits as long as it takes.
    pub wait: Option<Duration>,
}

/// What compiling is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompileStats {
    /// Compilations that are running.
    pub running: usize,
    /// Those that wait for a place.
    pub waiting: usize,
    /// Those that gave up waiting.
    pub refused: u64,
}

/// The verb of the command line that starts the child.
pub const WORKER_VERB: &str = "compile-worker";

/// How far the child goes below the priority of the host.
const NICENESS: i32 = 10;

/// What the child says first: compiled code follows, or the text of an error.
const COMPILED: u8 = 0;
const INVALID: u8 = 1;

impl Compiler {
    /// A compiler that starts `program` (the `arcana` binary) as its child.
    #[must_use]
    pub fn new(program: PathBuf, limits: Compile) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let places = match usize::try_from(limits.places) {
            Ok(places) if places > 0 => places,
            // Children run below the priority of what serves, so that three of them leave it its processors.
            _ => processors.div_ceil(2).max(3),
        };
        Self { program, limits, places: Places::new(places), refused: AtomicU64::new(0) }
    }

    /// What it is doing.
    #[must_use]
    pub fn stats(&self) -> CompileStats {
        let (running, waiting) = self.places.counts();
        CompileStats { running, waiting, refused: self.refused.load(Ordering::Relaxed) }
    }

    async fn place(&self, component: &[u8], order: &Order<'_>) -> Result<Place, CompileError> {
        let large = u64::try_from(component.len()).unwrap_or(u64::MAX) > self.limits.small.as_u64();
        let seeker = Seeker { plugin: order.plugin.into(), publisher: order.publisher.into(), large };
        let place = self.places.take(seeker);
        let place = match order.wait {
            None => place.await,
            Some(wait) => tokio::time::timeout(wait, place).await.map_err(|_| {
                self.refused.fetch_add(1, Ordering::Relaxed);
                CompileError::Busy(wait)
            })?,
        };
        place.ok_or_else(|| CompileError::Exhausted("a host that stops".into()))
    }

    /// The code of a component for this machine.
    ///
    /// # Errors
    /// See [`CompileError`]. The child is killed when this future is dropped.
    pub async fn compile(&self, component: &[u8], order: &Order<'_>) -> Result<Vec<u8>, CompileError> {
        let _place = self.place(component, order).await?;
        let mut child = Command::new(&self.program)
            .arg(WORKER_VERB)
            .arg(self.limits.cpu.get().as_secs().max(1).to_string())
            .arg(self.limits.memory.as_u64().to_string())
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let (mut stdin, mut stdout) = (child.stdin.take(), child.stdout.take());
        let talk = async {
            let mut answer = Vec::new();
            let send = async {
                if let Some(mut stdin) = stdin.take() {
                    // A child that dies early closes the pipe; its exit tells why.
                    let _ = stdin.write_all(component).await;
                }
            };
            let receive = async {
                match &mut stdout {
                    Some(stdout) => stdout.read_to_end(&mut answer).await.map(|_| ()),
                    None => Ok(()),
                }
            };
            let ((), received) = tokio::join!(send, receive);
            received?;
            let status = child.wait().await?;
            Ok::<_, std::io::Error>((status, answer))
        };
        let (status, mut answer) = tokio::time::timeout(self.limits.timeout.get(), talk)
            .await
            .map_err(|_| CompileError::Timeout(self.limits.timeout.get()))??;
        match (status.success(), answer.first()) {
            (true, Some(&COMPILED)) => {
                answer.remove(0);
                Ok(answer)
            }
            (true, Some(&INVALID)) => Err(CompileError::Invalid(String::from_utf8_lossy(&answer[1..]).into_owned())),
            _ => Err(CompileError::Exhausted(status.to_string())),
        }
    }
}

/// The child's side: limits itself, compiles its standard input and answers on its standard output.
///
/// # Errors
/// When the limits cannot be set or the pipes break; an invalid component is an answer, not an error.
pub fn worker(cpu_seconds: u64, memory_bytes: u64) -> anyhow::Result<()> {
    Resource::CPU.set(cpu_seconds, cpu_seconds)?;
    Resource::AS.set(memory_bytes, memory_bytes)?;
    Resource::CORE.set(0, 0)?;
    // What serves comes first. A system that does not allow it loses nothing but that.
    let _ = rustix::process::nice(NICENESS);
    let mut component = Vec::new();
    std::io::stdin().lock().read_to_end(&mut component)?;
    let mut config = compile_config();
    // The address space is limited, and each thread of a parallel compilation wants its own share.
    config.parallel_compilation(false);
    let mut out = std::io::stdout().lock();
    let compiled = wasmtime::Engine::new(&config).and_then(|engine| engine.precompile_component(&component));
    match compiled {
        Ok(code) => {
            out.write_all(&[COMPILED])?;
            out.write_all(&code)?;
        }
        Err(error) => {
            out.write_all(&[INVALID])?;
            write!(out, "{error:#}")?;
        }
    }
    out.flush()?;
    Ok(())
}
