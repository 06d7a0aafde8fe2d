//! The plugins' own settings, and references to secrets that are kept elsewhere.

use std::fmt;
use std::path::PathBuf;

use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Value;

use super::units::Secret;

/// A setting of a plugin's own. Texts may be secrets and are hidden from `Debug` and `config show`.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting {
    /// A truth value.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A floating point number.
    Decimal(f64),
    /// Text.
    Text(Secret<String>),
    /// A list of texts.
    Texts(Secret<Vec<String>>),
    /// What is kept elsewhere, and read when the plugin is loaded.
    Reference(Reference),
}

/// Where a value is kept that must not stand in a file of settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The environment variable with this name: `{ env = "NAME" }`.
    Env(String),
    /// This file: `{ file = "/run/secrets/name" }`. A relative path begins in the folder that the host is started in.
    File(PathBuf),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "{{ env = {} }}", Value::from(name.as_str())),
            Self::File(path) => write!(f, "{{ file = {} }}", Value::from(path.display().to_string())),
        }
    }
}

const REFERENCE: &str = "a reference is { env = \"NAME\" } or { file = \"/run/secrets/name\" }";

impl Reference {
    /// The key and the text of it. What is wrong is told without the text, which may be the secret itself.
    fn new(key: &str, text: &str) -> Result<Self, String> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match key {
            "env" if !text.is_empty() && text.chars().all(word) && !text.starts_with(|c: char| c.is_ascii_digit()) => {
                Ok(Self::Env(text.to_owned()))
            }
            "env" => Err("`env` must be the name of an environment variable: letters, digits and `_`".to_owned()),
            "file" if !text.is_empty() && !text.contains('\0') => Ok(Self::File(text.into())),
            "file" => Err("`file` must be the path of a file".to_owned()),
            _ => Err(format!("`{key}` is neither `env` nor `file`; {REFERENCE}")),
        }
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Setting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a boolean, an integer, a float, a text, a list of texts or a reference")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Setting, E> {
                Ok(Setting::Boolean(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Setting, E> {
                Ok(Setting::Integer(value))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Setting, E> {
                Ok(Setting::Decimal(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<Setting, E> {
                Ok(Setting::Text(Secret::new(value.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Setting, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = seq.next_element()? {
                    texts.push(text);
                }
                Ok(Setting::Texts(Secret::new(texts)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Setting, A::Error> {
                let Some((key, value)) = map.next_entry::<String, Value>()? else {
                    return Err(A::Error::custom(REFERENCE));
                };
                let text = value.as_str().ok_or_else(|| A::Error::custom(REFERENCE))?;
                let reference = Reference::new(&key, text).map_err(A::Error::custom)?;
                match map.next_entry::<String, IgnoredAny>()? {
                    None => Ok(Setting::Reference(reference)),
                    Some(_) => Err(A::Error::custom(format!("{REFERENCE}, and nothing else"))),
                }
            }
        }
        deserializer.deserialize_any(Any)
    }
}
