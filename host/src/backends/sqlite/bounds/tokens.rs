//! SQL as SQLite's own tokenizer cuts it, byte for byte: a limit that reads other tokens than SQLite does is no limit.

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword or a plain name.
    Word(Key),
    /// A name in double quotes, backticks or brackets.
    Quoted,
    /// A text, which SQLite also takes for a name where only a name can be.
    Text,
    /// A number, a blob or a parameter.
    Value,
    /// One byte of punctuation or of an operator.
    Sign(u8),
}

/// The keywords that shape a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// A name, or a keyword that may be one.
    Name,
    /// Any other keyword that is never a name.
    Reserved,
    As,
    Case,
    Create,
    Cross,
    Default,
    Delete,
    Distinct,
    End,
    Except,
    From,
    Full,
    Group,
    Having,
    In,
    Index,
    Inner,
    Intersect,
    Into,
    Is,
    Join,
    Left,
    Like,
    Limit,
    Materialized,
    Natural,
    Not,
    Of,
    On,
    Or,
    Order,
    Over,
    Recursive,
    References,
    Replace,
    Right,
    Select,
    Set,
    Table,
    Trigger,
    Union,
    Update,
    Using,
    Values,
    View,
    Where,
    With,
}

/// A token and its text as written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
}

impl Token<'_> {
    /// What a statement that begins with CREATE and goes on with this makes.
    pub(super) fn kind_of_object(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Word(Key::View) => Some("view"),
            Kind::Word(Key::Trigger) => Some("trigger"),
            Kind::Word(Key::Table) => Some("table"),
            Kind::Word(Key::Index) => Some("index"),
            _ => None,
        }
    }

    pub(super) fn is(&self, key: Key) -> bool {
        self.kind == Kind::Word(key)
    }

    pub(super) fn is_sign(&self, sign: u8) -> bool {
        self.kind == Kind::Sign(sign)
    }

    /// Whether it can be the name of a table or a column. Join keywords can, and some that shape a statement.
    pub(super) fn is_name(&self) -> bool {
        match self.kind {
            Kind::Quoted | Kind::Text => true,
            Kind::Word(key) => matches!(
                key,
                Key::Name
                    | Key::Cross
                    | Key::End
                    | Key::Full
                    | Key::Inner
                    | Key::Left
                    | Key::Like
                    | Key::Materialized
                    | Key::Natural
                    | Key::Of
                    | Key::Over
                    | Key::Recursive
                    | Key::Replace
                    | Key::Right
                    | Key::Trigger
                    | Key::View
                    | Key::With
            ),
            Kind::Value | Kind::Sign(_) => false,
        }
    }

    /// The name without its quotes, in lower case, as SQLite compares names.
    pub(super) fn name(&self) -> String {
        let quote = match self.text.as_bytes().first() {
            Some(b'[') => b']',
            Some(quote @ (b'"' | b'`' | b'\'')) => *quote,
            _ => return self.text.to_ascii_lowercase(),
        };
        let quote = char::from(quote);
        let inner = self.text.get(1..).unwrap_or_default();
        let inner = inner.strip_suffix(quote).unwrap_or(inner);
        match quote {
            ']' => inner.to_ascii_lowercase(),
            _ => inner
                .replace([quote, quote].iter().collect::<String>().as_str(), &quote.to_string())
                .to_ascii_lowercase(),
        }
    }
}

/// Every token of a text, without blank and comments.
pub(super) fn scan(sql: &str) -> Vec<Token<'_>> {
    read(sql, false)
}

/// The tokens up to the first semicolon that ends something.
pub(super) fn scan_first(sql: &str) -> Vec<Token<'_>> {
    read(sql, true)
}

