//! The plugin service: what administrators do with the plugins of the running host, over REST and gRPC alike.

mod logs;
mod refused;
pub mod service;
mod sse;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmtime::component::Val;

pub use logs::Lines;
pub use refused::{internal, problem};
pub use service::{InstallInput, LogsInput};
pub use upload::MEDIA_TYPES;

use crate::config::Config;
use crate::contract::types::Field;
use crate::contract::{FunctionPlan, json, proto};
use crate::plugins::live::view::Installed;
use crate::plugins::live::{Actor, InstallOptions, Plugins, Progress, Stage};
use crate::plugins::refusal::Refusal;
use crate::principal::Principal;
use crate::problem::{Kind, Problem};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::tail::Tails;

/// The plugins as administrators manage them, with the limits of uploads and of followers.
pub struct Admin {
    /// Set when the plugins are there: the catalog has these services from the beginning.
    plugins: RwLock<Option<Plugins>>,
    tails: Arc<Tails>,
    metrics: Arc<Metrics>,
    uploads: Arc<Semaphore>,
    followers: Arc<Semaphore>,
    followers_of: Arc<logs::ByAccount>,
    max_followers_per_account: u32,
    max_file: u64,
    upload_timeout: Duration,
    /// Installations that have begun, whose clients may have left.
    begun: TaskTracker,
    /// Ends who follows.
    stopping: CancellationToken,
}

impl Admin {
    /// With the limits of these settings, and no plugins yet.
    #[must_use]
    pub fn new(tails: Arc<Tails>, metrics: Arc<Metrics>, config: &Config) -> Self {
        let places = |n: u32| Arc::new(Semaphore::new(usize::try_from(n).unwrap_or(Semaphore::MAX_PERMITS)));
        Self {
            plugins: RwLock::new(None),
            tails,
            metrics,
            uploads: places(config.plugins.max_uploads),
            followers: places(config.plugins.max_followers),
            followers_of: Arc::default(),
            max_followers_per_account: config.plugins.max_followers_per_account,
            max_file: config.plugins.max_file_bytes.as_u64(),
            upload_timeout: config.plugins.upload_timeout.get(),
            begun: TaskTracker::new(),
            stopping: CancellationToken::new(),
        }
    }

    /// These are the plugins.
    pub fn manage(&self, plugins: Plugins) {
        *self.plugins.write() = Some(plugins);
    }

    /// Ends who follows a log: the host stops.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// Waits for installations that have begun, so long at most, and lets go of the plugins.
    pub async fn finish(&self, longest: Duration) {
        self.begun.close();
        if tokio::time::timeout(longest, self.begun.wait()).await.is_err() {
            tracing::warn!("an installation was still under way at the deadline; it is cut off");
        }
        *self.plugins.write() = None;
    }

    /// The longest an upload may take to arrive.
    #[must_use]
    pub const fn upload_timeout(&self) -> Duration {
        self.upload_timeout
    }

    fn plugins(&self) -> Result<Plugins, Refusal> {
        let plugins = self.plugins.read().clone();
        plugins.ok_or_else(|| Refusal::new("SERVICE_UNAVAILABLE", 503, "the host is starting or about to end"))
    }

    /// A place among the uploads, to be had before anything is read.
    ///
    /// # Errors
    /// `TOO_MANY_UPLOADS`
    pub fn upload_place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        self.uploads.clone().try_acquire_owned().map_err(|_| {
            self.metrics.limit_rejected("uploads");
            let message = "too many uploads at once (plugins.max_uploads); try again in a moment";
            Refusal::new("TOO_MANY_UPLOADS", 503, message)
        })
    }

    /// Whether so many bytes of an upload are not too many.
    ///
    /// # Errors
    /// `TOO_LARGE`
    pub fn fits(&self, bytes: u64) -> Result<(), Refusal> {
        if bytes <= self.max_file {
            return Ok(());
        }
        self.metrics.limit_rejected("upload");
        let message = format!("the file is larger than {} bytes (plugins.max_file_bytes)", self.max_file);
        Err(Refusal::new("TOO_LARGE", 413, message))
    }

    /// The upload did not arrive in time.
    #[must_use]
    pub fn too_slow(&self) -> Refusal {
        self.metrics.limit_rejected("body_time");
        Refusal::new("REQUEST_TIMEOUT", 408, "the file did not arrive in time (plugins.upload_timeout)")
    }

    /// Begins to install a file that has arrived. It goes on whether anybody waits for it or not.
    ///
    /// # Errors
    /// The host has no plugins yet, or no longer.
    pub fn install(
        &self,
        bytes: Vec<u8>,
        options: InstallOptions,
        by: Actor,
        place: OwnedSemaphorePermit,
    ) -> Result<Installing, Refusal> {
        let plugins = self.plugins()?;
        let (report, stages) = mpsc::unbounded_channel();
        let outcome = self.begun.spawn(async move {
            let installed = plugins.install(bytes, &options, &by, &Progress(Some(report))).await;
            drop(place);
            installed
        });
        Ok(Installing { stages, outcome: Some(outcome) })
    }
}

