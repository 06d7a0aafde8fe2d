//! Samples the memory of the host during an attack: the resident set of the process and the guests' linear memory.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::client::{Client, request};

/// The interval between samples of the process.
const LOOK: Duration = Duration::from_millis(40);

/// The interval between requests for the guests' memory.
const ASK: Duration = Duration::from_millis(250);

/// How old metrics may be: the host does not render them at every request.
const AGE: Duration = Duration::from_millis(1500);

/// The metric with the linear memory of a plugin's live instances, in bytes.
const GUESTS: &str = "arcana_plugin_memory_bytes{";

/// The largest samples, in bytes.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Peak {
    /// The resident set of the process.
    pub(crate) rss: u64,
    /// The resident set less the guests' linear memory at about the same time.
    pub(crate) own: u64,
    /// The linear memory of all guests.
    pub(crate) guests: u64,
}

/// A thread that samples until it is stopped.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Peak>,
}

impl Watch {
    /// Samples this process, which serves its metrics on this port.
    pub(crate) fn start(pid: u32, port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        Self { stop, thread: std::thread::spawn(move || run(pid, port, &told)) }
    }

    /// Stops it and returns the peaks.
    pub(crate) fn finish(self) -> Peak {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn run(pid: u32, port: u16, stop: &Arc<AtomicBool>) -> Peak {
    // A thread of its own asks for metrics, so that a host that does not answer is still sampled.
    let told = stop.clone();
    let asking = std::thread::spawn(move || {
        let mut client = Client::new(port, Ipv4Addr::LOCALHOST, Duration::from_secs(2));
        let mut seen: Vec<(Instant, u64)> = Vec::new();
        while !told.load(Ordering::Relaxed) {
            if let Ok(bytes) = guests(&mut client) {
                seen.push((Instant::now(), bytes));
            }
            std::thread::sleep(ASK);
        }
        seen
    });
    let mut process: Vec<(Instant, u64)> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        if let Ok(bytes) = rss(pid) {
            process.push((Instant::now(), bytes));
        }
        std::thread::sleep(LOOK);
    }
    peak(&process, &asking.join().unwrap_or_default())
}

/// The two series have different timestamps, and metrics have an age: each sample of the process is reduced by the guests'
/// largest sample around it.
fn peak(process: &[(Instant, u64)], guests: &[(Instant, u64)]) -> Peak {
    let most = |samples: &mut dyn Iterator<Item = u64>| samples.max().unwrap_or_default();
    let around = |at: Instant| {
        let near = |seen: Instant| seen.max(at).duration_since(seen.min(at)) <= AGE;
        most(&mut guests.iter().filter(|(seen, _)| near(*seen)).map(|(_, bytes)| *bytes))
    };
    Peak {
        rss: most(&mut process.iter().map(|(_, bytes)| *bytes)),
        own: most(&mut process.iter().map(|(at, bytes)| bytes.saturating_sub(around(*at)))),
        guests: most(&mut guests.iter().map(|(_, bytes)| *bytes)),
    }
}

fn guests(client: &mut Client) -> Result<u64> {
    let answer = client.ask(&request("GET", "/metrics", None, None))?;
    let text = answer.text();
    anyhow::ensure!(answer.status == 200, "/metrics: {} {text}", answer.status);
    Ok(sum(&text))
}

/// The sum over the plugins.
fn sum(metrics: &str) -> u64 {
    let values = metrics.lines().filter_map(|line| line.strip_prefix(GUESTS)?.rsplit_once(' ')?.1.parse::<u64>().ok());
    values.sum()
}

/// The resident set of a process in bytes.
///
/// # Errors
/// It has ended.
pub(crate) fn rss(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the host has ended")?;
    let value = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = value.and_then(|value| value.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    Ok(kib.context("/proc tells no VmRSS")? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guests_are_added_up() {
        let text = "# HELP x\narcana_plugin_memory_bytes{plugin=\"a/b\"} 10\narcana_plugin_memory_bytes{plugin=\"c/d\"} 32\nother 7\n";
        assert_eq!(sum(text), 42);
    }

    #[test]
    fn what_the_guests_had_around_a_look_is_not_the_hosts() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let seen = peak(&[(at(0), 100), (at(5000), 300), (at(10_000), 150)], &[(at(4000), 220), (at(5500), 200)]);
        assert_eq!((seen.rss, seen.own, seen.guests), (300, 150, 220));
    }
}
