//! One turn of one target: the time that counts, and what came back in it.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::task::JoinSet;

use crate::figures::float;
use crate::process::cpu_time;

/// Before this nothing is counted: connections are made, instances become warm.
const WARM_UP: Duration = Duration::from_millis(250);

/// What is waited beyond the end for answers that are under way. Longer than any time limit of the host.
const GRACE: Duration = Duration::from_secs(15);

/// The most answers of one connection in one turn, so that memory is bounded.
const MAX_ANSWERS: usize = 2_000_000;

/// After so many errors a connection gives up.
const MAX_ERRORS: usize = 10;

/// The time that counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    from: Instant,
    until: Instant,
}

impl Window {
    fn counts(&self, end: Instant) -> bool {
        end >= self.from && end <= self.until
    }
}

/// What came back in one turn.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Right answers.
    pub(crate) answers: usize,
    /// 503, where that is expected.
    pub(crate) refused: usize,
    /// Everything else.
    pub(crate) errors: usize,
    /// The first of them.
    pub(crate) error: Option<String>,
    /// The time that was counted.
    pub(crate) time: Duration,
    /// What the server's process used of the processors in it.
    pub(crate) server_cpu: Duration,
    /// What this process used.
    pub(crate) own_cpu: Duration,
    /// The times of right answers; in order once the turn is over.
    latencies: Vec<Duration>,
}

impl Turn {
    /// Right answers a second.
    pub(crate) fn rate(&self) -> f64 {
        float(self.answers) / self.time.as_secs_f64()
    }

    /// Time of the server's on the processors for one answer, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / float(self.answers.max(1))
    }

    /// The time that so many of 1,000 answers did not exceed, in milliseconds.
    pub(crate) fn quantile_ms(&self, of_1000: usize) -> f64 {
        let at = (self.latencies.len() * of_1000 / 1000).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }

    /// Takes in a right answer. Its end decides, so that the count belongs to the time that it is divided by.
    pub(crate) fn right(&mut self, window: &Window, begin: Instant, end: Instant) {
        if window.counts(end) {
            self.answers += 1;
            self.latencies.push(end - begin);
        }
    }

    /// Takes in a refusal that was expected.
    pub(crate) fn refusal(&mut self, window: &Window, end: Instant) {
        self.refused += usize::from(window.counts(end));
    }

    /// Takes in something that went wrong.
    pub(crate) fn fail(&mut self, error: String) {
        self.errors += 1;
        self.error.get_or_insert(error);
    }

    /// Whether a connection may ask on: its answers are bounded, and so is its patience.
    pub(crate) fn goes_on(&self, window: &Window, now: Instant) -> bool {
        now < window.until && self.errors < MAX_ERRORS && self.latencies.len() < MAX_ANSWERS
    }

    fn add(&mut self, part: Self) {
        self.answers += part.answers;
        self.refused += part.refused;
        self.errors += part.errors;
        self.error = self.error.take().or(part.error);
        self.latencies.extend(part.latencies);
    }
}

/// Lets so many connections ask the server of this process for so long, beyond a moment of warming up.
///
/// # Errors
/// Nothing could be asked at all. Wrong answers are counted.
pub(crate) async fn turn<A>(pid: u32, time: Duration, connections: usize, ask: A) -> Result<Turn>
where
    A: AsyncFn(usize, Window) -> Turn + 'static,
{
    let ask = Rc::new(ask);
    let from = Instant::now() + WARM_UP;
    let window = Window { from, until: from + time };
    let mut asking = JoinSet::new();
    for number in 0..connections {
        let ask = ask.clone();
        asking.spawn_local(async move { ask(number, window).await });
    }
    tokio::time::sleep_until(window.from.into()).await;
    let (server, own) = (cpu_time(pid)?, cpu_time(std::process::id())?);
    tokio::time::sleep_until(window.until.into()).await;
    let mut total = Turn {
        time,
        server_cpu: cpu_time(pid)?.saturating_sub(server),
        own_cpu: cpu_time(std::process::id())?.saturating_sub(own),
        ..Turn::default()
    };
    let finish = async {
        while let Some(part) = asking.join_next().await {
            total.add(part?);
        }
        Ok::<_, anyhow::Error>(())
    };
    match tokio::time::timeout(GRACE, finish).await {
        Ok(done) => done?,
        Err(_) => total.fail(format!("no answer {} s after the end", GRACE.as_secs())),
    }
    total.latencies.sort_unstable();
    if total.answers == 0 && total.error.is_none() {
        bail!("nothing was answered within {time:?}");
    }
    Ok(total)
}
