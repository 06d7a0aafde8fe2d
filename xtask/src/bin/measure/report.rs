//! The figures, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::calls::CONNECTIONS;
use crate::figures::float;
use crate::machine::Facts;
use crate::process::Memory;
use crate::rounds::{GRPC_YARDSTICK, HEALTH, Row, YARDSTICK};
use crate::save::Saves;
use crate::sizes::Size;
use crate::start::Starts;
use crate::storm::{CLIENTS, Storm};
use crate::turn::Turn;

/// Programs that waited for a processor in the minute before, from which on a machine is not quiet.
const BUSY: f64 = 0.5;

/// Everything that was measured.
pub(crate) struct Report {
    pub(crate) facts: Facts,
    pub(crate) rounds: usize,
    pub(crate) turn: Duration,
    pub(crate) connections: usize,
    pub(crate) rows: Vec<Row>,
    pub(crate) sizes: Vec<Size>,
    pub(crate) storm: Storm,
    pub(crate) starts: Starts,
    pub(crate) saves: Saves,
    /// Of the host after the rounds.
    pub(crate) loaded: Memory,
    /// Of the host after the storm.
    pub(crate) after_storm: Memory,
}

impl Report {
    /// Whether everything was answered as it should be.
    pub(crate) fn is_right(&self) -> bool {
        self.turns().all(|turn| turn.errors == 0)
    }

    fn turns(&self) -> impl Iterator<Item = &Turn> {
        self.rows.iter().flat_map(|row| &row.turns).chain([&self.storm.logins, &self.storm.health])
    }

    /// Prints the tables on standard output.
    pub(crate) fn print(&self) {
        // Writing into a text does not fail.
        let mut out = String::new();
        let _ = self.write(&mut out);
        print!("{out}");
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let facts = &self.facts;
        writeln!(out, "\n{} cores, {}, Linux {}, load {}", facts.cores, facts.cpu, facts.kernel, facts.load)?;
        writeln!(out, "rustc {}, wasmtime {}", facts.rustc, facts.wasmtime)?;
        if facts.load.parse::<f64>().is_ok_and(|load| load > BUSY) {
            writeln!(out, "others were at work here: the processor times say more than the rates")?;
        }
        writeln!(
            out,
            "{} rounds of {} s for each target; {} connections over REST, {CONNECTIONS} with {} calls at once each over gRPC",
            self.rounds,
            self.turn.as_secs(),
            self.connections,
            self.connections.div_ceil(CONNECTIONS)
        )?;
        writeln!(out, "medians of the rounds, ratios to the yardstick of the same protocol in the same round\n")?;
        let heads = ["requests/s", "p50 ms", "p99 ms", "ratio", "aim", "cpu µs", "ratio"];
        write!(out, "{:33}", "")?;
        for head in heads {
            write!(out, "{head:>11}")?;
        }
        writeln!(out)?;
        for row in &self.rows {
            write!(out, "{:33}{:>11.0}", row.name, row.median(Turn::rate))?;
            write!(
                out,
                "{:>11.2}{:>11.2}",
                row.median(|turn| turn.quantile_ms(500)),
                row.median(|turn| turn.quantile_ms(990))
            )?;
            let aim = row.aim.map_or_else(String::new, |aim| format!("{aim:.2}"));
            write!(out, "{:>11.2}{aim:>11}", self.ratio(row))?;
            writeln!(out, "{:>11.1}{:>11.2}", row.median(Turn::cpu_us), self.cpu_ratio(row))?;
        }
        writeln!(
            out,
            "cpu: of the server's process for one answer. Asking takes {:.0} % of one core over REST, {:.0} % over gRPC.\n",
            self.own_load(YARDSTICK),
            self.own_load(GRPC_YARDSTICK)
        )?;
        writeln!(out, "bytes of the same answer      JSON   message")?;
        for Size { name, json, grpc, .. } in &self.sizes {
            writeln!(out, "  {name:26}{json:>6}{grpc:>10}  ({:.2})", float(*grpc) / float(*json))?;
        }
        writeln!(out)?;
        self.write_storm(out)?;
        self.write_sizes(out)?;
        for error in self.turns().filter_map(|turn| turn.error.as_ref()).take(5) {
            writeln!(out, "WRONG ANSWER: {error}")?;
        }
        let errors: usize = self.turns().map(|turn| turn.errors).sum();
        if errors > 0 {
            writeln!(out, "{errors} wrong answers: these figures say nothing")?;
        }
        Ok(())
    }

    fn write_storm(&self, out: &mut String) -> std::fmt::Result {
        let Storm { logins, health, max_rss } = &self.storm;
        writeln!(out, "{CLIENTS} clients sign in without pause, {} s", logins.time.as_secs())?;
        let refused = float(logins.refused) / logins.time.as_secs_f64();
        writeln!(
            out,
            "  sign-ins {:.1}/s, p50 {:.0} ms, p99 {:.0} ms; refused with 503 {refused:.1}/s",
            logins.rate(),
            logins.quantile_ms(500),
            logins.quantile_ms(990)
        )?;
        writeln!(
            out,
            "  /health beside them {:.0}/s ({:.2} of its rate alone), p50 {:.2} ms, p99 {:.2} ms",
            health.rate(),
            self.health_kept(),
            health.quantile_ms(500),
            health.quantile_ms(990)
        )?;
        writeln!(out, "  memory of the host at most {:.1} MB\n", mb(*max_rss))
    }

