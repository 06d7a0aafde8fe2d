//! One attack on a fresh host: a quiet phase, the attack, and SIGTERM while the attack goes on.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::attacks::Attack;
use crate::client::{Client, request};
use crate::field::{Field, Tally};
use crate::host::End;
use crate::kitchen::Kitchen;
use crate::probe::{Probe, Samples};
use crate::watch::{Peak, Watch};

/// Probes per second of `/health` and of the other plugin, each.
const RATE: u32 = 50;

/// The time limit of a probe.
const PATIENCE: Duration = Duration::from_secs(15);

/// The wait beyond the shutdown deadline before the host is killed.
const GRACE: Duration = Duration::from_secs(15);

/// The lengths of the phases.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// The quiet phase.
    pub(crate) quiet: Duration,
    /// The attack.
    pub(crate) attack: Duration,
}

/// The measurements of the probes.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// `/health`, on a new connection for each request.
    pub(crate) health: Samples,
    /// Another plugin, on one connection.
    pub(crate) victim: Samples,
}

/// The result of an attack.
pub(crate) struct Outcome {
    /// What the attack tries.
    pub(crate) name: &'static str,
    /// See [`Attack::never`].
    pub(crate) never: &'static [&'static str],
    /// Before the attack.
    pub(crate) quiet: Seen,
    /// During the attack.
    pub(crate) attacked: Seen,
    /// The bystanders of this attack.
    pub(crate) others: Vec<(&'static str, Samples)>,
    /// The host's peak memory.
    pub(crate) peak: Peak,
    /// The answers to the attackers.
    pub(crate) tally: Tally,
    /// Attackers that wait for an answer at the end of the attack.
    pub(crate) unanswered: usize,
    /// The additional figure of this attack.
    pub(crate) looked: Option<String>,
    /// How the host died, if it did.
    pub(crate) died: Option<String>,
    /// The end after SIGTERM.
    pub(crate) end: End,
    /// The last lines of the host's log.
    pub(crate) log: String,
}

/// Runs an attack.
///
/// # Errors
/// The host does not start, does not answer before the attack, or the attack cannot be prepared.
pub(crate) fn run(kitchen: &Kitchen, attack: &Attack, times: Times) -> Result<Outcome> {
    let (mut host, home) = kitchen.host(attack.output)?;
    let mut field = Field::new(kitchen, host.port, home.path(), times.attack);
    (attack.prepare)(&mut field).with_context(|| format!("the attack could not be prepared:\n{}", host.log()))?;
    let mut client = Client::new(host.port, Ipv4Addr::LOCALHOST, Duration::from_secs(60));
    for _ in 0..20 {
        greet(&mut client)?;
    }
    let quiet = asked(host.port, times.quiet, || false);
    ensure!(quiet.health.right() > 0 && quiet.victim.right() > 0, "nothing is answered before the attack");

    let watch = Watch::start(host.pid(), host.port);
    field.begin();
    let attacked = asked(host.port, times.attack, || host.ended().is_some());
    let unanswered = field.unanswered();
    let (tally, others) = field.close();
    let looked = (attack.look)(&field);
    let peak = watch.finish();
    let died = host.ended();
    let end = host.terminate(kitchen.limits.shutdown + GRACE);
    field.end();
    let log = host.log();
    Ok(Outcome {
        name: attack.name,
        never: attack.never,
        quiet,
        attacked,
        others,
        peak,
        tally,
        unanswered,
        looked,
        died,
        end,
        log,
    })
}

/// Probes the host for this long, or until `ended` answers true.
fn asked(port: u16, time: Duration, mut ended: impl FnMut() -> bool) -> Seen {
    let mut client = Client::new(port, Ipv4Addr::LOCALHOST, PATIENCE);
    let health = Probe::start(RATE, move |_| {
        client.hang_up();
        let answer = client.ask(&request("GET", "/health", None, None))?;
        ensure!(answer.status == 200, "/health: {} {}", answer.status, answer.text());
        Ok(())
    });
    let mut client = Client::new(port, Ipv4Addr::LOCALHOST, PATIENCE);
    let victim = Probe::start(RATE, move |_| greet(&mut client));
    let until = Instant::now() + time;
    while Instant::now() < until && !ended() {
        std::thread::sleep(until.saturating_duration_since(Instant::now()).min(Duration::from_millis(20)));
    }
    // Both are told before one of them is waited for.
    health.stop();
    victim.stop();
    Seen { health: health.finish(), victim: victim.finish() }
}

/// One call of the other plugin.
fn greet(client: &mut Client) -> Result<()> {
    let answer = client.ask(&request("GET", "/test/echo/hello/ada", None, None))?;
    let text = answer.text();
    ensure!(answer.status == 200 && text.contains("Hello, ada!"), "the other plugin: {} {text}", answer.status);
    Ok(())
}
