//! What went wrong lately, in memory: told by the API and counted by `/health`.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use parking_lot::Mutex;

use super::view::Failure;
use crate::plugins::files::{Stamp, stamp};
use crate::plugins::refusal::Refusal;

/// Refused files of nobody that are remembered.
const REMEMBERED: usize = 50;

/// Plugins whose last failure is remembered, beyond those that are to run and do not.
const PLUGINS_REMEMBERED: usize = 256;

/// What went wrong lately.
pub(super) struct Status {
    state: Mutex<State>,
    /// How many plugins and files count as failed.
    failed: Arc<AtomicUsize>,
}

#[derive(Default)]
struct State {
    /// By plugin: what failed last.
    errors: HashMap<String, Failure>,
    /// Refused before it was known whose they are, newest first.
    refused: VecDeque<Failure>,
    /// Plugins that are to run and do not.
    down: BTreeSet<String>,
    /// Files of the folder that were refused, with the plugin where that is known, and which state of the file it was.
    files: BTreeMap<String, (Option<String>, Option<Stamp>)>,
}

impl State {
    /// Uploads may name any number of plugins that are never installed.
    fn forget_oldest(&mut self) {
        if self.errors.len() <= PLUGINS_REMEMBERED + self.down.len() {
            return;
        }
        let spare = self.errors.iter().filter(|(id, _)| !self.down.contains(*id));
        let oldest = spare.min_by(|(_, a), (_, b)| a.at.cmp(&b.at)).map(|(id, _)| id.clone());
        if let Some(id) = oldest {
            self.errors.remove(&id);
        }
    }
}

impl Status {
    pub(super) fn new(failed: Arc<AtomicUsize>) -> Self {
        Self { state: Mutex::default(), failed }
    }

    /// Something was refused: an upload, or the start of a version.
    pub(super) fn refused(&self, refusal: &Refusal) {
        let mut state = self.state.lock();
        let failure = failure(refusal);
        match &refusal.about {
            Some(about) => {
                state.errors.insert(about.id.clone(), failure);
                state.forget_oldest();
            }
            None => {
                state.refused.truncate(REMEMBERED - 1);
                state.refused.push_front(failure);
            }
        }
    }

    /// A file of the folder was refused.
    pub(super) fn file_refused(&self, path: &str, refusal: &Refusal) {
        self.refused(refusal);
        let id = refusal.about.as_ref().map(|about| about.id.clone());
        self.state.lock().files.insert(path.to_owned(), (id, stamp(Path::new(path))));
        self.count();
    }

    /// Whether this file was refused as it is now.
    pub(super) fn knows(&self, path: &str) -> bool {
        let now = stamp(Path::new(path));
        self.state.lock().files.get(path).is_some_and(|(_, then)| then.is_some() && *then == now)
    }

    /// A file of the folder is gone, or another one now.
    pub(super) fn file_changed(&self, path: &str) {
        if self.state.lock().files.remove(path).is_some() {
            self.count();
        }
    }

    /// A plugin is to run and does not.
    pub(super) fn down(&self, id: &str, refusal: &Refusal) {
        let mut state = self.state.lock();
        state.errors.insert(id.to_owned(), failure(refusal));
        state.down.insert(id.to_owned());
        drop(state);
        self.count();
    }

    /// A plugin runs, or is not to run.
    pub(super) fn settled(&self, id: &str) {
        let mut state = self.state.lock();
        state.errors.remove(id);
        state.down.remove(id);
        state.files.retain(|_, (of, _)| of.as_deref() != Some(id));
        drop(state);
        self.count();
    }

    /// What failed last of a plugin.
    pub(super) fn error(&self, id: &str) -> Option<Failure> {
        self.state.lock().errors.get(id).cloned()
    }

    /// A plugin did not do well although it runs.
    pub(super) fn note(&self, id: &str, failure: Failure) {
        self.state.lock().errors.insert(id.to_owned(), failure);
    }

    /// Files that were refused before it was known whose they are, newest first.
    pub(super) fn strangers(&self) -> Vec<Failure> {
        self.state.lock().refused.iter().cloned().collect()
    }

    fn count(&self) {
        let state = self.state.lock();
        self.failed.store(state.down.len() + state.files.len(), Ordering::Relaxed);
    }
}

/// A refusal as it is told.
pub(super) fn failure(refusal: &Refusal) -> Failure {
    Failure {
        code: refusal.code.into(),
        message: refusal.message.clone(),
        version: refusal.about.as_ref().map(|about| about.version.clone()),
        at: Timestamp::now().to_string(),
    }
}
