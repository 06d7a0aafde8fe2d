//! How far an upload has come: bars where somebody is looking, lines elsewhere.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::text::clean;

/// Shows it on standard error.
pub(super) enum Progress {
    /// A bar of bytes, then the stages.
    Bar(ProgressBar),
    /// One line for each thing that begins.
    Lines,
}

impl Progress {
    /// For an upload of so many bytes.
    pub(super) fn new(name: &str, bytes: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            eprintln!("uploading {name} ({bytes} bytes)");
            return Self::Lines;
        }
        let bar = ProgressBar::new(bytes);
        let style = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(format!("uploading {name}"));
        Self::Bar(bar)
    }

    /// So many bytes have been sent.
    pub(super) fn sent(&self, bytes: u64) {
        if let Self::Bar(bar) = self {
            bar.set_position(bytes);
        }
    }

    /// The host has begun this.
    pub(super) fn stage(&self, stage: &str) {
        let stage = clean(stage);
        match self {
            Self::Lines => eprintln!("{stage}"),
            Self::Bar(bar) => {
                if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                    bar.set_style(style);
                }
                bar.enable_steady_tick(Duration::from_millis(100));
                bar.set_message(stage);
            }
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
