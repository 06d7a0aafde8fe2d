//! The author's loop: from saving one line of a new plugin to the first request that is answered by it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::figures::median;
use crate::process::Server;

/// Saves that are measured.
const SAVES: usize = 9;

/// The longest wait for the first build, which compiles what every plugin depends on.
const FIRST: Duration = Duration::from_secs(900);

/// The longest wait for any other.
const LATER: Duration = Duration::from_secs(60);

/// The name of the plugin that is made for this.
const NAME: &str = "bench-notes";

/// What answers, and the line that is changed.
const PATH: &str = "/api/v1/bench-notes/count";
const BEFORE: &str = "fn count() -> Result<u64> {\n";

/// Medians in milliseconds.
pub(crate) struct Saves {
    /// From the end of the write to the end of the first answer that is new.
    pub(crate) whole: f64,
    /// The least of these.
    pub(crate) least: f64,
    /// Of it: noticing the save, cargo, packing and signing, as `arcana dev` tells it.
    pub(crate) built: f64,
    /// Of it: verifying, compiling, linking, swapping.
    pub(crate) swapped: f64,
}

/// Makes a new plugin in this folder and develops it.
///
/// # Errors
/// It does not build, or a save is never answered; with what `arcana dev` said.
pub(crate) fn measure(arcana: &Path, place: &Path, lock_file: &Path) -> Result<Saves> {
    let made = Command::new(arcana).args(["plugin", "new", NAME]).current_dir(place).stdout(Stdio::null()).status()?;
    if !made.success() {
        bail!("`arcana plugin new` failed: {made}");
    }
    let folder = place.join(NAME);
    // What the plugin depends on is on this machine already, in the versions of this checkout.
    std::fs::copy(lock_file, folder.join("Cargo.lock")).context("Cargo.lock could not be copied")?;
    let log = folder.join("host.log");
    let server = Server::develop(arcana, &folder, &log)?;
    let saves = saves(&server, &folder, &log).with_context(|| {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        format!("`arcana dev` said\n{said}")
    })?;
    server.stop()?;
    Ok(saves)
}

fn saves(server: &Server, folder: &Path, log: &Path) -> Result<Saves> {
    wait(server, FIRST, |status, _| status == 200)?;
    let source: PathBuf = folder.join("src/lib.rs");
    let text = std::fs::read_to_string(&source)?;
    if text.matches(BEFORE).count() != 1 {
        bail!("the template is not as expected");
    }
    let mut whole = Vec::new();
    for number in 1..=SAVES {
        // Somebody who types is not faster than this.
        std::thread::sleep(Duration::from_millis(500));
        let line = format!("{BEFORE}        if true {{ return Ok({number}); }}\n");
        std::fs::write(&source, text.replace(BEFORE, &line))?;
        let begin = Instant::now();
        let expected = number.to_string();
        wait(server, LATER, |_, body| body == expected)?;
        whole.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let said = std::fs::read_to_string(log)?;
    // The first one was built from nothing.
    let told = |words: &str| median(said.lines().filter_map(|line| millis(line, words)).skip(1));
    let least = whole.iter().copied().fold(f64::INFINITY, f64::min);
    Ok(Saves { whole: median(whole), least, built: told("built in "), swapped: told("swapped in ") })
}

/// The number behind these words.
fn millis(line: &str, words: &str) -> Option<f64> {
    line.split_once(words)?.1.split_whitespace().next()?.parse().ok()
}

fn wait(server: &Server, longest: Duration, is_it: impl Fn(u16, &str) -> bool) -> Result<()> {
    let until = Instant::now() + longest;
    loop {
        let (status, body) = server.ask("GET", PATH, None, None)?;
        if is_it(status, &body) {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("{PATH} still answers {status} {body}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::millis;

    #[test]
    fn times_are_read_from_what_is_said() {
        let line = "bench-notes: local/bench-notes 0.1.0 answers (built in 520 ms, swapped in 90 ms)";
        assert_eq!(millis(line, "built in "), Some(520.0));
        assert_eq!(millis(line, "swapped in "), Some(90.0));
        assert_eq!(millis("watching", "built in "), None);
    }
}
