//! `crypto`, `passwords` and `keys`: randomness, digests, Argon2id, and keys that never leave the host.
//!
//! `crypto` and `keys` are linked by hand: their inputs may be as large as the guest's memory, and are read in pieces where they
//! are, instead of being copied to the host as a whole while a serving thread waits.

use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use wasmtime::component::{Linker, WasmList};
use wasmtime::{AsContext as _, StoreContextMut};

use super::bindings::arcana::host::{keys, passwords};
use super::work::{PIECE, in_pieces, undivided};
use super::{HostFault, PluginGrants, View};
use crate::principal::passwords::{Asker, PasswordError, Verdict};

/// Most random bytes of one call.
const MAX_RANDOM: u32 = 65_536;

/// Links `crypto`.
///
/// # Errors
/// It is linked already.
pub(super) fn link_crypto<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> View<'_>,
) -> wasmtime::Result<()> {
    let mut crypto = linker.instance("arcana:host/crypto@0.1.0")?;
    crypto.func_wrap("random-bytes", |_, (len,): (u32,)| Ok((random_bytes(len)?,)))?;
    crypto.func_wrap_async("sha256", move |mut store, (data,): (WasmList<u8>,)| {
        Box::new(async move {
            count(&mut store, view, data.len());
            Ok((sha256(&mut store, &data).await,))
        })
    })?;
    crypto.func_wrap_async("hmac-sha256", move |mut store, (key, data): (WasmList<u8>, WasmList<u8>)| {
        Box::new(async move {
            count(&mut store, view, key.len().saturating_add(data.len()));
            // A key that is longer than a block stands for its digest (RFC 2104, section 2).
            let key = match key.len() {
                ..=64 => key.as_le_slice(store.as_context()).to_vec(),
                _ => sha256(&mut store, &key).await,
            };
            let mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|error| HostFault(error.to_string()))?;
            Ok((hmac(&mut store, mac, &data).await,))
        })
    })?;
    crypto.func_wrap_async("equal", move |mut store, (a, b): (WasmList<u8>, WasmList<u8>)| {
        Box::new(async move {
            count(&mut store, view, a.len());
            Ok((equal(&mut store, &a, &b).await,))
        })
    })
}

fn random_bytes(len: u32) -> wasmtime::Result<Vec<u8>> {
    let len = usize::try_from(len.min(MAX_RANDOM))?;
    let mut bytes = vec![0; len];
    getrandom::fill(&mut bytes).map_err(|error| HostFault(format!("no randomness: {error}")))?;
    Ok(bytes)
}

async fn sha256<T: Send + 'static>(store: &mut StoreContextMut<'_, T>, data: &WasmList<u8>) -> Vec<u8> {
    let mut digest = Sha256::new();
    in_pieces(store, data, |piece| digest.update(piece)).await;
    digest.finalize().to_vec()
}

async fn hmac<T: Send + 'static>(
    store: &mut StoreContextMut<'_, T>,
    mut mac: Hmac<Sha256>,
    data: &WasmList<u8>,
) -> Vec<u8> {
    in_pieces(store, data, |piece| mac.update(piece)).await;
    mac.finalize().into_bytes().to_vec()
}

async fn equal<T: Send + 'static>(store: &mut StoreContextMut<'_, T>, a: &WasmList<u8>, b: &WasmList<u8>) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut same = subtle::Choice::from(1);
    for at in (0..a.len()).step_by(PIECE) {
        if at > 0 {
            tokio::task::yield_now().await;
        }
        let (a, b) = (a.as_le_slice(store.as_context()), b.as_le_slice(store.as_context()));
        let piece = at..(at + PIECE).min(a.len());
        same &= a.get(piece.clone()).unwrap_or_default().ct_eq(b.get(piece).unwrap_or_default());
    }
    same.into()
}

/// Counts an input that is worked on in pieces or beside.
fn count<T: 'static>(store: &mut StoreContextMut<'_, T>, view: fn(&mut T) -> View<'_>, len: usize) {
    if len > PIECE {
        view(store.data_mut()).state.grants.large_input_bytes.inc_by(u64::try_from(len).unwrap_or(u64::MAX));
    }
}

fn password_error(error: PasswordError) -> passwords::Error {
    match error {
        PasswordError::Busy => passwords::Error::Busy,
        PasswordError::TooLong => passwords::Error::TooLong,
        PasswordError::InvalidHash => passwords::Error::InvalidHash,
        // The WIT has no case for it, and its cases never change.
        PasswordError::TooCostly => passwords::Error::Other(error.to_string()),
        PasswordError::Host(cause) => {
            tracing::error!(cause, "a password could not be hashed");
            passwords::Error::Other("the cause is in the host's log".into())
        }
    }
}

