//! A host in this process: an empty temporary folder, one plugin, no listeners.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arcana_signing::envelope;
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use super::super::home::private_folder;
use crate::app::{self, App, Options};
use crate::config::Config;
use crate::contract::{Binding, json};
use crate::ingress::access;
use crate::plugins::load::system_call;
use crate::plugins::surface;
use crate::principal::{Principal, Role};
use crate::problem::Problem;
use crate::runtime::catalog::ActivePlugin;
use crate::runtime::method::Method;

/// What a call came to: the answer, null where it has no value, or the problem.
pub(super) type Answer = Result<Value, Problem>;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    subject: String,
    role: Role,
}

impl FromStr for Caller {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (subject, role) = match text.rsplit_once(':') {
            Some((subject, role)) => (subject, Role::parse(role).ok_or_else(|| unknown_role(role))?),
            None => (text, Role::User),
        };
        match subject {
            "" => Err("a subject such as `ada`, or a subject and a role such as `ada:admin`".to_owned()),
            subject => Ok(Self { subject: subject.to_owned(), role }),
        }
    }
}

fn unknown_role(role: &str) -> String {
    let known: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
    format!("there is no role {role:?}; there are {}", known.join(", "))
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.role {
            Role::User => f.write_str(&self.subject),
            role => write!(f, "{}:{role}", self.subject),
        }
    }
}

impl Caller {
    fn principal(&self) -> Principal {
        Principal {
            subject: self.subject.as_str().into(),
            session_id: "test".into(),
            roles: vec![self.role.as_str().into()],
            role: self.role,
            issued_at_ms: Timestamp::now().as_millisecond(),
            expires_at: i64::MAX,
        }
    }
}

/// The host. Its folder goes with it.
pub(super) struct TestHost {
    app: App,
    plugin: Arc<ActivePlugin>,
    _folder: TempDir,
}

impl TestHost {
    /// Starts a host with this packed plugin and these settings.
    ///
    /// # Errors
    /// What is wrong with the settings, or why the host refuses the plugin.
    pub(super) async fn start(packed: &[u8], settings: Option<&Path>) -> Result<Self> {
        let files: Vec<PathBuf> = settings.into_iter().map(Path::to_owned).collect();
        let mut config =
            Config::from_files(&files, std::env::vars_os()).map_err(|errors| anyhow::anyhow!("{errors}"))?;
        // Wherever the settings say: nothing outside the folder is touched.
        config.app.data_dir = "data".into();
        config.plugins.dir = "plugins".into();
        config.plugins.trust = "trust.toml".into();

        let folder = tempfile::Builder::new().prefix("arcana-test-").tempdir().context("no temporary folder")?;
        let (data, plugins) = (folder.path().join("data"), folder.path().join("plugins"));
        private_folder(&data.join("keys"))?;
        private_folder(&plugins)?;
        let (key, _) = app::development_key(&data)?;
        let (manifest, _) = surface::read(packed)?;
        // A key of this run signs, beside whoever may have signed already.
        let signed = envelope::sign(packed, &[&key])?;
        std::fs::write(plugins.join("plugin.wasm"), signed).context("the temporary folder cannot be written")?;

        let program = std::env::current_exe().context("this program's own path")?;
        let options = Options { home: folder.path().to_owned(), development: true, program };
        let app = App::start(config, &options).await?;
        if let Some(failed) = app.failed.first() {
            let refusal = failed.refusal.to_string();
            app.close().await;
            bail!("the host refuses {}: {refusal}", manifest.plugin.id);
        }
        let id = manifest.plugin.id.as_str();
        let plugin = app.catalog.load_full().plugins().iter().find(|plugin| &*plugin.id == id).cloned();
        let plugin = plugin.with_context(|| format!("{id} is not active"))?;
        Ok(Self { app, plugin, _folder: folder })
    }

    /// Ends the host as one that serves is ended.
    pub(super) async fn close(self) {
        self.app.close().await;
    }

    /// A published function by its name in the manifest.
    ///
    /// # Errors
    /// There is none; says which there are.
    pub(super) fn method(&self, call: &str) -> Result<&Arc<Method>> {
        let all = || {
            self.plugin.services.iter().flat_map(|service| {
                service.methods.iter().map(move |method| {
                    (
                        format!("{}.{}", service.name, method.plan.name),
                        format!("{}.{}", service.full_name, method.plan.name),
                        method,
                    )
                })
            })
        };
        if let Some((_, _, method)) = all().find(|(short, full, _)| short == call || full == call) {
            return Ok(method);
        }
        let known: Vec<String> = all().map(|(short, ..)| short).collect();
        let near = known.iter().map(|name| (strsim::damerau_levenshtein(name, call), name)).min();
        let near = near.filter(|(distance, _)| *distance <= 3).map(|(_, name)| format!("; did you mean {name}?"));
        bail!(
            "{} publishes no {call}{} It publishes {}",
            self.plugin.id,
            near.unwrap_or_else(|| ".".to_owned()),
            if known.is_empty() { "nothing: [[methods]] of plugin.toml is empty".to_owned() } else { known.join(", ") }
        )
    }

    /// Makes a call as a request would: input by the contract, the access rule, the function, its answer as JSON.
    ///
    /// # Errors
    /// There is no such function. What the function or the host answers to the caller is an [`Answer`].
    pub(super) async fn call(&self, call: &str, caller: Option<&Caller>, args: &Value) -> Result<Answer> {
        let method = self.method(call)?;
        Ok(answer(method, caller, args).await)
    }
}

async fn answer(method: &Method, caller: Option<&Caller>, args: &Value) -> Answer {
    let internal = |error: &dyn std::fmt::Display| Problem::new(crate::problem::Kind::Internal, error.to_string());
    let binding = Binding::new(&method.plan, &[], true).map_err(|error| internal(&error))?;
    let body = if args.is_null() { b"{}".to_vec() } else { args.to_string().into_bytes() };
    let params = binding.decode(std::iter::empty(), None, &body)?;
    let principal = caller.map(|caller| Arc::new(caller.principal()));
    access::admits(&method.access, principal.as_ref(), &params)?;

    let mut call = system_call();
    call.principal = principal;
    call.client = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let value = method.call(params, call).await?;
    let mut bytes = Vec::new();
    match json::answer(&method.plan, value.as_slice(), &mut bytes)? {
        true => serde_json::from_slice(&bytes).map_err(|error| internal(&error)),
        false => Ok(Value::Null),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_a_subject_with_a_role() {
        let caller = |text: &str| text.parse::<Caller>();
        assert_eq!(caller("ada"), Ok(Caller { subject: "ada".into(), role: Role::User }));
        assert_eq!(caller("a:b:admin"), Ok(Caller { subject: "a:b".into(), role: Role::Admin }));
        assert_eq!(caller("ada:admin").unwrap().to_string(), "ada:admin");
        assert!(caller("ada:root").unwrap_err().contains("superadmin"));
        assert!(caller("").is_err() && caller(":admin").is_err());
    }
}
