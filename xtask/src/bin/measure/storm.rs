//! A login storm: whether others notice that fifty clients sign in without pause.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;

use crate::Servers;
use crate::load::Load;
use crate::process::rss;
use crate::rounds::{ACCOUNTS, credentials};
use crate::turn::Turn;
use crate::wire::request;

/// Clients that sign in.
pub(crate) const CLIENTS: usize = 50;

/// How often the memory is looked at.
const LOOK: Duration = Duration::from_millis(25);

/// What came of it.
pub(crate) struct Storm {
    /// The sign-ins. Those beyond the limits are refused, which is what the limits are for.
    pub(crate) logins: Turn,
    /// `/health` beside them.
    pub(crate) health: Turn,
    /// The most memory of the host, in bytes.
    pub(crate) max_rss: u64,
}

/// Signs in and asks for `/health` at once.
///
/// # Errors
/// The host cannot be asked at all.
pub(crate) async fn measure(servers: &Servers, time: Duration, connections: usize) -> Result<Storm> {
    let (port, pid) = (servers.host.port, servers.host.pid());
    let logins = Load {
        port,
        pid,
        requests: (0..ACCOUNTS)
            .map(|account| request("POST", "/api/v1/auth/login", None, Some(&credentials(account))))
            .collect(),
        status: 200,
        refusable: true,
        body: "access_token",
        connections: CLIENTS,
    };
    let requests = Rc::new([request("GET", "/health", None, None)]);
    let health = Load { requests, refusable: false, body: "\"ok\"", connections, ..logins.clone() };
    let mut max_rss = 0;
    let look = async {
        loop {
            max_rss = max_rss.max(rss(pid).unwrap_or_default());
            tokio::time::sleep(LOOK).await;
        }
    };
    let both = async { tokio::join!(logins.run(time), health.run(time)) };
    let (logins, health) = tokio::select! {
        both = both => both,
        never = look => never,
    };
    Ok(Storm { logins: logins?, health: health?, max_rss })
}