impl passwords::Host for View<'_> {
    async fn hash(&mut self, password: String) -> wasmtime::Result<Result<String, passwords::Error>> {
        let asker = self.asker();
        Ok(self.state.grants.services.passwords.hash(&asker, &password).await.map_err(password_error))
    }

    async fn verify(
        &mut self,
        password: String,
        hash: Option<String>,
    ) -> wasmtime::Result<Result<passwords::Verdict, passwords::Error>> {
        let asker = self.asker();
        let verdict = self.state.grants.services.passwords.verify(&asker, &password, hash.as_deref()).await;
        Ok(verdict.map_err(password_error).map(|verdict| match verdict {
            Verdict::Wrong => passwords::Verdict::Wrong,
            Verdict::Correct => passwords::Verdict::Correct,
            Verdict::CorrectRehash => passwords::Verdict::CorrectRehash,
        }))
    }
}

impl View<'_> {
    fn asker(&self) -> Asker {
        Asker { plugin: self.state.grants.plugin.clone(), deadline: self.state.call.deadline }
    }
}

/// Links `keys`.
///
/// # Errors
/// It is linked already.
pub(super) fn link_keys<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> View<'_>,
) -> wasmtime::Result<()> {
    type Answer<R> = wasmtime::Result<(Result<R, keys::Error>,)>;
    let mut keys = linker.instance("arcana:host/keys@0.1.0")?;
    keys.func_wrap_async("sign", move |mut store, (key, message): (String, WasmList<u8>)| {
        Box::new(async move {
            let answer: Answer<Vec<u8>> = match named_key(&mut store, view, &key) {
                Err(denied) => Ok((Err(denied),)),
                Ok(grants) => {
                    count(&mut store, view, message.len());
                    let sign = move |grants: &PluginGrants, message: &[u8]| {
                        grants.services.keys.sign(&grants.plugin, &key, message).to_vec()
                    };
                    Ok((Ok(undivided(&mut store, &grants, &message, sign).await?),))
                }
            };
            answer
        })
    })?;
    keys.func_wrap_async(
        "verify",
        move |mut store, (key, message, signature): (String, WasmList<u8>, WasmList<u8>)| {
            Box::new(async move {
                let answer: Answer<bool> = match named_key(&mut store, view, &key) {
                    Err(denied) => Ok((Err(denied),)),
                    // No signature of Ed25519 is longer; what is, is not read.
                    Ok(_) if signature.len() > 64 => Ok((Ok(false),)),
                    Ok(grants) => {
                        count(&mut store, view, message.len());
                        let signature = signature.as_le_slice(store.as_context()).to_vec();
                        let verify = move |grants: &PluginGrants, message: &[u8]| {
                            grants.services.keys.verify(&grants.plugin, &key, message, &signature)
                        };
                        Ok((Ok(undivided(&mut store, &grants, &message, verify).await?),))
                    }
                };
                answer
            })
        },
    )?;
    keys.func_wrap_async("hmac-sha256", move |mut store, (key, data): (String, WasmList<u8>)| {
        Box::new(async move {
            let answer: Answer<Vec<u8>> = match named_key(&mut store, view, &key) {
                Err(denied) => Ok((Err(denied),)),
                Ok(grants) => {
                    count(&mut store, view, data.len());
                    let mac = grants.services.keys.mac(&grants.plugin, &key);
                    let mac = mac.map_err(|error| HostFault(error.to_string()))?;
                    Ok((Ok(hmac(&mut store, mac, &data).await),))
                }
            };
            answer
        })
    })
}

/// The grants of the plugin, where they name this key.
fn named_key<T: 'static>(
    store: &mut StoreContextMut<'_, T>,
    view: fn(&mut T) -> View<'_>,
    name: &str,
) -> Result<Arc<PluginGrants>, keys::Error> {
    let view = view(store.data_mut());
    let grants = &view.state.grants;
    let granted = grants.crypto.as_ref().is_some_and(|crypto| crypto.keys.iter().any(|key| key == name));
    granted.then(|| grants.clone()).ok_or_else(|| {
        keys::Error::Denied(format!("the key {name:?} was not granted; list it under crypto.keys in plugin.toml"))
    })
}
