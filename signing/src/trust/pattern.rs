//! Entries of the policy's lists: exact, or a prefix where they end with `*`.

/// Whether the entry stands for this name. A requested name may itself end with `*`; then all of it must be inside.
pub(super) fn matches(entry: &str, name: &str) -> bool {
    match entry.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => entry == name,
    }
}

/// Whether some name is matched by both.
pub(super) fn overlap(a: &str, b: &str) -> bool {
    match (a.strip_suffix('*'), b.strip_suffix('*')) {
        (Some(a), Some(b)) => a.starts_with(b) || b.starts_with(a),
        _ => matches(a, b) || matches(b, a),
    }
}

/// Whether the path is the entry or below it. Compared as text: a template whose parameter stands where the entry has a
/// literal could match elsewhere, so it is outside.
pub(super) fn route_within(entry: &str, path: &str) -> bool {
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return false;
    }
    let entry = entry.trim_end_matches('/');
    path.strip_prefix(entry).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_prefixes() {
        assert!(matches("acme/*", "acme/bookmarks"));
        assert!(!matches("acme/*", "acme2/bookmarks"));
        assert!(!matches("crypto", "crypto.hash"));
        assert!(matches("bookmark.*", "bookmark.*"));
        assert!(!matches("bookmark.created", "bookmark.*"));
        assert!(overlap("*", "acme/x") && overlap("acme/*", "acme/b*") && !overlap("acme/*", "other/*"));
    }

    #[test]
    fn routes_end_at_segments() {
        assert!(route_within("/api/v1/users", "/api/v1/users"));
        assert!(route_within("/api/v1/users/", "/api/v1/users/{id}"));
        assert!(route_within("/", "/anything"));
        assert!(!route_within("/api/v1/users", "/api/v1/users-and-more"));
        assert!(!route_within("/api/v1/users", "/api/{version}/users"));
        assert!(!route_within("/api/v1/users", "/api/v1/users/../auth"));
    }
}
