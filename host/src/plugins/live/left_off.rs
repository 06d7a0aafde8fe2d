//! Versions that are left off because the host died while it brought them up.

use std::path::Path;
use std::time::SystemTime;

use arcana_signing::Digest;

use super::{Actor, Inner};
use crate::plugins::attempts::{LeftOff, START_DIED};
use crate::plugins::refusal::Refusal;
use crate::plugins::registry::Deed;

impl Inner {
    /// Whether the host may try a version without being asked to by an administrator. The file that it comes from, where there
    /// is one, may ask by having been touched since.
    pub(super) fn may_try(&self, digest: &Digest, file: Option<&Path>) -> Result<(), Refusal> {
        let Some(left) = self.loader.attempts.is_left_off(digest) else { return Ok(()) };
        let touched = file.and_then(|file| file.metadata().ok()?.modified().ok());
        if touched.is_some_and(|touched| touched > SystemTime::from(left.at)) {
            return Ok(());
        }
        Err(died(&left))
    }

    /// The same for each actor: an administrator may try any version.
    pub(super) fn may_bring(&self, digest: &Digest, by: &Actor) -> Result<(), Refusal> {
        match by {
            Actor::Admin(_) => Ok(()),
            Actor::Directory(name) => self.may_try(digest, Some(&self.folder.join(&**name))),
            Actor::Development | Actor::Host => self.may_try(digest, None),
        }
    }

    /// Why an installed version is left off at this start, which is recorded once.
    pub(super) async fn leave_off(&self, digest: &Digest) -> Option<Refusal> {
        let left = self.loader.attempts.is_left_off(digest)?;
        let refusal = died(&left);
        if left.news {
            self.loader.metrics.plugin_change("start", START_DIED);
            let deed = Deed {
                who: Actor::Host.name(),
                action: "start",
                id: &left.id,
                from: None,
                to: Some((&left.version, left.digest)),
                outcome: START_DIED,
                message: &refusal.message,
            };
            if let Err(error) = self.registry.note(&deed).await {
                tracing::error!(plugin = left.id, %error, "the change cannot be recorded");
            }
        }
        Some(refusal)
    }
}

fn died(left: &LeftOff) -> Refusal {
    let LeftOff { id, version, digest, doing, at, .. } = left;
    let message = format!(
        "the host died on {at} while {doing}, so this version is left off. To try it again enable the plugin (`arcana plugin \
         enable {id}`), touch its file in the plugin folder, or delete {digest}.json in the folder `starting` of the data, and \
         start the host again; another version is taken as always"
    );
    Refusal::new(START_DIED, 409, message).about(id, version, *digest)
}
