//! What a host tells, for people.

use comfy_table::{Table, presets};

pub(super) use super::super::shown::clean;
use super::view::{Compatibility, Details, Failure, Installed, Listing, State, Summary, Version};

/// So much of a digest as is enough to name it.
const SHORT_DIGEST: usize = 12;

/// Names in a row.
pub(super) fn names(names: &[String]) -> String {
    match names {
        [] => "nobody".to_owned(),
        names => names.iter().map(|name| clean(name)).collect::<Vec<_>>().join(", "),
    }
}

/// Every plugin on a line.
pub(super) fn listing(listing: &Listing) -> String {
    let mut out = String::new();
    if listing.plugins.is_empty() {
        out.push_str("no plugins");
    } else {
        let mut table =
            table(&["PLUGIN", "VERSION", "SEQ", "STATE", "INSTANCES", "CALLS", "TRAPS", "SIGNED BY", "DIGEST"]);
        for plugin in &listing.plugins {
            let Summary { figures, .. } = plugin;
            table.add_row([
                clean(&plugin.id),
                clean(&plugin.version),
                plugin.seq.to_string(),
                state(plugin.state).to_owned(),
                figures.instances.to_string(),
                figures.calls.to_string(),
                figures.traps.to_string(),
                names(&plugin.signers),
                digest(&plugin.digest),
            ]);
        }
        out.push_str(&finished(&table));
    }
    for plugin in &listing.plugins {
        if let Some(error) = plugin.last_error.as_ref().filter(|_| plugin.state == State::Failed) {
            out.push_str(&format!("\n{}: {}", clean(&plugin.id), failure(error)));
        }
    }
    if !listing.refused.is_empty() {
        out.push_str("\n\nRefused lately");
        for refused in &listing.refused {
            out.push_str(&format!("\n  {}", failure(refused)));
        }
    }
    out
}

/// All about one plugin.
pub(super) fn details(details: &Details) -> String {
    let Details { plugin, limits, .. } = details;
    let mut head = Vec::new();
    let mut line = |key: &str, value: String| head.push((key.to_owned(), value));
    line("plugin", clean(&plugin.id));
    if let Some(description) = plugin.description.as_deref().filter(|text| !text.is_empty()) {
        line("description", clean(description));
    }
    line("state", state(plugin.state).to_owned());
    line("version", format!("{} (seq {})", clean(&plugin.version), plugin.seq));
    line("digest", clean(&plugin.digest));
    line("signed by", names(&plugin.signers));
    line("changed", clean(&plugin.updated_at));
    let figures = &plugin.figures;
    let running = format!("{} instances, {}", figures.instances, bytes(figures.memory_bytes));
    line("running", format!("{running}; {} calls, {} traps", figures.calls, figures.traps));
    line(
        "limits",
        format!(
            "{} an instance, {} ms a call, {} calls at once, {} calls an instance",
            bytes(limits.memory_bytes),
            limits.call_timeout_ms,
            limits.concurrency,
            limits.calls_per_instance
        ),
    );
    line("granted", or_none(&details.granted));
    if !details.pending.is_empty() {
        line("waits for", or_none(&details.pending));
    }
    line("exports", or_none(&details.exports));
    if let Some(version) = details.versions.iter().find(|version| version.digest == plugin.digest) {
        for store in &version.stores {
            line("migrates", clean(&store.to_string()));
        }
    }
    for warning in &details.warnings {
        line("warning", clean(warning));
    }
    if let Some(error) = &plugin.last_error {
        line("last error", failure(error));
    }
    let width = head.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let mut out: Vec<String> = head.iter().map(|(key, value)| format!("{key:width$}  {value}")).collect();

    if !details.methods.is_empty() {
        let mut table = table(&["METHOD", "ROUTES", "ALLOW"]);
        for method in &details.methods {
            table.add_row([clean(&method.call), or_none(&method.routes), or_none(&method.allow)]);
        }
        out.push(format!("\n{}", finished(&table)));
    }
    let mut kept = table(&["KEPT", "SEQ", "STATE", "SIZE", "SIGNED BY", "INSTALLED", "DIGEST"]);
    for Version { version, seq, digest: of, state: is, signers, size_bytes, installed_at, .. } in &details.versions {
        let (is, size, installed) = (state(*is).to_owned(), bytes(*size_bytes), clean(installed_at));
        kept.add_row([clean(version), seq.to_string(), is, size, names(signers), installed, digest(of)]);
    }
    out.push(format!("\n{}", finished(&kept)));
    if !details.changes.is_empty() {
        let mut changes = table(&["WHEN", "WHO", "WHAT", "FROM", "TO", "OUTCOME"]);
        let version = |version: &Option<String>| version.as_deref().map_or_else(|| "-".to_owned(), clean);
        for change in &details.changes {
            changes.add_row([
                clean(&change.at),
                clean(&change.who),
                clean(&change.action),
                version(&change.from_version),
                version(&change.to_version),
                clean(&change.outcome),
            ]);
        }
        out.push(format!("\n{}", finished(&changes)));
    }
    out.join("\n")
}

