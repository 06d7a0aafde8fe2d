//! The host through its public surface: the real binary, real signed components, a real database.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(unreachable_pub, reason = "one crate: `pub` in the support module is for its sisters")]

mod architecture;
mod chaos;
mod cli;
mod config;
mod install;
mod load;
mod small;
mod smoke;
mod support;
mod trust;
