//! The data folder is for its owner alone, whatever was there before the start: password hashes, keys and sessions are in it.
//!
//! New files are private by the umask. Of what is there the rights of others are taken back, through handles that follow no
//! link: a link could lead to a file that belongs to somebody else's program. What cannot be changed is a warning, because
//! on some volumes (Kubernetes with `fsGroup`) the group's rights are not the owner's to change; only keys that others can
//! read stop the start, see [`crate::principal::keys`].

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};

/// What a data folder holds at its top; one without any of it, but with other things, is somebody else's.
const OWN: [&str; 7] = ["cache", "keys", "lock", "plugins", "stores", "host.db", "host.db-wal"];
/// Not looked into: the keys have a rule of their own.
const KEYS: &CStr = c"keys";
/// A filesystem's own folder, which is there in a fresh volume.
const LOST_AND_FOUND: &str = "lost+found";
/// Folders in folders; a data folder has three.
const DEPTH: u32 = 16;
/// How many names are told.
const TOLD: usize = 8;
/// The rights of group and others.
const OTHERS: u32 = 0o077;

/// Whatever this process makes from now on is for its owner alone.
pub(super) fn make_private() {
    rustix::process::umask(Mode::from_raw_mode(OTHERS));
}

/// Takes the rights of others to the data folder, to what is in it, and to the registry where that is elsewhere.
///
/// # Errors
/// The data folder cannot be opened.
pub(super) fn tighten(data: &Path, registry: &Path) -> anyhow::Result<()> {
    let mut found = Found::default();
    let folder = rustix::fs::open(data, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .with_context(|| format!("app.data_dir: {} cannot be opened", data.display()))?;
    if is_own(data) {
        found.folder(&folder, Path::new(""));
    } else {
        tracing::warn!(data = %data.display(),
            "the data folder holds files of others; their modes are left alone, and only what the host makes is private");
    }
    if !registry.starts_with(data) {
        found.registry(registry);
    }
    if found.changed > 0 {
        tracing::warn!(data = %data.display(), changed = found.changed, such_as = found.names.join(", "),
            "others could reach files of the data folder; they are for their owner alone now");
    }
    for problem in found.problems.iter().take(TOLD) {
        tracing::warn!(data = %data.display(), problem, "others may reach a file of the data folder");
    }
    Ok(())
}

/// Whether a folder was a data folder before, or is fresh.
fn is_own(data: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(data) else { return false };
    let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    let is = |known: &str| names.iter().any(|name| name == known);
    OWN.iter().any(|known| is(known)) || names.iter().all(|name| name == LOST_AND_FOUND)
}

/// What was open to others.
#[derive(Default)]
struct Found {
    changed: u64,
    names: Vec<String>,
    problems: Vec<String>,
}

impl Found {
    /// A folder and what is in it.
    fn folder(&mut self, folder: &OwnedFd, path: &Path) {
        self.own(folder.as_fd(), path);
        self.entries(folder, path, DEPTH);
    }

    fn entries(&mut self, folder: &OwnedFd, path: &Path, depth: u32) {
        let Ok(entries) = Dir::read_from(folder) else { return self.problem(path, "cannot be listed") };
        for entry in entries.map_while(Result::ok) {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") || (name == KEYS && depth == DEPTH) {
                continue;
            }
            let path = path.join(name.to_string_lossy().as_ref());
            // Gone again is no problem.
            let Ok(stat) = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory if depth > 0 => match open_at(folder.as_fd(), name, OFlags::DIRECTORY) {
                    Ok(inner) => {
                        self.own(inner.as_fd(), &path);
                        self.entries(&inner, &path, depth - 1);
                    }
                    Err(error) => self.problem(&path, error),
                },
                FileType::RegularFile if is_open(&stat) => self.file(folder.as_fd(), name, &path),
                _ => {}
            }
        }
    }

    /// The database of a registry that is outside of the data folder, which several data folders may share.
    fn registry(&mut self, registry: &Path) {
        let (Some(folder), Some(name)) = (registry.parent(), registry.file_name()) else { return };
        let Ok(folder) = rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        else {
            return;
        };
        for end in ["", "-wal", "-shm", "-journal"] {
            let mut name = name.to_owned();
            name.push(end);
            let path = registry.with_file_name(&name);
            let Ok(name) = std::ffi::CString::new(std::os::unix::ffi::OsStrExt::as_bytes(&*name)) else { continue };
            let Ok(stat) = rustix::fs::statat(&folder, &*name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if FileType::from_raw_mode(stat.st_mode).is_file() && is_open(&stat) {
                self.file(folder.as_fd(), &name, &path);
            }
        }
    }

    fn file(&mut self, folder: BorrowedFd<'_>, name: &CStr, path: &Path) {
        // Not blocking: what was a file a moment ago may be a pipe.
        match open_at(folder, name, OFlags::NONBLOCK) {
            Ok(file) => self.own(file.as_fd(), path),
            Err(error) => self.problem(path, error),
        }
    }

    /// Takes the rights of others to what is open here.
    fn own(&mut self, file: BorrowedFd<'_>, path: &Path) {
        let stat = match rustix::fs::fstat(file) {
            Ok(stat) if is_open(&stat) => stat,
            Ok(_) => return,
            Err(error) => return self.problem(path, error),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            // The other name may be one that others need.
            FileType::RegularFile if stat.st_nlink > 1 => return self.problem(path, "has another name somewhere"),
            FileType::RegularFile | FileType::Directory => {}
            _ => return,
        }
        match rustix::fs::fchmod(file, Mode::from_raw_mode(stat.st_mode & 0o700)) {
            Ok(()) => {
                self.changed += 1;
                if self.names.len() < TOLD {
                    let name = if path.as_os_str().is_empty() { Path::new(".") } else { path };
                    self.names.push(name.display().to_string());
                }
            }
            Err(error) => self.problem(path, error),
        }
    }

    fn problem(&mut self, path: &Path, problem: impl std::fmt::Display) {
        if self.problems.len() < TOLD {
            self.problems.push(format!("{}: {problem}", PathBuf::from(".").join(path).display()));
        }
    }
}

