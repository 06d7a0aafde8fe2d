//! Reading and keeping plugin files: regular files only, never through a link, capped, once, into one buffer.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use arcana_signing::Digest;
use rustix::fs::{Mode, OFlags};

use super::refusal::Refusal;

/// The files of a folder that are offered as plugins (`*.wasm`), by name. A folder that is not there offers none.
///
/// # Errors
/// When the folder cannot be read.
pub fn offered(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The bytes of a regular file of at most `max` bytes.
///
/// # Errors
/// `NOT_A_FILE` for links, pipes and folders, `TOO_LARGE` beyond the cap.
pub fn read(path: &Path, max: u64) -> Result<Vec<u8>, Refusal> {
    // Without NONBLOCK opening a pipe would wait for its writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
        rustix::io::Errno::LOOP => Refusal::new("NOT_A_FILE", 422, "it is a link; plugins are regular files"),
        other => Refusal::new("UNREADABLE", 422, other),
    })?;
    let mut file = File::from(opened);
    let unreadable = |error| Refusal::new("UNREADABLE", 422, error);
    let meta = file.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err(Refusal::new("NOT_A_FILE", 422, "it is no regular file"));
    }
    let too_large =
        || Refusal::new("TOO_LARGE", 413, format!("it is larger than {max} bytes (plugins.max_file_bytes)"));
    if meta.size() > max {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.size()).unwrap_or(0));
    // A file that grows while it is read must not grow past the cap either.
    (&mut file).take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > max {
        return Err(too_large());
    }
    Ok(bytes)
}

/// What tells one state of a file from another without reading it: inode, size, and time of the last change.
#[must_use]
pub fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

/// See [`stamp`].
pub type Stamp = (u64, u64, i64, i64);

/// Deletes kept files whose digests are not among these: what an installation left that did not come to its end.
pub fn forget_others(dir: &Path, digests: &[Digest]) {
    let known: Vec<PathBuf> = digests.iter().map(|digest| kept(dir, digest)).collect();
    for stale in offered(dir).unwrap_or_default().into_iter().filter(|path| !known.contains(path)) {
        if let Err(error) = std::fs::remove_file(&stale) {
            tracing::warn!(path = %stale.display(), %error, "a file that is not kept cannot be deleted");
        }
    }
}

/// Where the installed file with this digest is kept.
#[must_use]
pub fn kept(dir: &Path, digest: &Digest) -> PathBuf {
    dir.join(format!("{}.wasm", hex::encode(digest.0)))
}

/// Whether these bytes, which have this digest, are kept already.
#[must_use]
pub fn is_kept(dir: &Path, digest: &Digest, bytes: &[u8]) -> bool {
    read(&kept(dir, digest), bytes.len() as u64).is_ok_and(|kept| kept == bytes)
}

/// Keeps a verified file under its digest, so that it is there whole or not at all.
///
/// # Errors
/// When the folder cannot be written.
pub fn keep(dir: &Path, digest: &Digest, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let path = kept(dir, digest);
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_within_the_cap_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.wasm");
        std::fs::write(&file, b"12345").unwrap();
        assert_eq!(read(&file, 5).unwrap(), b"12345");
        assert_eq!(read(&file, 4).unwrap_err().code, "TOO_LARGE");

        let link = dir.path().join("link.wasm");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read(&link, 5).unwrap_err().code, "NOT_A_FILE");
        assert_eq!(read(dir.path(), 5).unwrap_err().code, "NOT_A_FILE");

        let pipe = dir.path().join("pipe.wasm");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(read(&pipe, 5).unwrap_err().code, "NOT_A_FILE");
        assert_eq!(offered(dir.path()).unwrap().len(), 3);
        assert!(offered(&dir.path().join("missing")).unwrap().is_empty());
    }

    #[test]
    fn a_kept_file_is_found_under_its_digest() {
        let dir = tempfile::tempdir().unwrap();
        let digest = Digest([7; 32]);
        assert!(!is_kept(dir.path(), &digest, b"abc"));
        keep(dir.path(), &digest, b"abc").unwrap();
        assert!(is_kept(dir.path(), &digest, b"abc") && !is_kept(dir.path(), &digest, b"abd"));
        assert_eq!(read(&kept(dir.path(), &digest), 10).unwrap(), b"abc");
    }
}
