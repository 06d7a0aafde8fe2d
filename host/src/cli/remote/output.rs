//! What goes to standard output, and questions. A reader that has seen enough (`| head`) is no fault, which `println!`
//! would make a panic of.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use serde::Serialize;

use super::super::shown;
use super::failure::Failure;

/// One line.
pub(super) fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", shown::lines(text));
}

/// A line of JSON as it came.
pub(super) fn data(json: &str) {
    let _ = writeln!(std::io::stdout(), "{}", shown::json(json));
}

/// A value over some lines.
pub(super) fn json(value: &impl Serialize) {
    if let Ok(text) = serde_json::to_string_pretty(value) {
        let _ = writeln!(std::io::stdout(), "{}", shown::json(&text));
    }
}

/// Asks before what cannot be taken back; where nobody can be asked, it has to be said on the command line.
pub(super) fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::Use(format!("{question} There is nobody to ask: say so with --yes")));
    }
    eprint!("{} [y/N] ", shown::lines(question));
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let _ = std::io::stdin().lock().read_line(&mut answer);
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::Use("nothing was done".into())),
    }
}
