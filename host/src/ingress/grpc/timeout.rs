//! The header `grpc-timeout` (gRPC over HTTP/2, "Timeout").

use std::time::Duration;

use http::HeaderMap;

/// The time that the client gives the call. None where it says nothing, or nothing that can be read: the specification
/// knows no answer to a malformed one, and the limits of the host hold anyway.
pub(super) fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    parse(headers.get("grpc-timeout")?.as_bytes())
}

/// At most eight digits and a unit.
fn parse(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let n = digits.iter().fold(0_u64, |n, digit| n * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(n * 3_600),
        b'M' => Duration::from_secs(n * 60),
        b'S' => Duration::from_secs(n),
        b'm' => Duration::from_millis(n),
        b'u' => Duration::from_micros(n),
        b'n' => Duration::from_nanos(n),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read() {
        assert_eq!(parse(b"2H"), Some(Duration::from_secs(7_200)));
        assert_eq!(parse(b"3M"), Some(Duration::from_secs(180)));
        assert_eq!(parse(b"42S"), Some(Duration::from_secs(42)));
        assert_eq!(parse(b"13m"), Some(Duration::from_millis(13)));
        assert_eq!(parse(b"2u"), Some(Duration::from_micros(2)));
        assert_eq!(parse(b"82n"), Some(Duration::from_nanos(82)));
        assert_eq!(parse(b"99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
    }

    #[test]
    fn what_is_malformed_is_no_timeout() {
        for text in [&b""[..], b"S", b"1", b"-1S", b"1.5S", b"123456789S", b"1 S", b"1s"] {
            assert_eq!(parse(text), None, "{}", String::from_utf8_lossy(text));
        }
    }
}
