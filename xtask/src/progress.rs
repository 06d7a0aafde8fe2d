//! Numbered steps with their times: one line a step on a terminal, plain lines elsewhere.

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::process::{failure, shown};

/// How many characters of a detail fit behind a title on one line.
const DETAIL: usize = 60;

/// The steps of one developer command.
pub(crate) struct Steps {
    total: usize,
    done: usize,
    live: bool,
    started: Instant,
}

/// The step that is running.
pub(crate) struct Step {
    heading: String,
    live: bool,
    note: Option<String>,
}

impl Steps {
    /// So many steps will follow.
    pub(crate) fn new(total: usize) -> Self {
        Self { total, done: 0, live: std::io::stderr().is_terminal(), started: Instant::now() }
    }

    /// Does one step and shows how long it took.
    ///
    /// # Errors
    /// Those of `work`.
    pub(crate) fn step<T>(&mut self, title: &str, work: impl FnOnce(&mut Step) -> Result<T>) -> Result<T> {
        self.done += 1;
        let heading = format!("[{}/{}] {title} …", self.done, self.total);
        let mut step = Step { heading, live: self.live, note: None };
        if self.live {
            step.detail("");
        } else {
            eprintln!("{}", step.heading);
        }
        let started = Instant::now();
        let result = work(&mut step);
        let clear = if self.live { "\r\x1b[2K" } else { "" };
        let note = match (&result, step.note) {
            (Err(_), _) => " (failed)".to_owned(),
            (Ok(_), Some(note)) => format!(" ({note})"),
            (Ok(_), None) => String::new(),
        };
        eprintln!("{clear}{} {}{note}", step.heading, seconds(started.elapsed()));
        result
    }

    /// The time since the first step began.
    pub(crate) fn elapsed(&self) -> String {
        seconds(self.started.elapsed())
    }
}

impl Step {
    /// A remark behind the step's time, such as "up to date".
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.note = Some(note.into());
    }

    /// Shows what the step is at, where there is a terminal.
    pub(crate) fn detail(&self, detail: &str) {
        if self.live {
            let detail: String = detail.chars().take(DETAIL).collect();
            eprint!("\r\x1b[2K{} {detail}", self.heading);
            // A terminal that cannot be written to is no reason to stop a build.
            let _ = std::io::stderr().flush();
        }
    }

    /// Runs a command, showing its progress; what it wrote is shown in full when it fails, and its warnings always.
    ///
    /// # Errors
    /// The program is not there, or it failed; `next` says what to do about it.
    pub(crate) fn run(&self, mut command: Command, next: &str) -> Result<()> {
        let line = shown(&command);
        if self.live {
            command.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", "120");
            command.env("CARGO_TERM_COLOR", "always");
        }
        let (reader, writer) = std::io::pipe().context("no pipe")?;
        command.stdin(Stdio::null()).stdout(writer.try_clone().context("no pipe")?).stderr(writer);
        let mut child = command.spawn().with_context(|| format!("`{line}` could not be started"))?;
        // The command holds the writing ends: the reader would never see the end of the output.
        drop(command);
        let log = self.follow(BufReader::new(reader))?;
        let status = child.wait().with_context(|| format!("`{line}` could not be waited for"))?;
        let clear = if self.live { "\r\x1b[2K" } else { "" };
        if !status.success() {
            if self.live {
                eprint!("{clear}{log}");
            }
            return Err(failure(format!("`{line}` failed ({status})"), next));
        }
        if self.live && log.contains("warning") {
            let kept: Vec<&str> = log.lines().filter(|line| !is_status(&plain(line))).collect();
            eprintln!("{clear}{}", kept.join("\n"));
        }
        Ok(())
    }

    /// Reads the output to its end and answers it without the progress bars, which end with a carriage return.
    fn follow(&self, reader: impl BufRead) -> Result<String> {
        let mut log = String::new();
        let mut line = Vec::new();
        for byte in reader.bytes() {
            let byte = byte.context("the output could not be read")?;
            line.push(byte);
            if byte != b'\n' && !(byte == b'\r' && self.live) {
                continue;
            }
            let text = String::from_utf8_lossy(&line);
            if !self.live {
                eprint!("{text}");
            } else if let Some(detail) = detail_of(&plain(&text)) {
                self.detail(&detail);
            }
            if byte == b'\n' {
                log.push_str(&text);
            }
            line.clear();
        }
        log.push_str(&String::from_utf8_lossy(&line));
        Ok(log)
    }
}

/// The time as people read it.
fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60)
    }
}

/// The text without terminal control sequences.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\x1b' {
            // A control sequence ends with its first letter.
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else if c != '\r' && c != '\n' {
            out.push(c);
        }
    }
    out
}

/// Whether a line of cargo's only tells that work is going on.
fn is_status(line: &str) -> bool {
    const VERBS: [&str; 13] = [
        "Compiling",
        "Checking",
        "Finished",
        "Fresh",
        "Downloading",
        "Downloaded",
        "Updating",
        "Locking",
        "Building",
        "Blocking",
        "Running",
        "Adding",
        "Executable",
    ];
    line.trim_start().split(' ').next().is_some_and(|verb| VERBS.contains(&verb))
}

/// What a line of cargo's says about its progress.
fn detail_of(line: &str) -> Option<String> {
    let line = line.trim();
    if let Some((_, rest)) = line.strip_prefix("Building [").and_then(|rest| rest.split_once("] ")) {
        return Some(rest.to_owned());
    }
    is_status(line).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_progress_bar_becomes_its_counter() {
        let bar = "\x1b[36m\x1b[1m    Building\x1b[0m [=====>     ] 23/120: serde, syn\x1b[K";
        assert_eq!(detail_of(&plain(bar)).as_deref(), Some("23/120: serde, syn"));
        assert_eq!(detail_of("   Compiling serde v1.0.0").as_deref(), Some("Compiling serde v1.0.0"));
        assert_eq!(detail_of("warning: unused variable"), None);
    }

    #[test]
    fn times_above_a_minute_are_told_in_minutes() {
        assert_eq!(seconds(Duration::from_millis(12_340)), "12.3 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 5 s");
    }
}
