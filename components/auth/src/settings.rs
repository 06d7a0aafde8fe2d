//! The settings of the plugin: `[plugins.settings."arcana/auth"]`.

use core::time::Duration;

use arcana_identity::attempts::{CONFLICTS, Policy};
use arcana_sdk::config::{SettingError, get, get_or};

const SECONDS_PER_DAY: u64 = 86_400;

/// What an operator may set.
pub(crate) struct Settings {
    /// `refresh_token_days`: the life of a refresh token, 1 to 365 days; 30 by default.
    pub(crate) refresh_life: Duration,
    /// `access_token_seconds`: the life of an access token; the host's longest where it is absent or longer.
    pub(crate) access_life_seconds: Option<u64>,
    /// `sessions_per_account`: how many sessions an account has at once, 1 to 1,000; the oldest is ended for a new one.
    /// 50 by default.
    pub(crate) sessions_per_account: u32,
    /// `refreshes_per_minute`: how many refresh tokens of an account are used in a minute at most, 1 to 100,000; 60 by
    /// default.
    pub(crate) refreshes_per_minute: i64,
    /// `lockout_threshold`, `lockout_base_seconds`, `lockout_max_seconds`, `lockout_window_seconds`.
    pub(crate) lockout: Policy,
    /// `known_addresses`: from how many addresses, those of the last successes, an account may be signed in to while failures
    /// elsewhere lock it; 0 to 100, 16 by default.
    pub(crate) known_addresses: u32,
    /// `known_address_days`: how long an address is known after the last success, 1 to 365 days; 90 by default.
    pub(crate) known_address_life: Duration,
    /// `registration`: whether people may make accounts for themselves; `open` by default, or `closed`.
    pub(crate) registration_open: bool,
    /// `register_conflicts`: how many registrations from an address may meet a name that is taken before the next ones wait,
    /// 1 to 10,000; 20 by default.
    pub(crate) conflicts: Policy,
}

impl Settings {
    pub(crate) fn load() -> Result<Self, SettingError> {
        let days = within("refresh_token_days", 1..=365, 30, "an integer from 1 to 365")?;
        let access_life_seconds = get("access_token_seconds")?;
        if access_life_seconds == Some(0) {
            return Err(SettingError::new("access_token_seconds", "an integer from 1"));
        }
        let sessions = within("sessions_per_account", 1..=1000, 50, "an integer from 1 to 1000")?;
        let refreshes = within("refreshes_per_minute", 1..=100_000, 60, "an integer from 1 to 100000")?;
        let seconds = |key, default| {
            within(key, 1..=30 * SECONDS_PER_DAY, default, "an integer from 1 to 2592000").map(Duration::from_secs)
        };
        let threshold = within("lockout_threshold", 1..=1000, 5, "an integer from 1 to 1000")?;
        let known = within("known_addresses", 0..=100, 16, "an integer from 0 to 100")?;
        let known_days = within("known_address_days", 1..=365, 90, "an integer from 1 to 365")?;
        let conflicts = within("register_conflicts", 1..=10_000, CONFLICTS.threshold, "an integer from 1 to 10000")?;
        let registration_open = match get_or("registration", "open".to_owned())?.as_str() {
            "open" => true,
            "closed" => false,
            _ => return Err(SettingError::new("registration", "`open` or `closed`")),
        };
        Ok(Self {
            refresh_life: Duration::from_secs(days * SECONDS_PER_DAY),
            access_life_seconds,
            sessions_per_account: u32::try_from(sessions).unwrap_or(u32::MAX),
            refreshes_per_minute: i64::try_from(refreshes).unwrap_or(i64::MAX),
            lockout: Policy {
                threshold,
                base: seconds("lockout_base_seconds", 30)?,
                max: seconds("lockout_max_seconds", 15 * 60)?,
                window: seconds("lockout_window_seconds", SECONDS_PER_DAY)?,
            },
            known_addresses: u32::try_from(known).unwrap_or(u32::MAX),
            known_address_life: Duration::from_secs(known_days * SECONDS_PER_DAY),
            registration_open,
            conflicts: Policy { threshold: conflicts, ..CONFLICTS },
        })
    }
}

fn within(
    key: &str,
    range: core::ops::RangeInclusive<u64>,
    default: u64,
    expected: &'static str,
) -> Result<u64, SettingError> {
    let value = get_or(key, default)?;
    if range.contains(&value) { Ok(value) } else { Err(SettingError::new(key, expected)) }
}
