//! What attackers try, and that it does not work: one file for each kind of attack.

mod boot_loop;
mod connections;
mod documents;
mod fair_share;
mod file_modes;
mod handles;
mod host_identity;
mod http2;
mod kept_copies;
mod large_input;
mod lockout;
mod log_lines;
mod migrations;
mod output;
mod password_threads;
mod places;
mod records;
mod slow_clients;
mod sql_threads;
mod store_growth;
mod streams;
mod total_memory;
mod trusted;
mod trusted_text;
mod type_bombs;
mod who_may_read;
