//! `arcana plugin new | build | test | pack | sign | verify | inspect | compat | proto`: what authors of plugins and of clients
//! and an administrator do with files. None of it needs a running host; what does is in `remote`.

mod compat;
mod inspect;
mod proto;
mod report;
#[cfg(test)]
mod tests;
mod text;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use arcana_signing::envelope::{self, MAX_SIGNATURES};
use arcana_signing::{Purpose, SecretKey, TrustPolicy};
use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::author::{build, new, test};
use super::remote::{self, PluginVerb};
use super::shown;
use crate::contract::Contract;
use crate::plugins::manifest::{self, Manifest};
use crate::plugins::pack;
use crate::plugins::prepass::PrepassLimits;
use crate::plugins::verify::verify;

/// Packs, signs, verifies and inspects plugins.
#[derive(Debug, Args)]
pub(super) struct PluginArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes a new plugin: a Rust crate with one example of each thing.
    New(new::NewArgs),
    /// Builds the crate of a plugin, packs and signs it.
    ///
    /// The exit code is 1 where the crate has mistakes, and 2 where nothing could be tried.
    Build(build::BuildArgs),
    /// Calls functions of a plugin on a host in memory.
    ///
    /// The exit code is 0 where every call came to what it should, 1 where one did not, and 2 where none could be made.
    Test(test::TestArgs),
    /// Puts a component and its manifest into one file, ready to be signed.
    Pack(PackArgs),
    /// Signs a packed file, or adds a signature to a signed one.
    Sign(SignArgs),
    /// Tells whether a host with this trust policy would take a file as something new.
    Verify {
        /// The signed file.
        file: PathBuf,
        /// The trust policy.
        #[arg(long, value_name = "FILE")]
        trust: PathBuf,
    },
    /// Shows who signed a file, what it is, what it asks for and what it publishes; and what is wrong with it.
    Inspect {
        /// The file: signed, packed, or neither.
        file: PathBuf,
        /// The trust policy to judge it by.
        #[arg(long, value_name = "FILE")]
        trust: Option<PathBuf>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Tells what clients of one version would meet if another one took its place, over gRPC and REST.
    ///
    /// The exit code is 0 where they can go on, 1 where some cannot, and 2 where a file is no plugin.
    Compat {
        /// The version that clients were made for: packed, signed or not.
        old: PathBuf,
        /// The version that is to replace it.
        new: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Writes the gRPC contracts of plugins as `.proto` files, for authors of clients.
    Proto(proto::ProtoArgs),
    #[command(flatten)]
    Remote(PluginVerb),
}

#[derive(Debug, Args)]
struct PackArgs {
    /// A component, or a core module built with wit-bindgen for wasm32-unknown-unknown.
    input: PathBuf,
    /// The manifest.
    #[arg(long, value_name = "FILE", default_value = "plugin.toml")]
    manifest: PathBuf,
    /// A folder or file of WIT, for the documentation; once for each package that the component exports or depends on.
    #[arg(long, value_name = "DIR")]
    wit: Vec<PathBuf>,
    /// The packed file.
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Packs another sequence number than the manifest's; `now` is the time in milliseconds, for development.
    #[arg(long, value_name = "N|now")]
    seq: Option<Seq>,
}

#[derive(Debug, Args)]
struct SignArgs {
    /// The packed file.
    file: PathBuf,
    /// A secret key; once for each that is to sign.
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
    /// The signed file; the packed file itself where it is not given.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy)]
enum Seq {
    Now,
    Number(u64),
}

impl FromStr for Seq {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "now" => Ok(Self::Now),
            _ => text.parse().map(Self::Number).map_err(|_| "a number or `now`"),
        }
    }
}

