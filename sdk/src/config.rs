//! The plugin's own settings: `[plugins.settings."<id>"]` of the host's configuration.

use crate::Problem;
use crate::generated::arcana::host::config as host;

pub use host::{Setting, get as get_raw};

/// What a setting can be read as.
pub trait FromSetting: Sized {
    /// What the value has to be, for messages: `an integer`.
    const EXPECTED: &'static str;
    /// The value, or none where the setting is of another type or out of range.
    fn from_setting(setting: Setting) -> Option<Self>;
}

/// The value of a setting, or none where it is not set.
///
/// # Errors
/// Says which setting is of another type, and which type it needs. A plugin that reads its settings in
/// `lifecycle.on-enable` is refused with this text instead of failing later.
pub fn get<T: FromSetting>(key: &str) -> Result<Option<T>, SettingError> {
    let Some(setting) = host::get(key) else { return Ok(None) };
    T::from_setting(setting).map(Some).ok_or_else(|| SettingError { key: key.to_owned(), expected: T::EXPECTED })
}

/// The value of a setting, or `default` where it is not set.
///
/// # Errors
/// As [`get`].
pub fn get_or<T: FromSetting>(key: &str, default: T) -> Result<T, SettingError> {
    Ok(get(key)?.unwrap_or(default))
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    key: String,
    expected: &'static str,
}

impl SettingError {
    /// A setting whose value breaks a rule; `expected` says what it has to be.
    pub fn new(key: impl Into<String>, expected: &'static str) -> Self {
        Self { key: key.into(), expected }
    }
}

impl core::fmt::Display for SettingError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the setting `{}` has to be {}", self.key, self.expected)
    }
}

impl core::error::Error for SettingError {}

impl From<SettingError> for Problem {
    fn from(error: SettingError) -> Self {
        Self::internal(error.to_string())
    }
}

impl FromSetting for bool {
    const EXPECTED: &'static str = "true or false";
    fn from_setting(setting: Setting) -> Option<Self> {
        if let Setting::Boolean(value) = setting { Some(value) } else { None }
    }
}

impl FromSetting for i64 {
    const EXPECTED: &'static str = "an integer";
    fn from_setting(setting: Setting) -> Option<Self> {
        if let Setting::Integer(value) = setting { Some(value) } else { None }
    }
}

macro_rules! unsigned_setting {
    ($($type:ty),+) => { $(
        impl FromSetting for $type {
            const EXPECTED: &'static str = "an integer from 0";
            fn from_setting(setting: Setting) -> Option<Self> {
                i64::from_setting(setting)?.try_into().ok()
            }
        }
    )+ };
}
unsigned_setting!(u32, u64);

impl FromSetting for f64 {
    const EXPECTED: &'static str = "a number";
    fn from_setting(setting: Setting) -> Option<Self> {
        match setting {
            Setting::Decimal(value) => Some(value),
            Setting::Integer(value) => i32::try_from(value).ok().map(Self::from),
            _ => None,
        }
    }
}

impl FromSetting for String {
    const EXPECTED: &'static str = "text";
    fn from_setting(setting: Setting) -> Option<Self> {
        if let Setting::Text(value) = setting { Some(value) } else { None }
    }
}

impl FromSetting for Vec<String> {
    const EXPECTED: &'static str = "a list of texts";
    fn from_setting(setting: Setting) -> Option<Self> {
        if let Setting::Texts(value) = setting { Some(value) } else { None }
    }
}
