//! The signed file: a component whose first section carries signatures over the hash of all that follows.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::error::{Code, Error};
use crate::keys::{KeyId, SecretKey};
use crate::leb::{self, Reader};

/// The header of a component (version 13, layer 1), the only one that is accepted.
pub const COMPONENT_HEADER: [u8; 8] = [0x00, b'a', b's', b'm', 0x0d, 0x00, 0x01, 0x00];
/// The name of the custom section with the signatures.
pub const SIGNATURE_SECTION: &str = "signature";
/// The name of the custom section with the manifest, which is the first of the body.
pub const MANIFEST_SECTION: &str = "arcana:plugin";
/// The longest signature section, in bytes.
pub const MAX_SIGNATURE_SECTION: usize = 4096;
/// The most signatures of one file.
pub const MAX_SIGNATURES: usize = 8;

const CUSTOM: u8 = 0;
const SPEC_VERSION: u8 = 1;
const CONTENT_TYPE: u8 = 1;
const SHA_256: u8 = 1;
const ED25519: u8 = 1;
const SIGNED_PREFIX: &[u8; 10] = b"wasmsig\x01\x01\x01";

/// SHA-256 of every byte after the signature section: the identity of a plugin.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of a body.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        Self(Sha256::digest(body).into())
    }

    /// The bytes that a signature is made over: a domain, the versions, and the digest.
    #[must_use]
    pub fn signed_message(&self) -> [u8; 42] {
        let mut message = [0; 42];
        let (prefix, digest) = message.split_at_mut(SIGNED_PREFIX.len());
        prefix.copy_from_slice(SIGNED_PREFIX);
        digest.copy_from_slice(&self.0);
        message
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| format!("`{text}` is no digest: 64 hexadecimal digits"))?;
        Ok(Self(bytes))
    }
}

/// One signature as the file claims it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Whose it claims to be.
    pub key_id: KeyId,
    /// The 64 bytes of Ed25519.
    pub bytes: [u8; 64],
}

/// A file whose signature section is well formed. Nothing in it has been verified, so the manifest is out of reach.
#[derive(Debug, Clone)]
pub struct Envelope<'a> {
    file: &'a [u8],
    body: &'a [u8],
    digest: Digest,
    signatures: Vec<Signature>,
}

/// The inside of a file.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a> {
    /// The bytes of the section `arcana:plugin`.
    pub manifest: &'a [u8],
    /// Every byte that the digest is made of.
    pub body: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// The digest that the file claims, and that the signatures are over.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The signatures in the order of the file: 1 to 8, each by another key id.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Every byte after the signature section.
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The whole file, which is also the component to compile.
    #[must_use]
    pub const fn file(&self) -> &'a [u8] {
        self.file
    }

    /// Checks that the body is the one of the claimed digest, and finds the manifest. Says nothing about who signed:
    /// for that there is [`crate::TrustPolicy::verify`].
    ///
    /// # Errors
    /// `DIGEST_MISMATCH`, `MANIFEST_NOT_FIRST_OR_NOT_UNIQUE`, `SECOND_SIGNATURE_SECTION`, `TRUNCATED`, `LEB_OVERFLOW`.
    pub fn check_body(&self) -> Result<Contents<'a>, Error> {
        if Digest::of(self.body) != self.digest {
            return Err(Error::new(
                Code::DigestMismatch,
                "the file was changed after it was signed: its content does not have the signed hash",
            ));
        }
        frame(self.body)
    }
}

