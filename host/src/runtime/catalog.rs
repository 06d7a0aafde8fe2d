//! The catalog: what is active and how it is reached, immutable, replaced as a whole. Requests read one snapshot of it.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use http::{HeaderValue, Method as Verb};
use tokio::sync::watch;

use super::method::{Callee, Method, Service};
use super::plugin::PluginRuntime;
use crate::contract::Binding;
use crate::contract::proto::Files;
use crate::telemetry::metrics::RouteMetrics;

/// A published function on one route of the REST side.
pub struct Route {
    /// The function.
    pub method: Arc<Method>,
    /// Where its parameters come from.
    pub binding: Binding,
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
    /// The interfaces that it publishes functions of.
    pub services: Vec<Service>,
    /// Its routes.
    pub routes: Vec<Arc<Route>>,
    /// The place of its `on-disable` among its functions.
    pub on_disable: Option<usize>,
}

/// What the host itself publishes, beside plugins and before them.
#[derive(Default)]
pub struct HostServices {
    /// Its services.
    pub services: Vec<Service>,
    /// The routes of their functions.
    pub routes: Vec<Arc<Route>>,
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
    host: Arc<HostServices>,
    plugins: Vec<Arc<ActivePlugin>>,
    paths: matchit::Router<PathRoutes>,
    /// By the path of a gRPC request.
    methods: HashMap<Box<str>, Arc<Method>>,
    /// The `.proto` files of all services.
    files: Files,
}

impl Catalog {
    /// Builds the one radix tree over all routes and the table of gRPC methods, over the host's own services and those of
    /// plugins.
    ///
    /// # Errors
    /// When two export one interface, want one route, or would be one gRPC service.
    pub fn build(host: Arc<HostServices>, plugins: Vec<Arc<ActivePlugin>>) -> Result<Self, Conflict> {
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
        for route in host.routes.iter().chain(plugins.iter().flat_map(|plugin| &plugin.routes)) {
            match by_template.iter_mut().find(|(template, _)| *template == route.template) {
                Some((_, routes)) => {
                    if let Some(first) = routes.iter().find(|known| known.verb == route.verb) {
                        return Err(Conflict {
                            wanted: format!("route {} {}", route.verb, route.template),
                            first: provider(first).to_owned(),
                            second: route.method.provider().to_owned(),
                        });
                    }
                    routes.push(route.clone());
                }
                None => by_template.push((route.template.clone(), vec![route.clone()])),
            }
        }
        let mut paths = matchit::Router::new();
        for (template, routes) in by_template {
            let second = routes.first().map(|route| route.method.provider().to_owned()).unwrap_or_default();
            let allow = allow_header(&routes);
            paths.insert(template.to_string(), PathRoutes { routes, allow }).map_err(|error| Conflict {
                wanted: format!("path {template}"),
                first: error.to_string(),
                second,
            })?;
        }
        let methods = methods(&host.services, &plugins)?;
        let files = files(&host.services, &plugins)?;
        Ok(Self { host, plugins, paths, methods, files })
    }

    /// What the host itself publishes.
    #[must_use]
    pub fn host(&self) -> &HostServices {
        &self.host
    }

    /// Every service, those of the host first.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.host.services.iter().chain(self.plugins.iter().flat_map(|plugin| &plugin.services))
    }

    /// The method of this path of a gRPC request, such as `/arcana.auth.v1.AuthService/Login`.
    #[must_use]
    pub fn method(&self, path: &str) -> Option<&Arc<Method>> {
        self.methods.get(path)
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

    /// The `.proto` files of all services, for reflection.
    #[must_use]
    pub const fn files(&self) -> &Files {
        &self.files
    }

    /// The plugin that exports this interface.
    #[must_use]
    pub fn exporter(&self, interface: &str) -> Option<&Arc<ActivePlugin>> {
        self.plugins.iter().find(|plugin| plugin.exports.iter().any(|export| export == interface))
    }
}

/// The catalog that is in force: read without a lock, replaced as a whole.
pub struct LiveCatalog {
    current: ArcSwap<Catalog>,
    changed: watch::Sender<()>,
}

impl Default for LiveCatalog {
    fn default() -> Self {
        let (changed, _) = watch::channel(());
        Self { current: ArcSwap::from_pointee(Catalog::default()), changed }
    }
}

impl LiveCatalog {
    /// The catalog, for a moment.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Catalog>> {
        self.current.load()
    }

    /// The catalog, to be kept for as long as a request takes.
    #[must_use]
    pub fn load_full(&self) -> Arc<Catalog> {
        self.current.load_full()
    }

    /// Puts another in force; requests under way go on with theirs.
    pub fn store(&self, catalog: Catalog) {
        drop(self.swap(catalog));
    }

    /// The same; answers the one before, which requests under way still hold.
    pub fn swap(&self, catalog: Catalog) -> Arc<Catalog> {
        let before = self.current.swap(Arc::new(catalog));
        self.changed.send_replace(());
        before
    }

    /// Told whenever another is in force.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

/// The gRPC methods by their paths. Two versions of a WIT package can be one protobuf package: only one may have a service.
fn methods(host: &[Service], plugins: &[Arc<ActivePlugin>]) -> Result<HashMap<Box<str>, Arc<Method>>, Conflict> {
    let mut providers: HashMap<&str, &str> = host.iter().map(|service| (&*service.proto, "the host")).collect();
    for plugin in plugins {
        for service in &plugin.services {
            if let Some(first) = providers.insert(&service.proto, &plugin.id) {
                return Err(Conflict {
                    wanted: format!("gRPC service {}", service.proto),
                    first: first.to_owned(),
                    second: plugin.id.to_string(),
                });
            }
        }
    }
    let services = host.iter().chain(plugins.iter().flat_map(|plugin| &plugin.services));
    let methods = services.flat_map(|service| &service.methods);
    Ok(methods.map(|method| (method.grpc_path.clone(), method.clone())).collect())
}

/// The `.proto` files. Plugins that share types must agree on them.
fn files(host: &[Service], plugins: &[Arc<ActivePlugin>]) -> Result<Files, Conflict> {
    let described = |services: &[Service]| Files::of(services.iter().map(Service::described));
    let conflict = |wanted: String, second: &str| Conflict { wanted, first: "another".into(), second: second.into() };
    let mut files = described(host).map_err(|error| conflict(error.to_string(), "the host"))?;
    for plugin in plugins {
        let own = described(&plugin.services).map_err(|error| conflict(error.to_string(), &plugin.id))?;
        files.merge(&own).map_err(|error| conflict(error.to_string(), &plugin.id))?;
    }
    Ok(files)
}

/// Who has a route, for messages.
fn provider(route: &Route) -> &str {
    match route.method.callee {
        Callee::Plugin { .. } => route.method.provider(),
        Callee::Host(_) | Callee::Streamed(_) => "the host",
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
