//! The page and the files that it loads; nothing of it comes from elsewhere.

use std::io::Read as _;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LOCATION,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{REVALIDATE, digest, is_known, not_modified, refused};
use crate::ingress::answer::HttpError;

/// Scripts, styles and requests of the page are the host's own. Swagger UI has its icons as `data:` images.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// A file in the program.
struct File {
    name: &'static str,
    media_type: &'static str,
    content: Content,
    /// Of the content as it is here.
    tag: LazyLock<HeaderValue>,
    /// The content for clients that do not take it as it is: unpacked once, and shared by all of them.
    unpacked: LazyLock<Bytes>,
}

#[derive(Clone, Copy)]
enum Content {
    Plain(&'static str),
    Gzip(&'static [u8]),
}

macro_rules! file {
    ($name:literal, $media_type:literal, $content:expr) => {
        File {
            name: $name,
            media_type: $media_type,
            content: $content,
            tag: LazyLock::new(|| tag($content)),
            unpacked: LazyLock::new(|| unpack($content)),
        }
    };
}

macro_rules! unpacked {
    ($name:literal) => {
        Content::Gzip(include_bytes!(concat!(env!("OUT_DIR"), "/", $name)))
    };
}

static PAGE: File = file!("", "text/html; charset=utf-8", Content::Plain(include_str!("page.html")));

static FILES: [File; 6] = [
    file!("page.js", "text/javascript; charset=utf-8", Content::Plain(include_str!("page.js"))),
    file!("page.css", "text/css; charset=utf-8", Content::Plain(include_str!("page.css"))),
    file!("swagger-ui-bundle.js", "text/javascript; charset=utf-8", unpacked!("swagger-ui-bundle.js.gz")),
    file!("swagger-ui.css", "text/css; charset=utf-8", unpacked!("swagger-ui.css.gz")),
    file!("favicon.png", "image/png", unpacked!("favicon.png.gz")),
    file!("license.txt", "text/plain; charset=utf-8", unpacked!("license.txt.gz")),
];

fn tag(content: Content) -> HeaderValue {
    let bytes = match content {
        Content::Plain(text) => text.as_bytes(),
        Content::Gzip(bytes) => bytes,
    };
    HeaderValue::from_str(&format!("\"{}\"", digest(bytes))).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The page.
pub(super) async fn page(headers: HeaderMap) -> Response {
    let mut response = serve(&PAGE, &headers);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// The page has one address, which the addresses of its files are relative to.
pub(super) async fn to_page() -> Response {
    (StatusCode::PERMANENT_REDIRECT, [(LOCATION, HeaderValue::from_static("../docs"))]).into_response()
}

/// A file that the page loads.
pub(super) async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match FILES.iter().find(|file| file.name == name) {
        Some(file) => serve(file, &headers),
        None => refused(HttpError::UnknownRoute),
    }
}

fn serve(file: &File, headers: &HeaderMap) -> Response {
    let tag = (*file.tag).clone();
    // Other bytes, another tag: this one is strong.
    let tag = match file.content {
        Content::Gzip(_) if !takes_gzip(headers) => unpacked_tag(&tag),
        _ => tag,
    };
    if is_known(headers, &tag) {
        return not_modified(tag);
    }
    let fixed = [
        (CONTENT_TYPE, HeaderValue::from_static(file.media_type)),
        (CACHE_CONTROL, REVALIDATE),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (ETAG, tag),
    ];
    let mut response = match file.content {
        Content::Plain(text) => (fixed, text).into_response(),
        Content::Gzip(_) if !takes_gzip(headers) => (fixed, file.unpacked.clone()).into_response(),
        Content::Gzip(bytes) => {
            let encoding = [(CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
            (fixed, encoding, Bytes::from_static(bytes)).into_response()
        }
    };
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    response
}

fn unpack(content: Content) -> Bytes {
    let mut unpacked = Vec::new();
    match content {
        Content::Plain(text) => return Bytes::from_static(text.as_bytes()),
        // What `build.rs` packed unpacks.
        Content::Gzip(bytes) => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut unpacked)),
    }
    unpacked.into()
}

fn unpacked_tag(tag: &HeaderValue) -> HeaderValue {
    let text = tag.to_str().unwrap_or_default().trim_end_matches('"').to_owned() + "-plain\"";
    HeaderValue::from_str(&text).unwrap_or_else(|_| tag.clone())
}

/// Whether `Accept-Encoding` admits gzip (RFC 9110). Whoever says nothing is not believed to unpack.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let quality = |wanted: &str| {
        let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let mut codings =
            lists.flat_map(|list| list.split(',')).map(|coding| coding.split_once(';').unwrap_or((coding, "")));
        let (_, parameter) = codings.find(|(coding, _)| coding.trim().eq_ignore_ascii_case(wanted))?;
        let quality = parameter.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok());
        Some(quality.unwrap_or(1.0) > 0.0)
    };
    quality("gzip").or_else(|| quality("*")).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_client_is_served_the_same_bytes() {
        use http_body_util::BodyExt as _;

        let file = FILES.iter().find(|file| file.name == "swagger-ui-bundle.js").unwrap();
        let mut places = Vec::new();
        for encoding in ["identity", "identity", "gzip", "gzip"] {
            let headers = [(ACCEPT_ENCODING, encoding.parse().unwrap())].into_iter().collect();
            places.push(serve(file, &headers).into_body().collect().await.unwrap().to_bytes().as_ptr());
        }
        assert!(places[0] == places[1] && places[2] == places[3] && places[0] != places[2], "{places:?}");
    }

    #[test]
    fn gzip_is_sent_to_those_who_ask_for_it() {
        let takes = |values: &[&str]| {
            takes_gzip(&values.iter().map(|value| (ACCEPT_ENCODING, value.parse().unwrap())).collect())
        };
        for yes in [&["gzip"][..], &["br, GZIP;q=0.5"], &["*"], &["br", "gzip"], &["*;q=0, gzip"], &["gzip ; q=1"]] {
            assert!(takes(yes), "{yes:?}");
        }
        for no in [&[][..], &["identity"], &["gzip;q=0"], &["gzip;q=0.000, *"], &["*;q=0"], &["xgzip, br"]] {
            assert!(!takes(no), "{no:?}");
        }
    }
}