fn open_at(folder: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(folder, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | flags, Mode::empty())
}

fn is_open(stat: &Stat) -> bool {
    stat.st_mode & OTHERS != 0
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_there_is_made_private_and_links_lead_nowhere() {
        let home = tempfile::tempdir().unwrap();
        let (data, outside) = (home.path().join("data"), home.path().join("outside"));
        fs::create_dir_all(data.join("stores/deep")).unwrap();
        fs::create_dir(data.join("keys")).unwrap();
        fs::create_dir(&outside).unwrap();
        for file in ["stores/a.db", "stores/deep/b.db", "keys/token-1.pem"] {
            fs::write(data.join(file), "x").unwrap();
            set(&data.join(file), 0o664);
        }
        for file in ["target", "linked", "registry.db", "registry.db-wal"] {
            fs::write(outside.join(file), "x").unwrap();
            set(&outside.join(file), 0o644);
        }
        symlink(outside.join("target"), data.join("stores/link.db")).unwrap();
        symlink(&outside, data.join("cache")).unwrap();
        fs::hard_link(outside.join("linked"), data.join("stores/hard.db")).unwrap();
        for folder in ["", "stores", "stores/deep"] {
            set(&data.join(folder), 0o755);
        }
        set(&outside, 0o755);

        tighten(&data, &outside.join("registry.db")).unwrap();
        for folder in ["", "stores", "stores/deep"] {
            assert_eq!(mode(&data.join(folder)), 0o700, "{folder}");
        }
        assert_eq!((mode(&data.join("stores/a.db")), mode(&data.join("stores/deep/b.db"))), (0o600, 0o600));
        assert_eq!(mode(&data.join("keys/token-1.pem")), 0o664, "whoever opens the keys decides");
        assert_eq!(
            (mode(&outside), mode(&outside.join("target")), mode(&outside.join("linked"))),
            (0o755, 0o644, 0o644)
        );
        assert_eq!((mode(&outside.join("registry.db")), mode(&outside.join("registry.db-wal"))), (0o600, 0o600));
    }

    #[test]
    fn a_folder_of_others_is_left_alone() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join("letters.txt"), "x").unwrap();
        set(data.path(), 0o755);
        set(&data.path().join("letters.txt"), 0o644);
        tighten(data.path(), &data.path().join("host.db")).unwrap();
        assert_eq!((mode(data.path()), mode(&data.path().join("letters.txt"))), (0o755, 0o644));
        fs::create_dir(data.path().join("stores")).unwrap();
        tighten(data.path(), &data.path().join("host.db")).unwrap();
        assert_eq!((mode(data.path()), mode(&data.path().join("letters.txt"))), (0o700, 0o600));
    }
}
