//! Times in TOML files, written as a TOML date-time with an offset or as the same in quotes.

use std::fmt;

use jiff::Timestamp;
use serde::de::{Error as _, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};

/// For `#[serde(default, deserialize_with = "…")]` on an optional time.
///
/// # Errors
/// Where the value is no time of the form `2027-01-31T12:00:00Z`.
pub fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    deserializer.deserialize_any(TimeVisitor).map(Some)
}

struct TimeVisitor;

impl<'de> Visitor<'de> for TimeVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as 2027-01-31T12:00:00Z")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
        text.parse().map_err(|_| E::custom(format!("`{text}` is no time such as 2027-01-31T12:00:00Z")))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Timestamp, A::Error> {
        let written = toml::value::Datetime::deserialize(MapAccessDeserializer::new(map))
            .map_err(|_| A::Error::custom("a time such as 2027-01-31T12:00:00Z was expected"))?;
        self.visit_str(&written.to_string())
    }
}
