//! Identifiers (RFC 9562).

use core::fmt;
use core::str::FromStr;

use crate::Timestamp;
use crate::generated::arcana::host::database as host;

/// A 128-bit identifier (RFC 9562), written as `0197a1c2-…` in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(u128);

impl Uuid {
    /// All bits zero.
    pub const NIL: Self = Self(0);

    /// A random identifier (version 4). Needs a `crypto` grant.
    #[must_use]
    pub fn v4() -> Self {
        Self::from_parts(u128::from_be_bytes(crate::crypto::random()), 4)
    }

    /// An identifier that sorts by the time it was made (version 7): the key of choice for rows. Needs a `crypto` grant.
    #[must_use]
    pub fn v7() -> Self {
        let millis = u128::from(Timestamp::now().unix_micros().max(0).unsigned_abs() / 1000);
        Self::from_parts(millis << 80 | u128::from_be_bytes(crate::crypto::random()) >> 48, 7)
    }

    /// The identifier with these bits.
    #[must_use]
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits, the first byte on top.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// Sets version and variant over the given bits.
    const fn from_parts(bits: u128, version: u128) -> Self {
        Self(bits & !(0xf << 76 | 0b11 << 62) | version << 76 | 0b10 << 62)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            bits >> 96,
            bits >> 80 & 0xffff,
            bits >> 64 & 0xffff,
            bits >> 48 & 0xffff,
            bits & 0xffff_ffff_ffff
        )
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no identifier in the form of RFC 9562.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidUuid;

impl fmt::Display for InvalidUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a UUID")
    }
}

impl core::error::Error for InvalidUuid {}

impl FromStr for Uuid {
    type Err = InvalidUuid;

    /// Reads the hyphenated form, in either case.
    fn from_str(text: &str) -> Result<Self, InvalidUuid> {
        if text.len() != 36 {
            return Err(InvalidUuid);
        }
        let mut bits = 0;
        for (at, byte) in text.bytes().enumerate() {
            if matches!(at, 8 | 13 | 18 | 23) {
                if byte != b'-' {
                    return Err(InvalidUuid);
                }
            } else {
                let digit = char::from(byte).to_digit(16).ok_or(InvalidUuid)?;
                bits = bits << 4 | u128::from(digit);
            }
        }
        Ok(Self(bits))
    }
}

impl From<host::Uuid> for Uuid {
    fn from(uuid: host::Uuid) -> Self {
        Self(u128::from(uuid.high) << 64 | u128::from(uuid.low))
    }
}

impl From<Uuid> for host::Uuid {
    fn from(uuid: Uuid) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = uuid.0.to_be_bytes();
        Self { high: u64::from_be_bytes([a, b, c, d, e, f, g, h]), low: u64::from_be_bytes([i, j, k, l, m, n, o, p]) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Uuid, host};

    #[test]
    fn text_and_halves_survive() {
        let text = "0197a1c2-7b00-7abc-8def-0123456789ab";
        let uuid: Uuid = text.parse().unwrap();
        assert_eq!(uuid.to_string(), text);
        assert_eq!(Uuid::from(host::Uuid::from(uuid)), uuid);
        assert_eq!(text.to_uppercase().parse(), Ok(uuid));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "0197a1c27b007abc8def0123456789ab",
            "0197a1c2-7b00-7abc-8def-0123456789a",
            "0197a1c2-7b00-7abc-8def-0123456789ag",
            "0197a1c2+7b00-7abc-8def-0123456789ab",
            "{197a1c2-7b00-7abc-8def-0123456789a}",
            "0197a1c2-7b00-7abc-8def-0123456789é",
        ] {
            assert!(text.parse::<Uuid>().is_err(), "{text}");
        }
    }

    #[test]
    fn version_and_variant_are_set() {
        let uuid = Uuid::from_parts(u128::MAX, 7).to_string();
        assert_eq!(uuid, "ffffffff-ffff-7fff-bfff-ffffffffffff");
    }
}
