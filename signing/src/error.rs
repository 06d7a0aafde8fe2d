//! Why a file, a key or a plugin is refused: a stable code, a status, and a sentence.

use std::borrow::Cow;
use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $status:literal;)+) => {
        /// The stable code of a refusal; part of the public contract of the API and the CLI.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code { $($(#[doc = $doc])+ $name,)+ }

        impl Code {
            /// The text that answers and messages carry.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The HTTP status that fits: 403, 409, 413 or 422; 500 only for [`Code::KeyFile`] and [`Code::Randomness`].
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }
        }
    };
}

codes! {
    /// The file does not begin with the header of a component: a core module, text, a precompiled or any other file.
    NotComponent = "NOT_COMPONENT", 422;
    /// The file is longer than allowed.
    TooLarge = "TOO_LARGE", 413;
    /// A length points past the end of the file or of what contains it.
    Truncated = "TRUNCATED", 422;
    /// A number is written with more bytes than it needs.
    LebNotMinimal = "LEB_NOT_MINIMAL", 422;
    /// A number does not fit into 32 bits.
    LebOverflow = "LEB_OVERFLOW", 422;
    /// The first section is not a signature section.
    Unsigned = "UNSIGNED", 422;
    /// The signature section is longer than 4 KiB.
    SigTooLarge = "SIG_TOO_LARGE", 422;
    /// A version, content type, hash function or algorithm other than the one in use.
    SigUnsupported = "SIG_UNSUPPORTED", 422;
    /// Not exactly one set with exactly one hash: only part of the file would be signed.
    PartialSignature = "PARTIAL_SIGNATURE", 422;
    /// Bytes are left over in the signature section, in a set or in an entry.
    SigTrailingBytes = "SIG_TRAILING_BYTES", 422;
    /// No signature, or more than 8.
    SigCount = "SIG_COUNT", 422;
    /// The same key signed twice.
    DuplicateSigner = "DUPLICATE_SIGNER", 422;
    /// A key id that is not 12 bytes long.
    BadKeyId = "BAD_KEY_ID", 422;
    /// A signature that is not 64 bytes long, or that the key did not make.
    BadSignature = "BAD_SIGNATURE", 422;
    /// The file is not the one that was signed.
    DigestMismatch = "DIGEST_MISMATCH", 422;
    /// A second signature section inside of the signed bytes.
    SecondSignatureSection = "SECOND_SIGNATURE_SECTION", 422;
    /// The manifest is missing, is there twice, or is not the first section after the signatures.
    Manifest = "MANIFEST_NOT_FIRST_OR_NOT_UNIQUE", 422;
    /// None of the keys that signed is in the trust policy.
    UnknownKey = "UNKNOWN_KEY", 403;
    /// A public key that is not 32 bytes of a point, or is one that anybody can sign for.
    BadKey = "BAD_KEY", 422;
    /// A key file that cannot be read or written, is open to others, or holds no Ed25519 key.
    KeyFile = "KEY_FILE", 500;
    /// The operating system gave no random bytes.
    Randomness = "RANDOMNESS", 500;
    /// The trust policy is older than the one seen last.
    TrustRollback = "TRUST_ROLLBACK", 403;
    /// No rule is for this plugin.
    NoRule = "NO_RULE", 403;
    /// The key, or the file, was revoked.
    Revoked = "REVOKED", 403;
    /// The key was retired: it cannot bring anything new in.
    KeyRetired = "KEY_RETIRED", 403;
    /// The key is outside of its validity.
    KeyExpired = "KEY_EXPIRED", 403;
    /// The keys that signed are not for this plugin's namespace.
    Namespace = "NAMESPACE", 403;
    /// Too few distinct principals signed.
    Threshold = "THRESHOLD", 403;
    /// A WIT package that the signers may not publish.
    Package = "PACKAGE", 403;
    /// A route that the signers may not serve.
    Route = "ROUTE", 403;
    /// An event that the signers may not use.
    Event = "EVENT", 403;
    /// A store that the signers may not own.
    Store = "STORE", 403;
    /// A capability that the signers may neither grant nor request.
    Capability = "CAPABILITY", 403;
    /// A sequence number below the rule's minimum.
    SeqBelowMinimum = "SEQ_BELOW_MINIMUM", 409;
    /// A sequence number below the installed one.
    SeqTooLow = "SEQ_TOO_LOW", 409;
    /// The installed sequence number with other content.
    SeqConflict = "SEQ_CONFLICT", 409;
    /// Made for another version of the host.
    HostVersion = "HOST_VERSION", 422;
    /// The plugin's own time is over.
    Expired = "EXPIRED", 403;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    code: Code,
    message: Cow<'static, str>,
}

impl Error {
    pub(crate) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// What kind of refusal it is.
    #[must_use]
    pub const fn kind(&self) -> Code {
        self.code
    }

    /// The stable code, such as `DIGEST_MISMATCH`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code.as_str()
    }

    /// The HTTP status that fits.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.code.status()
    }
}
