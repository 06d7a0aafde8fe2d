//! Whether something has to be made again: by the content of what it is made from, so that touching a file or switching
//! branches to and fro changes nothing.

use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use walkdir::WalkDir;

/// Collects what something is made from.
pub(crate) struct Inputs(DefaultHasher);

impl Inputs {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self(DefaultHasher::new())
    }

    /// A text, such as an option or a public key.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.part(text.as_bytes());
        self
    }

    /// A file, or every file of a folder with its path in it.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn path(&mut self, path: &Path) -> Result<&mut Self> {
        for file in files(path)? {
            let name = file.strip_prefix(path).unwrap_or(&file);
            self.part(name.as_os_str().as_encoded_bytes());
            let content = std::fs::read(&file).with_context(|| format!("{} could not be read", file.display()))?;
            self.part(&content);
        }
        Ok(self)
    }

    /// A short name for exactly these inputs.
    pub(crate) fn fingerprint(&self) -> String {
        format!("{:016x}", self.0.finish())
    }

    /// The length goes in front, so that no two lists of parts give the same bytes.
    fn part(&mut self, bytes: &[u8]) {
        self.0.write_usize(bytes.len());
        self.0.write(bytes);
    }
}

/// Whether `made` is there and was made from exactly these inputs, as its `.inputs` file beside it says.
pub(crate) fn is_current(made: &Path, fingerprint: &str) -> bool {
    made.is_file() && std::fs::read_to_string(record_of(made)).is_ok_and(|kept| kept == fingerprint)
}

/// Remembers what `made` was made from.
///
/// # Errors
/// The record cannot be written.
pub(crate) fn record(made: &Path, fingerprint: &str) -> Result<()> {
    let record = record_of(made);
    std::fs::write(&record, fingerprint).with_context(|| format!("{} could not be written", record.display()))
}

/// Copies a file unless the same bytes are there already; tells whether it did. The old file is replaced in one move, so
/// that a program that is running from it goes on undisturbed.
///
/// # Errors
/// One of the two cannot be read or written.
pub(crate) fn copy_if_changed(from: &Path, to: &Path) -> Result<bool> {
    let content = std::fs::read(from).with_context(|| format!("{} could not be read", from.display()))?;
    let mode = from.metadata().with_context(|| format!("{} could not be read", from.display()))?.permissions();
    let changed = write_if_changed(to, &content)?;
    if changed {
        std::fs::set_permissions(to, mode).with_context(|| format!("{} could not be written", to.display()))?;
    }
    Ok(changed)
}

/// Writes a file unless it says the same already; tells whether it did.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write_if_changed(path: &Path, content: &[u8]) -> Result<bool> {
    if std::fs::read(path).is_ok_and(|old| old == content) {
        return Ok(false);
    }
    let write = || {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let mut aside = path.as_os_str().to_owned();
        aside.push(".new");
        std::fs::write(&aside, content)?;
        std::fs::rename(&aside, path)
    };
    write().with_context(|| format!("{} could not be written", path.display()))?;
    Ok(true)
}

/// Makes the folder `to` the same as `from`: what changed is copied, what is no longer there is removed. Answers how many
/// files changed.
///
/// # Errors
/// A file cannot be read, written or removed.
pub(crate) fn mirror(from: &Path, to: &Path) -> Result<usize> {
    let mut changed = 0;
    for file in files(from)? {
        let name = file.strip_prefix(from).unwrap_or(&file);
        changed += usize::from(copy_if_changed(&file, &to.join(name))?);
    }
    if to.is_dir() {
        for file in files(to)? {
            let name = file.strip_prefix(to).unwrap_or(&file);
            if !from.join(name).exists() {
                std::fs::remove_file(&file).with_context(|| format!("{} could not be removed", file.display()))?;
                changed += 1;
            }
        }
    }
    Ok(changed)
}

/// The file itself, or the files below a folder in a fixed order.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in WalkDir::new(path).sort_by_file_name() {
        let entry = entry.with_context(|| format!("{} could not be read", path.display()))?;
        if entry.file_type().is_file() {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}

fn record_of(made: &Path) -> PathBuf {
    made.with_extension("inputs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(folder: &Path, text: &str) -> String {
        Inputs::new().text(text).path(folder).unwrap().fingerprint()
    }

    #[test]
    fn content_and_names_count_and_times_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::write(&file, "1").unwrap();
        let first = fingerprint(folder.path(), "key");
        std::fs::write(&file, "1").unwrap();
        assert_eq!(fingerprint(folder.path(), "key"), first);
        assert_ne!(fingerprint(folder.path(), "other key"), first);
        std::fs::write(&file, "2").unwrap();
        assert_ne!(fingerprint(folder.path(), "key"), first);
        std::fs::write(&file, "1").unwrap();
        std::fs::rename(&file, folder.path().join("b")).unwrap();
        assert_ne!(fingerprint(folder.path(), "key"), first);
    }

    #[test]
    fn a_product_without_its_record_or_with_another_is_stale() {
        let folder = tempfile::tempdir().unwrap();
        let made = folder.path().join("auth.wasm");
        std::fs::write(&made, "x").unwrap();
        assert!(!is_current(&made, "1"));
        record(&made, "1").unwrap();
        assert!(is_current(&made, "1"));
        assert!(!is_current(&made, "2"));
        std::fs::remove_file(&made).unwrap();
        assert!(!is_current(&made, "1"));
    }

    #[test]
    fn a_mirror_loses_what_the_source_lost_and_copies_only_changes() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(from.path().join("sqlite")).unwrap();
        std::fs::write(from.path().join("sqlite/1.sql"), "a").unwrap();
        std::fs::write(from.path().join("sqlite/2.sql"), "b").unwrap();
        assert_eq!(mirror(from.path(), to.path()).unwrap(), 2);
        assert_eq!(mirror(from.path(), to.path()).unwrap(), 0);
        std::fs::remove_file(from.path().join("sqlite/2.sql")).unwrap();
        std::fs::write(from.path().join("sqlite/1.sql"), "c").unwrap();
        assert_eq!(mirror(from.path(), to.path()).unwrap(), 2);
        assert_eq!(std::fs::read_to_string(to.path().join("sqlite/1.sql")).unwrap(), "c");
        assert!(!to.path().join("sqlite/2.sql").exists());
    }
}
