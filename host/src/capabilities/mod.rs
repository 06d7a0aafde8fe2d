//! What the host offers to plugins: one file per interface of `wit/host`, each grant → limit → backend.
//!
//! Two error channels: a guest's mistake is an error of the interface; a fault of the host is a [`HostFault`], which ends
//! the guest and is logged once where the call ends.

pub mod bindings;
mod cache;
mod crypto;
mod database;
mod grants;
mod info;
mod log;
mod tokens;
mod work;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::{HasData, ResourceTable};

pub use cache::HeldLock;
pub use database::OpenTransaction;
pub use grants::{CryptoGrants, GrantedStore, PluginGrants, Services, Setting, link, missing_grant};
pub use log::Output;
pub use work::{HostWork, WorkShare};

use crate::principal::Principal;
use crate::request_id::RequestId;

/// One call of a plugin's function: what the guest may know of it.
#[derive(Debug, Clone)]
pub struct Call {
    /// The caller, where somebody is signed in.
    pub principal: Option<Arc<Principal>>,
    /// The id of the request.
    pub request_id: RequestId,
    /// When the call is stopped at the latest; the function called may have a shorter time limit.
    pub deadline: Instant,
    /// The address of the client.
    pub client: Option<IpAddr>,
    /// W3C Trace Context, where the caller sent one: `traceparent` and `tracestate`.
    pub trace: Option<Arc<(String, Option<String>)>>,
    /// Whether the host makes the call. Private, so that only [`Call::of_host`] sets it.
    by_host: bool,
}

impl Call {
    /// Longer than any call may take: a deadline that leaves the limit to the function called.
    pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

    /// A call that serves a request of a client.
    #[must_use]
    pub const fn of_client(
        principal: Option<Arc<Principal>>,
        request_id: RequestId,
        deadline: Instant,
        client: IpAddr,
        trace: Option<Arc<(String, Option<String>)>>,
    ) -> Self {
        Self { principal, request_id, deadline, client: Some(client), trace, by_host: false }
    }

    /// A call that the host makes for itself, without a caller. The function's own time limit is its deadline.
    #[must_use]
    pub fn of_host() -> Self {
        Self {
            principal: None,
            request_id: RequestId::random(),
            deadline: Instant::now() + Self::LONGEST,
            client: None,
            trace: None,
            by_host: true,
        }
    }

    /// Whether the host makes the call. Nothing that a client sends, a token carries or a plugin does brings this about.
    #[must_use]
    pub const fn is_by_host(&self) -> bool {
        self.by_host
    }
}

/// A fault of the host inside a capability. The guest is ended; the client learns no more than the request id.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HostFault(pub String);

/// The capabilities' part of a store.
pub struct State {
    grants: Arc<PluginGrants>,
    call: Call,
    log: Arc<log::Sink>,
    /// The stores on which the call has a transaction open.
    transactions: Vec<Arc<str>>,
    /// How many locks of the cache the call holds.
    locks: u32,
}

impl State {
    /// The state of a new instance, with its first call.
    #[must_use]
    pub fn new(grants: Arc<PluginGrants>, call: Call) -> Self {
        let log = Arc::new(log::Sink::new(&grants, call.request_id));
        Self { grants, call, log, transactions: Vec::new(), locks: 0 }
    }

    /// The call that is being served.
    #[must_use]
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// The guest's standard output and error, which go to its log.
    #[must_use]
    pub fn output(&self) -> Output {
        Output(self.log.clone())
    }

    /// The last lines of the call on standard output and error: where it panicked, from that line on.
    #[must_use]
    pub fn last_words(&self) -> Vec<String> {
        self.log.last_words()
    }

    /// A warm instance is given its next call.
    pub fn start_call(&mut self, call: Call) {
        self.log.start_call(call.request_id);
        self.call = call;
    }

    /// The call has ended; false where it left something open, so that the instance cannot be used again.
    pub fn end_call(&mut self) -> bool {
        self.log.end_call();
        self.transactions.is_empty() && self.locks == 0
    }
}

/// What the capabilities borrow of a store for the length of one host call.
pub struct View<'a> {
    /// Their own state.
    pub state: &'a mut State,
    /// The handles of the instance.
    pub table: &'a mut ResourceTable,
}

/// Ties the generated traits to [`View`], whatever the store's type is.
pub struct Capabilities;

impl HasData for Capabilities {
    type Data<'a> = View<'a>;
}
