//! What the values of a manifest must be.

use std::fmt;
use std::time::Duration;

use http::Method as Verb;

use super::{Allow, HttpRoute, Method};
use crate::config::{ByteSize, HumanDuration};
use crate::principal::Role;

/// The longest id part, store or key name, in bytes.
const MAX_NAME: usize = 64;
/// The longest text of a manifest, in bytes.
pub(super) const MAX_TEXT: usize = 256 << 10;
/// The longest version, in bytes.
pub(super) const MAX_VERSION: usize = 128;
/// The longest description, of the plugin or of a setting, in bytes.
pub(super) const MAX_DESCRIPTION: usize = 1_000;
/// The most methods.
pub(super) const MAX_METHODS: usize = 1_000;
/// The most routes of all methods together.
pub(super) const MAX_ROUTES: usize = 2_000;
/// The most entries of any other list.
pub(super) const MAX_LIST: usize = 64;
/// The most settings.
pub(super) const MAX_SETTINGS: usize = 500;
/// A page of WebAssembly, the least that an instance can have.
const MIN_MEMORY: u64 = 64 << 10;
/// The most that 32-bit addresses reach.
const MAX_MEMORY: u64 = 4 << 30;
/// What the host serves itself, with everything below.
const RESERVED: [&str; 7] = [
    "/health",
    "/metrics",
    "/.well-known",
    "/api/docs",
    "/api/openapi.json",
    "/api/v1/plugins",
    "/api/v1/plugin-changes",
];

/// Mistakes, each beginning with its key.
#[derive(Default)]
pub(super) struct Mistakes(pub(super) Vec<String>);

impl Mistakes {
    pub(super) fn add(&mut self, key: &str, what: impl fmt::Display) {
        self.0.push(format!("{key}: {what}"));
    }

    /// The value, or none with its mistake written down.
    pub(super) fn keep<T, E: fmt::Display>(&mut self, key: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|what| self.add(key, what)).ok()
    }
}

/// Whether there are no more than that.
pub(super) fn at_most(key: &str, len: usize, max: usize, mistakes: &mut Mistakes) -> bool {
    if len > max {
        mistakes.add(key, format!("has {len} entries, of at most {max}"));
    }
    len <= max
}

/// Databases keep sequence numbers as signed 64-bit integers.
pub(super) fn seq(seq: u64) -> Result<(), String> {
    match i64::try_from(seq) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("{seq} is more than {}", i64::MAX)),
    }
}

pub(super) fn length(text: &str, max: usize) -> Result<(), String> {
    if text.len() <= max { Ok(()) } else { Err(format!("has {} bytes, of at most {max}", text.len())) }
}

/// Lower-case letters, digits and single `-` between them.
pub(super) fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name
            .split('-')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()))
}

/// The name of a parameter or field, in the spelling of JSON or of WIT.
pub(super) fn is_param(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-'))
}

pub(super) fn names(list: &[String], key: &str, mistakes: &mut Mistakes) {
    if !at_most(key, list.len(), MAX_LIST, mistakes) {
        return;
    }
    for (index, name) in list.iter().enumerate() {
        if !is_name(name) {
            mistakes
                .add(&format!("{key}[{index}]"), format!("`{name}` is no name: lower-case letters, digits and `-`"));
        } else if list.iter().take(index).any(|other| other == name) {
            mistakes.add(&format!("{key}[{index}]"), format!("`{name}` is listed twice"));
        }
    }
}

pub(super) fn call(text: &str) -> Result<(), String> {
    // A full interface name holds dots in its version; the name of a function never does.
    let wit = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let interface = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b':' | b'/' | b'@' | b'.' | b'+'))
    };
    match text.rsplit_once('.') {
        Some((left, function)) if interface(left) && wit(function) => Ok(()),
        _ => Err(format!("`{text}` is no function such as `bookmarks.get`: interface, dot, function")),
    }
}

pub(super) fn route(text: &str) -> Result<HttpRoute, String> {
    let Some((verb, path)) = text.split_once(' ') else {
        return Err(format!("`{text}` is no route such as `GET /api/v1/bookmarks/{{id}}`"));
    };
    let method = [Verb::GET, Verb::POST, Verb::PUT, Verb::PATCH, Verb::DELETE]
        .into_iter()
        .find(|method| method.as_str() == verb)
        .ok_or_else(|| format!("`{verb}` is none of GET, POST, PUT, PATCH and DELETE"))?;
    path_template(path).map_err(|why| format!("`{path}` {why}"))?;
    Ok(HttpRoute { method, path: path.to_owned() })
}

