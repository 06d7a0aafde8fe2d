//! Watches the plugin folder: what appears there that nobody has seen is installed. A digest that is known is left alone,
//! so that the folder never fights an administrator.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arcana_signing::{Purpose, envelope};
use notify::{EventKind, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::{Actor, Inner};
use crate::plugins::files;
use crate::plugins::registry::Desired;

/// A file that nobody has written to for so long is whole, or it is broken.
const SETTLED: Duration = Duration::from_secs(5);

/// How often a folder is looked for that is not there yet.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is refused in a file that is still being written.
const UNFINISHED: [&str; 5] = ["NOT_COMPONENT", "UNSIGNED", "TRUNCATED", "DIGEST_MISMATCH", "UNREADABLE"];

/// Watches until the host stops.
pub(super) async fn run(inner: Arc<Inner>) {
    loop {
        let (events, receive) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event| {
            // Nobody listens once the host stops.
            let _ = events.send(event);
        });
        let watching = watcher.and_then(|mut watcher| {
            watcher.watch(&inner.folder, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        match watching {
            Ok(watcher) => {
                tracing::debug!(folder = %inner.folder.display(), "watching the plugin folder");
                follow(&inner, receive).await;
                drop(watcher);
            }
            Err(error) => {
                tracing::debug!(folder = %inner.folder.display(), %error, "the plugin folder cannot be watched yet")
            }
        }
        tokio::select! {
            () = tokio::time::sleep(PATIENCE) => {}
            () = inner.stop.cancelled() => return,
        }
    }
}

/// Follows the events of one watch, until the folder is gone or the host stops.
async fn follow(inner: &Arc<Inner>, mut events: mpsc::UnboundedReceiver<notify::Result<notify::Event>>) {
    // When each changed file is looked at: not before nothing has happened to it for a while.
    let mut due: BTreeMap<PathBuf, Instant> = BTreeMap::new();
    let quiet = inner.settings.debounce.get();
    // What has changed since the start, before anybody watched.
    everything(inner, &mut due, quiet).await;
    loop {
        let next = due.values().min().copied();
        let wake = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = events.recv() => match event {
                Some(Ok(event)) if event.need_rescan() => everything(inner, &mut due, quiet).await,
                Some(Ok(event)) => {
                    if matches!(event.kind, EventKind::Access(notify::event::AccessKind::Open(_) | notify::event::AccessKind::Read)) {
                        continue;
                    }
                    if event.paths.contains(&inner.folder) && event.kind.is_remove() {
                        return;
                    }
                    let plugins = event.paths.into_iter().filter(|path| is_plugin(path));
                    due.extend(plugins.map(|path| (path, Instant::now() + quiet)));
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "the plugin folder cannot be watched");
                    return;
                }
                None => return,
            },
            () = wake => {
                let now = Instant::now();
                let ready: Vec<PathBuf> = due.iter().filter(|(_, at)| **at <= now).map(|(path, _)| path.clone()).collect();
                for path in ready {
                    due.remove(&path);
                    if look(inner, &path).await == Look::Again {
                        due.insert(path, Instant::now() + quiet.max(Duration::from_millis(50)));
                    }
                }
            }
            () = inner.stop.cancelled() => return,
        }
    }
}

fn is_plugin(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wasm")
}

/// Every file that is there, and in development those that plugins came from, which may be gone.
async fn everything(inner: &Inner, due: &mut BTreeMap<PathBuf, Instant>, quiet: Duration) {
    let mut paths = files::offered(&inner.folder).unwrap_or_default();
    if inner.development
        && let Ok(snapshot) = inner.snapshot().await
    {
        let sources = snapshot.plugins.values().map(|plugin| inner.folder.join(&plugin.source));
        paths.extend(sources.filter(|path| is_plugin(path)));
    }
    due.extend(paths.into_iter().map(|path| (path, Instant::now() + quiet)));
}

#[derive(PartialEq, Eq)]
enum Look {
    Done,
    /// It may not be finished.
    Again,
}

/// Looks at a file that has changed.
async fn look(inner: &Arc<Inner>, path: &Path) -> Look {
    let shown = path.display().to_string();
    let name = Inner::name_of(path);
    if !path.exists() {
        inner.status.file_changed(&shown);
        if inner.development {
            gone(inner, &name).await;
        }
        return Look::Done;
    }
    // The refusal of one state of a file is told once; a touch asks again.
    if inner.status.knows(&shown) {
        return Look::Done;
    }
    let offered = inner.read(path.to_owned()).await.and_then(|bytes| {
        let digest = envelope::parse(&bytes)?.digest();
        Ok((bytes, digest))
    });
    let refusal = match offered {
        Ok((bytes, digest)) => {
            let Ok(snapshot) = inner.snapshot().await else { return Look::Again };
            if snapshot.knows(&digest) {
                inner.status.file_changed(&shown);
                if inner.development {
                    let _ = inner.back_with_file(&snapshot, std::iter::once(digest)).await;
                }
                return Look::Done;
            }
            let by = Actor::Directory(name);
            let outcome = match inner.verify(bytes, Purpose::Install).await {
                Ok(verified) => inner.offer(&verified, &by).await,
                Err(refusal) => Err(refusal),
            };
            match outcome {
                Ok(()) => {
                    inner.status.file_changed(&shown);
                    return Look::Done;
                }
                Err(refusal) => refusal,
            }
        }
        Err(refusal) => refusal,
    };
    if UNFINISHED.contains(&refusal.code) && changed_lately(path) {
        return Look::Again;
    }
    tracing::error!(plugin = shown, code = refusal.code, reason = refusal.message, "plugin refused");
    inner.status.file_refused(&shown, &refusal);
    Look::Done
}

fn changed_lately(path: &Path) -> bool {
    let modified = std::fs::metadata(path).and_then(|meta| meta.modified());
    let age = modified.ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
    age.is_some_and(|age| age < SETTLED)
}

/// In development a plugin whose file is taken away is switched off.
async fn gone(inner: &Arc<Inner>, name: &Arc<str>) {
    let Ok(snapshot) = inner.snapshot().await else { return };
    let of_file =
        snapshot.plugins.values().find(|plugin| plugin.desired == Desired::Enabled && *plugin.source == **name);
    if let Some(plugin) = of_file
        && let Err(refusal) = inner.disable(&plugin.id, &Actor::Directory(name.clone())).await
    {
        tracing::error!(
            plugin = plugin.id,
            code = refusal.code,
            reason = refusal.message,
            "plugin cannot be switched off"
        );
    }
}
