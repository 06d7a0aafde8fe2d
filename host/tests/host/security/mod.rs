//! What attackers try, and that it does not work: one file for each kind of attack.

mod connections;
mod fair_share;
mod file_modes;
mod handles;
mod host_identity;
mod http2;
mod large_input;
mod lockout;
mod log_lines;
mod migrations;
mod output;
mod password_threads;
mod slow_clients;
mod streams;
mod total_memory;
mod trusted;
mod who_may_read;