/// How a plugin stands now, in a line.
pub(super) fn standing(plugin: &Summary) -> String {
    let line = format!("{} {} is {}", clean(&plugin.id), clean(&plugin.version), state(plugin.state));
    match plugin.last_error.as_ref().filter(|_| plugin.state == State::Failed) {
        Some(error) => format!("{line}\n  {}", failure(error)),
        None => line,
    }
}

/// What came of an upload, and what it changes.
pub(super) fn installed(installed: &Installed, dry_run: bool) -> String {
    let Installed { comparison, .. } = installed;
    let what = format!("{} {} (seq {})", clean(&installed.id), clean(&installed.version), installed.seq);
    let head = match (dry_run, installed.changed) {
        (true, _) => format!("{what} would be installed"),
        (false, true) => format!("{what} is {}", state(installed.state)),
        (false, false) => format!("{what} is there already: {}", state(installed.state)),
    };
    let mut out = vec![head, format!("  signed by {}, digest {}", names(&installed.signers), clean(&installed.digest))];
    match &comparison.from_version {
        Some(from) => {
            let compatibility = match comparison.compatibility {
                Compatibility::Same => "the same for clients",
                Compatibility::Compatible => "clients can go on",
                Compatibility::Breaking => "some clients cannot go on",
            };
            out.push(format!("  against {}: {compatibility}", clean(from)));
        }
        None => out.push("  no version ran before".to_owned()),
    }
    for (mark, what, list) in [
        ('+', "capability", &comparison.capabilities_added),
        ('-', "capability", &comparison.capabilities_removed),
        ('+', "method", &comparison.methods_added),
        ('-', "method", &comparison.methods_removed),
        ('+', "route", &comparison.routes_added),
        ('-', "route", &comparison.routes_removed),
    ] {
        out.extend(list.iter().map(|name| format!("  {mark} {what} {}", clean(name))));
    }
    out.extend(installed.stores.iter().map(|store| format!("  migrates {}", clean(&store.to_string()))));
    for finding in &comparison.findings {
        let breaks = if finding.breaking { "breaks" } else { "changes" };
        let (protocols, path) = (names(&finding.protocols), clean(&finding.path));
        out.push(format!("  {breaks} {protocols} {path}: {}", clean(&finding.message)));
    }
    out.extend(installed.warnings.iter().map(|warning| format!("  warning: {}", clean(warning))));
    if !installed.pending.is_empty() {
        out.push(format!("  it waits for {}", or_none(&installed.pending)));
        if !dry_run {
            out.push(format!("  approve it with `arcana plugin approve {}`", clean(&installed.id)));
        }
    }
    out.join("\n")
}

fn failure(failure: &Failure) -> String {
    let version = failure.version.as_deref().map(|version| format!(" ({})", clean(version))).unwrap_or_default();
    format!("{} {}{version}: {}", clean(&failure.at), clean(&failure.code), clean(&failure.message))
}

const fn state(state: State) -> &'static str {
    match state {
        State::Verified => "verified",
        State::PendingApproval => "pending approval",
        State::Active => "active",
        State::Disabled => "disabled",
        State::Failed => "failed",
    }
}

fn or_none(list: &[String]) -> String {
    if list.is_empty() { "none".to_owned() } else { names(list) }
}

fn digest(digest: &str) -> String {
    clean(digest.get(..SHORT_DIGEST).unwrap_or(digest))
}

fn bytes(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= 1 << 20 => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        bytes if bytes >= 1 << 10 => format!("{:.1} KiB", bytes as f64 / f64::from(1 << 10)),
        bytes => format!("{bytes} B"),
    }
}

fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(head);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Without the blank that fills the last column.
fn finished(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
