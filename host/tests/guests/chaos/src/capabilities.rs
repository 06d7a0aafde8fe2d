//! Every other capability, so that tests can see each from the inside.

use core::time::Duration;

use arcana_sdk::crypto::passwords::{self, Verdict};
use arcana_sdk::crypto::{self, keys};
use arcana_sdk::{Problem, Result, cache, config, context};

use crate::bindings::exports::test::chaos::chaos::CallContext;
use crate::limits;

pub(crate) fn cache_set(key: String, value: String, ttl_ms: Option<u64>) -> Result<()> {
    Ok(cache::set(&key, value.as_bytes(), ttl_ms.map(Duration::from_millis))?)
}

pub(crate) fn cache_get(key: String) -> Result<Option<String>> {
    cache::get(&key)?
        .map(|bytes| String::from_utf8(bytes).map_err(|_| Problem::internal("the entry is no text")))
        .transpose()
}

pub(crate) fn cache_delete(key: String) -> Result<bool> {
    Ok(cache::delete(&key)?)
}

pub(crate) fn cache_increment(key: String, by: i64) -> Result<i64> {
    cache::increment(&key, by, None).map_err(|error| match error {
        cache::Error::NotANumber => Problem::conflict("the entry is no number").with_code("NOT_A_NUMBER"),
        error => error.into(),
    })
}

pub(crate) fn cache_compute(key: String, wait_ms: u32, compute_ms: u64) -> Result<String> {
    Ok(match cache::get_or_lock(&key, wait_ms)? {
        cache::Lookup::Found(_) => "found",
        cache::Lookup::Busy => "busy",
        cache::Lookup::Acquired(lock) => {
            limits::nap(compute_ms);
            cache::Lock::fill(lock, b"computed", None)?;
            "computed"
        }
    }
    .to_owned())
}

#[expect(clippy::mem_forget, reason = "the point of it")]
pub(crate) fn cache_leak_lock(key: String) -> Result<()> {
    core::mem::forget(cache::get_or_lock(&key, 0)?);
    Ok(())
}

pub(crate) fn random(len: u32) -> u32 {
    let bytes = crypto::random_bytes(len);
    let same = bytes.len() > 32 && bytes.windows(2).all(|pair| pair[0] == pair[1]);
    if same { 0 } else { u32::try_from(bytes.len()).unwrap_or(u32::MAX) }
}

pub(crate) fn sha256(data: Vec<u8>) -> Vec<u8> {
    crypto::sha256(&data)
}

pub(crate) fn hmac(key: Vec<u8>, data: Vec<u8>) -> Vec<u8> {
    crypto::hmac_sha256(&key, &data)
}

pub(crate) fn hash_password(password: String) -> Result<String> {
    Ok(passwords::hash(&password)?)
}

pub(crate) fn verify_password(password: String, hash: Option<String>) -> Result<String> {
    Ok(match passwords::verify(&password, hash.as_deref())? {
        Verdict::Wrong => "wrong",
        Verdict::Correct => "correct",
        Verdict::CorrectRehash => "correct-rehash",
    }
    .to_owned())
}

pub(crate) fn sign(key: String, message: Vec<u8>) -> Result<Vec<u8>> {
    keys::sign(&key, &message).map_err(denied)
}

pub(crate) fn verify_signature(key: String, message: Vec<u8>, signature: Vec<u8>) -> Result<bool> {
    keys::verify(&key, &message, &signature).map_err(denied)
}

fn denied(error: keys::Error) -> Problem {
    match error {
        keys::Error::Denied(key) => Problem::forbidden(format!("no key `{key}`")).with_code("KEY_DENIED"),
        error => error.into(),
    }
}

pub(crate) fn whoami() -> CallContext {
    let principal = context::principal();
    CallContext {
        subject: principal.as_ref().map(|principal| principal.subject.clone()),
        roles: principal.map(|principal| principal.roles).unwrap_or_default(),
        request_id: context::request_id(),
        remaining_ms: u64::try_from(context::remaining().as_millis()).unwrap_or(u64::MAX),
        client_address: context::client_address(),
        traceparent: context::trace_context().map(|trace| trace.traceparent),
    }
}

pub(crate) fn setting(key: String) -> Option<String> {
    Some(match config::get_raw(&key)? {
        config::Setting::Boolean(value) => value.to_string(),
        config::Setting::Integer(value) => value.to_string(),
        config::Setting::Decimal(value) => value.to_string(),
        config::Setting::Text(value) => value,
        config::Setting::Texts(values) => values.join(","),
    })
}

/// Everything of the outside that can be seen or reached; an empty list is what a sandbox should give.
pub(crate) fn look_around() -> Vec<String> {
    let mut seen = Vec::new();
    seen.extend(std::env::vars().map(|(name, _)| format!("variable {name}")));
    seen.extend(std::env::args().map(|argument| format!("argument {argument}")));
    for folder in ["/", ".", "/etc", "/tmp"] {
        if let Ok(entries) = std::fs::read_dir(folder) {
            seen.push(format!("folder {folder} with {} entries", entries.count()));
        }
    }
    for file in ["/etc/passwd", "/proc/self/environ", "Cargo.toml"] {
        if std::fs::read(file).is_ok() {
            seen.push(format!("file {file}"));
        }
    }
    if std::fs::write("/tmp/chaos", "x").is_ok() {
        seen.push("a file can be written".to_owned());
    }
    if std::net::TcpListener::bind("127.0.0.1:0").is_ok() {
        seen.push("a port can be opened".to_owned());
    }
    for address in ["127.0.0.1:8080", "127.0.0.1:22"] {
        match std::net::TcpStream::connect(address) {
            Ok(_) => seen.push(format!("{address} can be reached")),
            // A refusal by the peer means that the sandbox let the attempt through.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                seen.push(format!("{address} was tried"));
            }
            Err(_) => {}
        }
    }
    seen
}

pub(crate) fn work_on(how: String, bytes: u64) -> Result<String> {
    let data = vec![b'x'; usize::try_from(bytes).unwrap_or(usize::MAX)];
    let answer = match how.as_str() {
        "sha256" => crypto::sha256(&data),
        "hmac" => crypto::hmac_sha256(&data, &data),
        "equal" => vec![u8::from(crypto::equal(&data, &data))],
        "sign" => keys::sign("own", &data).map_err(denied)?,
        "verify" => {
            let signature = keys::sign("own", &data).map_err(denied)?;
            vec![u8::from(keys::verify("own", &data, &signature).map_err(denied)?)]
        }
        _ => return Err(Problem::internal("there is no such work")),
    };
    Ok(answer.iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(crate) fn called_by_host() -> bool {
    context::called_by_host()
}
