//! Which version this host is bringing up right now, on the disk: when the host dies, the next start knows which version it
//! was, leaves that one off and serves the others.
//!
//! A file per attempt stands in the data folder while code or migrations of the version run, and only then. An attempt that
//! ends, well or not, takes its file away. Attempts run one at a time, so that a death points at one version. A file from
//! before a restart of the machine says little about the version: it is tried once more, and left off where that dies too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arcana_signing::Digest;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

/// The code of a version that is left off because the host died with it.
pub const START_DIED: &str = "START_DIED";

/// A number that the kernel draws at each start of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The attempts of this process that are under way, for [`abandon`].
static RUNNING: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// What an attempt leaves on the disk while it runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Mark {
    id: String,
    version: String,
    digest: String,
    /// What was under way, as the end of a sentence.
    doing: String,
    at: Timestamp,
    /// See [`BOOT_ID`]; empty where there is none.
    boot: String,
    /// The machine went down during the attempt before this one.
    #[serde(default)]
    again: bool,
    /// A start has found it, and leaves the version off.
    #[serde(default)]
    left_off: bool,
}

/// A version that is left off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOff {
    /// The plugin.
    pub id: String,
    /// The version.
    pub version: String,
    /// Its digest.
    pub digest: Digest,
    /// What was under way, as the end of a sentence.
    pub doing: String,
    /// When that began.
    pub at: Timestamp,
    /// Whether this start is the first that leaves it off.
    pub news: bool,
}

/// The attempts of this host.
pub struct Attempts {
    dir: PathBuf,
    boot: String,
    /// One attempt at a time.
    alone: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    left_off: BTreeMap<Digest, LeftOff>,
    /// The machine went down while these were brought up: their next attempt says so.
    again: BTreeSet<Digest>,
}

impl Attempts {
    /// Reads what the last process on this data folder left in `dir`, which only the holder of its lock may do.
    ///
    /// # Errors
    /// When the folder can be neither made nor read.
    pub fn open(dir: &Path) -> std::io::Result<Self> {
        let boot = std::fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned();
        std::fs::create_dir_all(dir)?;
        let mut state = State::default();
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let mark = std::fs::read(&path).ok().and_then(|json| serde_json::from_slice::<Mark>(&json).ok());
            let found = mark.and_then(|mark| Some((mark.digest.parse::<Digest>().ok()?, mark)));
            // A file that was not written to its end belongs to an attempt that had not begun.
            let Some((digest, mut mark)) = found.filter(|(digest, _)| path == place(dir, digest)) else {
                std::fs::remove_file(&path)?;
                continue;
            };
            if !mark.left_off && !mark.again && mark.boot != boot {
                tracing::warn!(plugin = mark.id, version = mark.version, doing = mark.doing, at = %mark.at,
                    "the machine went down while this version was brought up; it is tried again");
                std::fs::remove_file(&path)?;
                state.again.insert(digest);
                continue;
            }
            let news = !mark.left_off;
            if news {
                mark.left_off = true;
                write(&path, &mark)?;
            }
            let Mark { id, version, doing, at, .. } = mark;
            state.left_off.insert(digest, LeftOff { id, version, digest, doing, at, news });
        }
        Ok(Self { dir: dir.to_owned(), boot, alone: Arc::default(), state: Mutex::new(state) })
    }

    /// The versions that are left off.
    #[must_use]
    pub fn left_off(&self) -> Vec<LeftOff> {
        self.state.lock().left_off.values().cloned().collect()
    }

    /// Whether this version is left off.
    #[must_use]
    pub fn is_left_off(&self, digest: &Digest) -> Option<LeftOff> {
        self.state.lock().left_off.get(digest).cloned()
    }

    /// Forgets what is known against a version, because nobody has it any more.
    pub fn forget(&self, digest: &Digest) {
        if self.state.lock().left_off.remove(digest).is_some() {
            let _ = std::fs::remove_file(place(&self.dir, digest));
        }
    }

    /// Says on the disk that something of a version is about to run, until the answer is dropped. Waits for other attempts.
    pub async fn begin(&self, id: &str, version: &semver::Version, digest: Digest, doing: &str) -> Attempt {
        let alone = self.alone.clone().lock_owned().await;
        let again = {
            let mut state = self.state.lock();
            state.left_off.remove(&digest);
            state.again.remove(&digest)
        };
        let path = place(&self.dir, &digest);
        let mark = Mark {
            id: id.to_owned(),
            version: version.to_string(),
            digest: digest.to_string(),
            doing: doing.to_owned(),
            at: Timestamp::now(),
            boot: self.boot.clone(),
            again,
            left_off: false,
        };
        let to = path.clone();
        let written = tokio::task::spawn_blocking(move || write(&to, &mark)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(path = %path.display(), %error, "that this version is being brought up cannot be written down");
        }
        RUNNING.lock().insert(path.clone());
        Attempt { path, _alone: alone }
    }
}

