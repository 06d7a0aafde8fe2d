//! Changes of some fields of a profile.

use arcana_identity::Profile;
use arcana_identity::profile::{check_email, check_name, check_username};
use arcana_sdk::{Result, TextChange, Validation};

use crate::service::PatchUserRequest;

/// The fields to change, each checked: none keeps, an inner none clears.
pub(crate) struct Patch {
    email: Option<String>,
    username: Option<Option<String>>,
    name: Option<Option<String>>,
    first_name: Option<Option<String>>,
    last_name: Option<Option<String>>,
}

impl Patch {
    pub(crate) fn checked(request: &PatchUserRequest) -> Result<Self> {
        let mut errors = Validation::new();
        let email = match &request.email {
            TextChange::Keep => None,
            TextChange::Clear => {
                errors.add("email", "REQUIRED", "an e-mail address cannot be cleared");
                None
            }
            TextChange::Set(text) => Some(check_email(text, &mut errors)),
        };
        let patch = Self {
            email,
            username: changed(&request.username, |text| check_username(text, &mut errors)),
            name: changed(&request.name, |text| check_name("name", text, &mut errors)),
            first_name: changed(&request.first_name, |text| check_name("first_name", text, &mut errors)),
            last_name: changed(&request.last_name, |text| check_name("last_name", text, &mut errors)),
        };
        errors.finish()?;
        Ok(patch)
    }

    pub(crate) fn apply(self, profile: Profile) -> Profile {
        Profile {
            email: self.email.unwrap_or(profile.email),
            username: self.username.unwrap_or(profile.username),
            name: self.name.unwrap_or(profile.name),
            first_name: self.first_name.unwrap_or(profile.first_name),
            last_name: self.last_name.unwrap_or(profile.last_name),
        }
    }
}

fn changed(change: &TextChange, check: impl FnOnce(&str) -> Option<String>) -> Option<Option<String>> {
    match change {
        TextChange::Keep => None,
        TextChange::Clear => Some(None),
        TextChange::Set(text) => Some(check(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(email: TextChange, username: TextChange, name: TextChange) -> PatchUserRequest {
        PatchUserRequest { email, username, name, first_name: TextChange::Keep, last_name: TextChange::Keep }
    }

    #[test]
    fn keep_clear_and_set() {
        let patch = request(TextChange::Keep, TextChange::Clear, TextChange::Set(" Ada ".into()));
        let before = Profile {
            email: "ada@example.com".into(),
            username: Some("ada".into()),
            name: None,
            first_name: Some("A".into()),
            last_name: None,
        };
        let after = Patch::checked(&patch).unwrap().apply(before.clone());
        assert_eq!(after, Profile { username: None, name: Some("Ada".into()), ..before });
    }

    #[test]
    fn only_what_changes_is_checked_and_all_of_it() {
        let patch = request(TextChange::Clear, TextChange::Set("a".into()), TextChange::Keep);
        let problem = Patch::checked(&patch).err().unwrap();
        let fields: Vec<_> = problem.details.iter().map(|detail| detail.field.as_str()).collect();
        assert_eq!(fields, ["email", "username"]);
    }
}