fn read(sql: &str, first_only: bool) -> Vec<Token<'_>> {
    let bytes = sql.as_bytes();
    let mut found: Vec<Token<'_>> = Vec::new();
    let (mut at, mut open, mut begun) = (0, 0_usize, false);
    while let Some(first) = bytes.get(at) {
        let rest = bytes.get(at..).unwrap_or_default();
        let (kind, length) = token(*first, rest);
        let end = at + length.max(1);
        if let Some(kind) = kind {
            match kind {
                Kind::Sign(b'(') => open += 1,
                Kind::Sign(b')') => open = open.saturating_sub(1),
                Kind::Sign(b';') if first_only && begun && open == 0 => break,
                _ => {}
            }
            begun |= kind != Kind::Sign(b';');
            let text = sql.get(at..end).unwrap_or_default();
            let kind = if kind == Kind::Word(Key::Name) { Kind::Word(key(text)) } else { kind };
            found.push(Token { kind, text });
        }
        at = end;
    }
    found
}

/// The token that begins here: its kind, none for blank and comments, and its length.
fn token(first: u8, rest: &[u8]) -> (Option<Kind>, usize) {
    let next = rest.get(1).copied().unwrap_or_default();
    match first {
        b' ' | b'\t' | b'\n' | 0x0c | b'\r' => (None, 1),
        // A byte order mark is blank where a token may begin, and part of a name elsewhere.
        0xef if rest.starts_with("\u{feff}".as_bytes()) => (None, 3),
        b'-' if next == b'-' => (None, find(rest, 2, b'\n').unwrap_or(rest.len())),
        b'/' if next == b'*' && rest.len() > 2 => {
            let end = rest.windows(2).skip(2).position(|pair| pair == b"*/");
            (None, end.map_or(rest.len(), |end| end + 4))
        }
        b'\'' => (Some(Kind::Text), quoted(rest, first)),
        b'"' | b'`' => (Some(Kind::Quoted), quoted(rest, first)),
        b'[' => (Some(Kind::Quoted), find(rest, 1, b']').map_or(rest.len(), |end| end + 1)),
        b'x' | b'X' if next == b'\'' => (Some(Kind::Value), find(rest, 2, b'\'').map_or(rest.len(), |end| end + 1)),
        b'0'..=b'9' => (Some(Kind::Value), number(rest)),
        b'.' if next.is_ascii_digit() => (Some(Kind::Value), number(rest)),
        b'?' => (Some(Kind::Value), 1 + count(rest, 1, |byte| byte.is_ascii_digit())),
        b'$' | b'@' | b':' | b'#' => (Some(Kind::Value), variable(rest)),
        _ if is_name(first) => (Some(Kind::Word(Key::Name)), count(rest, 0, is_name)),
        sign => (Some(Kind::Sign(sign)), 1),
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

fn find(bytes: &[u8], from: usize, wanted: u8) -> Option<usize> {
    bytes.iter().skip(from).position(|byte| *byte == wanted).map(|at| at + from)
}

fn count(bytes: &[u8], from: usize, good: impl Fn(u8) -> bool) -> usize {
    bytes.iter().skip(from).take_while(|byte| good(**byte)).count()
}

/// The length of a text in these quotes, which stand for themselves where they are doubled.
fn quoted(bytes: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while let Some(end) = find(bytes, at, quote) {
        if bytes.get(end + 1) != Some(&quote) {
            return end + 1;
        }
        at = end + 2;
    }
    bytes.len()
}

fn number(bytes: &[u8]) -> usize {
    let mut length = 0;
    while let Some(byte) = bytes.get(length) {
        let exponent = matches!(byte, b'+' | b'-')
            && matches!(length.checked_sub(1).and_then(|last| bytes.get(last)), Some(b'e' | b'E'))
            && bytes.get(length + 1).is_some_and(u8::is_ascii_digit);
        if !(is_name(*byte) || *byte == b'.' || exponent) {
            break;
        }
        length += 1;
    }
    length
}

/// A named parameter. One that begins with `$` may go on with `::` and end with something in parentheses.
fn variable(bytes: &[u8]) -> usize {
    let mut length = 1;
    while let Some(byte) = bytes.get(length) {
        match byte {
            _ if is_name(*byte) => length += 1,
            b'(' if length > 1 => {
                let inside = count(bytes, length + 1, |byte| byte != b')' && !byte.is_ascii_whitespace());
                return (length + inside + 2).min(bytes.len());
            }
            b':' if bytes.get(length + 1) == Some(&b':') => length += 2,
            _ => break,
        }
    }
    length
}

fn key(word: &str) -> Key {
    let mut lower = [0; 12];
    let Some(place) = lower.get_mut(..word.len()) else { return Key::Name };
    place.copy_from_slice(word.as_bytes());
    place.make_ascii_lowercase();
    match &*place {
        b"as" => Key::As,
        b"case" => Key::Case,
        b"create" => Key::Create,
        b"cross" => Key::Cross,
        b"default" => Key::Default,
        b"delete" => Key::Delete,
        b"distinct" => Key::Distinct,
        b"end" => Key::End,
        b"except" => Key::Except,
        b"from" => Key::From,
        b"full" => Key::Full,
        b"group" => Key::Group,
        b"having" => Key::Having,
        b"in" => Key::In,
        b"index" => Key::Index,
        b"inner" => Key::Inner,
        b"intersect" => Key::Intersect,
        b"into" => Key::Into,
        b"is" => Key::Is,
        b"join" => Key::Join,
        b"left" => Key::Left,
        b"like" | b"glob" => Key::Like,
        b"limit" => Key::Limit,
        b"materialized" => Key::Materialized,
        b"natural" => Key::Natural,
        b"not" => Key::Not,
        b"of" => Key::Of,
        b"on" => Key::On,
        b"or" => Key::Or,
        b"order" => Key::Order,
        b"over" => Key::Over,
        b"recursive" => Key::Recursive,
        b"references" => Key::References,
        b"replace" => Key::Replace,
        b"right" => Key::Right,
        b"select" => Key::Select,
        b"set" => Key::Set,
        b"table" => Key::Table,
        b"trigger" => Key::Trigger,
        b"union" => Key::Union,
        b"update" => Key::Update,
        b"using" => Key::Using,
        b"values" => Key::Values,
        b"view" => Key::View,
        b"where" => Key::Where,
        b"with" => Key::With,
        b"add" | b"all" | b"alter" | b"and" | b"between" | b"check" | b"collate" | b"commit" | b"constraint"
        | b"drop" | b"else" | b"escape" | b"exists" | b"foreign" | b"insert" | b"isnull" | b"notnull" | b"null"
        | b"primary" | b"then" | b"to" | b"unique" | b"when" => Key::Reserved,
        _ => Key::Name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_where_sqlite_cuts_it() {
        let texts = |sql: &'static str| scan(sql).iter().map(|token| token.text).collect::<Vec<_>>();
        assert_eq!(texts("a/**/b/*x*/--(\nc/*(("), ["a", "b", "c"]);
        assert_eq!(texts("'a''(' \"b\"\"(\" [c(] `d``(` x'00'"), ["'a''('", "\"b\"\"(\"", "[c(]", "`d``(`", "x'00'"]);
        assert_eq!(texts("1.5e+3 .5 0x1F ?12 $a::b(c) @x :y"), ["1.5e+3", ".5", "0x1F", "?12", "$a::b(c)", "@x", ":y"]);
        // U+00A0 belongs to a name, a byte order mark between tokens is blank.
        assert_eq!(texts("from\u{a0}x \u{feff}y"), ["from\u{a0}x", "y"]);
        assert_eq!(texts("a.b->>'c'"), ["a", ".", "b", "-", ">", ">", "'c'"]);
        for odd in ["", "'", "\"", "[", "/*", "/*/", "--", "$", "$a(", "x'", "1e", "?", "\u{feff}", "ü(ß", "\0("] {
            let _ = scan(odd);
        }
    }

    #[test]
    fn names_are_compared_without_quotes_and_case() {
        let names = |sql: &'static str| scan(sql).iter().map(Token::name).collect::<Vec<_>>();
        assert_eq!(names("Aa \"A\"\"b\" [A b] `A``b` 'A'''"), ["aa", "a\"b", "a b", "a`b", "a'"]);
    }
}
