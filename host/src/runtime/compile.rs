//! Compiling a component in a child process, so that a hostile file can exhaust a child and not the host.
//!
//! The child is this same binary (`arcana compile-worker`). It reads the component from its standard input, limits its own
//! CPU time and address space, and answers the compiled bytes on its standard output. Nothing of the file is run.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rlimit::Resource;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::engine::compile_config;
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
    /// The child could not be run.
    #[error("the compiler cannot be run: {0}")]
    Spawn(#[from] std::io::Error),
}

/// Runs compilations, a bounded number at once.
pub struct Compiler {
    program: PathBuf,
    limits: Compile,
    running: Arc<Semaphore>,
}

/// The verb of the command line that starts the child.
pub const WORKER_VERB: &str = "compile-worker";

/// What the child says first: compiled code follows, or the text of an error.
const COMPILED: u8 = 0;
const INVALID: u8 = 1;

impl Compiler {
    /// A compiler that starts `program` (the `arcana` binary) as its child.
    #[must_use]
    pub fn new(program: PathBuf, limits: Compile) -> Self {
        // Compiling is all CPU: half of the processors stay with the requests.
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let running = Arc::new(Semaphore::new(processors.div_ceil(2)));
        Self { program, limits, running }
    }

    /// The code of a component for this machine.
    ///
    /// # Errors
    /// See [`CompileError`]. The child is killed when this future is dropped.
    pub async fn compile(&self, component: &[u8]) -> Result<Vec<u8>, CompileError> {
        let _turn = self.running.acquire().await.map_err(|_| CompileError::Exhausted("a host that stops".into()))?;
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
