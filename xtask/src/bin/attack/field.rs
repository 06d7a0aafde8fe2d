//! The stage of one attack: its attackers, the bystanders that use the host meanwhile, and the tally of answers.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use crate::client::{Answer, Client, request, with_body};
use crate::kitchen::{Kitchen, address, admin, code};
use crate::probe::{Probe, Samples};

/// An attacker's time limit for an answer, longer than any call may take.
const PATIENCE: Duration = Duration::from_secs(75);

/// The pause of an attacker after an error, so that it does not spin when the host is gone.
const PAUSE: Duration = Duration::from_millis(20);

/// The nice value of attackers: on one machine they compete with the host for processors, which real attackers do not.
const NICE: i32 = 10;

/// Counts of answers by kind.
pub(crate) type Tally = BTreeMap<String, usize>;

/// The state that the threads of an attack share.
#[derive(Default)]
struct Shared {
    begun: AtomicBool,
    over: AtomicBool,
    /// Nothing is counted any more, because the host is about to stop.
    closed: AtomicBool,
    turns: AtomicUsize,
    /// Calls in flight.
    waiting: AtomicUsize,
    tally: Mutex<Tally>,
}

/// The stage of one attack.
pub(crate) struct Field<'k> {
    /// Packs plugins, and knows the host's settings.
    pub(crate) kitchen: &'k Kitchen,
    /// The host's REST port.
    pub(crate) port: u16,
    /// The length of the attack.
    pub(crate) time: Duration,
    home: PathBuf,
    shared: Arc<Shared>,
    attackers: Vec<JoinHandle<()>>,
    others: Vec<(&'static str, u32, Ask)>,
    asking: Vec<(&'static str, Probe)>,
}

type Ask = Box<dyn FnMut(usize) -> Result<()> + Send>;

/// One attacker.
pub(crate) struct Attacker {
    /// Its number in its group.
    pub(crate) number: usize,
    /// The host's REST port.
    pub(crate) port: u16,
    /// Its source address.
    pub(crate) source: Ipv4Addr,
    client: Client,
    shared: Arc<Shared>,
}

impl<'k> Field<'k> {
    /// The stage for the host with this port and home folder.
    pub(crate) fn new(kitchen: &'k Kitchen, port: u16, home: &Path, time: Duration) -> Self {
        Self {
            kitchen,
            port,
            time,
            home: home.to_owned(),
            shared: Arc::default(),
            attackers: Vec::new(),
            others: Vec::new(),
            asking: Vec::new(),
        }
    }

    /// Adds attackers that repeat `attack` from [`Self::begin`] on. The tally counts its results and errors.
    pub(crate) fn attackers(
        &mut self,
        count: usize,
        attack: impl Fn(&mut Attacker) -> Result<String> + Clone + Send + 'static,
    ) {
        for number in 0..count {
            let (port, source, shared) = (self.port, address(66, number % 8), self.shared.clone());
            let client = Client::new(port, source, PATIENCE);
            let mut me = Attacker { number, port, source, client, shared };
            let attack = attack.clone();
            self.attackers.push(std::thread::spawn(move || me.attack(attack)));
        }
    }

    /// Adds a bystander that sends requests at this rate during the attack.
    pub(crate) fn other(
        &mut self,
        name: &'static str,
        per_second: u32,
        ask: impl FnMut(usize) -> Result<()> + Send + 'static,
    ) {
        self.others.push((name, per_second, Box::new(ask)));
    }

    /// An administrator's access token.
    ///
    /// # Errors
    /// The administrator cannot sign in.
    pub(crate) fn admin(&self) -> Result<String> {
        admin(self.port)
    }

    /// Starts the attack.
    pub(crate) fn begin(&mut self) {
        self.asking = self.others.drain(..).map(|(name, rate, ask)| (name, Probe::start(rate, ask))).collect();
        self.shared.begun.store(true, Ordering::Relaxed);
    }

    /// The attackers' calls that the host has not answered yet.
    pub(crate) fn unanswered(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// Stops counting while the attack goes on; returns the tally and the bystanders' measurements.
    pub(crate) fn close(&mut self) -> (Tally, Vec<(&'static str, Samples)>) {
        self.asking.iter().for_each(|(_, probe)| probe.stop());
        let others = self.asking.drain(..).map(|(name, probe)| (name, probe.finish())).collect();
        self.shared.closed.store(true, Ordering::Relaxed);
        (self.shared.tally.lock().unwrap_or_else(PoisonError::into_inner).clone(), others)
    }

    /// Ends the attack and waits for the attackers.
    pub(crate) fn end(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        for attacker in self.attackers.drain(..) {
            let _ = attacker.join();
        }
    }

    /// The total size in bytes of the files in the data folder with this name ending.
    pub(crate) fn bytes_of_files(&self, ending: &str) -> u64 {
        let files = walkdir::WalkDir::new(self.home.join("data")).into_iter().flatten();
        let named = files.filter(|entry| entry.file_name().to_string_lossy().ends_with(ending));
        named.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
    }
}

impl Drop for Field<'_> {
    fn drop(&mut self) {
        // Attackers may still wait for a host that hangs, so they are not joined here.
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

impl Attacker {
    fn attack(&mut self, attack: impl Fn(&mut Self) -> Result<String>) {
        // Affects this thread only. Failure is harmless.
        let _ = rustix::process::setpriority_process(None, NICE);
        while !self.shared.begun.load(Ordering::Relaxed) && !self.is_over() {
            std::thread::sleep(Duration::from_millis(5));
        }
        while !self.is_over() {
            match attack(self) {
                Ok(what) => self.count(&what),
                Err(error) => {
                    self.count(&in_short(&error));
                    self.sleep(PAUSE);
                }
            }
        }
    }

    /// Whether the attack is over.
    pub(crate) fn is_over(&self) -> bool {
        self.shared.over.load(Ordering::Relaxed)
    }

    /// A number that increases with every call, across all attackers.
    pub(crate) fn turn(&self) -> usize {
        self.shared.turns.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds one to the tally.
    pub(crate) fn count(&self, what: &str) {
        if !self.shared.closed.load(Ordering::Relaxed) && !what.is_empty() {
            *self.shared.tally.lock().unwrap_or_else(PoisonError::into_inner).entry(what.to_owned()).or_default() += 1;
        }
    }

    /// Sleeps, at most until the attack is over.
    pub(crate) fn sleep(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.is_over() {
            std::thread::sleep(until.saturating_duration_since(Instant::now()).min(Duration::from_millis(50)));
        }
    }

    /// Changes the source address.
    pub(crate) fn come_from(&mut self, source: Ipv4Addr) {
        self.source = source;
        self.client = Client::new(self.port, source, PATIENCE);
    }

    /// Sends a POST request with a JSON body.
    ///
    /// # Errors
    /// The host does not answer.
    pub(crate) fn call(&mut self, path: &str, body: &Value) -> Result<Answer> {
        self.ask(&request("POST", path, None, Some(&body.to_string())))
    }

    fn ask(&mut self, request: &[u8]) -> Result<Answer> {
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        let answer = self.client.ask(request);
        self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        answer
    }

    /// Uploads a plugin; returns the status and the problem code.
    ///
    /// # Errors
    /// The host does not answer.
    pub(crate) fn upload(&mut self, token: &str, file: &[u8]) -> Result<String> {
        let answer = self.ask(&upload(token, file));
        // The host may refuse while the file is still being sent, which leaves the connection unusable.
        self.client.hang_up();
        Ok(in_words(&answer?))
    }
}

/// The request that uploads a plugin.
pub(crate) fn upload(token: &str, file: &[u8]) -> Vec<u8> {
    with_body("POST", "/api/v1/plugins", Some(token), Some(("application/wasm", file)))
}

/// The status and, for a problem, its code.
pub(crate) fn in_words(answer: &Answer) -> String {
    let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    format!("{} {}", answer.status, code(&problem)).trim_end().to_owned()
}

/// An error as a kind for the tally.
fn in_short(error: &anyhow::Error) -> String {
    let kind = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    match kind {
        Some(ErrorKind::WouldBlock | ErrorKind::TimedOut) => "no answer in time".to_owned(),
        Some(_) => "connection lost".to_owned(),
        None => format!("{error}").chars().take(60).collect(),
    }
}
