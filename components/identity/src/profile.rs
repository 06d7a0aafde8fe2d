//! The rules that the fields of an account keep.

use arcana_sdk::Validation;

/// What the owner of an account says of it. Made by [`Profile::checked`], so that every field keeps its rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The e-mail address, as it was written.
    pub email: String,
    /// A name to sign in with.
    pub username: Option<String>,
    /// The name to show.
    pub name: Option<String>,
    /// The given name.
    pub first_name: Option<String>,
    /// The family name.
    pub last_name: Option<String>,
}

impl Profile {
    /// The profile with its texts trimmed; a text that is empty then is absent. What is wrong is added to `errors`.
    pub fn checked(
        email: &str,
        username: Option<&str>,
        name: Option<&str>,
        first_name: Option<&str>,
        last_name: Option<&str>,
        errors: &mut Validation,
    ) -> Self {
        Self {
            email: check_email(email, errors),
            username: username.and_then(|text| check_username(text, errors)),
            name: name.and_then(|text| check_name("name", text, errors)),
            first_name: first_name.and_then(|text| check_name("first_name", text, errors)),
            last_name: last_name.and_then(|text| check_name("last_name", text, errors)),
        }
    }

    /// What makes the e-mail address unique.
    #[must_use]
    pub fn email_key(&self) -> String {
        key(&self.email)
    }

    /// What makes the username unique.
    #[must_use]
    pub fn username_key(&self) -> Option<String> {
        self.username.as_deref().map(key)
    }

    /// What a search looks through: every text in lower case, one a line. Kept as a column because what LIKE and
    /// lower() make of letters beyond ASCII differs between databases.
    #[must_use]
    pub fn search_key(&self) -> String {
        let texts = [Some(&self.email), self.username.as_ref(), self.name.as_ref()];
        let names = [self.first_name.as_ref(), self.last_name.as_ref()];
        texts.into_iter().chain(names).flatten().map(|text| key(text)).collect::<Vec<_>>().join("\n")
    }
}

/// A name without regard to case and surrounding space.
#[must_use]
pub fn key(text: &str) -> String {
    text.trim().to_lowercase()
}

/// The longest e-mail address (RFC 5321: a path of 256 less its brackets), in bytes.
pub const EMAIL_MAX: usize = 254;
const LOCAL_PART_MAX: usize = 64;
const LABEL_MAX: usize = 63;
const NAME_MAX: usize = 128;
const PASSWORD_MIN: usize = 8;
/// The longest password, in bytes: what the host hashes.
pub const PASSWORD_MAX: usize = 1024;

/// The trimmed e-mail address; what is wrong with it is added to `errors`.
pub fn check_email(text: &str, errors: &mut Validation) -> String {
    let text = text.trim();
    if text.is_empty() {
        errors.add("email", "REQUIRED", "an e-mail address is needed");
    } else if text.len() > EMAIL_MAX {
        errors.add("email", "TOO_LONG", "an e-mail address has at most 254 bytes");
    } else if !is_email(text) {
        errors.add("email", "INVALID_FORMAT", "this is no e-mail address such as name@example.com");
    }
    text.to_owned()
}

/// Whether a mail could go there: a dot-atom or its UTF-8 kin (RFC 6531) at a name of two labels or more. Quoted local
/// parts and address literals are refused: nobody signs up with them.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let local_char = |c: char| c.is_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c);
    let label_char = |c: char| c.is_alphanumeric() || c == '-';
    let label = |label: &str| {
        (1..=LABEL_MAX).contains(&label.len())
            && label.chars().all(label_char)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (1..=LOCAL_PART_MAX).contains(&local.len())
        && local.chars().all(local_char)
        && local.split('.').all(|atom| !atom.is_empty())
        && domain.contains('.')
        && domain.split('.').all(label)
}

/// The trimmed username, none where it is blank; what is wrong with it is added to `errors`. Usernames hold no `@`, so
/// that they are never taken for an e-mail address.
pub fn check_username(text: &str, errors: &mut Validation) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) {
        errors.add("username", "INVALID_FORMAT", "a username is made of the letters a to z, digits, `.`, `_` and `-`");
    }
    match text.chars().count() {
        0..3 => errors.add("username", "TOO_SHORT", "a username has at least 3 characters"),
        3..=32 => {}
        _ => errors.add("username", "TOO_LONG", "a username has at most 32 characters"),
    }
    Some(text.to_owned())
}