/// Something of a version is running as long as this lives.
pub struct Attempt {
    path: PathBuf,
    _alone: OwnedMutexGuard<()>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        RUNNING.lock().remove(&self.path);
        // Not made durable: the machine would have to go down for it to come back, and that is no death of the host.
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::error!(path = %self.path.display(), %error, "the mark of a version that was brought up cannot be deleted");
        }
    }
}

/// Takes away the files of all attempts: the process is about to end because somebody wants it to.
pub fn abandon() {
    for path in std::mem::take(&mut *RUNNING.lock()) {
        let _ = std::fs::remove_file(path);
    }
}

fn place(dir: &Path, digest: &Digest) -> PathBuf {
    dir.join(format!("{digest}.json"))
}

/// Writes a mark that is there even if the machine goes down right after.
fn write(path: &Path, mark: &Mark) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(&serde_json::to_vec(mark)?)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(attempts: &Attempts) -> Vec<Digest> {
        attempts.left_off().into_iter().map(|left| left.digest).collect()
    }

    /// What a death leaves: an attempt that is not dropped.
    async fn die(dir: &Path, digest: Digest) {
        let attempts = Attempts::open(dir).unwrap();
        std::mem::forget(attempts.begin("a/b", &semver::Version::new(1, 2, 3), digest, "on-enable ran").await);
    }

    #[tokio::test]
    async fn a_death_leaves_that_version_off_until_it_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let (bad, good) = (Digest([1; 32]), Digest([2; 32]));
        let attempts = Attempts::open(dir.path()).unwrap();
        drop(attempts.begin("a/good", &semver::Version::new(1, 0, 0), good, "on-enable ran").await);
        die(dir.path(), bad).await;
        for news in [true, false, false] {
            let attempts = Attempts::open(dir.path()).unwrap();
            let left = attempts.left_off();
            assert!(left.len() == 1 && left[0].digest == bad && left[0].news == news, "{left:?}");
            assert_eq!((&*left[0].id, &*left[0].version, &*left[0].doing), ("a/b", "1.2.3", "on-enable ran"));
            assert!(attempts.is_left_off(&good).is_none());
        }
        let attempts = Attempts::open(dir.path()).unwrap();
        drop(attempts.begin("a/b", &semver::Version::new(1, 2, 3), bad, "on-enable ran").await);
        assert!(digests(&attempts).is_empty() && digests(&Attempts::open(dir.path()).unwrap()).is_empty());
        die(dir.path(), bad).await;
        Attempts::open(dir.path()).unwrap().forget(&bad);
        assert!(digests(&Attempts::open(dir.path()).unwrap()).is_empty());
    }

    #[tokio::test]
    async fn a_machine_that_goes_down_has_one_attempt_more() {
        let dir = tempfile::tempdir().unwrap();
        let digest = Digest([1; 32]);
        let path = place(dir.path(), &digest);
        let of_another_boot = || {
            let mut mark: Mark = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            mark.boot = "another".into();
            write(&path, &mark).unwrap();
        };
        die(dir.path(), digest).await;
        of_another_boot();
        let attempts = Attempts::open(dir.path()).unwrap();
        assert!(digests(&attempts).is_empty());
        std::mem::forget(attempts.begin("a/b", &semver::Version::new(1, 2, 3), digest, "on-enable ran").await);
        of_another_boot();
        assert_eq!(digests(&Attempts::open(dir.path()).unwrap()), [digest]);
        // It stays off over a restart of the machine.
        of_another_boot();
        assert_eq!(digests(&Attempts::open(dir.path()).unwrap()), [digest]);
    }

    #[tokio::test]
    async fn what_is_no_mark_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("half.json", "{\"id\":"), ("x", ""), (&format!("{}.json", Digest([3; 32])), "{}")] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        die(dir.path(), Digest([1; 32])).await;
        std::fs::rename(place(dir.path(), &Digest([1; 32])), place(dir.path(), &Digest([2; 32]))).unwrap();
        assert!(Attempts::open(dir.path()).unwrap().left_off().is_empty());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
