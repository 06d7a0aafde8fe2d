//! What the host tells about itself and its plugins: logs and metrics.

pub mod logs;
pub mod metrics;
mod process;
mod pulled;
pub mod rendered;
pub mod tail;
