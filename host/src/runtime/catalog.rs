//! The catalog: the active plugins and their routes, immutable, replaced as a whole. Requests read one snapshot of it.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderValue, Method as Verb};

use super::plugin::PluginRuntime;
use super::rate::Rate;
use crate::contract::{Binding, FunctionPlan, Locator};
use crate::principal::Role;
use crate::telemetry::metrics::RouteMetrics;

/// Who may call a method: any of these.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Everybody, signed in or not.
    pub public: bool,
    /// Everybody who is signed in.
    pub authenticated: bool,
    /// Those with this role or a higher one.
    pub role: Option<Role>,
}

/// What a rate limit counts by.
pub enum RateKey {
    /// The client's address; checked before the input is read.
    Address,
    /// The first of these input fields that is there; checked on the decoded input.
    Fields(Vec<Locator>),
}

/// A published function on one route of the REST side.
pub struct Route {
    /// The plugin that answers.
    pub plugin: Arc<PluginRuntime>,
    /// The place of the function in it.
    pub place: usize,
    /// The types of the function.
    pub plan: Arc<FunctionPlan>,
    /// Where its parameters come from.
    pub binding: Binding,
    /// Who may call it.
    pub access: Access,
    /// Parameters of which one must equal the caller's subject, where no other rule admits the caller.
    pub self_params: Vec<Locator>,
    /// The limits of requests; shared by all routes of the method.
    pub rates: Arc<[(RateKey, Rate)]>,
    /// The status of a success.
    pub status: http::StatusCode,
    /// The path template, such as `/api/v1/users/{id}`.
    pub template: Arc<str>,
    /// The HTTP method.
    pub verb: Verb,
    /// What is counted for it.
    pub metrics: RouteMetrics,
}

/// An active plugin with what is told of it.
pub struct ActivePlugin {
    /// `namespace/name`.
    pub id: Arc<str>,
    /// Its version.
    pub version: semver::Version,
    /// Its sequence number.
    pub seq: u64,
    /// h, the identity of its signed file.
    pub digest: [u8; 32],
    /// The principals whose signatures counted.
    pub signers: Vec<String>,
    /// The interfaces that it exports, by full name.
    pub exports: Vec<String>,
    /// The plugin as it is called.
    pub runtime: Arc<PluginRuntime>,
    /// Its routes.
    pub routes: Vec<Arc<Route>>,
    /// The place of its `on-disable` among its functions.
    pub on_disable: Option<usize>,
}

/// All routes of one path.
pub struct PathRoutes {
    routes: Vec<Arc<Route>>,
    /// The value of `Allow`.
    pub allow: HeaderValue,
}

impl PathRoutes {
    /// The route for this verb; HEAD is answered by GET.
    #[must_use]
    pub fn find(&self, verb: &Verb) -> Option<&Arc<Route>> {
        let wanted = if verb == Verb::HEAD { &Verb::GET } else { verb };
        self.routes.iter().find(|route| route.verb == *wanted)
    }
}

/// Two plugins want the same thing; the second is refused (409).
#[derive(Debug, thiserror::Error)]
#[error("{wanted} of {second} is already provided by {first}")]
pub struct Conflict {
    /// What both want.
    pub wanted: String,
    /// Who has it.
    pub first: String,
    /// Who was refused.
    pub second: String,
}

/// A snapshot of everything that is active.
#[derive(Default)]
pub struct Catalog {
    plugins: Vec<Arc<ActivePlugin>>,
    paths: matchit::Router<PathRoutes>,
}

impl Catalog {
    /// Builds the one radix tree over all routes.
    ///
    /// # Errors
    /// When two plugins have one id, export one interface, or want one route.
    pub fn build(plugins: Vec<Arc<ActivePlugin>>) -> Result<Self, Conflict> {
        let mut exported: HashMap<&str, &str> = HashMap::new();
        for plugin in &plugins {
            // The lifecycle is an extension point: everybody may fill it.
            for export in plugin.exports.iter().filter(|name| !name.starts_with("arcana:plugin/")) {
                if let Some(first) = exported.insert(export, &plugin.id) {
                    return Err(Conflict {
                        wanted: format!("interface {export}"),
                        first: first.into(),
                        second: plugin.id.to_string(),
                    });
                }
            }
        }
        let mut by_template: Vec<(Arc<str>, Vec<Arc<Route>>)> = Vec::new();
        for route in plugins.iter().flat_map(|plugin| &plugin.routes) {
            match by_template.iter_mut().find(|(template, _)| *template == route.template) {
                Some((_, routes)) => {
                    if let Some(first) = routes.iter().find(|known| known.verb == route.verb) {
                        return Err(Conflict {
                            wanted: format!("route {} {}", route.verb, route.template),
                            first: first.plugin.id().to_string(),
                            second: route.plugin.id().to_string(),
                        });
                    }
                    routes.push(route.clone());
                }
                None => by_template.push((route.template.clone(), vec![route.clone()])),
            }
        }
        let mut paths = matchit::Router::new();
        for (template, routes) in by_template {
            let second = routes.first().map(|route| route.plugin.id().to_string()).unwrap_or_default();
            let allow = allow_header(&routes);
            paths.insert(template.to_string(), PathRoutes { routes, allow }).map_err(|error| Conflict {
                wanted: format!("path {template}"),
                first: error.to_string(),
                second,
            })?;
        }
        Ok(Self { plugins, paths })
    }

    /// The active plugins.
    #[must_use]
    pub fn plugins(&self) -> &[Arc<ActivePlugin>] {
        &self.plugins
    }

    /// The routes of a path with the values of its parameters, raw.
    #[must_use]
    pub fn at<'c, 'p>(&'c self, path: &'p str) -> Option<matchit::Match<'c, 'p, &'c PathRoutes>> {
        self.paths.at(path).ok()
    }

    /// The plugin that exports this interface.
    #[must_use]
    pub fn exporter(&self, interface: &str) -> Option<&Arc<ActivePlugin>> {
        self.plugins.iter().find(|plugin| plugin.exports.iter().any(|export| export == interface))
    }
}

fn allow_header(routes: &[Arc<Route>]) -> HeaderValue {
    let mut verbs: Vec<&str> = routes.iter().map(|route| route.verb.as_str()).collect();
    if verbs.contains(&"GET") {
        verbs.push("HEAD");
    }
    verbs.push("OPTIONS");
    HeaderValue::from_str(&verbs.join(", ")).unwrap_or(HeaderValue::from_static("OPTIONS"))
}