/// An installation under way.
pub struct Installing {
    stages: mpsc::UnboundedReceiver<Stage>,
    outcome: Option<JoinHandle<Result<Installed, Refusal>>>,
}

/// What comes of an installation, one after the other: any number of stages, then one outcome.
pub enum News {
    /// This has begun.
    Stage(Stage),
    /// It is over.
    Outcome(Box<Result<Installed, Refusal>>),
}

impl Installing {
    /// What happens next; none after the outcome.
    pub async fn next(&mut self) -> Option<News> {
        self.outcome.as_ref()?;
        if let Some(stage) = self.stages.recv().await {
            return Some(News::Stage(stage));
        }
        let outcome = self.outcome.take()?.await;
        Some(News::Outcome(Box::new(outcome.unwrap_or_else(|fault| Err(Refusal::host(fault))))))
    }

    /// The outcome, where nobody asks for the stages.
    ///
    /// # Errors
    /// Why the file was refused.
    pub async fn outcome(mut self) -> Result<Installed, Refusal> {
        match self.outcome.take() {
            Some(outcome) => outcome.await.unwrap_or_else(|fault| Err(Refusal::host(fault))),
            None => Err(Refusal::host("an installation was waited for twice")),
        }
    }
}

/// Who acts, as changes are recorded. The access rule lets nobody through who is not signed in.
///
/// # Errors
/// 401, should that ever change.
pub fn actor(principal: Option<&Principal>) -> Result<Actor, Problem> {
    let principal = principal.ok_or_else(|| Problem::new(Kind::Unauthenticated, "sign in to do this"))?;
    Ok(Actor::Admin(principal.subject.clone()))
}

/// The parameters of a call as what a function of the host takes: by their names in JSON, the one way for all of them.
///
/// # Errors
/// A fault of this program: the type does not fit the WIT.
pub fn input<T: DeserializeOwned>(fields: &[Field], params: &[Val]) -> Result<T, Problem> {
    let mut text = b"{".to_vec();
    for (at, (field, value)) in fields.iter().zip(params).enumerate() {
        if at > 0 {
            text.push(b',');
        }
        text.extend_from_slice(&field.key);
        json::encode(&field.ty, value, &mut text)?;
    }
    text.push(b'}');
    serde_json::from_slice(&text).map_err(|error| internal(&error))
}

/// What a function of the host answers, as the component value that its WIT describes; none where it has no type.
///
/// # Errors
/// A fault of this program: the value does not fit the WIT.
pub fn output(plan: &FunctionPlan, value: &impl Serialize) -> Result<Option<Val>, Problem> {
    let Some(ty) = &plan.result.ok else { return Ok(None) };
    let text = serde_json::to_vec(value).map_err(|error| internal(&error))?;
    json::decode(ty, &text).map(Some).map_err(|problem| internal(&format_args!("{problem:?}")))
}

/// The same as a message of gRPC, for one item of a stream.
///
/// # Errors
/// Those of [`output`].
pub fn message(plan: &FunctionPlan, value: &impl Serialize) -> Result<Bytes, Problem> {
    let value = output(plan, value)?.map(Box::new);
    let value = match plan.result.fallible {
        true => Some(Val::Result(Ok(value))),
        false => value.map(|value| *value),
    };
    let mut out = Vec::with_capacity(256);
    proto::answer(plan, value.as_slice(), &mut out)?;
    Ok(out.into())
}
