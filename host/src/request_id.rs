//! The id that ties a request, its answer and its log lines together.

use std::fmt;

/// Longest id taken from a client, in bytes.
const MAX_LEN: usize = 64;

/// A request id: what the client sent in `X-Request-Id`, or 128 random bits in hex. Copied freely, never allocated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    len: u8,
    bytes: [u8; MAX_LEN],
}

impl RequestId {
    /// A new random id. It has to be unique, not secret.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; MAX_LEN];
        let random = fastrand::u128(..).to_be_bytes();
        // A slice of 32 bytes always takes 16 bytes of hex.
        let _ = hex::encode_to_slice(random, &mut bytes[..32]);
        Self { len: 32, bytes }
    }

    /// The client's id where it is usable: 1 to 64 of letters, digits, `-`, `_`, `.` and `:`.
    #[must_use]
    pub fn from_client(value: &[u8]) -> Option<Self> {
        let usable = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
        if value.is_empty() || value.len() > MAX_LEN || !value.iter().all(usable) {
            return None;
        }
        let mut bytes = [0; MAX_LEN];
        bytes[..value.len()].copy_from_slice(value);
        Some(Self { len: u8::try_from(value.len()).ok()?, bytes })
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_are_hex_and_differ() {
        let (a, b) = (RequestId::random(), RequestId::random());
        assert_eq!(a.as_str().len(), 32);
        assert!(a.as_str().bytes().all(|b| b.is_ascii_hexdigit()));
        assert_ne!(a, b);
    }

    #[test]
    fn a_client_cannot_put_line_breaks_or_novels_into_the_log() {
        assert_eq!(RequestId::from_client(b"abc-1.2:3_4").unwrap().as_str(), "abc-1.2:3_4");
        assert!(RequestId::from_client(b"").is_none());
        assert!(RequestId::from_client(b"a\nb").is_none());
        assert!(RequestId::from_client(&[b'a'; 65]).is_none());
    }
}
