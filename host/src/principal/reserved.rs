//! Subjects and sessions that stand for the host itself. No token carries one: they are refused when a token is issued and when
//! it is verified. What marks a call of the host is not the subject but `Call::is_by_host`.

/// The subject of the host's own calls: the nil UUID (RFC 9562, section 5.9), which no account has.
pub const HOST_SUBJECT: &str = "00000000-0000-0000-0000-000000000000";

/// The session of the host's own calls.
pub const HOST_SESSION: &str = "system";

/// Names by which logs and records of changes call the host and what it does by itself.
const NAMES: [&str; 5] = [HOST_SESSION, "host", "arcana", "development", "directory"];

/// Whether a subject stands for the host: the nil UUID in any form that some parser might take, or one of the host's names.
#[must_use]
pub fn is_reserved_subject(subject: &str) -> bool {
    let bare = bare(subject);
    let hex = bare.strip_prefix("urnuuid").unwrap_or(&bare);
    (hex.len() == 32 && hex.bytes().all(|digit| digit == b'0')) || NAMES.contains(&&*bare)
}

/// Whether a session stands for the host.
#[must_use]
pub fn is_reserved_session(session: &str) -> bool {
    NAMES.contains(&&*bare(session))
}

/// Letters and digits alone, in lower case: what is left when spaces, hyphens, braces and the like make no difference.
fn bare(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nil_uuid_is_reserved_in_every_form() {
        for nil in [
            HOST_SUBJECT,
            "00000000000000000000000000000000",
            "{00000000-0000-0000-0000-000000000000}",
            "urn:uuid:00000000-0000-0000-0000-000000000000",
            "URN:UUID:00000000000000000000000000000000",
            " 00000000-0000-0000-0000-000000000000\n",
            "system",
            "System",
            "host",
        ] {
            assert!(is_reserved_subject(nil), "{nil:?}");
        }
        for account in ["00000000-0000-0000-0000-000000000001", "0", "alice", "systems", ""] {
            assert!(!is_reserved_subject(account), "{account:?}");
        }
    }

    #[test]
    fn the_session_of_the_host_is_reserved_in_every_form() {
        for session in [HOST_SESSION, "SYSTEM", " system", "system\0", "host"] {
            assert!(is_reserved_session(session), "{session:?}");
        }
        for session in ["s1", "0198c9d8-7b5e-7cc0-8000-000000000000", "system-2"] {
            assert!(!is_reserved_session(session), "{session:?}");
        }
    }
}
