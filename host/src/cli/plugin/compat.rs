//! `arcana plugin compat`: two versions of a plugin, as clients of the first one see the second.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::text::table;
use crate::cli::shown;
use crate::contract::compat::{Finding, Level, Surface, compare};
use crate::plugins::manifest::Manifest;
use crate::plugins::surface;

#[derive(Serialize)]
struct Report {
    old: Version,
    new: Version,
    /// Nothing breaks.
    compatible: bool,
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct Version {
    id: String,
    version: String,
    seq: u64,
}

/// Compares, and answers the exit code: 0 compatible, 1 breaking, 2 a file is no plugin.
pub(super) fn run(old: &Path, new: &Path, json: bool) -> ExitCode {
    match report(old, new).and_then(|report| Ok((if json { as_json(&report)? } else { render(&report) }, report))) {
        Ok((text, report)) => {
            // A closed pipe, as behind `head`, is no failure.
            let _ = std::io::stdout().write_all(text.as_bytes());
            if report.compatible { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("arcana: {}", shown::clean(&format!("{error:#}")));
            ExitCode::from(2)
        }
    }
}

fn report(old: &Path, new: &Path) -> Result<Report> {
    let ((old, was), (new, is)) = (read(old)?, read(new)?);
    let findings = compare(&was, &is);
    let compatible = findings.iter().all(|finding| finding.level != Level::Breaking);
    Ok(Report { old: version(&old), new: version(&new), compatible, findings })
}

/// The manifest and the contract of a plugin's file.
pub(super) fn read(path: &Path) -> Result<(Manifest, Surface)> {
    surface::read(&super::read(path)?).with_context(|| format!("{} cannot be used", path.display()))
}

fn version(manifest: &Manifest) -> Version {
    let plugin = &manifest.plugin;
    Version { id: plugin.id.to_string(), version: plugin.version.to_string(), seq: plugin.seq }
}

fn as_json(report: &Report) -> Result<String> {
    Ok(shown::json(&serde_json::to_string_pretty(report)?).into_owned() + "\n")
}

fn render(report: &Report) -> String {
    let mut out = String::new();
    let name = |version: &Version| format!("{} {} (seq {})", version.id, version.version, version.seq);
    let count = |level: Level, one: &str, many: &str| match report
        .findings
        .iter()
        .filter(|finding| finding.level == level)
        .count()
    {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {many}")),
    };
    let counts: Vec<String> =
        [count(Level::Breaking, "breaking change", "breaking changes"), count(Level::Notice, "notice", "notices")]
            .into_iter()
            .flatten()
            .collect();
    let verdict = if report.compatible { "can replace" } else { "would break clients of" };
    let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    let _ =
        writeln!(out, "{}", shown::clean(&format!("{} {verdict} {}{counts}", name(&report.new), name(&report.old))));
    for (level, title) in [(Level::Breaking, "Breaking"), (Level::Notice, "To be known")] {
        let findings = report.findings.iter().filter(|finding| finding.level == level);
        let rows: Vec<Vec<String>> = findings
            .map(|finding| {
                let protocols: Vec<String> = finding.protocols.iter().map(ToString::to_string).collect();
                vec![protocols.join(", "), finding.path.clone(), finding.message.clone()]
            })
            .collect();
        if !rows.is_empty() {
            let _ = writeln!(out, "\n{title}");
            table(&mut out, "  ", &rows);
        }
    }
    out
}
