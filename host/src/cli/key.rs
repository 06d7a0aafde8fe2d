//! `arcana key generate | show`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use arcana_signing::SecretKey;
use clap::{Args, Subcommand};

/// The name of a key file where only its folder is given.
const DEFAULT_NAME: &str = "arcana-signing-key.pem";

/// Makes and shows signing keys.
#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes a new key and prints its public half.
    Generate {
        /// The file to write, or a folder for `arcana-signing-key.pem`. A file that is there is never overwritten.
        #[arg(long, value_name = "FILE|DIR", default_value = ".")]
        out: PathBuf,
    },
    /// Prints the public half of a key.
    Show {
        /// The file with the secret key.
        key: PathBuf,
        /// Also writes the public key for the tool `wasmsign2`.
        #[arg(long, value_name = "FILE")]
        wasmsign2: Option<PathBuf>,
    },
}

/// Carries it out.
///
/// # Errors
/// When a key cannot be made, written or read.
pub(super) fn run(args: KeyArgs) -> Result<()> {
    match args.verb {
        Verb::Generate { out } => {
            let path = if out.is_dir() { out.join(DEFAULT_NAME) } else { out };
            let key = SecretKey::generate()?;
            key.write_new(&path)?;
            show(&key, &path);
            println!(
                "\nWhoever has the secret key can sign as you: keep it off servers, and keep a copy where it cannot be lost.\n\
                 To trust it, add this to trust.toml with what it may sign, and raise the serial:\n\n\
                 [[keys]]\n\
                 key = \"{}\"\n\
                 principal = \"your-name\"\n\
                 role = \"publisher\"\n\
                 namespaces = [\"your-name/*\"]",
                key.public_key()
            );
        }
        Verb::Show { key: path, wasmsign2 } => {
            let key = SecretKey::load(&path)?;
            show(&key, &path);
            if let Some(out) = wasmsign2 {
                std::fs::write(&out, key.public_key().to_wasmsign2())
                    .with_context(|| format!("{} cannot be written", out.display()))?;
                println!("wasmsign2   {}", out.display());
            }
        }
    }
    Ok(())
}

fn show(key: &SecretKey, path: &Path) {
    let public = key.public_key();
    println!("secret key  {}\npublic key  {public}\nkey id      {}", path.display(), public.key_id());
}
