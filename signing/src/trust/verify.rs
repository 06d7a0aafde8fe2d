//! Signatures against the keys of the policy, before anything that was signed is read.

use super::{SignerRole, TrustPolicy, TrustedKey};
use crate::envelope::{Contents, Digest, Envelope};
use crate::error::{Code, Error};
use crate::keys::{KeyId, PublicKey};

/// A key of the policy that signed a file. Whether it counts is decided by [`TrustPolicy::evaluate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The key.
    pub key: PublicKey,
    /// Its short name.
    pub key_id: KeyId,
    /// Who holds it.
    pub principal: String,
    /// What its signature means.
    pub role: SignerRole,
}

/// A file that keys of the policy signed, exactly as it is. Only this gives access to the manifest.
#[derive(Debug, Clone)]
pub struct Verified<'a> {
    file: &'a [u8],
    contents: Contents<'a>,
    digest: Digest,
    signers: Vec<Signer>,
    unknown: Vec<KeyId>,
}

impl<'a> Verified<'a> {
    /// The identity of the file.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The bytes of `plugin.toml`.
    #[must_use]
    pub const fn manifest(&self) -> &'a [u8] {
        self.contents.manifest
    }

    /// Every byte that was signed.
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.contents.body
    }

    /// The whole file, which is the component to compile.
    #[must_use]
    pub const fn file(&self) -> &'a [u8] {
        self.file
    }

    /// The keys of the policy that signed; at least one.
    #[must_use]
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    /// The key ids of signatures that the policy does not know, and that therefore say nothing.
    #[must_use]
    pub fn unknown(&self) -> &[KeyId] {
        &self.unknown
    }
}

impl TrustPolicy {
    /// Checks each signature by a key of the policy, then the hash, then finds the manifest. Signatures by other keys are
    /// passed over; a bad one under a key of the policy refuses the file.
    ///
    /// # Errors
    /// `UNKNOWN_KEY`, `BAD_SIGNATURE`, and those of [`Envelope::check_body`].
    pub fn verify<'a>(&self, envelope: &Envelope<'a>) -> Result<Verified<'a>, Error> {
        let digest = envelope.digest();
        let mut signers = Vec::new();
        let mut unknown = Vec::new();
        for signature in envelope.signatures() {
            let Some(trusted) = self.key(signature.key_id) else {
                unknown.push(signature.key_id);
                continue;
            };
            trusted.key.verify(&digest, &signature.bytes)?;
            signers.push(Signer {
                key: trusted.key,
                key_id: signature.key_id,
                principal: trusted.principal.clone(),
                role: trusted.role,
            });
        }
        if signers.is_empty() {
            let ids = unknown.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(Error::new(Code::UnknownKey, format!("no trusted key signed this file, only {ids}")));
        }
        let contents = envelope.check_body()?;
        Ok(Verified { file: envelope.file(), contents, digest, signers, unknown })
    }

    /// The key of this short name.
    #[must_use]
    pub fn key(&self, key_id: KeyId) -> Option<&TrustedKey> {
        self.keys.iter().find(|trusted| trusted.key.key_id() == key_id)
    }
}
