//! Why a command that speaks with a host did not do it, and the exit code that scripts see.

use std::fmt;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::text::clean;

/// The body of every error of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ErrorBody {
    /// The stable code.
    pub(super) code: String,
    /// What is wrong and what to do.
    pub(super) message: String,
    /// Field by field, where the input was wrong.
    #[serde(default)]
    pub(super) details: Vec<Detail>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) request_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) timestamp: Option<String>,
}

/// A field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Detail {
    pub(super) field: String,
    pub(super) message: String,
    #[serde(default)]
    pub(super) code: String,
}

/// Why it was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The host refused it.
    Refused(Box<ErrorBody>),
    /// The command was used wrongly, or a file of this machine cannot be read or written.
    Use(String),
    /// The host cannot be reached, or what answers there is none.
    Unreachable(String),
    /// Nobody is signed in, or the session has ended.
    SignedOut(String),
}

impl Failure {
    /// 1: refused by the host; 2: used wrongly; 3: no host, or not signed in.
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused(_) => 1,
            Self::Use(_) => 2,
            Self::Unreachable(_) | Self::SignedOut(_) => 3,
        })
    }

    /// As the body of an error, for `--json`.
    pub(super) fn body(&self) -> ErrorBody {
        let (code, message) = match self {
            Self::Refused(body) => return ErrorBody::clone(body),
            Self::Use(message) => ("USE", message),
            Self::Unreachable(message) => ("UNREACHABLE", message),
            Self::SignedOut(message) => ("SIGNED_OUT", message),
        };
        let (code, message) = (code.to_owned(), message.clone());
        ErrorBody { code, message, details: Vec::new(), request_id: None, timestamp: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(body) => {
                write!(f, "{}: {}", clean(&body.code), clean(&body.message))?;
                for Detail { field, message, code } in &body.details {
                    let code = if code.is_empty() { String::new() } else { format!(" ({})", clean(code)) };
                    write!(f, "\n  {}: {}{code}", clean(field), clean(message))?;
                }
                body.request_id.iter().try_for_each(|id| write!(f, "\n  request {}", clean(id)))
            }
            Self::Use(message) | Self::Unreachable(message) | Self::SignedOut(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Failure {}