fn path_template(path: &str) -> Result<(), String> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err("does not start with `/`".into());
    };
    if let Some(prefix) = RESERVED
        .iter()
        .find(|prefix| path.strip_prefix(**prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    {
        return Err(format!("is the host's own: `{prefix}` and everything below it"));
    }
    let mut params: Vec<&str> = Vec::new();
    for segment in rest.split('/') {
        if let Some(param) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            if !is_param(param) {
                return Err(format!("has a parameter `{{{param}}}`, whose name is none"));
            }
            if params.contains(&param) {
                return Err(format!("has the parameter `{{{param}}}` twice"));
            }
            params.push(param);
        } else if (segment.is_empty() && !rest.is_empty()) || segment == "." || segment == ".." {
            return Err("has an empty segment, or one of dots".into());
        } else if !segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$'()+,;=:@".contains(&byte)) {
            return Err(format!("has a segment `{segment}` that is neither plain text nor one `{{parameter}}`"));
        }
    }
    Ok(())
}

pub(super) fn allow(text: &str) -> Result<Allow, String> {
    match text.split_once(':') {
        None if text == "public" => Ok(Allow::Public),
        None if text == "authenticated" => Ok(Allow::Authenticated),
        Some(("role", name)) => {
            let known = || Role::ALL.map(Role::as_str).join(", ");
            Role::parse(name).map(Allow::Role).ok_or_else(|| format!("`{name}` is no role; there are {}", known()))
        }
        Some(("self", param)) if is_param(param) => Ok(Allow::SelfParam(param.to_owned())),
        Some(("self", param)) => Err(format!("`{param}` is no name of a parameter")),
        _ => Err(format!("`{text}` is none of public, authenticated, role:<name> and self:<parameter>")),
    }
}

/// A rule that makes the others of its list idle is a slip.
pub(super) fn allow_list(list: &[Allow], empty: bool) -> Result<(), &'static str> {
    if empty {
        return Err("must say who may call it; `public` is everybody");
    }
    if list.len() > 1 && list.contains(&Allow::Public) {
        return Err("`public` admits everybody already; leave out the others");
    }
    if list.len() > 1 && list.contains(&Allow::Authenticated) {
        return Err("`authenticated` admits everybody who is signed in already; leave out the others");
    }
    if list.iter().filter(|rule| matches!(rule, Allow::Role(_))).count() > 1 {
        return Err("names two roles; the lower one admits the higher one already");
    }
    Ok(())
}

pub(super) fn positive(number: Option<u32>) -> Result<Option<u32>, &'static str> {
    if number == Some(0) { Err("must be at least 1") } else { Ok(number) }
}

pub(super) fn duration(text: Option<&str>) -> Result<Option<Duration>, String> {
    let Some(text) = text else { return Ok(None) };
    let parsed: HumanDuration = text.parse().map_err(|expected| format!("`{text}` is not {expected}"))?;
    if parsed.get().is_zero() {
        return Err("must be more than nothing".into());
    }
    Ok(Some(parsed.get()))
}

pub(super) fn memory(text: Option<&str>) -> Result<Option<u64>, String> {
    let Some(text) = text else { return Ok(None) };
    let parsed: ByteSize = text.parse().map_err(|expected| format!("`{text}` is not {expected}"))?;
    if !(MIN_MEMORY..=MAX_MEMORY).contains(&parsed.as_u64()) {
        return Err(format!("{text} is outside of 64KiB to 4GiB"));
    }
    Ok(Some(parsed.as_u64()))
}

/// One function is published once, one route is served once, and one path names its parameters once.
pub(super) fn no_duplicates(methods: &[Method], mistakes: &mut Mistakes) {
    let mut calls: Vec<&str> = Vec::new();
    let mut routes: Vec<&HttpRoute> = Vec::new();
    for method in methods {
        let Method { call, http, .. } = method;
        if calls.contains(&call.as_str()) {
            mistakes.add("methods", format!("`{call}` is there twice; give it a list of routes instead"));
        }
        calls.push(call);
        for route in http {
            if let Some(other) = routes.iter().find(|other| other.method == route.method && same_shape(other, route)) {
                mistakes.add("methods", format!("`{route}` of `{call}` is the same route as `{other}`"));
            } else if let Some(other) = routes.iter().find(|other| same_shape(other, route) && other.path != route.path)
            {
                mistakes.add("methods", format!("`{route}` of `{call}` names a parameter differently than `{other}`"));
            }
            routes.push(route);
        }
    }
}

fn same_shape(a: &HttpRoute, b: &HttpRoute) -> bool {
    fn shape(path: &str) -> impl Iterator<Item = &str> {
        path.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment })
    }
    shape(&a.path).eq(shape(&b.path))
}
