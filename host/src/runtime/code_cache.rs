//! Compiled code on disk, believed only under the host's own MAC.
//!
//! A file is `HMAC-SHA-256(key, version ‖ compatibility ‖ h ‖ code) ‖ code`, named after what went into it. The MAC is
//! verified over the bytes in memory, and those bytes are what is loaded; a file that does not fit is deleted and made anew.

use std::collections::HashSet;
use std::hash::{Hash as _, Hasher};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;

use super::compile::{CompileError, Compiler, Order};
use crate::principal::keys::SecretKey;

const MAC_LEN: usize = 32;

/// The cache folder and the key that its files are believed under.
pub struct CodeCache {
    dir: PathBuf,
    key: SecretKey,
    context: Vec<u8>,
    engine: wasmtime::Engine,
    /// The names that were asked for since the start.
    used: Mutex<HashSet<PathBuf>>,
}

/// Why a component is not there as code.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    /// It could not be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// What the compiler made does not load into this engine.
    #[error("the compiled code does not load: {0}")]
    Load(String),
}

impl CodeCache {
    /// A cache in `dir`, made when needed, for code of this engine.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(dir: &Path, key: &SecretKey, engine: &wasmtime::Engine) -> std::io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut context = env!("CARGO_PKG_VERSION").as_bytes().to_vec();
        let mut hasher = Sha256Hasher::default();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        context.extend_from_slice(&hasher.0.finalize());
        Ok(Self { dir: dir.to_owned(), key: key.clone(), context, engine: engine.clone(), used: Mutex::default() })
    }

    /// The component with this digest: from the cache, or compiled from `bytes` and kept. Reading, checking and loading
    /// megabytes of code takes its time, so a thread that may block does it.
    ///
    /// # Errors
    /// When it does not compile within the limits. A cache that cannot be written is logged and does no harm.
    pub async fn load(
        self: &Arc<Self>,
        compiler: &Compiler,
        digest: &[u8; 32],
        bytes: &[u8],
        order: &Order<'_>,
    ) -> Result<Component, CodeError> {
        let (path, digest) = (self.path(digest), *digest);
        self.used.lock().insert(path.clone());
        let (cache, place) = (self.clone(), path.clone());
        if let Some(component) = blocking(move || Ok(cache.read(&place, &digest))).await? {
            return Ok(component);
        }
        let code = compiler.compile(bytes, order).await?;
        let cache = self.clone();
        blocking(move || {
            if let Err(error) = cache.write(&path, &digest, &code) {
                tracing::warn!(path = %path.display(), %error, "the compiled code could not be kept");
            }
            cache.deserialize(&code).map_err(|error| CodeError::Load(format!("{error:#}")))
        })
        .await
    }

    /// Deletes the code of a component that is no longer kept.
    pub fn forget(&self, digest: &[u8; 32]) {
        let path = self.path(digest);
        self.used.lock().remove(&path);
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "old compiled code cannot be deleted");
        }
    }

    /// Deletes what is neither kept nor was asked for since the start: code of versions that are gone, of other engines, and
    /// what a killed host left half-written. One host at a time has the folder.
    pub fn prune(&self, kept: &[[u8; 32]]) {
        let mut used = self.used.lock();
        used.extend(kept.iter().map(|digest| self.path(digest)));
        let files = std::fs::read_dir(&self.dir).into_iter().flatten().flatten().map(|entry| entry.path());
        for stale in files.filter(|path| !used.contains(path)) {
            if let Err(error) = std::fs::remove_file(&stale) {
                tracing::warn!(path = %stale.display(), %error, "old compiled code cannot be deleted");
            }
        }
    }

    fn path(&self, digest: &[u8; 32]) -> PathBuf {
        let name = Sha256::new().chain_update(&self.context).chain_update(digest).finalize();
        self.dir.join(format!("{}.cwasm", hex::encode(name)))
    }

    fn mac(&self, digest: &[u8; 32]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.key).ok()?;
        mac.update(&self.context);
        mac.update(digest);
        Some(mac)
    }

    fn read(&self, path: &Path, digest: &[u8; 32]) -> Option<Component> {
        let file = match std::fs::read(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "compiled code cannot be read; compiling anew");
                return None;
            }
        };
        let believed = file.split_at_checked(MAC_LEN).and_then(|(tag, code)| {
            let mut mac = self.mac(digest)?;
            mac.update(code);
            mac.verify_slice(tag).ok()?;
            Some(code)
        });
        let loaded = believed.map(|code| self.deserialize(code));
        match loaded {
            Some(Ok(component)) => Some(component),
            bad => {
                let why = bad.and_then(Result::err).map_or_else(|| "bad MAC".to_owned(), |error| format!("{error:#}"));
                tracing::warn!(path = %path.display(), why, "compiled code is not believed; compiling anew");
                let _ = std::fs::remove_file(path);
                None
            }
        }
    }

    fn write(&self, path: &Path, digest: &[u8; 32], code: &[u8]) -> std::io::Result<()> {
        let mut mac = self.mac(digest).ok_or_else(|| std::io::Error::other("no MAC key"))?;
        mac.update(code);
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(&mac.finalize().into_bytes())?;
        file.write_all(code)?;
        file.persist(path)?;
        Ok(())
    }

    #[expect(unsafe_code, reason = "the bytes come from our own compiler child or carry our MAC")]
    fn deserialize(&self, code: &[u8]) -> wasmtime::Result<Component> {
        // SAFETY: `deserialize` runs whatever code it is given. These bytes were either just answered by the child that
        // this process started from its own binary, or carry a MAC under a key that only this host has.
        unsafe { Component::deserialize(&self.engine, code) }
    }
}

/// Does this on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CodeError> + Send + 'static,
) -> Result<T, CodeError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|fault| Err(CodeError::Load(fault.to_string())))
}

/// Feeds a `std::hash::Hash` into SHA-256, so that the whole compatibility hash counts and not 64 bits of it.
#[derive(Default)]
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}
