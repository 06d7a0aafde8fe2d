//! The documentation: the OpenAPI document of what is active, and a page to read it and try it out (Swagger UI, unpacked by
//! `build.rs`). It holds no secrets; `server.rest.docs_allow` says who may read it, `server.rest.docs` switches it off.

mod describe;
mod files;
mod host;

use std::sync::{Arc, Weak};

use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::answer::HttpError;
use crate::config::{Config, Readers};
use crate::contract::openapi::{self, Api};
use crate::runtime::catalog::{Catalog, LiveCatalog};

/// What the documentation is made from.
pub struct Docs {
    catalog: Arc<LiveCatalog>,
    settings: Settings,
    /// The documents of one catalog, made when they are first asked for.
    made: Mutex<Option<Arc<Documents>>>,
}

/// The settings that the documents tell of.
struct Settings {
    max_body: u64,
    max_file: u64,
    rate_limits: bool,
    /// Whether requests for `/metrics` can be refused; none where it is not served.
    metrics: Option<bool>,
    /// Whether requests for the documentation can be.
    docs: bool,
}

/// The documents of one catalog.
struct Documents {
    /// Weak: what was active before must be able to end. Its address is not given to another one while this is here.
    of: Weak<Catalog>,
    all: Document,
    plugins: Vec<(Arc<str>, Document)>,
}

/// One document, ready to be sent.
#[derive(Clone)]
struct Document {
    json: Bytes,
    tag: HeaderValue,
}

impl Docs {
    /// The documentation of what this catalog has.
    #[must_use]
    pub fn new(catalog: Arc<LiveCatalog>, config: &Config, development: bool) -> Self {
        let guarded = |readers: &Readers| readers.allowed(development).map(|allowed| !allowed.public);
        let settings = Settings {
            max_body: config.server.rest.max_body.as_u64(),
            max_file: config.plugins.max_file_bytes.as_u64(),
            rate_limits: config.limits.rate_limits,
            metrics: guarded(&config.observability.metrics.allow).filter(|_| config.observability.metrics.enabled),
            docs: guarded(&config.server.rest.docs_allow).unwrap_or_default(),
        };
        Self { catalog, settings, made: Mutex::new(None) }
    }

    fn documents(&self) -> Arc<Documents> {
        let catalog = self.catalog.load_full();
        // Held while they are made: who comes meanwhile would only make them once more.
        let mut made = self.made.lock();
        match &*made {
            Some(known) if std::ptr::eq(known.of.as_ptr(), Arc::as_ptr(&catalog)) => known.clone(),
            _ => made.insert(Arc::new(Documents::new(&catalog, &self.settings))).clone(),
        }
    }
}

impl Documents {
    fn new(catalog: &Arc<Catalog>, settings: &Settings) -> Self {
        let plugins = catalog.plugins().iter().map(|plugin| {
            let document = Document::new(&describe::plugin(plugin, settings));
            (plugin.id.clone(), document)
        });
        Self {
            of: Arc::downgrade(catalog),
            all: Document::new(&describe::all(catalog, settings)),
            plugins: plugins.collect(),
        }
    }
}

impl Document {
    fn new(api: &Api<'_>) -> Self {
        // Serialising a document into memory cannot fail.
        let json = serde_json::to_vec(&openapi::document(api)).unwrap_or_default();
        // Weak: on its way out it may be compressed, which gives other bytes that mean the same.
        let tag = HeaderValue::from_str(&format!("W/\"{}\"", digest(&json)));
        Self { json: json.into(), tag: tag.unwrap_or(HeaderValue::from_static("")) }
    }
}

/// The routes as a router.
pub fn router(docs: Docs) -> Router {
    Router::new()
        .route("/api/openapi.json", get(document))
        .route("/api/docs", get(files::page))
        .route("/api/docs/", get(files::to_page))
        .route("/api/docs/{file}", get(files::file))
        .with_state(Arc::new(docs))
}

/// The whole document, or with `?plugin=` that of one plugin.
async fn document(
    State(docs): State<Arc<Docs>>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let documents = docs.documents();
    let mut wanted = query.iter().filter(|(name, _)| name == "plugin").map(|(_, value)| value);
    let document = match (wanted.next(), wanted.next()) {
        (None, _) => Some(&documents.all),
        (Some(id), None) => documents.plugins.iter().find(|(known, _)| **known == **id).map(|(_, document)| document),
        (Some(_), Some(_)) => None,
    };
    let Some(Document { json, tag }) = document else {
        return refused(HttpError::UnknownPlugin);
    };
    if is_known(&headers, tag) {
        return not_modified(tag.clone());
    }
    let fixed = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, REVALIDATE),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (ETAG, tag.clone()),
    ];
    (fixed, json.clone()).into_response()
}

/// May be kept, and must be asked for again each time: plugins come and go while the host runs.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// Whether the client has this already (RFC 9110): compared weakly, as `If-None-Match` is.
fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let opaque = |text: &str| text.trim().trim_start_matches("W/").to_owned();
    let Ok(tag) = tag.to_str().map(opaque) else { return false };
    let lists = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|known| known.trim() == "*" || opaque(known) == tag)
}

fn not_modified(tag: HeaderValue) -> Response {
    (StatusCode::NOT_MODIFIED, [(ETAG, tag), (CACHE_CONTROL, REVALIDATE)]).into_response()
}

/// The front end makes the response of it, with the common error body.
fn refused(error: HttpError) -> Response {
    let mut response = Response::default();
    response.extensions_mut().insert(error);
    response
}

/// Enough of SHA-256 to tell two versions apart.
fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes).get(..16).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_made_once_for_each_catalog_and_keep_none_alive() {
        let catalog = Arc::new(LiveCatalog::default());
        let settings = Settings { max_body: 1, max_file: 1, rate_limits: true, metrics: Some(false), docs: false };
        let docs = Docs { catalog: catalog.clone(), settings, made: Mutex::new(None) };
        let first = docs.documents();
        assert!(Arc::ptr_eq(&first, &docs.documents()));
        catalog.store(Catalog::default());
        assert!(first.of.upgrade().is_none(), "the documents keep a catalog alive");
        let second = docs.documents();
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &docs.documents()));
    }

    #[test]
    fn tags_are_compared_weakly() {
        let known = |values: &[&str], tag: &'static str| {
            let headers = values.iter().map(|value| (IF_NONE_MATCH, value.parse().unwrap())).collect();
            is_known(&headers, &HeaderValue::from_static(tag))
        };
        assert!(known(&["\"a\""], "W/\"a\"") && known(&["W/\"a\""], "\"a\"") && known(&["*"], "\"a\""));
        assert!(known(&["\"b\", \"a\""], "\"a\"") && known(&["\"b\"", "\"a\""], "\"a\""));
        assert!(!known(&[], "\"a\"") && !known(&["\"ab\"", "a"], "\"a\""));
    }
}
