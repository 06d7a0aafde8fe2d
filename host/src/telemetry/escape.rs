//! One line is one line: text from elsewhere without characters that end a line, command a terminal or change the
//! direction of writing. Plugins, clients and files bring such text; it is escaped where lines are made, once for all.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// Whether a line must not hold this character: every control character (C0 with tab, line feed, carriage return and
/// escape; DEL; C1 with NEL and CSI), the separators of lines and paragraphs, and the marks of bidirectional text.
#[must_use]
pub fn is_escaped(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
        )
}

/// Whether nothing has to be escaped, as in nearly every line.
fn is_plain(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

/// The text as a part of one line, with escapes such as `\n` and `\u{1b}`.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    if is_plain(text.as_bytes()) || !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    // A string takes whatever is written to it.
    let _ = Escaping(&mut shown).write_str(text);
    Cow::Owned(shown)
}

/// Passes text on as [`line`] has it.
pub(super) struct Escaping<'w, W>(pub(super) &'w mut W);

impl<W: fmt::Write> fmt::Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if is_plain(text.as_bytes()) {
            return self.0.write_str(text);
        }
        let mut rest = text;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_escaped(*c)) {
            self.0.write_str(&rest[..at])?;
            write!(self.0, "{}", c.escape_default())?;
            rest = &rest[at + c.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}

/// A line of JSON with the same characters as `\u` escapes. JSON itself escapes only some of them, and outside of its texts
/// there are none. The line feed at the end stays.
pub(super) fn json_line(bytes: &[u8]) -> Cow<'_, [u8]> {
    let (body, end) = match bytes.split_last() {
        Some((b'\n', body)) => (body, "\n"),
        _ => (bytes, ""),
    };
    if is_plain(body) {
        return Cow::Borrowed(bytes);
    }
    let text = String::from_utf8_lossy(body);
    if !text.contains(is_escaped) {
        return Cow::Borrowed(bytes);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_escaped(c) {
            // All of them are in the basic plane: four digits.
            true => drop(write!(shown, "\\u{:04x}", u32::from(c))),
            false => shown.push(c),
        }
    }
    shown.push_str(end);
    Cow::Owned(shown.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str =
        "a\nb\rc\td\u{b}e\u{c}f\u{1b}[31mg\u{7f}h\u{85}i\u{9b}j\u{2028}k\u{2029}l\u{202e}m\u{2066}n\u{feff}o\0";

    #[test]
    fn nothing_ends_a_line_or_commands_a_terminal() {
        let shown = line(HOSTILE);
        assert!(!shown.contains(is_escaped), "{shown}");
        assert!(shown.starts_with(r"a\nb\rc\td\u{b}e\u{c}f\u{1b}[31mg\u{7f}h\u{85}i\u{9b}j\u{2028}k"), "{shown}");
        assert!(matches!(line("grüße, 世界"), Cow::Borrowed("grüße, 世界")));
        assert!(matches!(line("plain"), Cow::Borrowed("plain")));
    }

    #[test]
    fn json_says_the_same_with_its_own_escapes() {
        let mut bytes = serde_json::to_vec(&[HOSTILE]).unwrap();
        bytes.push(b'\n');
        let shown = String::from_utf8(json_line(&bytes).into_owned()).unwrap();
        assert!(!shown.trim_end_matches('\n').contains(is_escaped), "{shown}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&shown).unwrap(), [HOSTILE]);
        assert!(matches!(json_line("{\"a\":\"ü\"}\n".as_bytes()), Cow::Borrowed(_)));
    }
}
