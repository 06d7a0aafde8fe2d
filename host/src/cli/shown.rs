//! Text from elsewhere as a terminal may show it: from files, from hosts, from plugins. Everything that the commands print goes
//! through here.
//!
//! A terminal takes control characters for commands, and some characters that are none make a text read as another one: marks
//! that turn the direction of writing, those without a width, and separators of lines. All of them are written out.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A text whose further lines are indented, so that none of them passes for one of ours.
pub(super) fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\n  "),
            '\t' => shown.push(' '),
            c => push(&mut shown, c),
        }
    }
    shown
}

/// A text of our own with parts from elsewhere that were put in place already: its lines stay as they are.
pub(super) fn lines(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c != '\n' && is_hidden(c)) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push(c),
            '\t' => shown.push(' '),
            c => push(&mut shown, c),
        }
    }
    shown.into()
}

/// JSON that means the same: inside of it such characters stand in strings alone, where they may be written as `\u`.
pub(super) fn json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c != '\n' && is_hidden(c)) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || !is_hidden(c) {
            shown.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(shown, "\\u{unit:04x}");
        }
    }
    shown.into()
}

fn push(shown: &mut String, c: char) {
    match c {
        c if c.is_control() => shown.extend(c.escape_default()),
        c if is_hidden(c) => shown.extend(c.escape_unicode()),
        c => shown.push(c),
    }
}

/// Whether a terminal obeys it, or shows something else than is there.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // Soft hyphen, the Arabic letter mark, fillers and separators without a width.
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            // Zero width, marks and embeddings of direction, separators of lines and paragraphs.
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            // Tags and further selectors of variants, which spell texts that nobody sees.
            | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_or_hide_is_written_out() {
        assert_eq!(clean("a\u{1b}[2Jb\tc\r\u{7f}\u{9b}é"), "a\\u{1b}[2Jb c\\r\\u{7f}\\u{9b}é");
        assert_eq!(clean("one\ntwo"), "one\n  two");
        let hidden: Vec<char> = ('\0'..='\u{10ffff}').filter(|c| is_hidden(*c)).collect();
        for c in "\u{202a}\u{202e}\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}\u{200b}\u{200d}\u{2060}\u{feff}\u{2028}\u{2029}\u{85}\u{e0041}".chars() {
            assert!(hidden.contains(&c), "{c:?}");
        }
        for c in hidden.into_iter().filter(|c| !matches!(c, '\n' | '\t')) {
            let text = format!("a{c}b");
            for shown in [clean(&text), lines(&text).into_owned()] {
                assert!(shown.starts_with("a\\") && shown.ends_with('b') && !shown.contains(c), "{shown:?}");
            }
            let written = serde_json::to_string(&[&text]).unwrap();
            let shown = json(&written);
            assert!(!shown.contains(c), "{shown:?}");
            assert_eq!(serde_json::from_str::<[String; 1]>(&shown).unwrap(), [text]);
        }
        // What people write stays.
        let text = "Grüße, мир, 世界, שלום, مرحبا, e\u{301}, 🙂\nnext";
        assert_eq!((lines(text), json(text)), (text.into(), text.into()));
    }
}
