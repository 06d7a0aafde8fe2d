//! Work of the host on large inputs. The threads that serve are held for one piece at a time; where the work cannot be divided
//! it is done on a thread beside them, and one plugin has half of these at most.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::WasmList;
use wasmtime::{AsContext as _, StoreContextMut};

use super::{HostFault, PluginGrants};

/// Up to so many bytes are worked on at once: well below a millisecond of a processor.
pub(super) const PIECE: usize = 64 << 10;

/// The threads beside those that serve.
pub struct HostWork {
    all: Arc<Semaphore>,
    of_one: usize,
}

/// A plugin's part of them.
pub struct WorkShare(Arc<Semaphore>);

impl HostWork {
    /// So many at once, at least one.
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(at_once.max(1))), of_one: (at_once / 2).max(1) }
    }

    /// The part of one plugin.
    #[must_use]
    pub fn share(&self) -> WorkShare {
        WorkShare(Arc::new(Semaphore::new(self.of_one)))
    }

    /// Waits for a turn: within the plugin's part first, so that its backlog does not delay other plugins.
    async fn turn(&self, share: &WorkShare) -> wasmtime::Result<[OwnedSemaphorePermit; 2]> {
        let ended = |_| HostFault("the threads for large inputs are gone".into());
        let own = share.0.clone().acquire_owned().await.map_err(ended)?;
        Ok([own, self.all.clone().acquire_owned().await.map_err(ended)?])
    }
}

/// Hands the bytes of a list over in pieces, straight from the guest's memory. Other tasks run in between.
pub(super) async fn in_pieces<T: Send + 'static>(
    store: &mut StoreContextMut<'_, T>,
    data: &WasmList<u8>,
    mut take: impl FnMut(&[u8]) + Send,
) {
    let mut at = 0;
    while at < data.len() {
        if at > 0 {
            tokio::task::yield_now().await;
        }
        let piece = data.as_le_slice(store.as_context());
        let piece = piece.get(at..).unwrap_or_default();
        let piece = &piece[..piece.len().min(PIECE)];
        take(piece);
        at += PIECE;
    }
}

/// Does work on a copy of the list that cannot be divided: at once where it is small, else beside. The copy is made when it is
/// the plugin's turn, so that those who wait hold no memory of the host.
pub(super) async fn undivided<T: Send + 'static, R: Send + 'static>(
    store: &mut StoreContextMut<'_, T>,
    grants: &Arc<PluginGrants>,
    data: &WasmList<u8>,
    work: impl FnOnce(&PluginGrants, &[u8]) -> R + Send + 'static,
) -> wasmtime::Result<R> {
    if data.len() <= PIECE {
        return Ok(work(grants, data.as_le_slice(store.as_context())));
    }
    let turn = grants.services.work.turn(&grants.work).await?;
    let (copy, grants) = (data.as_le_slice(store.as_context()).to_vec(), grants.clone());
    let done = tokio::task::spawn_blocking(move || {
        // A cancelled call keeps its turn until the thread is done.
        let _turn = turn;
        work(&grants, &copy)
    });
    Ok(done.await.map_err(|error| HostFault(format!("work on a large input ended: {error}")))?)
}
