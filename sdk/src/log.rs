//! The plugin's log. A line is a message with fields: `info!("signed in"; user = id, address = peer)`.
//!
//! Never put secrets in it. The number of lines a call and their length are limited by the host.

use crate::generated::arcana::host::log as host;

pub use host::{Level, enabled, write};

pub use crate::{debug, error, info, trace, warn};

/// Writes one line of a level where the host would keep it; see the macros named after the levels.
#[macro_export]
macro_rules! log {
    ($level:expr, $format:literal $(, $argument:expr)* $(; $($key:ident = $value:expr),+ $(,)?)?) => {{
        let level = $level;
        if $crate::log::enabled(level) {
            $crate::log::write(
                level,
                &::std::format!($format $(, $argument)*),
                &[$($((::std::stringify!($key).into(), ::std::string::ToString::to_string(&$value))),+)?],
            );
        }
    }};
}

/// Logs what only the author of the plugin wants to see, in detail.
#[macro_export]
macro_rules! trace { ($($line:tt)+) => { $crate::log!($crate::log::Level::Trace, $($line)+) }; }

/// Logs what helps to find a fault.
#[macro_export]
macro_rules! debug { ($($line:tt)+) => { $crate::log!($crate::log::Level::Debug, $($line)+) }; }

/// Logs what an operator may want to know.
#[macro_export]
macro_rules! info { ($($line:tt)+) => { $crate::log!($crate::log::Level::Info, $($line)+) }; }

/// Logs what an operator should look at.
#[macro_export]
macro_rules! warn { ($($line:tt)+) => { $crate::log!($crate::log::Level::Warn, $($line)+) }; }

/// Logs a fault.
#[macro_export]
macro_rules! error { ($($line:tt)+) => { $crate::log!($crate::log::Level::Error, $($line)+) }; }
