//! The host's own keys, files under `<data>/keys/` that are made on first use and never leave the host:
//!
//! - `token-<n>.pem` (Ed25519, PKCS#8) or `token-<n>.key` (HS256, 32 bytes): access tokens. The private key with the
//!   highest number signs; every other one, and a file with a public key only, stays trusted for verification. To rotate,
//!   add the next number and restart; remove the old one when its last token has ended.
//! - `cache-mac.key`: the MAC of the compiled-code cache.
//! - `plugin-keys.key`: the root from which every named key of every plugin is derived.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// 32 secret bytes, wiped when dropped.
pub type SecretKey = Zeroizing<[u8; 32]>;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file holds something else than its name says.
    #[error("{}: this is not {expected}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// A file can be read by others than its owner.
    #[error("{}: others than its owner may read it; `chmod 600` it", path.display())]
    NotPrivate {
        /// The file.
        path: PathBuf,
    },
    /// Only public keys are there.
    #[error("{}: there is no private key to sign tokens with", path.display())]
    NoSigningKey {
        /// The folder.
        path: PathBuf,
    },
    /// The operating system gave no randomness.
    #[error("no randomness: {0}")]
    Random(#[from] getrandom::Error),
}

/// How access tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// HMAC with SHA-256 (RFC 7518).
    Hs256,
}

/// Every key of the host.
pub struct HostKeys {
    /// Signs and verifies access tokens.
    pub tokens: TokenKeys,
    /// For the MAC of the compiled-code cache.
    pub cache_mac: SecretKey,
    /// The keys of plugins.
    pub plugins: PluginKeys,
}

impl HostKeys {
    /// Reads the keys of a data folder and makes those that are missing, each written whole or not at all.
    ///
    /// # Errors
    /// A file that cannot be read or written, holds no key, or can be read by others.
    pub fn open(data_dir: &Path, algorithm: TokenAlgorithm) -> Result<Self, KeyError> {
        let dir = data_dir.join("keys");
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(at(&dir))?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).map_err(at(&dir))?;
        File::open(data_dir).and_then(|parent| parent.sync_all()).map_err(at(data_dir))?;
        Ok(Self {
            tokens: TokenKeys::open(&dir, algorithm)?,
            cache_mac: secret_file(&dir.join("cache-mac.key"))?,
            plugins: PluginKeys::new(secret_file(&dir.join("plugin-keys.key"))?),
        })
    }
}

/// The keys of access tokens; the first one signs.
pub struct TokenKeys {
    keys: Vec<TokenKey>,
}