/// Reads the header and the signature section, each byte of which has exactly one meaning. Costs nothing that depends on
/// the length of the file, and allocates nothing before the number of signatures is known to be at most 8.
///
/// # Errors
/// `NOT_COMPONENT`, `UNSIGNED`, `TRUNCATED`, `LEB_NOT_MINIMAL`, `LEB_OVERFLOW`, `SIG_TOO_LARGE`, `SIG_UNSUPPORTED`,
/// `PARTIAL_SIGNATURE`, `SIG_COUNT`, `BAD_KEY_ID`, `BAD_SIGNATURE`, `DUPLICATE_SIGNER`, `SIG_TRAILING_BYTES`.
pub fn parse(file: &[u8]) -> Result<Envelope<'_>, Error> {
    let mut file_reader = Reader::new(component_sections(file)?);
    if file_reader.is_empty() || file_reader.byte("the first section")? != CUSTOM {
        return Err(unsigned());
    }
    let len = file_reader.minimal("the length of the first section")?;
    let mut section = Reader::new(file_reader.take(len, "the first section")?);
    let name_len = section.minimal("the length of the first section's name")?;
    if section.take(name_len, "the first section's name")? != SIGNATURE_SECTION.as_bytes() {
        return Err(unsigned());
    }
    if len > MAX_SIGNATURE_SECTION {
        let message = format!("the signature section has {len} bytes, of at most {MAX_SIGNATURE_SECTION}");
        return Err(Error::new(Code::SigTooLarge, message));
    }

    for (expected, what) in [(SPEC_VERSION, "version"), (CONTENT_TYPE, "content type"), (SHA_256, "hash function")] {
        let found = section.byte("the signature header")?;
        if found != expected {
            return Err(Error::new(Code::SigUnsupported, format!("the signatures' {what} is {found}, not {expected}")));
        }
    }
    exactly_one(section.minimal("the number of signature sets")?, "signature sets")?;
    let set_len = section.minimal("the length of the signature set")?;
    let mut set = Reader::new(section.take(set_len, "the signature set")?);
    nothing_left(section, "the signature section")?;
    exactly_one(set.minimal("the number of hashes")?, "hashes")?;
    let digest = Digest(*set.array::<32>("the signed hash")?);
    let count = set.minimal("the number of signatures")?;
    if !(1..=MAX_SIGNATURES).contains(&count) {
        return Err(Error::new(
            Code::SigCount,
            format!("the file has {count} signatures; 1 to {MAX_SIGNATURES} can be"),
        ));
    }
    let mut signatures: Vec<Signature> = Vec::with_capacity(count);
    for _ in 0..count {
        let entry_len = set.minimal("the length of a signature entry")?;
        let signature = parse_entry(set.take(entry_len, "a signature entry")?)?;
        if signatures.iter().any(|other| other.key_id == signature.key_id) {
            return Err(Error::new(Code::DuplicateSigner, format!("the key {} signed twice", signature.key_id)));
        }
        signatures.push(signature);
    }
    nothing_left(set, "the signature set")?;
    Ok(Envelope { file, body: file_reader.rest(), digest, signatures })
}

/// The inside of a packed file, signed or not, without verifying anything: for tools that show or sign a file.
///
/// # Errors
/// As [`parse`] and [`Envelope::check_body`], but for `UNSIGNED`.
pub fn contents(file: &[u8]) -> Result<Contents<'_>, Error> {
    match parse(file) {
        Ok(envelope) => envelope.check_body(),
        Err(error) if error.kind() == Code::Unsigned => frame(component_sections(file)?),
        Err(error) => Err(error),
    }
}

/// Signs a packed file with each of these keys, or adds their signatures to one that is signed already. The body stays as
/// it is, byte for byte.
///
/// # Errors
/// As [`contents`]; `DUPLICATE_SIGNER` where a key has signed the file before, `SIG_COUNT` past 8 signatures or with no key.
pub fn sign(file: &[u8], keys: &[&SecretKey]) -> Result<Vec<u8>, Error> {
    let Contents { body, .. } = contents(file)?;
    let digest = Digest::of(body);
    let mut signatures = match parse(file) {
        Ok(envelope) => envelope.signatures,
        Err(_) => Vec::new(),
    };
    for key in keys {
        let key_id = key.public_key().key_id();
        if signatures.iter().any(|other| other.key_id == key_id) {
            return Err(Error::new(Code::DuplicateSigner, format!("the key {key_id} has signed this file already")));
        }
        signatures.push(Signature { key_id, bytes: key.sign(&digest) });
    }
    if !(1..=MAX_SIGNATURES).contains(&signatures.len()) {
        let count = signatures.len();
        return Err(Error::new(
            Code::SigCount,
            format!("the file would have {count} signatures, of 1 to {MAX_SIGNATURES}"),
        ));
    }

    let mut set = vec![1];
    set.extend_from_slice(&digest.0);
    leb::put(&mut set, signatures.len());
    for Signature { key_id, bytes } in &signatures {
        set.extend_from_slice(&[0x4f, 0x0c]);
        set.extend_from_slice(&key_id.0);
        set.extend_from_slice(&[ED25519, 0x40]);
        set.extend_from_slice(bytes);
    }
    let mut section = Vec::with_capacity(set.len() + 32);
    leb::put(&mut section, SIGNATURE_SECTION.len());
    section.extend_from_slice(SIGNATURE_SECTION.as_bytes());
    section.extend_from_slice(&[SPEC_VERSION, CONTENT_TYPE, SHA_256, 1]);
    leb::put(&mut section, set.len());
    section.append(&mut set);

    let mut signed = Vec::with_capacity(COMPONENT_HEADER.len() + 3 + section.len() + body.len());
    signed.extend_from_slice(&COMPONENT_HEADER);
    signed.push(CUSTOM);
    leb::put(&mut signed, section.len());
    signed.append(&mut section);
    signed.extend_from_slice(body);
    Ok(signed)
}

/// A custom section at the top level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CustomSection<'a> {
    /// Its name, as bytes: nothing has checked that it is text.
    pub name: &'a [u8],
    /// What is in it.
    pub payload: &'a [u8],
}

