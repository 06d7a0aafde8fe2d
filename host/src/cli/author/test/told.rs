//! What came of the calls, for people and for programs.

use std::io::Write as _;

use anyhow::Result;
use serde_json::{Value, json};

use super::calls::Call;
use super::host::Answer;
use crate::cli::shown;
use crate::problem::Problem;

/// A call that was made, or could not be.
pub(super) struct Done<'c> {
    /// The call.
    pub(super) call: &'c Call,
    /// What it came to; none where it was not made.
    pub(super) answer: Option<Answer>,
    /// Where that is not what it should be; empty where all is well.
    pub(super) differences: Vec<String>,
}

/// Tells of the calls as they are made.
pub(super) struct Told {
    json: bool,
    /// The answers are what was asked for, not whether they are right.
    direct: bool,
    calls: Vec<Value>,
    failed: usize,
    all: usize,
}

impl Told {
    pub(super) const fn new(json: bool, direct: bool) -> Self {
        Self { json, direct, calls: Vec::new(), failed: 0, all: 0 }
    }

    /// Tells of one.
    pub(super) fn tell(&mut self, done: &Done<'_>) -> Result<()> {
        let is_good = done.differences.is_empty();
        self.all += 1;
        self.failed += usize::from(!is_good);
        if self.json {
            self.calls.push(as_json(done));
            return Ok(());
        }
        let text = match (&done.answer, self.direct) {
            (Some(Ok(value)), true) => match value {
                Value::Null => format!("{}\n(no value)\n", done.call.title()),
                value => format!("{}\n{}\n", done.call.title(), serde_json::to_string_pretty(value)?),
            },
            (Some(Err(problem)), true) => format!("{}\n{}\n", done.call.title(), one_line(problem)),
            _ if is_good => format!("ok      {}\n", done.call.title()),
            _ => {
                let lines = done.differences.iter().flat_map(|difference| difference.lines());
                let lines: String = lines.map(|line| format!("        {line}\n")).collect();
                format!("FAILED  {}\n{lines}", done.call.title())
            }
        };
        say(&text);
        Ok(())
    }

    /// Sums up; true where every call came to what it should.
    pub(super) fn end(self) -> Result<bool> {
        let passed = self.all - self.failed;
        if self.json {
            let report = json!({ "passed": passed, "failed": self.failed, "calls": self.calls });
            say(&(shown::json(&serde_json::to_string_pretty(&report)?).into_owned() + "\n"));
        } else if !self.direct {
            say(&format!("\n{passed} passed, {} failed\n", self.failed));
        }
        Ok(self.failed == 0)
    }
}

/// A closed pipe, as behind `head`, is no failure.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(shown::lines(text).as_bytes());
}

fn as_json(done: &Done<'_>) -> Value {
    let call = done.call;
    let mut value = json!({ "call": call.call, "ok": done.differences.is_empty() });
    let mut add = |key: &str, part: Value| {
        if let Value::Object(fields) = &mut value {
            fields.insert(key.to_owned(), part);
        }
    };
    if let Some(name) = &call.name {
        add("name", name.as_str().into());
    }
    if let Some(caller) = &call.caller {
        add("as", caller.to_string().into());
    }
    match &done.answer {
        Some(Ok(answer)) => add("answer", answer.clone()),
        Some(Err(problem)) => add("problem", problem_json(problem)),
        None => {}
    }
    if !done.differences.is_empty() {
        add("differences", done.differences.clone().into());
    }
    value
}

/// As it is in the body of an answer.
fn problem_json(problem: &Problem) -> Value {
    let details: Vec<Value> = problem
        .details
        .iter()
        .map(|detail| json!({ "field": detail.field, "message": detail.message, "code": detail.code }))
        .collect();
    json!({ "code": problem.code(), "message": problem.message, "details": details })
}

/// `CODE: message (field: message; …)`
pub(super) fn one_line(problem: &Problem) -> String {
    let details: Vec<String> =
        problem.details.iter().map(|detail| format!("{}: {}", detail.field, detail.message)).collect();
    let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join("; ")) };
    format!("{}: {}{details}", problem.code(), problem.message)
}
