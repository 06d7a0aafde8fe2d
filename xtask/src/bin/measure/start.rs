//! How long a start takes, and what a host that was never asked needs.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::figures::median;
use crate::process::{Memory, Server};

/// Starts that have to compile everything.
const COLD: usize = 3;

/// Starts that find compiled code.
const WARM: usize = 9;

/// What the starts took, from the start of the process to the end of the first 200 on `/health`, in milliseconds.
pub(crate) struct Starts {
    /// With an empty data folder: keys, databases, migrations, installs, compilation.
    pub(crate) first: f64,
    /// Without compiled code.
    pub(crate) cold: f64,
    /// With compiled code.
    pub(crate) warm: f64,
    /// The least of the last.
    pub(crate) least: f64,
    /// A moment after a start with compiled code.
    pub(crate) idle: Memory,
}

/// Starts the host of this home several times.
///
/// # Errors
/// It does not start or does not stop.
pub(crate) fn measure(arcana: &Path, home: &Path) -> Result<Starts> {
    let first = once(arcana, home)?.0;
    let mut cold = Vec::new();
    for _ in 0..COLD {
        let cache = home.join("data/cache/code");
        std::fs::remove_dir_all(&cache).with_context(|| format!("{} could not be removed", cache.display()))?;
        cold.push(once(arcana, home)?.0);
    }
    let mut warm = Vec::new();
    let mut idle = Memory::default();
    for _ in 0..WARM {
        let (time, memory) = once(arcana, home)?;
        warm.push(time);
        idle = memory;
    }
    let least = warm.iter().copied().fold(f64::INFINITY, f64::min);
    Ok(Starts { first, cold: median(cold), warm: median(warm), least, idle })
}

fn once(arcana: &Path, home: &Path) -> Result<(f64, Memory)> {
    let server = Server::host(arcana, home)?;
    std::thread::sleep(Duration::from_millis(300));
    let (start, memory) = (server.start.as_secs_f64() * 1e3, server.memory()?);
    server.stop()?;
    Ok((start, memory))
}
