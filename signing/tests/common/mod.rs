//! Files to sign, and hostile ones put together byte by byte.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test fixture that cannot be made is a failed test")]

use arcana_signing::envelope::{COMPONENT_HEADER, Digest, sign};
use arcana_signing::{SecretKey, TrustPolicy};

pub(crate) const MANIFEST: &[u8] = b"[plugin]\nid = \"acme/bookmarks\"\n";

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

pub(crate) fn leb(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        out.push(if value == 0 { byte } else { byte | 0x80 });
        if value == 0 {
            return out;
        }
    }
}

pub(crate) fn sized(bytes: &[u8]) -> Vec<u8> {
    [leb(bytes.len()), bytes.to_vec()].concat()
}

pub(crate) fn section(id: u8, payload: &[u8]) -> Vec<u8> {
    [vec![id], sized(payload)].concat()
}

pub(crate) fn custom(name: &str, payload: &[u8]) -> Vec<u8> {
    section(0, &[sized(name.as_bytes()), payload.to_vec()].concat())
}

pub(crate) fn file(sections: &[Vec<u8>]) -> Vec<u8> {
    [COMPONENT_HEADER.to_vec(), sections.concat()].concat()
}

/// A body with a manifest, a core module and a trailing custom section.
pub(crate) fn body() -> Vec<u8> {
    let module = b"\0asm\x01\0\0\0";
    [custom("arcana:plugin", MANIFEST), section(1, module), custom("producers", b"\0")].concat()
}

pub(crate) fn packed() -> Vec<u8> {
    file(&[body()])
}

pub(crate) fn signed(seed: u8) -> Vec<u8> {
    sign(&packed(), &[&key(seed)]).unwrap()
}

/// One entry of a signature set.
pub(crate) fn entry(key_id: &[u8], signature: &[u8]) -> Vec<u8> {
    sized(&[sized(key_id), vec![1], sized(signature)].concat())
}

pub(crate) fn valid_entry(seed: u8, body: &[u8]) -> Vec<u8> {
    let key = key(seed);
    entry(&key.public_key().key_id().0, &key.sign(&Digest::of(body)))
}

/// The inside of a signature set.
pub(crate) fn set(body: &[u8], entries: &[Vec<u8>]) -> Vec<u8> {
    [vec![1], Digest::of(body).0.to_vec(), leb(entries.len()), entries.concat()].concat()
}

pub(crate) fn signature_section(sets: &[Vec<u8>]) -> Vec<u8> {
    let sets_bytes: Vec<u8> = sets.iter().flat_map(|set| sized(set)).collect();
    custom("signature", &[vec![1, 1, 1], leb(sets.len()), sets_bytes].concat())
}

/// A body under a set with these entries.
pub(crate) fn with_entries(body: &[u8], entries: &[Vec<u8>]) -> Vec<u8> {
    file(&[signature_section(&[set(body, entries)]), body.to_vec()])
}

pub(crate) struct KeyText {
    pub(crate) seed: u8,
    pub(crate) principal: &'static str,
    pub(crate) more: &'static str,
}

/// A policy in which these keys may sign all of `acme/*`.
pub(crate) fn policy(keys: &[KeyText], rule: &str) -> TrustPolicy {
    let mut text = String::from("serial = 7\n");
    for KeyText { seed, principal, more } in keys {
        let role = if more.contains("role =") { "" } else { "role = \"publisher\"\n" };
        let namespaces = if more.contains("namespaces =") { "" } else { "namespaces = [\"acme/*\"]\n" };
        text += &format!(
            "[[keys]]\nkey = \"{}\"\nprincipal = \"{principal}\"\n{role}{namespaces}{more}\n",
            key(*seed).public_key()
        );
    }
    TrustPolicy::parse(&format!("{text}[[rules]]\nplugins = [\"acme/*\"]\n{rule}\n")).unwrap()
}

pub(crate) fn trusting(seed: u8) -> TrustPolicy {
    policy(&[KeyText { seed, principal: "acme", more: "" }], "")
}

/// The code with which a file is refused by a policy that trusts the key of seed 1, or `ok`.
pub(crate) fn answer(bytes: &[u8]) -> &'static str {
    match arcana_signing::envelope::parse(bytes).and_then(|envelope| trusting(1).verify(&envelope).map(|_| ())) {
        Ok(()) => "ok",
        Err(error) => error.code(),
    }
}
