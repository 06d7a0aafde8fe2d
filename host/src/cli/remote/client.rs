//! Requests to a host: where it is, who asks, and what an answer means.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Remote;
use super::credentials::{Credentials, Session};
use super::failure::{ErrorBody, Failure};
use super::text::clean;

/// The host of somebody who has said nothing else: one on this machine, with its default port.
const DEFAULT: &str = "http://127.0.0.1:8080";

/// The longest time for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// The longest time for a request whose answer is a value.
const REQUEST: Duration = Duration::from_secs(60);
/// A token that has no longer than this to live is renewed before it is used.
const EARLY_SECONDS: i64 = 20;

/// One host, and who speaks with it.
pub(super) struct Client {
    http: reqwest::Client,
    server: Url,
    who: Who,
}

enum Who {
    /// Whoever the token of `--token` is for. It is used as it is.
    Token(String),
    /// The session of `arcana login`, which is renewed when its token has run out.
    Session(Credentials),
}

/// The answer to a sign-in and to a renewal.
#[derive(Deserialize)]
struct Tokens {
    access_token: String,
    refresh_token: String,
    expires_in: i64,
    user: User,
}

#[derive(Deserialize)]
struct User {
    email: String,
    #[serde(default)]
    role: String,
}

impl Client {
    /// For the host and the token that the command line names, else those of the last sign-in.
    pub(super) fn new(remote: &Remote) -> Result<Self, Failure> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let credentials = Credentials::open();
        let server = match given(&remote.server) {
            Some(text) => text,
            None => match &credentials {
                Ok(credentials) => credentials.read()?.current.unwrap_or_else(|| DEFAULT.to_owned()),
                Err(_) => DEFAULT.to_owned(),
            },
        };
        let who = match given(&remote.token) {
            Some(token) => Who::Token(token),
            None => Who::Session(credentials?),
        };
        Ok(Self { http: http()?, server: server_url(&server)?, who })
    }

    /// For a sign-in at this host.
    pub(super) fn to(server: &str) -> Result<Self, Failure> {
        Ok(Self { http: http()?, server: server_url(server)?, who: Who::Session(Credentials::open()?) })
    }

    /// The address of the host: the name of its session.
    pub(super) fn server(&self) -> &Url {
        &self.server
    }

    /// A request below `/api/v1`, whose path and query are made of these parts.
    pub(super) fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.server.clone();
        // An address of http has a path.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.request(method, url)
    }

    /// Asks for a value.
    pub(super) async fn call<T: DeserializeOwned>(&self, request: impl Fn() -> RequestBuilder) -> Result<T, Failure> {
        let response = self.send(|| request().timeout(REQUEST)).await?;
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        // The answer without a value has no body.
        let body: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(body)
            .map_err(|error| Failure::Unreachable(format!("{} answers what is none of a host's: {error}", self.server)))
    }

    /// Sends a request as whoever is signed in, twice where the first token is not taken; answers what is no error.
    pub(super) async fn send(&self, request: impl Fn() -> RequestBuilder) -> Result<Response, Failure> {
        let token = self.token(None).await?;
        let mut response = self.attempt(request().bearer_auth(&token)).await?;
        // The host may have revoked what has not run out yet, and its clock may be another.
        if response.status() == StatusCode::UNAUTHORIZED && matches!(self.who, Who::Session(_)) {
            let token = self.token(Some(&token)).await?;
            response = self.attempt(request().bearer_auth(&token)).await?;
        }
        match self.accept(response).await {
            Err((StatusCode::UNAUTHORIZED, Failure::Refused(body))) => Err(Failure::SignedOut(match &self.who {
                Who::Token(_) => format!("{} does not take this token: {}", self.server, clean(&body.message)),
                Who::Session(_) => self.sign_in(&clean(&body.message)),
            })),
            Err((_, failure)) => Err(failure),
            Ok(response) => Ok(response),
        }
    }

    /// Signs in, and remembers the session. Answers who it is, and the role.
    pub(super) async fn login(&self, name: &str, password: &str) -> Result<(String, String), Failure> {
        let Who::Session(credentials) = &self.who else { return Err(Failure::Use("a token is no session".into())) };
        let body = json!({ "username_or_email": name, "password": password });
        let tokens = self.tokens("login", &body).await.map_err(|(_, failure)| failure)?;
        let (account, role) = (tokens.user.email.clone(), tokens.user.role.clone());
        let lock = credentials.lock().await?;
        let mut sessions = credentials.read()?;
        sessions.current = Some(self.server.to_string());
        sessions.servers.insert(self.server.to_string(), session(tokens));
        credentials.write(&lock, &sessions)?;
        Ok((account, role))
    }

    /// Forgets the session, and ends it at the host. Answers false where there was none.
    pub(super) async fn logout(&self) -> Result<bool, Failure> {
        let Who::Session(credentials) = &self.who else { return Err(Failure::Use("a token is no session".into())) };
        let ended = {
            let lock = credentials.lock().await?;
            let mut sessions = credentials.read()?;
            let Some(ended) = sessions.servers.remove(self.server.as_str()) else { return Ok(false) };
            if sessions.current.as_deref() == Some(self.server.as_str()) {
                sessions.current = None;
            }
            credentials.write(&lock, &sessions)?;
            ended
        };
        let body = json!({ "refresh_token": ended.refresh_token });
        let request = self.request(Method::POST, &["auth", "logout"], &[]).json(&body).timeout(REQUEST);
        let told = match self.attempt(request).await {
            Ok(response) => self.accept(response).await.map(drop).map_err(|(_, failure)| failure),
            Err(failure) => Err(failure),
        };
        told.map(|()| true).map_err(|failure| {
            Failure::Unreachable(format!(
                "the session is forgotten here; the host could not be told, so there it ends by itself: {failure}"
            ))
        })
    }

    /// A token that should be taken; another one than `refused`.
    async fn token(&self, refused: Option<&str>) -> Result<String, Failure> {
        let credentials = match &self.who {
            Who::Token(token) => return Ok(token.clone()),
            Who::Session(credentials) => credentials,
        };
        let key = self.server.as_str();
        let good = |session: &Session| {
            session.expires_at - EARLY_SECONDS > Timestamp::now().as_second()
                && refused != Some(session.access_token.as_str())
        };
        let known = credentials.read()?.servers.remove(key);
        match known {
            None => return Err(Failure::SignedOut(self.sign_in("nobody is signed in"))),
            Some(session) if good(&session) => return Ok(session.access_token),
            Some(_) => {}
        }
        // A refresh token can be used once, and twice ends the session: one command after the other.
        let lock = credentials.lock().await?;
        let mut sessions = credentials.read()?;
        let Some(known) = sessions.servers.get(key) else {
            return Err(Failure::SignedOut(self.sign_in("nobody is signed in")));
        };
        if good(known) {
            return Ok(known.access_token.clone());
        }
        match self.tokens("refresh", &json!({ "refresh_token": known.refresh_token })).await {
            Ok(tokens) => {
                let renewed = session(tokens);
                let token = renewed.access_token.clone();
                sessions.servers.insert(key.to_owned(), renewed);
                credentials.write(&lock, &sessions)?;
                Ok(token)
            }
            Err((StatusCode::UNAUTHORIZED, Failure::Refused(body))) => {
                sessions.servers.remove(key);
                credentials.write(&lock, &sessions)?;
                Err(Failure::SignedOut(self.sign_in(&format!("the session has ended ({})", clean(&body.message)))))
            }
            // The session is what it was: the host has no time, or nothing there signs people in right now.
            Err((_, failure)) => {
                Err(Failure::Unreachable(format!("{}: the session cannot be renewed: {failure}", self.server)))
            }
        }
    }

    async fn tokens(&self, way: &str, body: &Value) -> Result<Tokens, (StatusCode, Failure)> {
        let request = self.request(Method::POST, &["auth", way], &[]).json(body).timeout(REQUEST);
        let response = self.attempt(request).await.map_err(|failure| (StatusCode::OK, failure))?;
        let response = self.accept(response).await?;
        let status = response.status();
        // Its text would quote a token.
        let none = |_| (status, Failure::Unreachable(format!("{} gives no tokens", self.server)));
        response.json().await.map_err(none)
    }

    async fn attempt(&self, request: RequestBuilder) -> Result<Response, Failure> {
        request.send().await.map_err(|error| self.unreachable(&error))
    }

    /// What is an answer; else why it is none, with its status.
    async fn accept(&self, response: Response) -> Result<Response, (StatusCode, Failure)> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status.is_redirection() {
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("another address");
            let message = format!(
                "{} sends to {}: give that host with --server; nothing is sent there unasked",
                self.server,
                clean(to)
            );
            return Err((status, Failure::Unreachable(message)));
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let is_json = kind.starts_with("application/json");
        let body = response.bytes().await.unwrap_or_default();
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(body) if is_json => Err((status, Failure::Refused(Box::new(body)))),
            _ => {
                Err((status, Failure::Unreachable(format!("{} answers {status}, and not as a host does", self.server))))
            }
        }
    }

    pub(super) fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut causes = Vec::new();
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        // The first names the address again.
        let why = causes.get(1..).filter(|rest| !rest.is_empty()).unwrap_or(&causes).join(": ");
        let why = if error.is_timeout() { format!("it took too long ({why})") } else { why };
        Failure::Unreachable(format!("{} cannot be reached: {why}", self.server))
    }

    fn sign_in(&self, why: &str) -> String {
        format!("{why}; sign in with `arcana login {}`", self.server)
    }
}

fn session(tokens: Tokens) -> Session {
    Session {
        access_token: tokens.access_token,
        refresh_token: tokens.refresh_token,
        expires_at: Timestamp::now().as_second().saturating_add(tokens.expires_in),
        account: tokens.user.email,
    }
}

fn http() -> Result<reqwest::Client, Failure> {
    // Whoever was first has installed the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("arcana/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .tcp_keepalive(Duration::from_secs(30))
        // A token never follows a redirect to somebody else.
        .redirect(redirect::Policy::none())
        .build()
        .map_err(|error| Failure::Use(format!("there is no way to make requests: {error}")))
}

/// The address of a host, in the one form that is its name among the sessions.
pub(super) fn server_url(text: &str) -> Result<Url, Failure> {
    let wrong =
        |why: &str| Failure::Use(format!("`{text}` is no address of a host such as https://apps.example.com: {why}"));
    let mut url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it begins with https:// or http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it holds no name and no password; sign in with `arcana login`"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it has no query"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// Whether what is sent there can be read on the way.
pub(super) fn is_in_the_clear(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let local = match host.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost",
    };
    url.scheme() == "http" && !local
}
