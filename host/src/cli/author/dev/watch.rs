//! Notices saves: in the crates, in what they depend on by path, and in the WIT that documents them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use cargo_metadata::MetadataCommand;
use notify::event::ModifyKind;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::super::project::Project;
use super::super::toolchain::{TARGET, Toolchain};

/// An editor writes a file in several steps; so long nothing must have happened.
const QUIET: Duration = Duration::from_millis(50);

/// Watches until it is dropped.
pub(super) struct Watch {
    shared: Arc<Shared>,
    _watcher: Arc<Mutex<RecommendedWatcher>>,
}

struct Shared {
    /// The folders of each crate, and whether something was saved there.
    crates: Vec<(Vec<PathBuf>, AtomicBool)>,
    saved: Notify,
}

impl Watch {
    /// Watches these crates; `wit` are further folders, of all of them.
    ///
    /// # Errors
    /// A folder cannot be watched.
    pub(super) async fn start(crates: &[(&Project, &Toolchain)], wit: &[PathBuf]) -> Result<Self> {
        let mut watched = Vec::new();
        for (project, toolchain) in crates {
            let mut roots = depended_on(project, toolchain).await;
            for path in wit {
                let path = path.canonicalize().with_context(|| format!("--wit {}", path.display()))?;
                roots.push(if path.is_dir() { path } else { path.parent().map_or_else(PathBuf::new, Path::to_owned) });
            }
            watched.push((roots, AtomicBool::new(false)));
        }
        let shared = Arc::new(Shared { crates: watched, saved: Notify::new() });
        let (events, receive) = std::sync::mpsc::channel();
        let watcher = notify::recommended_watcher(move |event| {
            // Nobody listens once this command ends.
            let _ = events.send(event);
        });
        let watcher = Arc::new(Mutex::new(watcher.context("files cannot be watched")?));
        let mut folders = BTreeSet::new();
        for root in shared.crates.iter().flat_map(|(roots, _)| roots) {
            add(&watcher, root, &mut folders).with_context(|| format!("{} cannot be watched", root.display()))?;
        }
        let (listener, notices) = (shared.clone(), Arc::downgrade(&watcher));
        // The watcher's own thread must not wait for this one.
        std::thread::spawn(move || {
            while let Ok(event) = receive.recv() {
                let Ok(notify::Event { kind, paths, .. }) = event else { continue };
                for path in &paths {
                    // A folder that is new is watched from now on; what is in it already counts as saved.
                    let is_new = matches!(kind, EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(_)));
                    if is_new && path.is_dir() && !is_ignored(path) {
                        let Some(watcher) = notices.upgrade() else { return };
                        let _ = add(&watcher, path, &mut folders);
                    }
                    if !path.exists() {
                        // One that comes back under this name is another one.
                        folders.remove(path);
                    }
                    if is_save(kind) && !is_ignored(path) {
                        listener.note(path);
                    }
                }
            }
        });
        Ok(Self { shared, _watcher: watcher })
    }

    /// Waits for a crate with a save that nothing has followed for a moment.
    pub(super) async fn next(&mut self) -> Option<usize> {
        while self.changed().is_none() {
            self.shared.saved.notified().await;
        }
        // Each further event starts the moment again.
        while tokio::time::timeout(QUIET, self.shared.saved.notified()).await.is_ok() {}
        self.changed()
    }

    /// From now on only what is saved later counts for this crate.
    pub(super) fn forget(&self, index: usize) {
        if let Some((_, changed)) = self.shared.crates.get(index) {
            changed.store(false, Ordering::Release);
        }
    }

    /// Whether something was saved since [`Self::forget`].
    pub(super) fn has_changed(&self, index: usize) -> bool {
        self.shared.crates.get(index).is_some_and(|(_, changed)| changed.load(Ordering::Acquire))
    }

    fn changed(&self) -> Option<usize> {
        self.shared.crates.iter().position(|(_, changed)| changed.load(Ordering::Acquire))
    }
}

impl Shared {
    fn note(&self, path: &Path) {
        for (roots, changed) in &self.crates {
            if roots.iter().any(|root| path.starts_with(root)) {
                changed.store(true, Ordering::Release);
                self.saved.notify_one();
            }
        }
    }
}

/// The folder of the crate and of every crate that it depends on by path. Where cargo cannot tell, because `Cargo.toml` has a
/// mistake or the network is away, it is the crate's own.
async fn depended_on(project: &Project, toolchain: &Toolchain) -> Vec<PathBuf> {
    let mut command = MetadataCommand::new();
    command.current_dir(&project.folder).manifest_path(project.path("Cargo.toml"));
    command.other_options(["--filter-platform".to_owned(), TARGET.to_owned()]);
    let mut cargo = toolchain.cargo();
    cargo.args(command.cargo_command().get_args()).current_dir(&project.folder);
    let output = tokio::process::Command::from(cargo).kill_on_drop(true).output().await;
    let text = output.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let metadata = text.and_then(|text| MetadataCommand::parse(text).ok());
    let mut roots = vec![project.folder.clone()];
    let Some(metadata) = metadata else { return roots };
    // Without a source it is on this disk. Other members of a workspace are none of ours.
    let needed: BTreeSet<_> =
        metadata.resolve.iter().flat_map(|resolve| reachable(resolve, &project.folder, &metadata)).collect();
    for package in metadata.packages.iter().filter(|package| package.source.is_none() && needed.contains(&package.id)) {
        if let Some(folder) = package.manifest_path.parent().and_then(|folder| folder.as_std_path().canonicalize().ok())
        {
            roots.push(folder);
        }
    }
    roots
}

