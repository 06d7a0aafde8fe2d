//! The functions of `plugin-service` without streams, and where REST has them all.

use std::future::Future;
use std::sync::Arc;

use http::Method as Verb;
use serde::{Deserialize, Serialize};

use super::{Admin, actor, input, output, problem};
use crate::contract::FunctionPlan;
use crate::plugins::live::view::State;
use crate::plugins::live::{Actor, InstallOptions, Plugins, Target};
use crate::plugins::refusal::Refusal;
use crate::problem::{FieldError, Problem};
use crate::runtime::method::{Callee, HostFunction, Streamed};

/// The most changes that one answer tells.
const MAX_CHANGES: u32 = 500;
/// How many it tells where nobody says.
const CHANGES: u32 = 50;

/// The routes by the functions that they call.
pub static ROUTES: [(&str, Verb, &str); 10] = [
    ("list", Verb::GET, "/api/v1/plugins"),
    ("install", Verb::POST, "/api/v1/plugins"),
    ("get", Verb::GET, "/api/v1/plugins/{namespace}/{name}"),
    ("set-grants", Verb::PUT, "/api/v1/plugins/{namespace}/{name}"),
    ("remove", Verb::DELETE, "/api/v1/plugins/{namespace}/{name}"),
    ("enable", Verb::POST, "/api/v1/plugins/{namespace}/{name}/enable"),
    ("disable", Verb::POST, "/api/v1/plugins/{namespace}/{name}/disable"),
    ("rollback", Verb::POST, "/api/v1/plugins/{namespace}/{name}/rollback"),
    ("tail-logs", Verb::GET, "/api/v1/plugins/{namespace}/{name}/logs"),
    ("changes", Verb::GET, "/api/v1/plugin-changes"),
];

#[derive(Deserialize)]
struct ListInput {
    state: Option<State>,
}

