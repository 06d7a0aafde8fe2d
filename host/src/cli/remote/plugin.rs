//! The verbs of `arcana plugin` that speak with a running host.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::client::Client;
use super::failure::Failure;
use super::install::InstallArgs;
use super::logs::LogsArgs;
use super::view::{Details, Listing};
use super::{Remote, install, logs, output, plugin_id, text};

/// What a running host is asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginVerb {
    /// Lists the plugins of a running host, and what it has refused lately.
    List(ListArgs),
    /// Shows all about a plugin of a running host: versions, capabilities, methods, limits, changes.
    Show(IdArgs),
    /// Installs a signed file on a running host, and lets it take the place of the version that runs.
    Install(InstallArgs),
    /// Lets a plugin run that was disabled, or tries again with one that failed.
    Enable(IdArgs),
    /// Stops a plugin, until it is enabled again.
    Disable(IdArgs),
    /// Puts a kept version in the place of the one that runs.
    Rollback(RollbackArgs),
    /// Takes a plugin away with every kept version; its stores stay.
    Remove(YesArgs),
    /// Approves what a version asks for and its signers may not grant by themselves.
    Approve(YesArgs),
    /// Shows what a plugin has logged.
    Logs(LogsArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only those in this state: verified, pending_approval, active, disabled or failed.
    #[arg(long)]
    state: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct IdArgs {
    /// The plugin: `namespace/name`.
    id: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The plugin: `namespace/name`.
    id: String,
    /// The version, its digest or the start of it; the version that ran before where it is not given.
    #[arg(long, value_name = "VERSION|DIGEST")]
    to: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct YesArgs {
    /// The plugin: `namespace/name`.
    id: String,
    /// Does not ask back.
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    remote: Remote,
}

impl PluginVerb {
    pub(super) fn json(&self) -> bool {
        match self {
            Self::List(ListArgs { remote, .. })
            | Self::Show(IdArgs { remote, .. })
            | Self::Enable(IdArgs { remote, .. })
            | Self::Disable(IdArgs { remote, .. })
            | Self::Rollback(RollbackArgs { remote, .. })
            | Self::Remove(YesArgs { remote, .. })
            | Self::Approve(YesArgs { remote, .. })
            | Self::Install(InstallArgs { remote, .. })
            | Self::Logs(LogsArgs { remote, .. }) => remote.json,
        }
    }
}

pub(super) async fn run(verb: PluginVerb) -> Result<(), Failure> {
    match verb {
        PluginVerb::List(args) => list(args).await,
        PluginVerb::Show(IdArgs { id, remote }) => {
            let host = Host::new(&id, &remote)?;
            let found = host.ask(Method::GET, &[], None).await?;
            host.show(found, |details: &Details| text::details(details))
        }
        PluginVerb::Install(args) => install::run(args).await,
        PluginVerb::Enable(IdArgs { id, remote }) => change(&id, &remote, "enable", json!({})).await,
        PluginVerb::Disable(IdArgs { id, remote }) => change(&id, &remote, "disable", json!({})).await,
        PluginVerb::Rollback(args) => rollback(args).await,
        PluginVerb::Remove(args) => remove(args).await,
        PluginVerb::Approve(args) => approve(args).await,
        PluginVerb::Logs(args) => logs::run(args).await,
    }
}

/// A plugin at its host.
struct Host<'a> {
    client: Client,
    id: &'a str,
    namespace: &'a str,
    name: &'a str,
    json: bool,
}

impl<'a> Host<'a> {
    fn new(id: &'a str, remote: &Remote) -> Result<Self, Failure> {
        let (namespace, name) = plugin_id(id)?;
        Ok(Self { client: Client::new(remote)?, id, namespace, name, json: remote.json })
    }

    /// A request to what is below the plugin's own path.
    async fn ask(&self, method: Method, below: &[&str], body: Option<Value>) -> Result<Value, Failure> {
        let path = [&["plugins", self.namespace, self.name], below].concat();
        let request = || {
            let request = self.client.request(method.clone(), &path, &[]);
            match &body {
                Some(body) => request.json(body),
                None => request,
            }
        };
        self.client.call(request).await
    }

    /// As JSON the way it came, else in words.
    fn show<T: DeserializeOwned>(&self, found: Value, words: impl Fn(&T) -> String) -> Result<(), Failure> {
        if self.json {
            output::json(&found);
        } else {
            output::line(&words(&self.read(found)?));
        }
        Ok(())
    }

    fn read<T: DeserializeOwned>(&self, found: Value) -> Result<T, Failure> {
        read(&self.client, found)
    }
}

fn read<T: DeserializeOwned>(client: &Client, found: Value) -> Result<T, Failure> {
    serde_json::from_value(found)
        .map_err(|error| Failure::Unreachable(format!("{} answers what is none of a host's: {error}", client.server())))
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let client = Client::new(&args.remote)?;
    let state = args.state.as_ref().map(|state| ("state", state.as_str()));
    let request = || client.request(Method::GET, &["plugins"], state.as_slice());
    let found: Value = client.call(request).await?;
    if args.remote.json {
        output::json(&found);
    } else {
        output::line(&text::listing(&read::<Listing>(&client, found)?));
    }
    Ok(())
}

async fn change(id: &str, remote: &Remote, verb: &str, body: Value) -> Result<(), Failure> {
    let host = Host::new(id, remote)?;
    let found = host.ask(Method::POST, &[verb], Some(body)).await?;
    host.show(found, |details: &Details| text::standing(&details.plugin))
}

async fn rollback(args: RollbackArgs) -> Result<(), Failure> {
    let host = Host::new(&args.id, &args.remote)?;
    let body = match args.to {
        None => json!({}),
        Some(to) if is_digest(&to) && to.len() == 64 => json!({ "digest": to }),
        Some(to) if is_digest(&to) && to.len() >= 7 => {
            let details: Details = host.read(host.ask(Method::GET, &[], None).await?)?;
            let mut kept = details.versions.iter().filter(|kept| kept.digest.starts_with(&to));
            match (kept.next(), kept.next()) {
                (Some(kept), None) => json!({ "digest": kept.digest }),
                (Some(_), Some(_)) => {
                    return Err(Failure::Use(format!("more than one kept version has a digest that begins with {to}")));
                }
                // Then it is for the host to say that there is no such version.
                (None, _) => json!({ "version": to }),
            }
        }
        Some(to) => json!({ "version": to }),
    };
    let found = host.ask(Method::POST, &["rollback"], Some(body)).await?;
    host.show(found, |details: &Details| text::standing(&details.plugin))
}

fn is_digest(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

async fn remove(args: YesArgs) -> Result<(), Failure> {
    let host = Host::new(&args.id, &args.remote)?;
    let (id, server) = (host.id, host.client.server());
    output::confirm(&format!("Remove {id} and every kept version of it from {server}?"), args.yes)?;
    host.ask(Method::DELETE, &[], None).await?;
    match host.json {
        true => output::json(&json!({ "removed": id })),
        false => output::line(&format!("{id} is removed; its stores are kept")),
    }
    Ok(())
}

/// What is approved is what was shown, of the version that it was shown for.
async fn approve(args: YesArgs) -> Result<(), Failure> {
    let host = Host::new(&args.id, &args.remote)?;
    let details: Details = host.read(host.ask(Method::GET, &[], None).await?)?;
    let waiting = details.versions.iter().find(|kept| !kept.pending.is_empty());
    let Some(waiting) = waiting else {
        return Err(Failure::Use(format!("no version of {} waits for an approval", host.id)));
    };
    let asked = waiting.pending.iter().map(|name| text::clean(name)).collect::<Vec<_>>().join(", ");
    let version = text::clean(&waiting.version);
    let stores: Vec<String> = waiting.stores.iter().map(|store| text::clean(&store.to_string())).collect();
    let migrates = if stores.is_empty() { String::new() } else { format!(" and migrate {}", stores.join(", ")) };
    let signers = text::names(&waiting.signers);
    let question = format!("Let {} {version}, signed by {signers}, have {asked}{migrates}?", host.id);
    output::confirm(&question, args.yes)?;
    let body = json!({ "capabilities": waiting.pending, "digest": waiting.digest });
    let found = host.ask(Method::PUT, &[], Some(body)).await?;
    host.show(found, |details: &Details| text::standing(&details.plugin))
}