impl TokenKeys {
    fn open(dir: &Path, algorithm: TokenAlgorithm) -> Result<Self, KeyError> {
        let extension = match algorithm {
            TokenAlgorithm::EdDsa => "pem",
            TokenAlgorithm::Hs256 => "key",
        };
        let mut files = token_files(dir, extension)?;
        if files.is_empty() {
            // A fixed name: of two processes that start at once, the second reads what the first wrote.
            let first = dir.join(format!("token-1.{extension}"));
            match algorithm {
                TokenAlgorithm::EdDsa => create(&first, new_pem()?.as_bytes())?,
                TokenAlgorithm::Hs256 => create(&first, random_key()?.as_slice())?,
            }
            files.push((1, first));
        }
        files.sort_by(|a, b| b.cmp(a));
        let mut keys = files
            .iter()
            .map(|(_, path)| match algorithm {
                TokenAlgorithm::EdDsa => read_pem(path),
                TokenAlgorithm::Hs256 => secret_file(path).map(TokenKey::hs256),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let signing = keys.iter().position(TokenKey::can_sign);
        keys[..=signing.ok_or_else(|| KeyError::NoSigningKey { path: dir.to_owned() })?].rotate_right(1);
        Ok(Self { keys })
    }

    /// Only these keys, which are in nobody's folder; the first one signs.
    #[cfg(test)]
    pub(super) fn from_keys(keys: Vec<TokenKey>) -> Self {
        Self { keys }
    }

    /// The keys, the one that signs first.
    pub(super) fn into_all(self) -> Vec<TokenKey> {
        self.keys
    }

    /// The public keys as a JWK set (RFC 7517, RFC 8037), for `/.well-known/jwks.json`; empty with HS256.
    #[must_use]
    pub fn jwks(&self) -> String {
        let keys = self.keys.iter().filter_map(|key| match &key.material {
            Material::Ed25519 { public, .. } => Some(serde_json::json!({
                "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(public.as_bytes()),
                "kid": key.kid, "alg": "EdDSA", "use": "sig",
            })),
            Material::Hs256(_) => None,
        });
        serde_json::json!({ "keys": keys.collect::<Vec<_>>() }).to_string()
    }
}

/// One key of access tokens.
pub(super) struct TokenKey {
    kid: String,
    material: Material,
}

enum Material {
    // Large beside the other, and there are a handful of them.
    Ed25519 { public: VerifyingKey, private: Option<Box<SigningKey>> },
    Hs256(SecretKey),
}

impl TokenKey {
    pub(super) fn ed25519(public: VerifyingKey, private: Option<SigningKey>) -> Self {
        Self { kid: thumbprint(&public), material: Material::Ed25519 { public, private: private.map(Box::new) } }
    }

    pub(super) fn hs256(secret: SecretKey) -> Self {
        // A name that says nothing of the secret, which the thumbprint of RFC 7638 would be a hash of.
        let kid = URL_SAFE_NO_PAD.encode(&hmac(&*secret, &[b"arcana token key id"])[..16]);
        Self { kid, material: Material::Hs256(secret) }
    }

    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    /// The `alg` header, which is a property of the key and never of the token.
    pub(super) const fn alg(&self) -> &'static str {
        match self.material {
            Material::Ed25519 { .. } => "EdDSA",
            Material::Hs256(_) => "HS256",
        }
    }

    const fn can_sign(&self) -> bool {
        !matches!(self.material, Material::Ed25519 { private: None, .. })
    }

    /// The signature, where the private key is there.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.material {
            Material::Ed25519 { private, .. } => Some(private.as_ref()?.sign(message).to_vec()),
            Material::Hs256(secret) => Some(hmac(&**secret, &[message]).to_vec()),
        }
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Ed25519 { public, .. } => Signature::from_slice(signature)
                .is_ok_and(|signature| public.verify_strict(message, &signature).is_ok()),
            Material::Hs256(secret) => subtle_eq(&hmac(&**secret, &[message]), signature),
        }
    }
}

/// The JWK thumbprint of a public key (RFC 7638, RFC 8037).
fn thumbprint(public: &VerifyingKey) -> String {
    let x = URL_SAFE_NO_PAD.encode(public.as_bytes());
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)))
}

/// The named keys of plugins, derived from one root: they need no files, cannot be guessed from each other, and are the
/// same again after a restart.
pub struct PluginKeys {
    root: SecretKey,
}

impl PluginKeys {
    pub(super) const fn new(root: SecretKey) -> Self {
        Self { root }
    }

    /// An Ed25519 signature by the key `name` of a plugin, over the message with its origin in front.
    #[must_use]
    pub fn sign(&self, plugin: &str, name: &str, message: &[u8]) -> [u8; 64] {
        self.signing_key(plugin, name).sign(&signed_message(plugin, name, message)).to_bytes()
    }

    /// Whether [`PluginKeys::sign`] with the same plugin and name made the signature.
    #[must_use]
    pub fn verify(&self, plugin: &str, name: &str, message: &[u8], signature: &[u8]) -> bool {
        let key = self.signing_key(plugin, name).verifying_key();
        let message = signed_message(plugin, name, message);
        Signature::from_slice(signature).is_ok_and(|signature| key.verify_strict(&message, &signature).is_ok())
    }

    /// HMAC-SHA-256 with the key `name` of a plugin, over data that is yet to come.
    ///
    /// # Errors
    /// The key has no length that HMAC takes; it takes every one.
    pub fn mac(&self, plugin: &str, name: &str) -> Result<Hmac<Sha256>, hmac::digest::InvalidLength> {
        Hmac::new_from_slice(&*self.derive(plugin, name, "hmac-sha256"))
    }

    fn signing_key(&self, plugin: &str, name: &str) -> SigningKey {
        SigningKey::from_bytes(&self.derive(plugin, name, "ed25519"))
    }

