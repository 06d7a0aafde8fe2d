//! Randomness, digests, password hashes and keys. Everything secret stays in the host.

use crate::Problem;
use crate::generated::arcana::host::{crypto as host, keys as host_keys, passwords as host_passwords};

pub use host::{equal, hmac_sha256, random_bytes, sha256};

/// `N` bytes of the operating system's randomness; `N` is at most 65,536.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    let bytes = random_bytes(u32::try_from(N).unwrap_or(u32::MAX));
    // The host answers exactly as many bytes as it was asked for or traps.
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = from;
    }
    out
}

/// Bytes as unpadded base64url (RFC 4648, section 5): what opaque tokens are written in.
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            let index = group >> (18 - 6 * digit) & 63;
            out.push(char::from(ALPHABET[usize::try_from(index).unwrap_or(0)]));
        }
    }
    out
}

/// Password hashes (Argon2id). The work is done outside the plugin. `crypto = { hash = true }` grants it.
pub mod passwords {
    pub use super::host_passwords::{Error, Verdict, hash, verify};
}

/// Keys that the host keeps for the plugin, by name. `crypto = { keys = ["own"] }` grants them.
pub mod keys {
    pub use super::host_keys::{Error, hmac_sha256, sign, verify};
}

impl From<passwords::Error> for Problem {
    fn from(error: passwords::Error) -> Self {
        match error {
            passwords::Error::Busy => Self::unavailable("too many sign-ins at once; try again in a moment")
                .retry_after(core::time::Duration::from_secs(1)),
            passwords::Error::TooLong => Self::invalid("password", "TOO_LONG", "a password has at most 1,024 bytes"),
            passwords::Error::InvalidHash | passwords::Error::Other(_) => Self::internal(error.to_string()),
        }
    }
}

impl From<keys::Error> for Problem {
    fn from(error: keys::Error) -> Self {
        Self::internal(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::base64url;

    #[test]
    fn base64url_is_that_of_rfc_4648() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"foobar", "Zm9vYmFy"),
            (&[0xfb, 0xff, 0xfe], "-__-"),
        ] {
            assert_eq!(base64url(bytes), text);
        }
    }
}
