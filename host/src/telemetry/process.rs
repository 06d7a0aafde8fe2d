//! The process as the system sees it, under the names that every Prometheus client uses. Read from /proc; where there is
//! none these metrics are left out.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::Registry;

use super::pulled::{Kind, Pulled, Read, float};

pub(super) fn register(registry: &Registry) -> Result<(), prometheus::Error> {
    // The metrics are made among the first things that the process does; /proc knows no better than a clock tick.
    let started = SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64());
    let gauges: [(&str, &str, Read); 5] = [
        ("process_start_time_seconds", "When the process started, in seconds since 1970.", Box::new(move || started)),
        (
            "process_resident_memory_bytes",
            "Memory of the process that is in RAM.",
            Box::new(|| status("VmRSS:").map(|kib| float(kib) * 1024.0)),
        ),
        (
            "process_virtual_memory_bytes",
            "Address space of the process, most of which is reserved for instances and never used.",
            Box::new(|| status("VmSize:").map(|kib| float(kib) * 1024.0)),
        ),
        ("process_threads", "Threads of the process.", Box::new(|| status("Threads:").map(float))),
        ("process_open_fds", "Open files and sockets of the process.", Box::new(open_fds)),
    ];
    gauges.into_iter().try_for_each(|(name, help, read)| {
        registry.register(Box::new(Pulled::new(Kind::Gauge, name, help, None, read)?))
    })
}

fn status(field: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

fn open_fds() -> Option<f64> {
    // One of them is the folder that is being read.
    let count = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    u64::try_from(count).ok().map(float)
}
