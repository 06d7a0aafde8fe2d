//! What the host tells about itself and its plugins: logs and metrics.

pub mod escape;
pub mod logs;
pub mod metrics;
pub mod output;
mod process;
mod pulled;
pub mod rendered;
pub mod tail;