#[derive(Debug, Deserialize)]
struct Named {
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct RollbackInput {
    #[serde(flatten)]
    plugin: Named,
    digest: Option<String>,
    version: Option<String>,
}

#[derive(Deserialize)]
struct GrantsInput {
    #[serde(flatten)]
    plugin: Named,
    digest: Option<String>,
    capabilities: Vec<String>,
}

#[derive(Deserialize)]
struct ChangesInput {
    id: Option<String>,
    size: Option<u32>,
}

/// How an upload is to be taken, as clients say it.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
pub struct InstallInput {
    /// Only check.
    pub dry_run: Option<bool>,
    /// Take what breaks clients.
    pub allow_breaking: Option<bool>,
    /// Take a lower sequence number.
    pub allow_downgrade: Option<bool>,
    /// Let it run at once.
    pub activate: Option<bool>,
}

/// Which log to read, and how.
#[derive(Debug, Deserialize)]
pub struct LogsInput {
    #[serde(flatten)]
    plugin: Named,
    /// How many lines of the past.
    pub lines: Option<u32>,
    /// Whether to stay for those that come.
    pub follow: Option<bool>,
}

impl Named {
    fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

impl LogsInput {
    /// The id of the plugin.
    #[must_use]
    pub fn id(&self) -> String {
        self.plugin.id()
    }
}

impl From<InstallInput> for InstallOptions {
    fn from(input: InstallInput) -> Self {
        let default = Self::default();
        Self {
            dry_run: input.dry_run.unwrap_or(default.dry_run),
            allow_breaking: input.allow_breaking.unwrap_or(default.allow_breaking),
            allow_downgrade: input.allow_downgrade.unwrap_or(default.allow_downgrade),
            activate: input.activate.unwrap_or(default.activate),
        }
    }
}

/// Who answers a function of the service; none where the host has no such function.
#[must_use]
pub fn callee(function: &str, plan: &Arc<FunctionPlan>, admin: &Arc<Admin>) -> Option<Callee> {
    let plan = plan.clone();
    let admin = admin.clone();
    Some(Callee::Host(match function {
        "list" => answer(plan, admin, |plugins, _, input: ListInput| async move {
            plugins.list(input.state).await.map_err(Failure::Refusal)
        }),
        "get" => answer(plan, admin, |plugins, _, input: Named| async move {
            plugins.get(&input.id()).await.map_err(Failure::Refusal)
        }),
        "enable" => answer(plan, admin, |plugins, by, input: Named| async move {
            plugins.enable(&input.id(), &by).await.map_err(Failure::Refusal)
        }),
        "disable" => answer(plan, admin, |plugins, by, input: Named| async move {
            plugins.disable(&input.id(), &by).await.map_err(Failure::Refusal)
        }),
        "rollback" => answer(plan, admin, |plugins, by, input: RollbackInput| async move {
            let (id, to) = (input.plugin.id(), input.target()?);
            plugins.rollback(&id, &to, &by).await.map_err(Failure::Refusal)
        }),
        "set-grants" => answer(plan, admin, |plugins, by, input: GrantsInput| async move {
            let (id, digest) = (input.plugin.id(), input.digest.as_deref());
            plugins.set_grants(&id, digest, &input.capabilities, &by).await.map_err(Failure::Refusal)
        }),
        "remove" => {
            let tails = admin.tails.clone();
            answer(plan, admin, move |plugins, by, input: Named| {
                let tails = tails.clone();
                async move {
                    plugins.remove(&input.id(), &by).await.map_err(Failure::Refusal)?;
                    tails.forget(&input.id());
                    Ok::<_, Failure>(())
                }
            })
        }
        "changes" => answer(plan, admin, |plugins, _, input: ChangesInput| async move {
            let size = input.size.unwrap_or(CHANGES);
            if !(1..=MAX_CHANGES).contains(&size) {
                return Err(wrong("size", format!("must be from 1 to {MAX_CHANGES}"), "OUT_OF_RANGE").into());
            }
            plugins.changes(input.id.as_deref(), size).await.map_err(Failure::Refusal)
        }),
        "install" => return Some(Callee::Streamed(Streamed::Install)),
        "tail-logs" => return Some(Callee::Streamed(Streamed::TailLogs)),
        _ => return None,
    }))
}

impl RollbackInput {
    fn target(&self) -> Result<Target, Problem> {
        match (&self.digest, &self.version) {
            (None, None) => Ok(Target::Previous),
            (Some(digest), None) => Ok(Target::Digest(digest.clone())),
            (None, Some(version)) => Ok(Target::Version(version.clone())),
            (Some(_), Some(_)) => {
                Err(wrong("version", "cannot be given together with `digest`".into(), "INVALID_FORMAT"))
            }
        }
    }
}

fn wrong(field: &str, message: String, code: &'static str) -> Problem {
    Problem::validation(vec![FieldError { field: field.into(), message, code: code.into() }])
}

/// Why a function has no answer.
enum Failure {
    Problem(Problem),
    Refusal(Refusal),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// A function of the host from one over its own types: input and answer go by their names in JSON.
fn answer<I, O, F, R>(plan: Arc<FunctionPlan>, admin: Arc<Admin>, run: F) -> HostFunction
where
    I: for<'de> Deserialize<'de> + Send,
    O: Serialize + Send,
    F: Fn(Plugins, Actor, I) -> R + Send + Sync + 'static,
    R: Future<Output = Result<O, Failure>> + Send + 'static,
{
    let run = Arc::new(run);
    Box::new(move |params, call| {
        let (plan, admin, run) = (plan.clone(), admin.clone(), run.clone());
        Box::pin(async move {
            let by = actor(call.principal.as_deref())?;
            let input = input::<I>(&plan.params, &params)?;
            let answered = match admin.plugins() {
                Ok(plugins) => run(plugins, by, input).await,
                Err(refusal) => Err(Failure::Refusal(refusal)),
            };
            match answered {
                Ok(value) => output(&plan, &value),
                Err(Failure::Problem(problem)) => Err(problem),
                Err(Failure::Refusal(refusal)) => Err(problem(refusal, &call.request_id)),
            }
        })
    })
}