/// Carries it out.
///
/// # Errors
/// When a file cannot be read or written, or what was asked cannot be done. `inspect` of a file that can be read succeeds.
pub(super) fn run(args: PluginArgs) -> Result<ExitCode> {
    match args.verb {
        Verb::New(args) => new::run(&args)?,
        Verb::Build(args) => return Ok(build::run(&args)),
        Verb::Test(args) => return Ok(test::run(&args)),
        Verb::Pack(args) => run_pack(&args)?,
        Verb::Sign(args) => run_sign(&args)?,
        Verb::Verify { file, trust } => run_verify(&file, &trust)?,
        Verb::Compat { old, new, json } => return Ok(compat::run(&old, &new, json)),
        Verb::Proto(args) => proto::run(&args)?,
        Verb::Remote(verb) => return Ok(remote::plugin(verb)),
        Verb::Inspect { file, trust, json } => {
            let bytes = read(&file)?;
            let trust = trust.map(|path| read_trust(&path)).transpose()?;
            let report = inspect::inspect(&file.display().to_string(), &bytes, trust.as_ref());
            let text = match json {
                true => shown::json(&serde_json::to_string_pretty(&report)?).into_owned() + "\n",
                false => text::render(&report),
            };
            // A closed pipe, as behind `head`, is no failure.
            let _ = std::io::stdout().write_all(text.as_bytes());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn run_pack(args: &PackArgs) -> Result<()> {
    let input = read(&args.input)?;
    let mut text = std::fs::read_to_string(&args.manifest)
        .with_context(|| format!("the manifest {} cannot be read", args.manifest.display()))?;
    if let Some(seq) = args.seq {
        let seq = match seq {
            Seq::Number(seq) => seq,
            Seq::Now => u64::try_from(Timestamp::now().as_millisecond()).context("the clock is before 1970")?,
        };
        text = manifest::with_seq(&text, seq).with_context(|| format!("the manifest {}", args.manifest.display()))?;
    }
    let base = args.manifest.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let packed = pack::pack(&input, &text, &args.wit, base)
        .with_context(|| format!("{} was not packed", args.input.display()))?;
    check(&packed, &text)?;
    write(&args.out, &packed)?;
    println!("packed {} ({} bytes)", args.out.display(), packed.len());
    Ok(())
}

/// What the host would refuse whoever signed it, told to the author while it is cheap to correct.
pub(super) fn check(packed: &[u8], manifest: &str) -> Result<()> {
    let manifest = Manifest::parse(manifest)?;
    let sections = pack::sections(envelope::contents(packed)?.body, &PrepassLimits::default())?;
    let contract = Contract::decode(packed, sections.wit.iter().map(Vec::as_slice))?;
    let problems: Vec<String> =
        inspect::contract_problems(&manifest, &contract).into_iter().map(|problem| problem.message).collect();
    if problems.is_empty() {
        return Ok(());
    }
    bail!("the manifest and the component do not fit together:\n{}", problems.join("\n"))
}

fn run_sign(args: &SignArgs) -> Result<()> {
    if args.key.len() > MAX_SIGNATURES {
        bail!("a file has at most {MAX_SIGNATURES} signatures");
    }
    let bytes = read(&args.file)?;
    let keys: Vec<SecretKey> = args.key.iter().map(|path| SecretKey::load(path)).collect::<Result<_, _>>()?;
    let signed = envelope::sign(&bytes, &keys.iter().collect::<Vec<_>>())
        .with_context(|| format!("{} was not signed", args.file.display()))?;
    let out = args.out.as_ref().unwrap_or(&args.file);
    write(out, &signed)?;
    let envelope = envelope::parse(&signed)?;
    println!("signed {} ({} signatures)\ndigest {}", out.display(), envelope.signatures().len(), envelope.digest());
    Ok(())
}

fn run_verify(file: &Path, trust: &Path) -> Result<()> {
    let trust = read_trust(trust)?;
    let verified = verify(read(file)?, &trust, Purpose::Install, &PrepassLimits::default())
        .map_err(|refusal| anyhow::anyhow!("{} is refused: {refusal}", file.display()))?;
    let plugin = &verified.manifest.plugin;
    let say = |text: String| println!("{}", shown::clean(&text));
    say(format!("{} {} (seq {}) is accepted", plugin.id, plugin.version, plugin.seq));
    say(format!("digest     {}", verified.digest));
    say(format!("signed by  {}", verified.signers.join(", ")));
    let granted = &verified.granted;
    say(format!("granted    {}", if granted.is_empty() { "nothing".to_owned() } else { granted.join(", ") }));
    for store in verified.sections.stores() {
        say(format!("migrates   {store}"));
    }
    if !verified.pending.is_empty() {
        say(format!("waits for  an administrator's approval of {}", verified.pending.join(", ")));
    }
    for warning in &verified.warnings {
        say(format!("warning    {warning}"));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn read_trust(path: &Path) -> Result<TrustPolicy> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("the trust policy {} cannot be read", path.display()))?;
    TrustPolicy::parse(&text).with_context(|| format!("the trust policy {} cannot be used", path.display()))
}

/// Writes a file so that it is there whole or not at all: a host may be watching the folder.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().permissions(permissions()).tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}

/// As any file that a person makes: the process's mask takes away what it must not have.
fn permissions() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::Permissions::from_mode(0o666)
}
