//! The report for people: aligned, and only what there is.

use std::fmt::Write as _;

use arcana_signing::Code;

use super::super::shown;
use super::report::{MethodReport, Report, SignatureReport};

/// The whole text.
pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    let mut head = vec![
        ("file".to_owned(), format!("{} ({} bytes)", report.file, report.bytes)),
        ("digest".to_owned(), report.digest.clone().unwrap_or_else(|| "unknown".into())),
    ];
    if report.signatures.is_empty() {
        // A file that is broken further out may well be signed.
        let unsigned = report.problems.iter().any(|problem| problem.code == Code::Unsigned.as_str());
        head.push(("signed by".into(), if unsigned { "nobody" } else { "unknown" }.into()));
    }
    for (index, signature) in report.signatures.iter().enumerate() {
        head.push((if index == 0 { "signed by".into() } else { String::new() }, signer(signature)));
    }
    match &report.trust {
        None => head.push(("trust".into(), "not judged: give a policy with --trust trust.toml".into())),
        Some(trust) => {
            let code = trust.code.map(|code| format!("REFUSED, {code}: ")).unwrap_or_default();
            head.push(("trust".into(), format!("{code}{}", trust.message)));
            head.extend(trust.warnings.iter().map(|warning| ("warning".into(), warning.clone())));
        }
    }
    if let Some(plugin) = &report.plugin {
        head.push((String::new(), String::new()));
        head.push(("id".into(), plugin.id.clone()));
        head.push(("version".into(), format!("{} (seq {})", plugin.version, plugin.seq)));
        if !plugin.description.is_empty() {
            head.push(("description".into(), plugin.description.clone()));
        }
        head.push(("host".into(), plugin.host.clone()));
        head.extend(plugin.expires.iter().map(|time| ("expires".into(), time.clone())));
        head.extend(report.stores.iter().map(|store| ("migrates".into(), store.to_string())));
        if !report.documented.is_empty() {
            head.push(("documents".into(), report.documented.join(", ")));
        }
    }
    table(&mut out, "", &head.iter().map(|(key, value)| vec![key.clone(), value.clone()]).collect::<Vec<_>>());

    let capabilities: Vec<Vec<String>> = report.capabilities.iter().map(|name| vec![name.clone()]).collect();
    section(&mut out, "Capabilities", &capabilities);
    let imports: Vec<Vec<String>> =
        report.imports.iter().map(|import| vec![import.name.clone(), import.state.to_owned()]).collect();
    section(&mut out, "Imports", &imports);
    let exports: Vec<Vec<String>> = report
        .exports
        .iter()
        .flat_map(|export| {
            let functions = export.functions.iter().map(|function| {
                let mark = match function.published {
                    true => "",
                    false if export.name.starts_with("arcana:plugin/") => "called by the host",
                    false => "not published",
                };
                vec![format!("  {}({})", function.name, function.params.join(", ")), mark.to_owned()]
            });
            std::iter::once(vec![export.name.clone()]).chain(functions)
        })
        .collect();
    section(&mut out, "Exports", &exports);
    section(&mut out, "Methods", &report.methods.iter().flat_map(method).collect::<Vec<_>>());
    let settings: Vec<Vec<String>> =
        report.settings.iter().map(|(name, value)| vec![name.clone(), value.clone()]).collect();
    section(&mut out, "Settings", &settings);
    let limits: Vec<Vec<String>> =
        report.limits.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]).collect();
    section(&mut out, "Limits", &limits);
    let problems: Vec<Vec<String>> =
        report.problems.iter().map(|problem| vec![problem.code.to_owned(), problem.message.clone()]).collect();
    section(&mut out, "Problems", &problems);
    out
}

fn signer(signature: &SignatureReport) -> String {
    let key = format!("key {}", signature.key_id);
    match (&signature.principal, signature.known) {
        (Some(principal), _) => {
            let role = signature.role.unwrap_or_default();
            let status = signature.status.unwrap_or_default();
            let valid = if signature.valid == Some(true) { "valid" } else { "NOT MADE BY THIS KEY" };
            format!("{principal} ({role}, {status}, signature {valid}), {key}")
        }
        (None, Some(_)) => format!("{key}, which the trust policy does not know"),
        (None, None) => key,
    }
}

/// One line a route; a method without one is there for other protocols.
fn method(method: &MethodReport) -> Vec<Vec<String>> {
    let allow = method.allow.join(" or ");
    let status = method.status.map(|status| status.to_string()).unwrap_or_default();
    let limits = method.limits.join("; ");
    let none = ["no route".to_owned()];
    let routes = if method.routes.is_empty() { &none[..] } else { &method.routes };
    let line = |(index, route): (usize, &String)| {
        let (verb, path) = route.split_once(' ').unwrap_or(("", route));
        let own = |text: &str| if index == 0 { text.to_owned() } else { String::new() };
        vec![own(&method.call), verb.to_owned(), path.to_owned(), own(&allow), own(&status), own(&limits)]
    };
    routes.iter().enumerate().map(line).collect()
}

fn section(out: &mut String, title: &str, rows: &[Vec<String>]) {
    if !rows.is_empty() {
        let _ = writeln!(out, "\n{title}");
        table(out, "  ", rows);
    }
}

/// Columns as wide as their widest cell; the last one of a row is not padded. Nothing of a hostile file reaches the terminal
/// that it would obey.
pub(super) fn table(out: &mut String, indent: &str, rows: &[Vec<String>]) {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| shown::lines(cell).into_owned()).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        // A row of one cell is a heading, and does not widen the column.
        rows.iter().filter(|row| row.len() > 1).filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let mut line = String::from(indent);
        let mut start = indent.len();
        for (cell, width) in row.iter().zip(&widths) {
            let cell = cell.replace('\n', &format!("\n{}", " ".repeat(start)));
            let _ = write!(line, "{cell:<width$}  ");
            start += width + 2;
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_control_characters_do_not_reach_the_terminal() {
        let row = |cells: &[&str]| cells.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut out = String::new();
        table(
            &mut out,
            "  ",
            &[row(&["a heading that is long"]), row(&["a", "b", "c"]), row(&["long", "\u{1b}[31m", ""])],
        );
        assert_eq!(out, "  a heading that is long\n  a     b           c\n  long  \\u{1b}[31m\n");
        out.clear();
        table(&mut out, "", &[row(&["key", "one\ntwo"])]);
        assert_eq!(out, "key  one\n     two\n");
    }
}
