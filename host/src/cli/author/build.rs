//! `arcana plugin build`: from a crate to a signed plugin, and its parts for `test` and `dev`.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};
use arcana_signing::{SecretKey, envelope};
use cargo_metadata::{Message, TargetKind};
use clap::Args;
use jiff::Timestamp;

use super::cannot;
use super::home::Home;
use super::project::{MANIFEST, Project};
use super::toolchain::{TARGET, Toolchain};
use crate::cli::plugin::{check, write};
use crate::cli::serve::runtime;
use crate::cli::shown;
use crate::plugins::manifest::{PluginId, with_seq};
use crate::plugins::pack;

#[derive(Debug, Args)]
pub(in crate::cli) struct BuildArgs {
    /// The crate: its folder, or one in it.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Signs with this key, and keeps the `seq` of the manifest: a release. Without it the development key of the home signs,
    /// and `seq` is the time.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The signed file; `plugin/<name>.wasm` in cargo's target folder where it is not given.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The folder whose `data/` has the development key: that of the host that is to take the plugin. `.arcana` in the crate,
    /// which is that of `arcana dev`, where it is not given.
    #[arg(long, value_name = "DIR", conflicts_with = "key")]
    home: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

/// How a crate is built.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct How {
    /// Optimises.
    #[arg(short, long)]
    release: bool,
    /// Builds with this profile of cargo.
    #[arg(long, value_name = "NAME", conflicts_with = "release")]
    profile: Option<String>,
    /// The WIT that documents the plugin, where it is not in the crate's `wit/`; once for each folder or file.
    #[arg(long, value_name = "DIR")]
    pub(super) wit: Vec<PathBuf>,
}

