//! Doc comments and rules as the words of a document.

use super::{Access, Limit};

/// The first sentence of a doc comment, without its full stop, and what follows it.
pub(super) fn split(docs: &str) -> (&str, &str) {
    let docs = docs.trim();
    let mut in_code = false;
    let end = docs.char_indices().find(|(at, c)| {
        in_code ^= *c == '`';
        let rest = docs.get(at + c.len_utf8()..).unwrap_or_default();
        let paragraph = *c == '\n' && rest.trim_start_matches([' ', '\t', '\r']).starts_with('\n');
        let sentence = matches!(c, '.' | '!' | '?') && rest.starts_with(char::is_whitespace);
        paragraph || sentence && !in_code
    });
    let (first, rest) = match end {
        Some((at, c)) => docs.split_at(at + c.len_utf8()),
        None => (docs, ""),
    };
    let first = first.trim();
    (first.strip_suffix('.').unwrap_or(first), rest.trim())
}

/// Who may call, as a sentence.
pub(super) fn who(access: &[Access<'_>]) -> String {
    if access.contains(&Access::Public) {
        return "**Who may call:** everybody; no token is needed.".into();
    }
    if access.contains(&Access::Authenticated) {
        return "**Who may call:** everybody who is signed in.".into();
    }
    let ways: Vec<String> = access
        .iter()
        .map(|way| match way {
            Access::Role(role) => format!("the role `{role}` or a higher one"),
            Access::Own(parameter) => format!("the account itself, whose id is `{parameter}`"),
            Access::Public | Access::Authenticated => String::new(),
        })
        .collect();
    if ways.is_empty() {
        return "**Who may call:** nobody.".into();
    }
    format!("**Who may call:** {}.", ways.join("; or "))
}

/// The rule as it is written in a manifest.
pub(super) fn rule(access: &Access<'_>) -> String {
    match access {
        Access::Public => "public".into(),
        Access::Authenticated => "authenticated".into(),
        Access::Role(role) => format!("role:{role}"),
        Access::Own(parameter) => format!("self:{parameter}"),
    }
}

/// How often one may call, as a sentence; none where there are no limits.
pub(super) fn limits(limits: &[Limit<'_>]) -> Option<String> {
    let rules: Vec<String> = limits
        .iter()
        .map(|limit| {
            let by = match limit.by.as_slice() {
                [] => "for each client address".to_owned(),
                names => {
                    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                    format!("for each {}", names.join(" or "))
                }
            };
            format!("{} a minute, {} at once, {by}", limit.per_minute, limit.burst)
        })
        .collect();
    (!rules.is_empty()).then(|| format!("**Limits:** {}.", rules.join("; ")))
}