/// The custom sections of a body at its top level, in order; what is nested is not looked at.
///
/// # Errors
/// `TRUNCATED` and `LEB_OVERFLOW` where a section does not fit.
pub fn custom_sections(body: &[u8]) -> Result<Vec<CustomSection<'_>>, Error> {
    let mut found = Vec::new();
    for_each_section(body, |_, custom| {
        found.extend(custom.map(|(name, payload)| CustomSection { name, payload }));
        Ok(())
    })?;
    Ok(found)
}

/// Refuses a file by its length before anything of it is read.
///
/// # Errors
/// `TOO_LARGE`.
pub fn check_size(len: u64, max: u64) -> Result<(), Error> {
    if len <= max {
        return Ok(());
    }
    Err(Error::new(Code::TooLarge, format!("the file has {len} bytes, of at most {max}")))
}

fn component_sections(file: &[u8]) -> Result<&[u8], Error> {
    if let Some(sections) = file.strip_prefix(&COMPONENT_HEADER) {
        return Ok(sections);
    }
    let what = match file {
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => "a core module",
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => "a component of another binary version",
        [0, b'a', b's', b'm', ..] => "WebAssembly of an unknown version",
        [0x7f, b'E', b'L', b'F', ..] => "a native or precompiled file",
        [] => "empty",
        _ if file.trim_ascii_start().starts_with(b"(") => "WebAssembly text",
        _ => {
            return Err(Error::new(
                Code::NotComponent,
                "the file is not a WebAssembly component, nor anything like it",
            ));
        }
    };
    Err(Error::new(Code::NotComponent, format!("the file is not a WebAssembly component: it is {what}")))
}

fn parse_entry(bytes: &[u8]) -> Result<Signature, Error> {
    let mut entry = Reader::new(bytes);
    let id_len = entry.minimal("the length of a key id")?;
    let Ok(key_id) = <[u8; 12]>::try_from(entry.take(id_len, "a key id")?) else {
        return Err(Error::new(Code::BadKeyId, format!("a key id has {id_len} bytes, not 12")));
    };
    let algorithm = entry.byte("a signature's algorithm")?;
    if algorithm != ED25519 {
        return Err(Error::new(Code::SigUnsupported, format!("a signature's algorithm is {algorithm}, not {ED25519}")));
    }
    let len = entry.minimal("the length of a signature")?;
    let Ok(bytes) = <[u8; 64]>::try_from(entry.take(len, "a signature")?) else {
        return Err(Error::new(Code::BadSignature, format!("a signature has {len} bytes, not 64")));
    };
    nothing_left(entry, "a signature entry")?;
    Ok(Signature { key_id: KeyId(key_id), bytes })
}

/// Finds the manifest, which must be the first section and the only one of its name.
fn frame(body: &[u8]) -> Result<Contents<'_>, Error> {
    let mut manifest = None;
    for_each_section(body, |index, custom| {
        match custom {
            Some((name, payload)) if name == MANIFEST_SECTION.as_bytes() => {
                if index != 0 || manifest.is_some() {
                    return Err(Error::new(Code::Manifest, "the manifest is there twice, or is not the first section"));
                }
                manifest = Some(payload);
            }
            Some((name, _)) if name == SIGNATURE_SECTION.as_bytes() => {
                return Err(Error::new(
                    Code::SecondSignatureSection,
                    "there is a second signature section inside of the signed bytes",
                ));
            }
            _ => {}
        }
        Ok(())
    })?;
    let manifest = manifest.ok_or_else(|| {
        Error::new(
            Code::Manifest,
            "the file carries no manifest: pack it with `arcana plugin pack` before it is signed",
        )
    })?;
    Ok(Contents { manifest, body })
}

fn for_each_section<'a>(
    body: &'a [u8],
    mut visit: impl FnMut(usize, Option<(&'a [u8], &'a [u8])>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut reader = Reader::new(body);
    let mut index = 0;
    while !reader.is_empty() {
        let id = reader.byte("a section")?;
        let len = reader.padded("the length of a section")?;
        let mut section = Reader::new(reader.take(len, "a section")?);
        let custom = if id == CUSTOM {
            let name_len = section.padded("the length of a section's name")?;
            let name = section.take(name_len, "a section's name")?;
            Some((name, section.rest()))
        } else {
            None
        };
        visit(index, custom)?;
        index += 1;
    }
    Ok(())
}

fn exactly_one(count: usize, what: &'static str) -> Result<(), Error> {
    if count == 1 {
        return Ok(());
    }
    let message = format!("the signature section has {count} {what}, not one: it would sign only parts of the file");
    Err(Error::new(Code::PartialSignature, message))
}

fn nothing_left(reader: Reader<'_>, what: &'static str) -> Result<(), Error> {
    if reader.is_empty() {
        return Ok(());
    }
    let left = reader.rest().len();
    Err(Error::new(Code::SigTrailingBytes, format!("{left} bytes are left over at the end of {what}")))
}

fn unsigned() -> Error {
    Error::new(Code::Unsigned, "the file is not signed: its first section is not a signature section")
}
