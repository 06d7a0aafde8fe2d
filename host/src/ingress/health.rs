//! How the host is: told by `/health`, by `arcana.health.v1.HealthService` and by `grpc.health.v1.Health`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use tokio::sync::watch;

use crate::runtime::catalog::LiveCatalog;

/// How far the host is. Only ever moves on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Plugins are being loaded.
    Starting,
    /// Requests are answered.
    Serving,
    /// No new work is wanted.
    Draining,
}

impl Phase {
    /// The case of the WIT enum `phase` and the word of `/health`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "ok",
            Self::Draining => "draining",
        }
    }
}

/// How the host is.
pub struct Health {
    phase: AtomicU8,
    failed: Arc<AtomicUsize>,
    changed: watch::Sender<()>,
    /// The active plugins.
    pub catalog: Arc<LiveCatalog>,
    /// Whether the host runs in development mode, which everybody should see.
    pub development: bool,
}

impl Health {
    /// A host that is starting.
    #[must_use]
    pub fn new(catalog: Arc<LiveCatalog>, development: bool) -> Self {
        let (changed, _) = watch::channel(());
        Self { phase: AtomicU8::new(0), failed: Arc::default(), changed, catalog, development }
    }

    /// How far the host is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Draining,
        }
    }

    /// The host has come so far.
    pub fn reach(&self, phase: Phase) {
        let number = match phase {
            Phase::Starting => 0,
            Phase::Serving => 1,
            Phase::Draining => 2,
        };
        self.phase.fetch_max(number, Ordering::AcqRel);
        self.changed.send_replace(());
    }

    /// Told when the phase moves on.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// How many plugins that are to run do not, and how many files of the folder were refused.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }

    /// Where those who refuse plugins count them.
    #[must_use]
    pub const fn failures(&self) -> &Arc<AtomicUsize> {
        &self.failed
    }
}
