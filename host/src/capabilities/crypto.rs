//! `crypto`, `passwords` and `keys`: randomness, digests, Argon2id, and keys that never leave the host.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::bindings::arcana::host::{crypto, keys, passwords};
use super::{HostFault, View};
use crate::principal::passwords::{PasswordError, Verdict};

/// Most random bytes of one call.
const MAX_RANDOM: u32 = 65_536;

impl crypto::Host for View<'_> {
    fn random_bytes(&mut self, len: u32) -> wasmtime::Result<Vec<u8>> {
        let len = usize::try_from(len.min(MAX_RANDOM))?;
        let mut bytes = vec![0; len];
        getrandom::fill(&mut bytes).map_err(|error| HostFault(format!("no randomness: {error}")))?;
        Ok(bytes)
    }

    fn sha256(&mut self, data: Vec<u8>) -> wasmtime::Result<Vec<u8>> {
        Ok(Sha256::digest(&data).to_vec())
    }

    fn hmac_sha256(&mut self, key: Vec<u8>, data: Vec<u8>) -> wasmtime::Result<Vec<u8>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|error| HostFault(error.to_string()))?;
        mac.update(&data);
        Ok(mac.finalize().into_bytes().to_vec())
    }

    fn equal(&mut self, a: Vec<u8>, b: Vec<u8>) -> wasmtime::Result<bool> {
        Ok(a.ct_eq(&b).into())
    }
}

fn password_error(error: PasswordError) -> passwords::Error {
    match error {
        PasswordError::Busy => passwords::Error::Busy,
        PasswordError::TooLong => passwords::Error::TooLong,
        PasswordError::InvalidHash => passwords::Error::InvalidHash,
        PasswordError::Host(cause) => {
            tracing::error!(cause, "a password could not be hashed");
            passwords::Error::Other("the cause is in the host's log".into())
        }
    }
}

impl passwords::Host for View<'_> {
    async fn hash(&mut self, password: String) -> wasmtime::Result<Result<String, passwords::Error>> {
        Ok(self.state.grants.services.passwords.hash(&password).await.map_err(password_error))
    }

    async fn verify(
        &mut self,
        password: String,
        hash: Option<String>,
    ) -> wasmtime::Result<Result<passwords::Verdict, passwords::Error>> {
        let verdict = self.state.grants.services.passwords.verify(&password, hash.as_deref()).await;
        Ok(verdict.map_err(password_error).map(|verdict| match verdict {
            Verdict::Wrong => passwords::Verdict::Wrong,
            Verdict::Correct => passwords::Verdict::Correct,
            Verdict::CorrectRehash => passwords::Verdict::CorrectRehash,
        }))
    }
}

impl View<'_> {
    fn named_key(&self, name: &str) -> Result<(), keys::Error> {
        let granted = self.state.grants.crypto.as_ref().is_some_and(|crypto| crypto.keys.iter().any(|key| key == name));
        granted.then_some(()).ok_or_else(|| {
            keys::Error::Denied(format!("the key {name:?} was not granted; list it under crypto.keys in plugin.toml"))
        })
    }
}

impl keys::Host for View<'_> {
    fn sign(&mut self, key: String, message: Vec<u8>) -> wasmtime::Result<Result<Vec<u8>, keys::Error>> {
        let grants = &self.state.grants;
        Ok(self.named_key(&key).map(|()| grants.services.keys.sign(&grants.plugin, &key, &message).to_vec()))
    }

    fn verify(
        &mut self,
        key: String,
        message: Vec<u8>,
        signature: Vec<u8>,
    ) -> wasmtime::Result<Result<bool, keys::Error>> {
        let grants = &self.state.grants;
        Ok(self.named_key(&key).map(|()| grants.services.keys.verify(&grants.plugin, &key, &message, &signature)))
    }

    fn hmac_sha256(&mut self, key: String, data: Vec<u8>) -> wasmtime::Result<Result<Vec<u8>, keys::Error>> {
        let grants = &self.state.grants;
        Ok(self.named_key(&key).map(|()| grants.services.keys.hmac_sha256(&grants.plugin, &key, &data).to_vec()))
    }
}
