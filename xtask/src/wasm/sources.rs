//! Texts of Debian's package sources.

/// A second stanza like the machine's own source of `suite`, for its backports: same address, same key.
///
/// `text` is one file of `/etc/apt/sources.list.d` in the deb822 form. None where it holds no such stanza.
pub(super) fn backports_stanza(text: &str, suite: &str) -> Option<String> {
    let stanza = text.split("\n\n").find(|stanza| suites_of(stanza).any(|name| name == suite))?;
    let mut out = String::new();
    for line in stanza.lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty()) {
        if line.starts_with("Suites:") {
            out.push_str(&format!("Suites: {suite}-backports\n"));
        } else {
            out.push_str(line);
            out.push('\n');
        }
    }
    Some(out)
}

/// The same from a file in the one-line form (`deb [options] address suite components`).
pub(super) fn backports_line(text: &str, suite: &str) -> Option<String> {
    let line =
        text.lines().find(|line| line.starts_with("deb ") && line.split_whitespace().any(|word| word == suite))?;
    let words: Vec<String> = line
        .split_whitespace()
        .map(|word| if word == suite { format!("{suite}-backports") } else { word.into() })
        .collect();
    Some(words.join(" ") + "\n")
}

/// Whether a file of either form has the suite already.
pub(super) fn has_suite(text: &str, suite: &str) -> bool {
    text.split("\n\n").any(|stanza| suites_of(stanza).any(|name| name == suite))
        || text.lines().any(|line| line.starts_with("deb ") && line.split_whitespace().any(|word| word == suite))
}

fn suites_of(stanza: &str) -> impl Iterator<Item = &str> {
    stanza.lines().filter_map(|line| line.strip_prefix("Suites:")).flat_map(str::split_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "Types: deb\n# a snapshot\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n\
        Components: main\nSigned-By: /usr/share/keyrings/debian.gpg\n\nTypes: deb\nURIs: http://mirror.example/security\n\
        Suites: bookworm-security\nComponents: main\n";

    #[test]
    fn the_stanza_keeps_address_and_key_and_takes_the_backports_suite() {
        assert_eq!(
            backports_stanza(DEB822, "bookworm").as_deref(),
            Some(
                "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm-backports\nComponents: main\n\
                 Signed-By: /usr/share/keyrings/debian.gpg\n"
            )
        );
        assert_eq!(backports_stanza(DEB822, "trixie"), None);
        assert!(has_suite(DEB822, "bookworm-security"));
        assert!(!has_suite(DEB822, "bookworm-backports"));
    }

    #[test]
    fn the_one_line_form_is_understood_too() {
        let text =
            "# deb cdrom\ndeb-src http://m/debian bookworm main\ndeb [signed-by=/k] http://m/debian bookworm main\n";
        let line = backports_line(text, "bookworm");
        assert_eq!(line.as_deref(), Some("deb [signed-by=/k] http://m/debian bookworm-backports main\n"));
        assert!(has_suite(line.as_deref().unwrap_or_default(), "bookworm-backports"));
    }
}
