//! Arcana: a small host whose features are signed WebAssembly components, served over REST from their WIT interfaces.
//!
//! The modules are the architecture; `ARCHITECTURE.md` says which may use which.

pub mod app;
pub mod backends;
pub mod capabilities;
pub mod cli;
pub mod config;
pub mod contract;
pub mod ingress;
pub mod plugins;
pub mod principal;
pub mod problem;
pub mod request_id;
pub mod runtime;
pub mod telemetry;