/// Builds, packs, signs and writes. The exit code is 1 where the crate is at fault, and 2 where nothing could be tried.
pub(in crate::cli) fn run(args: &BuildArgs) -> ExitCode {
    let found = Project::find(&args.path).and_then(|project| {
        let (toolchain, key) = (Toolchain::find(&project.folder)?, Key::choose(args, &project)?);
        Ok((project, toolchain, key))
    });
    let (project, toolchain, key) = match found {
        Ok(found) => found,
        Err(error) => return cannot(&error),
    };
    match build(args, &project, &toolchain, &key) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("arcana: {}", shown::clean(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

/// Who signs, and with it what `seq` is.
enum Key {
    /// The key that development mode trusts, from this file.
    Development(SecretKey, PathBuf),
    /// The author's.
    Author(SecretKey, PathBuf),
}

impl Key {
    fn choose(args: &BuildArgs, project: &Project) -> Result<Self> {
        if let Some(path) = &args.key {
            return Ok(Self::Author(SecretKey::load(path)?, path.clone()));
        }
        let home = Home::open(args.home.as_deref(), std::slice::from_ref(project))?;
        let (key, path) = home.key()?;
        Ok(Self::Development(key, path))
    }
}

fn build(args: &BuildArgs, project: &Project, toolchain: &Toolchain, key: &Key) -> Result<()> {
    let component = runtime()?.block_on(compile(project, toolchain, &args.how, false))?;
    let mut packed = pack(project, &component, &args.how.wit)?;
    let (secret, signer) = match key {
        Key::Development(secret, path) => {
            packed = packed.with_time()?;
            (secret, format!("the development key {}; hosts that are not for development refuse it", path.display()))
        }
        Key::Author(secret, path) => (secret, path.display().to_string()),
    };
    let signed = packed.sign(secret)?;
    let out = match &args.out {
        Some(out) => out.clone(),
        None => default_place(&component, &packed.id)?,
    };
    write(&out, &signed)?;
    let digest = envelope::parse(&signed)?.digest();
    println!("built {} ({}, {} bytes)\ndigest {digest}\nsigned by {signer}", out.display(), packed.id, signed.len());
    Ok(())
}

/// `plugin/<name>.wasm` in the target folder that cargo used.
fn default_place(component: &Path, id: &PluginId) -> Result<PathBuf> {
    let target = component.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == TARGET));
    let folder = target.and_then(Path::parent).context("cargo built into no target folder")?.join("plugin");
    std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    Ok(folder.join(format!("{}.wasm", id.name())))
}

/// The crate has mistakes; the compiler has told them on the standard error output.
#[derive(Debug, thiserror::Error)]
#[error("{0} does not build; the compiler's message is above")]
pub(super) struct DoesNotBuild(String);

/// Lets cargo build the component; answers its file. What the compiler says goes to the standard error output as it is.
/// Dropping the future ends cargo.
///
/// # Errors
/// [`DoesNotBuild`], and where cargo cannot be started or builds no component.
pub(super) async fn compile(project: &Project, toolchain: &Toolchain, how: &How, quiet: bool) -> Result<PathBuf> {
    let manifest = project.path("Cargo.toml");
    let mut cargo = toolchain.cargo();
    // In its folder, so that a `rust-toolchain.toml` and cargo's configuration count.
    cargo.current_dir(&project.folder).arg("build").arg("--manifest-path").arg(&manifest);
    cargo.args(["--lib", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    if how.release {
        cargo.arg("--release");
    }
    if let Some(profile) = &how.profile {
        cargo.args(["--profile", profile]);
    }
    if quiet {
        cargo.arg("--quiet");
    }
    cargo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let child =
        tokio::process::Command::from(cargo).kill_on_drop(true).spawn().context("cargo could not be started")?;
    let output = child.wait_with_output().await.context("cargo could not be waited for")?;
    if !output.status.success() {
        return Err(DoesNotBuild(project.folder.display().to_string()).into());
    }
    for message in Message::parse_stream(&output.stdout[..]) {
        let Message::CompilerArtifact(artifact) = message.context("cargo's messages cannot be read")? else { continue };
        if artifact.manifest_path.as_std_path() == manifest && artifact.target.kind.contains(&TargetKind::CDyLib) {
            let wasm = artifact.filenames.into_iter().find(|file| file.extension() == Some("wasm"));
            if let Some(wasm) = wasm {
                return Ok(wasm.into_std_path_buf());
            }
        }
    }
    bail!("{} builds no component: it needs crate-type = [\"cdylib\"] in [lib]", manifest.display())
}

/// A packed plugin that nobody has signed yet.
pub(super) struct Packed {
    /// The plugin's id.
    pub(super) id: PluginId,
    component: Vec<u8>,
    manifest: String,
    wit: Vec<PathBuf>,
    folder: PathBuf,
    /// The packed file.
    pub(super) bytes: Vec<u8>,
}

/// Packs a component with the crate's manifest, WIT and migrations, and checks that they fit together.
///
/// # Errors
/// What does not fit, in terms of the WIT and of the manifest.
pub(super) fn pack(project: &Project, component: &Path, wit: &[PathBuf]) -> Result<Packed> {
    let (manifest, id) = project.manifest()?;
    let component = std::fs::read(component).with_context(|| format!("{} cannot be read", component.display()))?;
    let wit = if wit.is_empty() { project.wit() } else { wit.to_vec() };
    let mut packed = Packed { id, component, manifest, wit, folder: project.folder.clone(), bytes: Vec::new() };
    packed.bytes = packed.pack()?;
    check(&packed.bytes, &packed.manifest)
        .with_context(|| format!("{} and the component of {}", MANIFEST, project.folder.display()))?;
    Ok(packed)
}

impl Packed {
    fn pack(&self) -> Result<Vec<u8>> {
        pack::pack(&self.component, &self.manifest, &self.wit, &self.folder)
            .with_context(|| format!("{} was not packed", self.folder.display()))
    }

    /// The same with the time in milliseconds as `seq`.
    ///
    /// # Errors
    /// The clock is before 1970.
    pub(super) fn with_time(mut self) -> Result<Self> {
        let now = u64::try_from(Timestamp::now().as_millisecond()).context("the clock is before 1970")?;
        self.manifest = with_seq(&self.manifest, now)?;
        self.bytes = self.pack()?;
        Ok(self)
    }

    /// The signed file.
    ///
    /// # Errors
    /// It is too large to be signed.
    pub(super) fn sign(&self, key: &SecretKey) -> Result<Vec<u8>> {
        envelope::sign(&self.bytes, &[key]).with_context(|| format!("{} was not signed", self.folder.display()))
    }
}