    fn derive(&self, plugin: &str, name: &str, purpose: &str) -> SecretKey {
        hkdf(b"arcana plugin keys v1", &*self.root, &framed(&[plugin.as_bytes(), name.as_bytes(), purpose.as_bytes()]))
    }
}

/// What a plugin's key really signs: nothing else in Arcana begins with this domain.
fn signed_message(plugin: &str, name: &str, message: &[u8]) -> Vec<u8> {
    framed(&[b"arcana plugin signature v1", plugin.as_bytes(), name.as_bytes(), message])
}

/// Each part behind its length, so that no two lists of parts give the same bytes.
fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        bytes.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

/// HKDF-SHA-256 (RFC 5869) with one block of output.
pub(super) fn hkdf(salt: &[u8], key: &[u8], info: &[u8]) -> SecretKey {
    let pseudorandom = Zeroizing::new(hmac(salt, &[key]));
    Zeroizing::new(hmac(&*pseudorandom, &[info, &[1]]))
}

pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes keys of any length; the other arm cannot be reached, and its fixed zeros would verify nothing of ours.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn subtle_eq(a: &[u8], b: &[u8]) -> bool {
    subtle::ConstantTimeEq::ct_eq(a, b).into()
}

fn random_key() -> Result<SecretKey, KeyError> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *key)?;
    Ok(key)
}

fn new_pem() -> Result<Zeroizing<String>, KeyError> {
    let key = SigningKey::from_bytes(&*random_key()?);
    // Encoding 48 bytes into memory has no way to fail, but says that it has.
    key.to_pkcs8_pem(LineEnding::LF)
        .map_err(|_| KeyError::Malformed { path: PathBuf::from("token-1.pem"), expected: "an Ed25519 key" })
}

/// The files `token-<n>.<extension>` with their numbers.
fn token_files(dir: &Path, extension: &str) -> Result<Vec<(u64, PathBuf)>, KeyError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let path = entry.map_err(at(dir))?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.strip_prefix("token-")?.parse().ok());
        if let Some(number) = number
            && path.extension().is_some_and(|found| found == extension)
        {
            files.push((number, path));
        }
    }
    Ok(files)
}

fn read_pem(path: &Path) -> Result<TokenKey, KeyError> {
    let malformed = || KeyError::Malformed { path: path.to_owned(), expected: "an Ed25519 key in PEM form" };
    let pem = Zeroizing::new(fs::read_to_string(path).map_err(at(path))?);
    let public = match SigningKey::from_pkcs8_pem(&pem) {
        Ok(private) => {
            must_be_private(path)?;
            return Ok(TokenKey::ed25519(private.verifying_key(), Some(private)));
        }
        Err(_) => VerifyingKey::from_public_key_pem(&pem).map_err(|_| malformed())?,
    };
    if public.is_weak() { Err(malformed()) } else { Ok(TokenKey::ed25519(public, None)) }
}

/// The 32 bytes of a file, which is made where it is not there.
fn secret_file(path: &Path) -> Result<SecretKey, KeyError> {
    if !path.try_exists().map_err(at(path))? {
        create(path, random_key()?.as_slice())?;
    }
    must_be_private(path)?;
    let bytes = Zeroizing::new(fs::read(path).map_err(at(path))?);
    let key: [u8; 32] = bytes
        .as_slice()
        .try_into()
        .map_err(|_| KeyError::Malformed { path: path.to_owned(), expected: "a key of 32 bytes" })?;
    Ok(Zeroizing::new(key))
}

/// Writes a new file whole or not at all; one that is there already stays as it is.
fn create(path: &Path, content: &[u8]) -> Result<(), KeyError> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    // A named temporary file is readable by its owner only from its first moment.
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(at(path))?;
    file.write_all(content).map_err(at(path))?;
    file.as_file().sync_all().map_err(at(path))?;
    match file.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(at(path)(error.error)),
    }
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(at(path))
}

fn must_be_private(path: &Path) -> Result<(), KeyError> {
    let mode = fs::metadata(path).map_err(at(path))?.permissions().mode();
    if mode & 0o077 == 0 { Ok(()) } else { Err(KeyError::NotPrivate { path: path.to_owned() }) }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    let path = path.to_owned();
    move |source| KeyError::Io { path, source }
}
