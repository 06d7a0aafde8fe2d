//! What the host tells about itself: logs and metrics.

pub mod logs;
pub mod metrics;
mod process;
mod pulled;
