//! The processes that are measured, and what the kernel tells of them.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wire;

/// The longest wait for a server to answer, the compilation of its plugins included.
const START: Duration = Duration::from_secs(120);

/// The longest wait for a server to end by itself.
const END: Duration = Duration::from_secs(15);

/// How the kernel counts processor time in `/proc/<pid>/stat`: `USER_HZ`, which is 100 for every program on Linux.
const TICK: Duration = Duration::from_millis(10);

/// Says which toolchain builds plugins.
const TOOLCHAIN: &str = "ARCANA_WASM_TOOLCHAIN";

/// A server that answers. Dropping it ends it.
pub(crate) struct Server {
    child: Child,
    /// Its port on loopback.
    pub(crate) port: u16,
    /// Its port for gRPC on loopback.
    pub(crate) grpc_port: u16,
    /// From the start of the process to the end of its first answer.
    pub(crate) start: Duration,
}

/// Memory of a process in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// All of its pages that are in memory.
    pub(crate) rss: u64,
    /// The same, with shared pages divided by those who share them.
    pub(crate) pss: u64,
}

impl Server {
    /// The host at home in this folder.
    ///
    /// # Errors
    /// It does not start; with the end of its log.
    pub(crate) fn host(arcana: &Path, home: &Path) -> Result<Self> {
        Self::arcana(arcana, "serve", home, &home.join("host.log"))
    }

    /// `arcana dev` in the folder of a plugin. It answers before the plugin is built.
    ///
    /// # Errors
    /// It does not start; with the end of its log.
    pub(crate) fn develop(arcana: &Path, folder: &Path, log: &Path) -> Result<Self> {
        Self::arcana(arcana, "dev", folder, log)
    }

    fn arcana(arcana: &Path, verb: &str, folder: &Path, log: &Path) -> Result<Self> {
        let [port, grpc_port] = free_ports()?;
        let mut command = Command::new(arcana);
        command.arg(verb).current_dir(folder);
        let is_setting = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b"ARCANA_") && name != TOOLCHAIN;
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(name)) {
            command.env_remove(name);
        }
        command.env("ARCANA_SERVER__REST__ADDRESS", Ipv4Addr::LOCALHOST.to_string());
        command.env("ARCANA_SERVER__REST__PORT", port.to_string());
        command.env("ARCANA_SERVER__GRPC__ADDRESS", Ipv4Addr::LOCALHOST.to_string());
        command.env("ARCANA_SERVER__GRPC__PORT", grpc_port.to_string());
        command.env("ARCANA_LIMITS__RATE_LIMITS", "false");
        Self::start(command, port, grpc_port, "/health", log)
    }

    /// The bare servers that the host is compared with.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn yardstick(program: &Path, home: &Path) -> Result<Self> {
        let [port, grpc_port] = free_ports()?;
        let mut command = Command::new(program);
        command.arg(port.to_string()).arg(grpc_port.to_string());
        Self::start(command, port, grpc_port, "/", &home.join("yardstick.log"))
    }

    fn start(mut command: Command, port: u16, grpc_port: u16, path: &str, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("{} could not be made", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let begin = Instant::now();
        let child = command.spawn().with_context(|| format!("{:?} could not be started", command.get_program()))?;
        let mut server = Self { child, port, grpc_port, start: Duration::ZERO };
        loop {
            if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                let answer = simple(stream, &wire::request("GET", path, None, None));
                server.start = begin.elapsed();
                if let Ok((200, _)) = answer {
                    return Ok(server);
                }
            }
            if begin.elapsed() > START || server.child.try_wait()?.is_some() {
                let log = std::fs::read_to_string(log).unwrap_or_default();
                bail!("{:?} does not answer with 200:\n{log}", command.get_program());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks once, on a connection of its own; answers the status and the body.
    ///
    /// # Errors
    /// There is no answer.
    pub(crate) fn ask(&self, verb: &str, path: &str, token: Option<&str>, body: Option<&str>) -> Result<(u16, String)> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        simple(stream, &wire::request(verb, path, token, body))
    }

    /// Its memory now.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn memory(&self) -> Result<Memory> {
        memory(self.pid())
    }

    /// Tells it to stop and waits until it has.
    ///
    /// # Errors
    /// It does not stop by itself.
    pub(crate) fn stop(mut self) -> Result<()> {
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)?;
        }
        let until = Instant::now() + END;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > until {
                bail!("the process {} was told to stop and did not", self.pid());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Only this very child: a process that has ended is not signalled.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Two ports that nobody listens on.
fn free_ports() -> Result<[u16; 2]> {
    // Both are held until both are known: they are not the same.
    let (one, other) = (TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
    Ok([one.local_addr()?.port(), other.local_addr()?.port()])
}

/// One request and its whole answer, for what is not measured.
fn simple(mut stream: TcpStream, request: &[u8]) -> Result<(u16, String)> {
    stream.set_read_timeout(Some(START))?;
    stream.set_nodelay(true)?;
    stream.write_all(request)?;
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut piece)?;
        bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
        if let Some((status, body)) = wire::whole(&bytes)? {
            return Ok((status, String::from_utf8_lossy(body).into_owned()));
        }
        if read == 0 {
            bail!("the connection was closed in the middle");
        }
    }
}

/// What a process and its threads have used of the processors so far.
///
/// # Errors
/// It has ended.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = read(pid, "stat")?;
    // The name in parentheses may hold anything; after it come the fields from the third on.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).context("/proc/<pid>/stat is not as expected")?;
    Ok(TICK * user + TICK * system)
}

/// The memory of a process.
///
/// # Errors
/// It has ended.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    Ok(Memory { rss: rss(pid)?, pss: bytes(&read(pid, "smaps_rollup")?, "Pss:")? })
}

/// The part of [`memory`] that is read quickly.
///
/// # Errors
/// It has ended.
pub(crate) fn rss(pid: u32) -> Result<u64> {
    bytes(&read(pid, "status")?, "VmRSS:")
}

fn bytes(text: &str, name: &str) -> Result<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = value.and_then(|value| value.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("/proc tells no {name}"))? * 1024)
}

fn read(pid: u32, file: &str) -> Result<String> {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).with_context(|| format!("/proc/{pid}/{file}"))
}
