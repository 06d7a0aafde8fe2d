//! The figures, for people and for programs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::kitchen::Limits;
use crate::probe::Samples;
use crate::round::Outcome;

/// The bound of the 99th percentile of `/health` in milliseconds.
const HEALTH_MS: f64 = 250.0;

/// The bound of the other plugin's 99th percentile: this multiple of the quiet one …
const VICTIM_TIMES: f64 = 2.0;

/// … plus so many milliseconds.
const VICTIM_MS: f64 = 50.0;

/// The bound of the resident set less the guests' linear memory, in bytes.
const OWN_BYTES: u64 = 400 << 20;

/// The bound of the shutdown beyond its deadline.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// The kinds of answers shown in a row.
const KINDS: usize = 6;

/// The requirements that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judged {
    /// The host survives, refuses, serves others, and ends by itself.
    Conduct,
    /// Times and memory as well.
    Figures,
}

/// The column heads.
pub(crate) fn heads() -> String {
    let line = |cells: [&str; 7]| {
        let [name, health, victim, errors, own, guests, exit] = cells;
        format!("{name:42}{health:>22}{victim:>22}{errors:>8}{own:>7}{guests:>8}{exit:>7}  ")
    };
    let top = line(["", "/health ms", "other plugin ms", "errors", "own", "guests", "exit"]);
    let bottom = line(["", "quiet → attacked", "quiet → attacked", "of it", "MiB", "MiB", "s"]);
    format!("{top}\n{bottom}verdict\n{:42}{:>22}{:>22}", "", "p50/p99 p50/p99", "p50/p99 p50/p99")
}

/// The violated requirements.
pub(crate) fn faults(outcome: &Outcome, limits: &Limits, judged: Judged) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some(how) = &outcome.died {
        faults.push(format!("THE HOST {how}"));
        return faults;
    }
    for (what, count) in &outcome.tally {
        if outcome.never.iter().any(|never| what.split(' ').next() == Some(never)) {
            faults.push(format!("{count} × {what}"));
        }
    }
    if !outcome.end.is_clean() {
        faults.push("exit: not by itself".to_owned());
    }
    let all = [("/health", &outcome.attacked.health), ("other plugin", &outcome.attacked.victim)];
    let all = all.into_iter().chain(outcome.others.iter().map(|(name, samples)| (*name, samples)));
    for (name, samples) in all {
        // A short run has few samples, and a busy machine may delay one past its limit.
        if (judged == Judged::Figures && samples.errors > 0) || samples.right() == 0 {
            faults.push(format!("{name}: {} of {} failed", samples.errors, samples.count()));
        }
    }
    if judged == Judged::Conduct {
        return faults;
    }
    let (quiet, attacked) = (&outcome.quiet, &outcome.attacked);
    if attacked.health.quantile_ms(99) > HEALTH_MS {
        faults.push("health".to_owned());
    }
    if attacked.victim.quantile_ms(99) > quiet.victim.quantile_ms(99) * VICTIM_TIMES + VICTIM_MS {
        faults.push("other plugin".to_owned());
    }
    if outcome.peak.own >= OWN_BYTES {
        faults.push("memory".to_owned());
    }
    if outcome.peak.guests >= limits.total_memory {
        faults.push("memory of guests".to_owned());
    }
    if outcome.end.after > limits.shutdown + SHUTDOWN {
        faults.push("exit: late".to_owned());
    }
    faults
}

/// The row of an attack, and below it the answers to attackers and bystanders.
pub(crate) fn row(outcome: &Outcome, faults: &[String]) -> String {
    let times = |quiet: &Samples, attacked: &Samples| {
        let pair = |samples: &Samples| format!("{}/{}", ms(samples.quantile_ms(50)), ms(samples.quantile_ms(99)));
        format!("{} → {}", pair(quiet), pair(attacked))
    };
    let (quiet, attacked) = (&outcome.quiet, &outcome.attacked);
    let verdict = if faults.is_empty() { "ok".to_owned() } else { format!("FAILED: {}", faults.join(", ")) };
    let mut text = format!(
        "{:42}{:>22}{:>22}{:>8}{:>7}{:>8}{:>7.1}  {verdict}",
        outcome.name,
        times(&quiet.health, &attacked.health),
        times(&quiet.victim, &attacked.victim),
        attacked.victim.errors,
        outcome.peak.own >> 20,
        outcome.peak.guests >> 20,
        outcome.end.after.as_secs_f64(),
    );
    let mut counts: Vec<(&String, &usize)> = outcome.tally.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let mut more: Vec<String> = counts.iter().take(KINDS).map(|(what, count)| format!("{count} × {what}")).collect();
    if outcome.unanswered > 0 {
        more.push(format!("{} without an answer yet", outcome.unanswered));
    }
    more.extend(outcome.looked.clone());
    for (name, samples) in &outcome.others {
        let (right, count) = (samples.right(), samples.count());
        more.push(format!("{name}: {right} of {count}, longest {} ms", ms(samples.quantile_ms(100))));
    }
    text.push_str(&format!("\n    {}", more.join("; ")));
    let asked =
        [&attacked.health, &attacked.victim].into_iter().chain(outcome.others.iter().map(|(_, samples)| samples));
    for error in asked.filter_map(|samples| samples.error.as_ref()) {
        let error: String = error.chars().map(|one| if one.is_control() { ' ' } else { one }).take(160).collect();
        text.push_str(&format!("\n    first error: {error}"));
    }
    text
}

/// The requirements in words.
pub(crate) fn legend(limits: &Limits) -> String {
    format!(
        "required: /health p99 ≤ {HEALTH_MS} ms; the other plugin's p99 ≤ {VICTIM_TIMES} × quiet + {VICTIM_MS} ms; no errors; own (RSS less the \
         guests' linear memory) < {} MiB; guests < {} MiB; exit after SIGTERM ≤ {} s, by itself, under attack",
        OWN_BYTES >> 20,
        limits.total_memory >> 20,
        (limits.shutdown + SHUTDOWN).as_secs()
    )
}

/// The result as JSON: times in milliseconds, sizes in bytes.
pub(crate) fn json(outcome: &Outcome, faults: &[String]) -> Value {
    let samples = |samples: &Samples| {
        json!({
            "count": samples.count(), "errors": samples.errors, "error": samples.error,
            "p50": samples.quantile_ms(50), "p99": samples.quantile_ms(99), "max": samples.quantile_ms(100),
        })
    };
    let others: serde_json::Map<String, Value> =
        outcome.others.iter().map(|(name, seen)| ((*name).to_owned(), samples(seen))).collect();
    json!({
        "name": outcome.name,
        "health": { "quiet": samples(&outcome.quiet.health), "attacked": samples(&outcome.attacked.health) },
        "victim": { "quiet": samples(&outcome.quiet.victim), "attacked": samples(&outcome.attacked.victim) },
        "others": others,
        "memory": { "rss": outcome.peak.rss, "own": outcome.peak.own, "guests": outcome.peak.guests },
        "answers": outcome.tally,
        "unanswered": outcome.unanswered,
        "figure": outcome.looked,
        "died": outcome.died,
        "exit": { "after": outcome.end.after.as_secs_f64() * 1e3, "clean": outcome.end.is_clean() },
        "faults": faults,
    })
}

/// Milliseconds for a column; with tenths below ten.
fn ms(value: f64) -> String {
    if value < 9.95 { format!("{value:.1}") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests {
    use super::ms;

    #[test]
    fn times_are_short() {
        assert_eq!([0.04, 9.94, 9.96, 1234.5].map(ms), ["0.0", "9.9", "10", "1234"].map(str::to_owned));
    }
}
