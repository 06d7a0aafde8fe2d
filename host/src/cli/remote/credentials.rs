//! The sessions of `arcana login`: one for each host, in a file that only its owner reads.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use etcetera::BaseStrategy as _;
use serde::{Deserialize, Serialize};

use super::failure::Failure;

/// The longest wait for another command that is renewing a session.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the file holds.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Sessions {
    /// The host of the last sign-in, which commands speak with unless they are told another one.
    #[serde(default)]
    pub(super) current: Option<String>,
    /// By the address of the host.
    #[serde(default)]
    pub(super) servers: BTreeMap<String, Session>,
}

/// A session. It has no `Debug`: tokens are for nobody to see.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    /// The token of requests.
    pub(super) access_token: String,
    /// Buys the next pair of tokens, once.
    pub(super) refresh_token: String,
    /// When the access token runs out, in seconds since 1970-01-01T00:00:00Z.
    pub(super) expires_at: i64,
    /// Who is signed in, for messages.
    pub(super) account: String,
}

/// The file of sessions.
pub(super) struct Credentials {
    path: PathBuf,
}

/// Keeps other commands from changing the file; given back when it is dropped.
pub(super) struct Lock {
    _file: File,
}

impl Credentials {
    /// The file in the user's folder of settings (`$XDG_CONFIG_HOME` or `~/.config`); it need not be there.
    pub(super) fn open() -> Result<Self, Failure> {
        let strategy = etcetera::choose_base_strategy()
            .map_err(|error| Failure::Use(format!("there is no home folder to keep sessions in: {error}")))?;
        Ok(Self::at(&strategy.config_dir().join("arcana")))
    }

    /// The file in this folder.
    pub(super) fn at(folder: &Path) -> Self {
        Self { path: folder.join("credentials.json") }
    }

    /// What it holds; nothing where it is not there.
    pub(super) fn read(&self) -> Result<Sessions, Failure> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Sessions::default()),
            Err(error) => return Err(self.failure("cannot be read", &error)),
        };
        if fs::metadata(&self.path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0) {
            eprintln!("arcana: {} could be read by others; it is made private now", self.path.display());
            fs::set_permissions(&self.path, fs::Permissions::from_mode(0o600))
                .map_err(|error| self.failure("cannot be made private", &error))?;
        }
        // The text of the error would quote the file.
        serde_json::from_slice(&bytes).map_err(|error| {
            let at = format!("line {}, column {}", error.line(), error.column());
            self.failure("is damaged; remove it and sign in again", &at)
        })
    }

    /// Waits until no other command changes the file.
    pub(super) async fn lock(&self) -> Result<Lock, Failure> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| Failure::Use(format!("{} cannot be made: {error}", folder.display())))?;
        let path = self.path.with_extension("lock");
        let cannot = |error: &dyn std::fmt::Display| Failure::Use(format!("{}: {error}", path.display()));
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| cannot(&error))?;
        let until = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(TryLockError::WouldBlock) => return Err(cannot(&"another command has held it for too long")),
                Err(TryLockError::Error(error)) => return Err(cannot(&error)),
            }
        }
    }

    /// Replaces the file: it is there whole, or as it was before.
    pub(super) fn write(&self, _lock: &Lock, sessions: &Sessions) -> Result<(), Failure> {
        let cannot = |error: &dyn std::fmt::Display| self.failure("cannot be written", error);
        let bytes = serde_json::to_vec_pretty(sessions).map_err(|error| cannot(&error))?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let write = || -> std::io::Result<()> {
            // A temporary file is for its owner alone from the start.
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&bytes)?;
            file.as_file().sync_all()?;
            file.persist(&self.path)?;
            Ok(())
        };
        write().map_err(|error| cannot(&error))
    }

    fn failure(&self, what: &str, error: &dyn std::fmt::Display) -> Failure {
        Failure::Use(format!("{} {what}: {error}", self.path.display()))
    }
}