    fn write_sizes(&self, out: &mut String) -> std::fmt::Result {
        let Starts { first, cold, warm, least, idle } = &self.starts;
        writeln!(
            out,
            "start to first 200: {warm:.0} ms with compiled code (least {least:.0}; aim 50), {cold:.0} ms without, {first:.0} ms in an empty folder"
        )?;
        let Saves { whole, least, built, swapped } = &self.saves;
        writeln!(
            out,
            "save to answer with `arcana dev`: {whole:.0} ms (least {least:.0}; aim 2000), of it building {built:.0} ms, swapping {swapped:.0} ms"
        )?;
        let memory = |memory: &Memory| format!("{:.1} MB RSS, {:.1} MB PSS", mb(memory.rss), mb(memory.pss));
        writeln!(
            out,
            "memory: idle {} (aim 40); after the rounds {}; after the storm {}",
            memory(idle),
            memory(&self.loaded),
            memory(&self.after_storm)
        )?;
        writeln!(out, "program: {:.1} MB (aim 30)", mb(self.facts.binary))
    }

    fn ratio(&self, row: &Row) -> f64 {
        self.rows.get(row.yardstick).map_or(0.0, |yardstick| row.ratio(yardstick, Turn::rate))
    }

    /// The yardstick's time on the processors, as a part of this one's.
    fn cpu_ratio(&self, row: &Row) -> f64 {
        self.rows.get(row.yardstick).map_or(0.0, |yardstick| yardstick.ratio(row, Turn::cpu_us))
    }

    fn health_kept(&self) -> f64 {
        self.rows.get(HEALTH).map_or(0.0, |row| self.storm.health.rate() / row.median(Turn::rate))
    }

    /// The part of one processor that asking this yardstick takes, in percent.
    fn own_load(&self, yardstick: usize) -> f64 {
        let busy = |turn: &Turn| turn.own_cpu.as_secs_f64() / turn.time.as_secs_f64() * 100.0;
        self.rows.get(yardstick).map_or(0.0, |row| row.median(busy))
    }

    /// The same as JSON. Rates are per second, times in milliseconds unless the name says otherwise, sizes in bytes.
    pub(crate) fn json(&self) -> Value {
        let facts = &self.facts;
        let targets: serde_json::Map<String, Value> = self
            .rows
            .iter()
            .map(|row| {
                let rates: Vec<f64> = row.turns.iter().map(Turn::rate).collect();
                let figures = json!({
                    "rate": row.median(Turn::rate),
                    "rates": rates,
                    "p50": row.median(|turn| turn.quantile_ms(500)),
                    "p99": row.median(|turn| turn.quantile_ms(990)),
                    "ratio": self.ratio(row),
                    "aim": row.aim,
                    "cpu_us": row.median(Turn::cpu_us),
                    "cpu_ratio": self.cpu_ratio(row),
                    "errors": row.turns.iter().map(|turn| turn.errors).sum::<usize>(),
                });
                (row.key.to_owned(), figures)
            })
            .collect();
        let sizes: serde_json::Map<String, Value> = (self.sizes.iter())
            .map(|size| (size.key.to_owned(), json!({ "json": size.json, "grpc": size.grpc })))
            .collect();
        let memory = |memory: &Memory| json!({ "rss": memory.rss, "pss": memory.pss });
        let Storm { logins, health, max_rss } = &self.storm;
        json!({
            "machine": {
                "cores": facts.cores, "cpu": facts.cpu, "kernel": facts.kernel, "load": facts.load,
                "rustc": facts.rustc, "wasmtime": facts.wasmtime,
            },
            "method": {
                "rounds": self.rounds, "seconds": self.turn.as_secs(), "connections": self.connections,
                "own_cpu_percent": self.own_load(YARDSTICK), "grpc_own_cpu_percent": self.own_load(GRPC_YARDSTICK),
                "grpc_connections": CONNECTIONS,
            },
            "targets": targets,
            "sizes": sizes,
            "storm": {
                "clients": CLIENTS, "logins": logins.rate(), "refused": logins.refused, "errors": logins.errors,
                "login_p50": logins.quantile_ms(500), "login_p99": logins.quantile_ms(990),
                "health": health.rate(), "health_ratio": self.health_kept(), "health_errors": health.errors,
                "health_p50": health.quantile_ms(500), "health_p99": health.quantile_ms(990), "max_rss": max_rss,
            },
            "start": {
                "warm": self.starts.warm, "warm_least": self.starts.least, "cold": self.starts.cold,
                "first": self.starts.first,
            },
            "save": {
                "whole": self.saves.whole, "least": self.saves.least, "built": self.saves.built,
                "swapped": self.saves.swapped,
            },
            "memory": {
                "idle": memory(&self.starts.idle), "after_rounds": memory(&self.loaded),
                "after_storm": memory(&self.after_storm),
            },
            "binary": facts.binary,
        })
    }
}

/// Millions of bytes, to a hundredth.
fn mb(bytes: u64) -> f64 {
    float(bytes / 10_000) / 100.0
}
