//! `arcana plugin proto`: the gRPC contracts of plugins as files that every generator of clients reads.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;

use super::compat;
use crate::cli::shown;
use crate::contract::proto::{Files, Service, text};
use crate::ingress::host_api;

/// What every generator of clients has itself.
const WELL_KNOWN: &str = "google/";

#[derive(Debug, Args)]
pub(super) struct ProtoArgs {
    /// Packed plugins, signed or not.
    #[arg(required_unless_present = "host")]
    files: Vec<PathBuf>,
    /// Also the services of the host itself.
    #[arg(long)]
    host: bool,
    /// The folder that they are written below, each in the folder of its package; without it they are printed.
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Writes the files of all plugins together. What else is in the folder stays.
///
/// # Errors
/// A file that is no plugin or that cannot be written, and plugins that have different types of one name.
pub(super) fn run(args: &ProtoArgs) -> Result<()> {
    let mut files = if args.host { of_host()? } else { Files::default() };
    for path in &args.files {
        let (_, surface) = compat::read(path)?;
        let own = surface.files().with_context(|| format!("{} cannot be used", path.display()))?;
        files.merge(&own).with_context(|| format!("{} does not go with the others", path.display()))?;
    }
    for file in files.iter().filter(|file| !file.name().starts_with(WELL_KNOWN)) {
        let text = text::render(file);
        match &args.out {
            Some(folder) => write(&folder.join(file.name()), &text)?,
            // A closed pipe, as behind `head`, is no failure.
            None => {
                let text = format!("// {}\n{text}", file.name());
                drop(writeln!(std::io::stdout(), "{}", shown::lines(&text)));
            }
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    super::write(path, text.as_bytes())?;
    println!("{}", path.display());
    Ok(())
}

fn of_host() -> Result<Files> {
    let interfaces = host_api::interfaces()?;
    let services = interfaces.iter().filter_map(|interface| {
        let functions = interface.functions.iter().filter_map(|(_, plan)| plan.as_ref().ok()).collect();
        let docs = interface.docs.as_deref();
        Some(Service { package: interface.package.as_ref()?, name: &interface.name, docs, functions })
    });
    Ok(Files::of(services)?)
}
