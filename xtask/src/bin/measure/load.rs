//! The load: connections that ask without pause, on one thread, and count what comes back.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::task::JoinSet;

use crate::figures::float;
use crate::process::cpu_time;
use crate::wire::Connection;

/// Before this nothing is counted: connections are made, instances become warm.
const WARM_UP: Duration = Duration::from_millis(250);

/// What is waited beyond the end for answers that are under way. Longer than any time limit of the host.
const GRACE: Duration = Duration::from_secs(15);

/// The most answers of one connection in one turn, so that memory is bounded.
const MAX_ANSWERS: usize = 2_000_000;

/// What is asked of one server, and what it has to answer.
#[derive(Clone)]
pub(crate) struct Load {
    /// Its port on loopback.
    pub(crate) port: u16,
    /// Its process.
    pub(crate) pid: u32,
    /// The whole requests; connections take turns at them.
    pub(crate) requests: Rc<[Vec<u8>]>,
    /// The status that a right answer has. 503 may be one that was refused for want of room; see [`Self::refusable`].
    pub(crate) status: u16,
    /// Whether 503 is an expected answer too, counted by itself.
    pub(crate) refusable: bool,
    /// What is in the body of every connection's first answer.
    pub(crate) body: &'static str,
    /// How many connections ask.
    pub(crate) connections: usize,
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
}

impl Load {
    /// Asks for so long, beyond a moment of warming up.
    ///
    /// # Errors
    /// Nothing could be asked at all. Wrong answers are counted.
    pub(crate) async fn run(&self, time: Duration) -> Result<Turn> {
        let from = Instant::now() + WARM_UP;
        let until = from + time;
        let mut asking = JoinSet::new();
        for number in 0..self.connections {
            let load = self.clone();
            asking.spawn_local(async move { load.ask(number, from, until).await });
        }
        tokio::time::sleep_until(from.into()).await;
        let (server, own) = (cpu_time(self.pid)?, cpu_time(std::process::id())?);
        tokio::time::sleep_until(until.into()).await;
        let mut total = Turn {
            time,
            server_cpu: cpu_time(self.pid)?.saturating_sub(server),
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

    /// One connection's part; after something went wrong it connects anew.
    async fn ask(&self, number: usize, from: Instant, until: Instant) -> Turn {
        let mut part = Turn::default();
        while Instant::now() < until && part.errors < 10 {
            match self.ask_on_one(number, from, until, &mut part).await {
                Ok(()) => break,
                Err(error) => part.fail(format!("{error:#}")),
            }
        }
        part
    }

    async fn ask_on_one(&self, number: usize, from: Instant, until: Instant, part: &mut Turn) -> Result<()> {
        let Some(request) = self.requests.iter().cycle().nth(number) else { bail!("there is nothing to ask") };
        let mut connection = Connection::open(self.port).await?;
        let mut first = true;
        let mut begin = Instant::now();
        while begin < until && part.latencies.len() < MAX_ANSWERS {
            let answer = connection.ask(request).await?;
            let end = Instant::now();
            // The end decides, so that the count belongs to the time that it is divided by.
            let counts = end >= from && end <= until;
            if answer.status == self.status {
                if first && !String::from_utf8_lossy(answer.body).contains(self.body) {
                    bail!("{:?} is not in the answer {:?}", self.body, String::from_utf8_lossy(answer.body));
                }
                first = false;
                if counts {
                    part.answers += 1;
                    part.latencies.push(end - begin);
                }
            } else if self.refusable && answer.status == 503 {
                part.refused += usize::from(counts);
            } else {
                bail!("status {} instead of {}: {}", answer.status, self.status, String::from_utf8_lossy(answer.body));
            }
            begin = end;
        }
        Ok(())
    }
}

impl Turn {
    fn add(&mut self, part: Self) {
        self.answers += part.answers;
        self.refused += part.refused;
        self.errors += part.errors;
        self.error = self.error.take().or(part.error);
        self.latencies.extend(part.latencies);
    }

    fn fail(&mut self, error: String) {
        self.errors += 1;
        self.error.get_or_insert(error);
    }
}
