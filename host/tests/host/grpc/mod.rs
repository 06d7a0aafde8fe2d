//! The gRPC side, seen by clients that know only what the host reflects.

pub mod client;
pub mod forms;

mod access;
mod inputs;
mod parity;
mod protocol;
mod standard;
