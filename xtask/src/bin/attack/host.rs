//! The host's process.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// The longest wait for a host to serve, the compilation of its plugins included.
const START: Duration = Duration::from_secs(300);

/// The destination of the host's standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// A file.
    File,
    /// A pipe whose reader never reads.
    Stalled,
}

/// A running host. Dropping it kills the process.
pub(crate) struct Host {
    child: Child,
    /// The REST port on loopback.
    pub(crate) port: u16,
    log: PathBuf,
    _unread: Option<ChildStderr>,
}

/// The end of a host after SIGTERM.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    /// The time from the signal to the end of the process.
    pub(crate) after: Duration,
    /// None if the host had to be killed.
    status: Option<ExitStatus>,
}

impl End {
    /// Whether it exited by itself with status 0.
    pub(crate) fn is_clean(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

impl Host {
    /// Starts a host in its home folder, with default settings except for addresses and ports.
    ///
    /// # Errors
    /// The host does not serve; the message contains its log.
    pub(crate) fn start(arcana: &Path, home: &Path, output: Output) -> Result<Self> {
        let log = home.join("host.log");
        let mut command = Command::new(arcana);
        command.arg("serve").current_dir(home).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(match output {
            Output::File => Stdio::from(File::create(&log).context("the log could not be made")?),
            Output::Stalled => Stdio::piped(),
        });
        without_settings(&mut command);
        for server in ["REST", "GRPC"] {
            command.env(format!("ARCANA_SERVER__{server}__ADDRESS"), "127.0.0.1");
            command.env(format!("ARCANA_SERVER__{server}__PORT"), "0");
        }
        let mut child = command.spawn().with_context(|| format!("{} could not be started", arcana.display()))?;
        let (stdout, unread) = (child.stdout.take(), child.stderr.take());
        let mut host = Self { child, port: 0, log, _unread: unread };
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            // Reads to the end: this pipe must not stall.
            for line in stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines()).map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let until = Instant::now() + START;
        while let Ok(line) = receive.recv_timeout(until.saturating_duration_since(Instant::now())) {
            let address = line.strip_prefix("arcana is serving on http://").and_then(|rest| rest.split(' ').next());
            if let Some(port) = address.and_then(|address| address.rsplit_once(':')?.1.parse().ok()) {
                host.port = port;
                return Ok(host);
            }
        }
        bail!("the host does not serve:\n{}", host.log());
    }

    /// The id of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last lines of the log.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let lines = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default();
        let cut = |line: &&str| line.chars().take(300).collect::<String>();
        lines.iter().map(cut).collect::<Vec<_>>().join("\n")
    }

    /// The exit status, if the process has ended.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(status.signal().map_or_else(|| status.to_string(), |signal| format!("died by signal {signal}")))
    }

    /// Sends SIGTERM and waits for the end; kills the process after `longest`.
    pub(crate) fn terminate(&mut self, longest: Duration) -> End {
        let begin = Instant::now();
        // The child has not been reaped, so the id is still its own.
        if matches!(self.child.try_wait(), Ok(None))
            && let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, Signal::TERM);
        }
        loop {
            let ended = self.child.try_wait();
            let after = begin.elapsed();
            match ended {
                Ok(None) if after < longest => std::thread::sleep(Duration::from_millis(2)),
                Ok(Some(status)) => return End { after, status: Some(status) },
                _ => {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    return End { after, status: None };
                }
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Removes Arcana's settings from the command's environment.
pub(crate) fn without_settings(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"ARCANA_")) {
        command.env_remove(name);
    }
    command
}
