//! `log`, and standard output and error of the guest: lines of the plugin in the host's log, bounded by call, by second and
//! plugin, and in length.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::View;
use super::bindings::arcana::host::log::{Host, Level};
use super::grants::PluginGrants;
use crate::request_id::RequestId;
use crate::telemetry::tail::{self, Tail, clip, clip_fields};

/// Where the lines of one instance go.
pub(super) struct Sink {
    plugin: Arc<str>,
    tail: Arc<Tail>,
    lines: u32,
    line_bytes: usize,
    dropped: IntCounter,
    /// The lines that the call may still write, and one more for saying that there are no more.
    left: AtomicU32,
    request: Mutex<RequestId>,
    partial: Mutex<Vec<u8>>,
    /// The last lines of output, kept for the case that the guest ends now.
    last: Mutex<VecDeque<String>>,
}

/// How many lines of output are kept, and how much of each.
const LAST_LINES: usize = 6;
const LAST_LINE_BYTES: usize = 512;

impl Sink {
    pub(super) fn new(grants: &PluginGrants, request: RequestId) -> Self {
        Self {
            plugin: grants.plugin.clone(),
            tail: grants.tail.clone(),
            lines: grants.log_lines_per_call,
            line_bytes: grants.log_line_bytes,
            dropped: grants.log_lines_dropped.clone(),
            left: AtomicU32::new(grants.log_lines_per_call.saturating_add(1)),
            request: Mutex::new(request),
            partial: Mutex::default(),
            last: Mutex::default(),
        }
    }

    pub(super) fn start_call(&self, request: RequestId) {
        self.left.store(self.lines.saturating_add(1), Ordering::Relaxed);
        *self.request.lock() = request;
        self.last.lock().clear();
    }

    /// The last lines of output: from the message of a panic on, where there is one.
    pub(super) fn last_words(&self) -> Vec<String> {
        self.end_call();
        let last = self.last.lock();
        let panic = last.iter().rposition(|line| line.contains(" panicked at ")).unwrap_or(0);
        let hint = |line: &&String| !line.is_empty() && !line.starts_with("note: run with `RUST_BACKTRACE");
        last.iter().skip(panic).filter(hint).cloned().collect()
    }

    /// A line that was not ended is a line all the same.
    pub(super) fn end_call(&self) {
        let rest = std::mem::take(&mut *self.partial.lock());
        if !rest.is_empty() {
            self.line(&rest);
        }
    }

    fn write(&self, level: Level, message: &str, fields: &[(String, String)]) {
        let Some(missing) = self.tail.admit() else {
            self.dropped.inc();
            return;
        };
        if missing > 0 {
            let says = format!("{missing} lines before this one were dropped: limits.log_lines_per_second");
            let request = *self.request.lock();
            tracing::warn!(target: "plugin", plugin = %self.plugin, request_id = %request, "{says}");
            self.tail.write(tail::Level::Warn, &says, [], Some(request));
        }
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        match taken {
            Err(_) => {
                self.dropped.inc();
                return;
            }
            Ok(1) => {
                let (request, says) =
                    (*self.request.lock(), "the call has used up limits.log_lines_per_call; the rest is dropped");
                tracing::warn!(target: "plugin", plugin = %self.plugin, request_id = %request, limit = self.lines, "{says}");
                self.tail.write(tail::Level::Warn, says, [], Some(request));
                self.dropped.inc();
                return;
            }
            Ok(_) => {}
        }
        let message = clip(message, self.line_bytes);
        let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let fields = clip_fields(fields, self.line_bytes.saturating_sub(message.len()));
        let fields: Vec<(&str, &str)> = fields.collect();
        let mut shown = String::new();
        for (name, value) in &fields {
            if !shown.is_empty() {
                shown.push(' ');
            }
            shown.push_str(name);
            shown.push('=');
            shown.push_str(value);
        }
        let request = *self.request.lock();
        self.tail.write(tail_level(level), message, fields, Some(request));
        // The macro takes its level as a constant.
        macro_rules! event {
            ($level:ident) => {
                tracing::event!(target: "plugin", tracing::Level::$level, plugin = %self.plugin, request_id = %request,
                    fields = shown.as_str(), "{message}")
            };
        }
        match level {
            Level::Trace => event!(TRACE),
            Level::Debug => event!(DEBUG),
            Level::Info => event!(INFO),
            Level::Warn => event!(WARN),
            Level::Error => event!(ERROR),
        }
    }

    /// A line of standard output or error.
    fn line(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let mut last = self.last.lock();
        if last.len() >= LAST_LINES {
            last.pop_front();
        }
        last.push_back(clip(&line, LAST_LINE_BYTES).to_owned());
        drop(last);
        self.write(Level::Info, &line, &[]);
    }

    /// Takes bytes of standard output apart into lines.
    fn output(&self, bytes: &[u8]) {
        let mut partial = self.partial.lock();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let (line, after) = rest.split_at(end);
            partial.extend_from_slice(&line[..line.len().min(self.line_bytes)]);
            let whole = std::mem::take(&mut *partial);
            self.line(&whole);
            rest = &after[1..];
        }
        let room = self.line_bytes.saturating_sub(partial.len());
        partial.extend_from_slice(&rest[..rest.len().min(room)]);
    }
}

const fn tail_level(level: Level) -> tail::Level {
    match level {
        Level::Trace => tail::Level::Trace,
        Level::Debug => tail::Level::Debug,
        Level::Info => tail::Level::Info,
        Level::Warn => tail::Level::Warn,
        Level::Error => tail::Level::Error,
    }
}

impl Host for View<'_> {
    fn write(&mut self, level: Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        self.state.log.write(level, &message, &fields);
        Ok(())
    }

    fn enabled(&mut self, level: Level) -> wasmtime::Result<bool> {
        Ok(match level {
            Level::Trace => tracing::enabled!(target: "plugin", tracing::Level::TRACE),
            Level::Debug => tracing::enabled!(target: "plugin", tracing::Level::DEBUG),
            Level::Info => tracing::enabled!(target: "plugin", tracing::Level::INFO),
            Level::Warn => tracing::enabled!(target: "plugin", tracing::Level::WARN),
            Level::Error => tracing::enabled!(target: "plugin", tracing::Level::ERROR),
        })
    }
}

/// The guest's standard output or error.
#[derive(Clone)]
pub struct Output(pub(super) Arc<Sink>);

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    /// WASI 0.2 takes the other one; this would be used by 0.3, which is not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.output(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}
