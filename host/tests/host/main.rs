//! The host through its public surface: the real binary, real signed components, a real database.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(unreachable_pub, reason = "one crate: `pub` in the support module is for its sisters")]

mod accounts;
mod architecture;
mod auth;
mod author;
mod capabilities;
mod chaos;
mod cli;
mod clients;
mod compat;
mod config;
mod contract;
mod create_admin;
mod data;
mod grpc;
mod http;
mod install;
mod limits;
mod live;
mod load;
mod openapi;
mod operation;
mod plugin_api;
mod proto;
mod remote_cli;
mod security;
mod sessions;
mod sign_in_limits;
mod small;
mod smoke;
mod support;
mod tokens;
mod trust;
mod user_list;
mod users;
