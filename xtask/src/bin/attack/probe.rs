//! An open-loop probe: it sends requests at a fixed rate and measures each from the moment when it was due, so that a stall
//! counts for every request that independent clients would have sent in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;

/// The most samples of one probe, so that memory is bounded.
const MAX_SAMPLES: usize = 100_000;

/// The measured requests.
#[derive(Debug, Default, Clone)]
pub(crate) struct Samples {
    /// Latencies, ascending.
    latencies: Vec<Duration>,
    /// Requests without the expected answer.
    pub(crate) errors: usize,
    /// The first error.
    pub(crate) error: Option<String>,
}

impl Samples {
    /// All requests.
    pub(crate) fn count(&self) -> usize {
        self.latencies.len()
    }

    /// Requests with the expected answer.
    pub(crate) fn right(&self) -> usize {
        self.count().saturating_sub(self.errors)
    }

    /// A percentile of the latencies in milliseconds; 0 if there are none.
    pub(crate) fn quantile_ms(&self, of_100: usize) -> f64 {
        // The nearest rank: of 100 the 99th is the second longest.
        let rank = (self.count() * of_100).div_ceil(100);
        self.latencies.get(rank.saturating_sub(1)).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }
}

/// A thread that sends requests until it is stopped.
pub(crate) struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Samples>,
}

impl Probe {
    /// Starts at this rate. `ask` receives the number of the request.
    pub(crate) fn start(per_second: u32, ask: impl FnMut(usize) -> Result<()> + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        Self { stop, thread: std::thread::spawn(move || run(Duration::from_secs(1) / per_second, ask, &told)) }
    }

    /// Stops it without waiting for the request in flight.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Stops it and returns its measurements.
    pub(crate) fn finish(self) -> Samples {
        self.stop();
        self.thread.join().unwrap_or_default()
    }
}

fn run(pause: Duration, mut ask: impl FnMut(usize) -> Result<()>, stop: &AtomicBool) -> Samples {
    let mut samples = Samples::default();
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) && samples.count() < MAX_SAMPLES {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if let Err(error) = ask(samples.count()) {
            samples.errors += 1;
            samples.error.get_or_insert_with(|| format!("{error:#}"));
        }
        samples.latencies.push(due.elapsed());
        due += pause;
    }
    // Requests that were due but never sent have waited too.
    while due < Instant::now() && samples.count() < MAX_SAMPLES {
        samples.latencies.push(due.elapsed());
        due += pause;
    }
    samples.latencies.sort_unstable();
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_counts_for_everything_that_was_due_in_it() {
        let probe = Probe::start(1000, |number| {
            if number == 0 {
                std::thread::sleep(Duration::from_millis(200));
            }
            Ok(())
        });
        std::thread::sleep(Duration::from_millis(400));
        let samples = probe.finish();
        // A fifth of a second at 1,000 a second: half of the first 200 waited for longer than 100 ms.
        assert!(samples.latencies.iter().filter(|time| time.as_millis() >= 100).count() >= 90, "{samples:?}");
        assert_eq!((samples.errors, samples.quantile_ms(100) >= 200.0), (0, true));
    }

    #[test]
    fn quantiles_are_the_nearest_rank() {
        let latencies = (1..=200).map(Duration::from_millis).collect();
        let samples = Samples { latencies, errors: 1, error: None };
        assert_eq!([50, 99, 100].map(|of| samples.quantile_ms(of).to_bits()), [100.0, 198.0, 200.0].map(f64::to_bits));
        assert_eq!((samples.right(), Samples::default().quantile_ms(99).to_bits()), (199, 0.0_f64.to_bits()));
    }
}
