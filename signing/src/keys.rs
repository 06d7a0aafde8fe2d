//! Ed25519 keys: secret ones in files that only their owner can read, public ones as one line of text.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::str::FromStr;

use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes, spki::der::pem::LineEnding};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::envelope::Digest;
use crate::error::{Code, Error};

/// The longest secret key file that is read, in bytes.
const MAX_KEY_FILE: usize = 4096;
const PUBLIC_PREFIX: &str = "ed25519:";

/// The short name of a public key inside of signed files: the first 12 bytes of HMAC-SHA-256 (key = public key) over `key_id`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 12]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A public key: `ed25519:` and 64 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// The key of these 32 bytes.
    ///
    /// # Errors
    /// `BAD_KEY` where they are no point, are not its shortest encoding, or one that anybody can sign for (small order).
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, Error> {
        let bad = |why| Error::new(Code::BadKey, format!("{} is no usable Ed25519 key: {why}", hex::encode(bytes)));
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| bad("it is not a point of the curve"))?;
        if key.is_weak() {
            return Err(bad("anybody can sign for it"));
        }
        if key.to_edwards().compress().to_bytes() != *bytes {
            return Err(bad("it is not encoded canonically"));
        }
        Ok(Self(key))
    }

    /// The 32 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The key as a public key file of the tool `wasmsign2`: its algorithm and the 32 bytes.
    #[must_use]
    pub fn to_wasmsign2(&self) -> [u8; 33] {
        let mut file = [1; 33];
        if let Some((_, key)) = file.split_first_mut() {
            key.copy_from_slice(self.0.as_bytes());
        }
        file
    }

    /// The key's short name.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        // HMAC pads a short key with zeros to the block of the hash; a whole block cannot be refused.
        let mut block = [0; 64];
        block[..32].copy_from_slice(self.0.as_bytes());
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(b"key_id");
        let mut id = [0; 12];
        id.copy_from_slice(&mac.finalize().into_bytes()[..12]);
        KeyId(id)
    }

    /// Checks a signature over a digest: strictly, so that exactly one signature of a message by a key is accepted.
    ///
    /// # Errors
    /// `BAD_SIGNATURE`.
    pub fn verify(&self, digest: &Digest, signature: &[u8; 64]) -> Result<(), Error> {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0.verify_strict(&digest.signed_message(), &signature).map_err(|_| {
            let id = self.key_id();
            Error::new(
                Code::BadSignature,
                format!("the signature under the key {id} was not made by it over this file"),
            )
        })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC_PREFIX}{}", hex::encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let digits = text.strip_prefix(PUBLIC_PREFIX).unwrap_or_default();
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| {
            Error::new(Code::BadKey, format!("`{text}` is no public key: `{PUBLIC_PREFIX}` and 64 hexadecimal digits"))
        })?;
        Self::from_bytes(&bytes)
    }
}

/// A secret key. Its bytes are wiped when it is dropped, and never shown.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// A new key.
    ///
    /// # Errors
    /// `RANDOMNESS`.
    pub fn generate() -> Result<Self, Error> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|error| {
            Error::new(Code::Randomness, format!("the operating system gave no random bytes: {error}"))
        })?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// The key of this 32-byte seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The key of a PKCS#8 document in PEM.
    ///
    /// # Errors
    /// `KEY_FILE`.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        SigningKey::from_pkcs8_pem(pem)
            .map(Self)
            .map_err(|error| Error::new(Code::KeyFile, format!("this is no Ed25519 secret key in PKCS#8 PEM: {error}")))
    }

    /// The key as a PKCS#8 document in PEM, as other tools write it too (without the public half).
    ///
    /// # Errors
    /// `KEY_FILE`; does not occur with a key of this type.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, Error> {
        KeypairBytes { secret_key: self.0.to_bytes(), public_key: None }
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|error| Error::new(Code::KeyFile, format!("the key cannot be written as PKCS#8: {error}")))
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// `KEY_FILE` where it cannot be read, others than its owner can read it, or it holds no Ed25519 key.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let failed = |why: &dyn fmt::Display| Error::new(Code::KeyFile, format!("the key {}: {why}", path.display()));
        let file = fs::File::open(path).map_err(|error| failed(&error))?;
        let metadata = file.metadata().map_err(|error| failed(&error))?;
        if !metadata.is_file() {
            return Err(failed(&"it is not a regular file"));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(failed(&format_args!(
                    "others may read it (mode {mode:o}); make it private with chmod 600"
                )));
            }
        }
        // The room is there from the start, since a string that grows leaves copies of the key behind.
        let mut pem = Zeroizing::new(String::with_capacity(MAX_KEY_FILE + 1));
        let limit = u64::try_from(MAX_KEY_FILE).unwrap_or(u64::MAX);
        file.take(limit).read_to_string(&mut pem).map_err(|error| failed(&error))?;
        Self::from_pem(&pem).map_err(|error| failed(&error))
    }

    /// Writes a new key file that only its owner can read, and makes it last.
    ///
    /// # Errors
    /// `KEY_FILE` where the file exists (a key is never overwritten) or cannot be written.
    pub fn write_new(&self, path: &Path) -> Result<(), Error> {
        let failed = |error: std::io::Error| {
            let why = match error.kind() {
                std::io::ErrorKind::AlreadyExists => "it exists, and a key is never overwritten".to_owned(),
                _ => error.to_string(),
            };
            Error::new(Code::KeyFile, format!("the key {}: {why}", path.display()))
        };
        let pem = self.to_pem()?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let mut file = options.open(path).map_err(failed)?;
        file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The signature over a digest.
    #[must_use]
    pub fn sign(&self, digest: &Digest) -> [u8; 64] {
        self.0.sign(&digest.signed_message()).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.public_key().key_id())
    }
}