/// The trimmed name, none where it is blank; what is wrong with it is added to `errors`.
pub fn check_name(field: &str, text: &str, errors: &mut Validation) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    if text.chars().count() > NAME_MAX {
        errors.add(field, "TOO_LONG", "at most 128 characters");
    }
    if text.chars().any(char::is_control) {
        errors.add(field, "INVALID_FORMAT", "no control characters, please");
    }
    Some(text.to_owned())
}

/// Adds to `errors` what is wrong with a new password. Nothing is trimmed, and any character will do.
pub fn check_new_password(field: &str, password: &str, errors: &mut Validation) {
    if password.is_empty() {
        errors.add(field, "REQUIRED", "a password is needed");
    } else if password.chars().count() < PASSWORD_MIN {
        errors.add(field, "TOO_SHORT", "a password has at least 8 characters");
    } else if password.len() > PASSWORD_MAX {
        errors.add(field, "TOO_LONG", "a password has at most 1,024 bytes");
    }
}

/// Adds to `errors` where a password cannot be that of an account: absent, or longer than the host hashes.
pub fn check_given_password(field: &str, password: &str, errors: &mut Validation) {
    if password.is_empty() {
        errors.add(field, "REQUIRED", "a password is needed");
    } else if password.len() > PASSWORD_MAX {
        errors.add(field, "TOO_LONG", "a password has at most 1,024 bytes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for text in ["a@b.co", "first.last+tag@mail.example.com", "o'neil@example.com", "jörg@bücher.example"] {
            assert!(is_email(text), "{text}");
        }
        for text in [
            "",
            "a",
            "@b.co",
            "a@",
            "a@b",
            "a@b.",
            "a@.co",
            "a@b..co",
            ".a@b.co",
            "a.@b.co",
            "a..b@b.co",
            "a b@b.co",
            "a@b c.co",
            "a@-b.co",
            "a@b-.co",
            "a@b@c.co",
            "a@b.co\n",
            "<a@b.co>",
            "a@[127.0.0.1]",
            "\"a\"@b.co",
        ] {
            assert!(!is_email(text), "{text}");
        }
        assert!(!is_email(&format!("{}@b.co", "a".repeat(65))));
        assert!(!is_email(&format!("a@{}.co", "b".repeat(64))));
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let mut errors = Validation::new();
        let long = "x".repeat(129);
        Profile::checked("nobody", Some("é"), Some(&long), Some("a\u{7}b"), None, &mut errors);
        check_new_password("password", "short", &mut errors);
        let found: Vec<_> = errors.errors().iter().map(|e| (e.field.as_str(), e.code.as_str())).collect();
        assert_eq!(
            found,
            [
                ("email", "INVALID_FORMAT"),
                ("username", "INVALID_FORMAT"),
                ("username", "TOO_SHORT"),
                ("name", "TOO_LONG"),
                ("first_name", "INVALID_FORMAT"),
                ("password", "TOO_SHORT"),
            ]
        );
    }

    #[test]
    fn texts_are_trimmed_and_blank_ones_absent() {
        let mut errors = Validation::new();
        let profile = Profile::checked(" Ada@Example.com ", Some("  "), Some(" Ada "), Some(""), None, &mut errors);
        assert!(errors.finish().is_ok());
        assert_eq!(profile.email, "Ada@Example.com");
        assert_eq!(profile.email_key(), "ada@example.com");
        assert_eq!((profile.username.as_deref(), profile.name.as_deref()), (None, Some("Ada")));
        assert_eq!(profile.first_name, None);
        assert_eq!(profile.search_key(), "ada@example.com\nada");
    }

    #[test]
    fn passwords_are_counted_in_characters_and_bounded_in_bytes() {
        let code = |password: &str| {
            let mut errors = Validation::new();
            check_new_password("password", password, &mut errors);
            errors.errors().first().map(|error| error.code.clone())
        };
        assert_eq!(code("ääääääää"), None);
        assert_eq!(code("äääääää").as_deref(), Some("TOO_SHORT"));
        assert_eq!(code(&"ä".repeat(512)), None);
        assert_eq!(code(&"ä".repeat(513)).as_deref(), Some("TOO_LONG"));
        assert_eq!(code("").as_deref(), Some("REQUIRED"));
    }
}