/// The packages that the crate in this folder needs, itself included.
fn reachable(
    resolve: &cargo_metadata::Resolve,
    folder: &Path,
    metadata: &cargo_metadata::Metadata,
) -> Vec<cargo_metadata::PackageId> {
    let own = metadata.packages.iter().find(|package| package.manifest_path.as_std_path().parent() == Some(folder));
    let mut found: Vec<cargo_metadata::PackageId> = own.map(|package| package.id.clone()).into_iter().collect();
    let mut next = 0;
    while let Some(id) = found.get(next).cloned() {
        next += 1;
        for needed in resolve.nodes.iter().filter(|node| node.id == id).flat_map(|node| &node.dependencies) {
            if !found.contains(needed) {
                found.push(needed.clone());
            }
        }
    }
    found
}

/// Watches a folder and those below it, except those that no source is in: a build must not wake itself up.
fn add(watcher: &Mutex<RecommendedWatcher>, folder: &Path, known: &mut BTreeSet<PathBuf>) -> notify::Result<()> {
    if !known.insert(folder.to_owned()) {
        return Ok(());
    }
    watcher.lock().unwrap_or_else(PoisonError::into_inner).watch(folder, RecursiveMode::NonRecursive)?;
    for entry in folder.read_dir().map_err(notify::Error::io)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !is_ignored(&entry.path()) {
            add(watcher, &entry.path(), known)?;
        }
    }
    Ok(())
}

const fn is_save(kind: EventKind) -> bool {
    match kind {
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Any => true,
        EventKind::Modify(kind) => !matches!(kind, ModifyKind::Metadata(_)),
        EventKind::Access(_) | EventKind::Other => false,
    }
}

/// What no build reads: what it writes itself, what is hidden, and what editors leave beside a file.
fn is_ignored(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Where cargo builds to, which it marks a moment after it has made it.
    let is_target = name == "target" && path.with_file_name("Cargo.toml").exists();
    let is_output = is_target || path.join("CACHEDIR.TAG").exists() || path.ends_with("src/bindings.rs");
    is_output
        || name.starts_with('.')
        || name.ends_with('~')
        || name.ends_with(".swp")
        || name.starts_with('#')
        || name == "4913"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_build_writes_and_editors_leave_is_no_save() {
        for ignored in
            [".git", "src/.lib.rs.swp", "src/lib.rs~", "src/#lib.rs#", "src/4913", "src/bindings.rs", ".arcana"]
        {
            assert!(is_ignored(Path::new(ignored)), "{ignored}");
        }
        for counts in
            ["src/lib.rs", "plugin.toml", "wit/plugin.wit", "migrations/sqlite/own/0001_x.sql", "src/target.rs"]
        {
            assert!(!is_ignored(Path::new(counts)), "{counts}");
        }
        let folder = tempfile::tempdir().unwrap();
        let (target, cache) = (folder.path().join("target"), folder.path().join("cache"));
        std::fs::create_dir(&target).unwrap();
        std::fs::create_dir(&cache).unwrap();
        assert!(!is_ignored(&target) && !is_ignored(&cache), "a module may be called so");
        std::fs::write(folder.path().join("Cargo.toml"), "").unwrap();
        std::fs::write(cache.join("CACHEDIR.TAG"), "").unwrap();
        assert!(is_ignored(&target) && is_ignored(&cache));
    }

    #[tokio::test]
    async fn a_save_is_noticed_once_also_in_a_new_folder() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::write(root.join("Cargo.toml"), "no manifest").unwrap();
        let project = Project { folder: root.clone() };
        let toolchain = Toolchain::nowhere();
        let mut watch = Watch::start(&[(&project, &toolchain)], &[]).await.unwrap();
        assert!(!watch.has_changed(0));
        std::fs::create_dir(root.join("src")).unwrap();
        assert_eq!(watch.next().await, Some(0));
        watch.forget(0);
        std::fs::write(root.join("src/lib.rs"), "").unwrap();
        assert_eq!(watch.next().await, Some(0));
        assert!(watch.has_changed(0));
        watch.forget(0);
        std::fs::write(root.join("src/.hidden"), "").unwrap();
        std::fs::rename(root.join("src/lib.rs"), root.join("src/other.rs")).unwrap();
        assert_eq!(watch.next().await, Some(0));
    }
}
