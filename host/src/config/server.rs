//! `[app]`, `[server]` and `[deployment]`.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::net::Network;
use super::readers::Readers;
use super::units::{ByteSize, HumanDuration};

/// `[app]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// The name of the environment; chooses a file of settings.
    pub environment: String,
    /// Where everything lasting is kept.
    pub data_dir: PathBuf,
}

/// `[server]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The REST listener.
    pub rest: Rest,
    /// The gRPC listener.
    pub grpc: Grpc,
    /// What clients may hold.
    pub clients: Clients,
}

/// `[server.clients]`: what clients may hold, over both listeners.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clients {
    /// The most connections of one address at once.
    pub max_connections_per_address: u32,
    /// The most requests of one address that are not over at once.
    pub max_requests_per_address: u32,
    /// Connections that each listener keeps for loopback, and as many for those that only ask for health.
    pub reserved_connections: u32,
    /// How long a client may take nothing of an answer.
    pub stall_timeout: HumanDuration,
    /// The most bytes of answers that one connection has not taken.
    pub max_unsent_per_connection: ByteSize,
    /// The most bytes of answers that all connections have not taken.
    pub max_unsent: ByteSize,
}

/// `[server.rest]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rest {
    /// The address to listen on.
    pub address: IpAddr,
    /// The TCP port to listen on; 0 lets the system choose.
    pub port: u16,
    /// The longest request body.
    pub max_body: ByteSize,
    /// The longest head of a request.
    pub max_header_bytes: ByteSize,
    /// The longest a request's body may take to arrive.
    pub body_timeout: HumanDuration,
    /// The longest a client may take to send a head, idling before it included.
    pub header_read_timeout: HumanDuration,
    /// The most connections at once.
    pub max_connections: u32,
    /// The most requests at once on one HTTP/2 connection.
    pub max_streams_per_connection: u32,
    /// How long an HTTP/2 connection may be without a request.
    pub idle_timeout: HumanDuration,
    /// How long a shutdown waits for requests in flight.
    pub shutdown_deadline: HumanDuration,
    /// The proxies whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<Network>,
    /// Whether answers are compressed for clients that ask for it.
    pub compression: bool,
    /// Whether the documentation is served: `/api/openapi.json` and `/api/docs`.
    pub docs: bool,
    /// Who may read it.
    pub docs_allow: Readers,
    /// Cross-origin requests.
    pub cors: Cors,
}

/// `[server.grpc]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grpc {
    /// Whether gRPC is served at all.
    pub enabled: bool,
    /// The address to listen on.
    pub address: IpAddr,
    /// The TCP port to listen on; 0 lets the system choose.
    pub port: u16,
    /// Whether the REST port answers gRPC too.
    pub multiplexed: bool,
    /// Whether browsers may call by gRPC-Web.
    pub web: bool,
    /// Who may ask for the contract.
    pub reflection: ReflectionAccess,
    /// The longest message of a request, decompressed.
    pub max_message: ByteSize,
    /// The longest a request's message may take to arrive.
    pub message_timeout: HumanDuration,
    /// The longest head of a request.
    pub max_header_bytes: ByteSize,
    /// The most connections at once.
    pub max_connections: u32,
    /// The most requests at once on one connection.
    pub max_streams_per_connection: u32,
    /// How often a silent connection is asked whether it is still there.
    pub keep_alive_interval: HumanDuration,
    /// How long its answer may take.
    pub keep_alive_timeout: HumanDuration,
    /// How long a connection may be without a request.
    pub idle_timeout: HumanDuration,
    /// Whether messages are compressed for clients that ask for it, and may come compressed.
    pub compression: bool,
}

/// Who may ask for the contract by server reflection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReflectionAccess {
    /// Everybody in development mode, else those who are signed in.
    Auto,
    /// Everybody.
    Public,
    /// Those who are signed in.
    Authenticated,
    /// Nobody.
    Off,
}

/// `[server.rest.cors]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// The origins that may call, or the single `*`; empty turns CORS off.
    pub origins: Vec<String>,
    /// The methods that they may use.
    pub methods: Vec<String>,
    /// The request headers that they may send.
    pub headers: Vec<String>,
    /// Whether they may send credentials.
    pub credentials: bool,
    /// How long a preflight's answer may be remembered.
    pub max_age: HumanDuration,
}

/// `[deployment]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// How the host is split over processes.
    pub mode: Mode,
}

/// How the host is split over processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Everything in one process.
    Monolithic,
}
