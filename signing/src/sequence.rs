//! Protection against going back: what an install's sequence number must be after what is installed.

use crate::envelope::Digest;
use crate::error::{Code, Error};

/// What is to be done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is new.
    Install,
    /// It is what is installed: there is nothing to do.
    Unchanged,
}

/// Compares an install with the highest one so far of the same id. Going back to a kept version and starting again are no
/// installs and do not ask. `allow_lower` is an admin's word.
///
/// # Errors
/// `SEQ_CONFLICT` for the same number with other content, `SEQ_TOO_LOW` for a lower one.
pub fn check(highest: Option<(u64, Digest)>, seq: u64, digest: Digest, allow_lower: bool) -> Result<Step, Error> {
    let Some((installed, content)) = highest else {
        return Ok(Step::Install);
    };
    if seq == installed {
        if digest == content {
            return Ok(Step::Unchanged);
        }
        let message = format!("seq {seq} is installed with other content; every release needs a higher seq");
        return Err(Error::new(Code::SeqConflict, message));
    }
    if seq < installed && !allow_lower {
        let message = format!("seq {seq} is older than seq {installed}, which was installed before");
        return Err(Error::new(Code::SeqTooLow, message));
    }
    Ok(Step::Install)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forward_only() {
        let (old, new) = (Digest([1; 32]), Digest([2; 32]));
        assert_eq!(check(None, 0, new, false), Ok(Step::Install));
        assert_eq!(check(Some((5, old)), 6, new, false), Ok(Step::Install));
        assert_eq!(check(Some((5, old)), 5, old, false), Ok(Step::Unchanged));
        assert_eq!(check(Some((5, old)), 5, new, true).map_err(|e| (e.code(), e.status())), Err(("SEQ_CONFLICT", 409)));
        assert_eq!(check(Some((5, old)), 4, new, false).map_err(|e| (e.code(), e.status())), Err(("SEQ_TOO_LOW", 409)));
        assert_eq!(check(Some((5, old)), 4, new, true), Ok(Step::Install));
    }
}
