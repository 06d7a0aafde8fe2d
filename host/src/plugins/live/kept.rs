//! The files of installed versions: in the registry's database, and at hand on the disk. Whichever is whole makes the other
//! good again; what is read is verified every time.

use std::path::PathBuf;
use std::sync::Arc;

use arcana_signing::{Digest, Purpose};

use super::Inner;
use crate::plugins::files;
use crate::plugins::refusal::Refusal;
use crate::plugins::verify::{Verified, verify};

/// The code of a file that takes too long to be read.
const VERIFY_TIMEOUT: &str = "VERIFY_TIMEOUT";

impl Inner {
    /// Verifies bytes on a thread that may block: decoding a large component takes a while.
    pub(super) async fn verify(self: &Arc<Self>, bytes: Vec<u8>, purpose: Purpose) -> Result<Verified, Refusal> {
        let (trust, prepass) = (self.trust.load_full(), self.prepass.clone());
        let limit = self.loader.config.limits.contract.timeout;
        let late = |_| {
            self.loader.metrics.plugin_change("verify", VERIFY_TIMEOUT);
            let message = format!("reading the file and its types takes longer than {limit} (limits.contract.timeout)");
            Refusal::new(VERIFY_TIMEOUT, 503, message)
        };
        let work = async {
            let place = self.verifying.clone().acquire_owned().await.map_err(Refusal::host)?;
            let verified = tokio::task::spawn_blocking(move || {
                // What takes too long keeps its place until it ends.
                let _place = place;
                verify(bytes, &trust, purpose, &prepass)
            });
            verified.await.map_err(Refusal::host)?
        };
        tokio::time::timeout(limit.get(), work).await.map_err(late)?
    }

    /// Reads a file of at most `plugins.max_file_bytes` on a thread that may block.
    pub(super) async fn read(&self, path: PathBuf) -> Result<Vec<u8>, Refusal> {
        let most = self.max_file();
        tokio::task::spawn_blocking(move || files::read(&path, most)).await.map_err(Refusal::host)?
    }

    /// The installed version with this digest, verified again.
    ///
    /// # Errors
    /// Why neither the database nor the disk has it as it was installed; what the trust policy has against it.
    pub(super) async fn keep(self: &Arc<Self>, id: &str, digest: &Digest) -> Result<Verified, Refusal> {
        let at_hand = match self.read(files::kept(&self.kept, digest)).await {
            Ok(bytes) => self.check(id, digest, bytes).await,
            Err(refusal) => Err(refusal),
        };
        let refusal = match at_hand {
            Ok(verified) => {
                self.heal(digest, &verified.bytes).await;
                return Ok(verified);
            }
            // The policy has something against it: another copy does not help.
            Err(refusal) if matches!(refusal.status, 403 | 409) => return Err(refusal),
            Err(refusal) => refusal,
        };
        let Some(bytes) = self.registry.file(digest).await.map_err(Refusal::host)? else { return Err(refusal) };
        let verified = self.check(id, digest, bytes).await?;
        tracing::info!(plugin = id, %digest, "the installed file is taken from the database");
        self.keep_at_hand(&verified).await;
        Ok(verified)
    }

    /// Bytes as the installed version with this digest, verified again.
    pub(super) async fn check(
        self: &Arc<Self>,
        id: &str,
        digest: &Digest,
        bytes: Vec<u8>,
    ) -> Result<Verified, Refusal> {
        let verified = self.verify(bytes, Purpose::Keep).await?;
        if verified.digest != *digest || verified.manifest.plugin.id.as_str() != id {
            return Err(Refusal::new("DIGEST_MISMATCH", 422, "the kept file is not the one that was installed"));
        }
        Ok(verified)
    }

    /// Puts a file into the database that has lost it, or that comes from a host which kept files on the disk alone.
    async fn heal(&self, digest: &Digest, bytes: &[u8]) {
        let restored = match self.registry.has_file(digest).await {
            Ok(true) => return,
            Ok(false) => self.registry.restore(digest, bytes).await,
            Err(error) => Err(error),
        };
        if let Err(error) = restored {
            tracing::warn!(%digest, %error, "the installed file cannot be put back into the database");
        }
    }
}
