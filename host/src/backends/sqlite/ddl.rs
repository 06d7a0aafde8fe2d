//! `CREATE TABLE` as SQLite keeps it, taken apart. SQLite tells of columns and indexes by pragmas, but not of checks,
//! collations and generated values.

/// A table's text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Definitions {
    /// The columns, then whatever constraints the table has, in their order.
    pub(super) list: Vec<Definition>,
    /// What follows the list, such as `strict`; lower case.
    pub(super) options: String,
}

/// One entry of the list: a column or a constraint of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Definition {
    /// The column's name in lower case; none for a constraint.
    pub(super) column: Option<String>,
    /// The whole entry as written, for messages.
    pub(super) text: String,
    /// The same without what does not matter (case, quotes, blank, comments), for comparison.
    pub(super) normal: String,
    /// The conditions of its checks, as written.
    pub(super) checks: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A keyword, a plain name or a number.
    Word,
    /// A name in quotes.
    Name,
    /// Text or a blob.
    Literal,
    /// Any other character.
    Sign(char),
}

#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    kind: Kind,
    text: &'a str,
    start: usize,
}

impl Token<'_> {
    fn is(&self, keyword: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// What is compared: names are the same in any case and quotes.
    fn normal(&self) -> String {
        match self.kind {
            Kind::Word => self.text.to_ascii_lowercase(),
            Kind::Name => unquote(self.text),
            Kind::Literal | Kind::Sign(_) => self.text.to_owned(),
        }
    }
}

/// The entries of a `CREATE TABLE` that SQLite has accepted.
pub(super) fn definitions(sql: &str) -> Definitions {
    let tokens = tokens(sql);
    let Some(open) = tokens.iter().position(|token| token.kind == Kind::Sign('(')) else {
        return Definitions::default();
    };
    let mut found = Definitions::default();
    let (mut depth, mut first) = (0_usize, open + 1);
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Sign('(') => depth += 1,
            Kind::Sign(')') => depth = depth.saturating_sub(1),
            Kind::Sign(',') if depth == 1 => {
                found.list.extend(definition(sql, &tokens[first..at]));
                first = at + 1;
            }
            _ => {}
        }
        if depth == 0 {
            found.list.extend(definition(sql, &tokens[first..at]));
            found.options = normal(&tokens[at + 1..]);
            break;
        }
    }
    found
}

/// A statement without what does not matter: case, quotes, blank and comments.
pub(super) fn normalized(sql: &str) -> String {
    normal(&tokens(sql))
}

fn definition(sql: &str, tokens: &[Token<'_>]) -> Option<Definition> {
    let (first, last) = (tokens.first()?, tokens.last()?);
    let constraint = ["constraint", "primary", "unique", "check", "foreign"].iter().any(|word| first.is(word));
    let column = (!constraint).then(|| match first.kind {
        // A name in the quotes of text is let pass by SQLite.
        Kind::Literal => unquote(first.text),
        _ => first.normal(),
    });
    Some(Definition {
        column,
        text: sql.get(first.start..last.end()).unwrap_or_default().to_owned(),
        normal: normal(tokens),
        checks: checks(sql, tokens),
    })
}

fn checks(sql: &str, tokens: &[Token<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let Some(open) = tokens.get(at + 1).filter(|next| token.is("check") && next.kind == Kind::Sign('(')) else {
            continue;
        };
        let mut depth = 0_usize;
        for close in &tokens[at + 1..] {
            match close.kind {
                Kind::Sign('(') => depth += 1,
                Kind::Sign(')') => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                found.push(sql.get(open.end()..close.start).unwrap_or_default().to_owned());
                break;
            }
        }
    }
    found
}

fn normal(tokens: &[Token<'_>]) -> String {
    tokens.iter().map(Token::normal).collect::<Vec<_>>().join(" ")
}

fn unquote(text: &str) -> String {
    let mut chars = text.chars();
    let (open, _) = (chars.next().unwrap_or_default(), chars.next_back());
    let inner = chars.as_str();
    match open {
        '[' => inner.to_ascii_lowercase(),
        quote => inner.replace(&format!("{quote}{quote}"), &quote.to_string()).to_ascii_lowercase(),
    }
}

fn tokens(sql: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = sql[at..].chars().next() {
        let rest = &sql[at..];
        let (kind, length) = match first {
            _ if first.is_whitespace() => (None, first.len_utf8()),
            '-' if rest.starts_with("--") => (None, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => (None, rest.find("*/").map_or(rest.len(), |end| end + 2)),
            '\'' => (Some(Kind::Literal), quoted(rest, '\'')),
            '"' | '`' => (Some(Kind::Name), quoted(rest, first)),
            '[' => (Some(Kind::Name), rest.find(']').map_or(rest.len(), |end| end + 1)),
            _ if is_word(first) => (Some(Kind::Word), rest.find(|c| !is_word(c)).unwrap_or(rest.len())),
            sign => (Some(Kind::Sign(sign)), sign.len_utf8()),
        };
        if let Some(kind) = kind {
            found.push(Token { kind, text: &rest[..length], start: at });
        }
        at += length;
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.') || !c.is_ascii()
}

/// The length of a text in these quotes, which stand for themselves where they are doubled.
fn quoted(text: &str, quote: char) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return at + quote.len_utf8();
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_parted_where_sqlite_parts_them() {
        let sql = "CREATE TABLE \"a(b\" (
            id INTEGER PRIMARY KEY, -- the key, of course
            [the name] TEXT DEFAULT 'a, ''b'')' COLLATE NOCASE,
            \"check\" REAL CHECK (\"check\" > 0 AND (\"check\" < 10 /* ) */ )) CHECK(abs(id) > 1),
            'quoted' , CONSTRAINT one UNIQUE (id, [the name]), CHECK (id <> 7)
        ) STRICT, WITHOUT  rowid";
        let found = definitions(sql);
        let columns: Vec<_> = found.list.iter().map(|entry| entry.column.as_deref()).collect();
        assert_eq!(columns, [Some("id"), Some("the name"), Some("check"), Some("quoted"), None, None]);
        assert_eq!(found.options, "strict , without rowid");
        assert_eq!(found.list[1].normal, "the name text default 'a, ''b'')' collate nocase");
        assert_eq!(found.list[1].text, "[the name] TEXT DEFAULT 'a, ''b'')' COLLATE NOCASE");
        assert_eq!(found.list[2].checks, ["\"check\" > 0 AND (\"check\" < 10 /* ) */ )", "abs(id) > 1"]);
        assert_eq!((found.list[4].checks.len(), found.list[5].checks.join("")), (0, "id <> 7".to_owned()));
    }

    #[test]
    fn spelling_does_not_matter_and_text_does() {
        assert_eq!(normalized("create  INDEX \"A\" on [b] (C) -- x"), normalized("CREATE INDEX a ON `B`(c)"));
        assert_ne!(normalized("SELECT 'a'"), normalized("SELECT 'A'"));
        for odd in ["", "(", "x (a", "'", "\"a", "[", "/*", "--", "ü (ß)"] {
            let _ = (definitions(odd), normalized(odd));
        }
    }
}
