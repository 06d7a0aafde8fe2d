//! Connections that hold resources and do not take answers.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Result;

use crate::client::{dial, request};
use crate::field::{Attacker, Field};
use crate::h2::Greedy;
use crate::kitchen::address;

/// A public answer of more than a megabyte.
const DOCS: &str = "/api/docs/swagger-ui-bundle.js";

/// The interval at which a connection is served.
const SLICE: Duration = Duration::from_millis(100);

/// Many streams on several connections with a closed window.
fn closed_windows(field: &mut Field<'_>, path: &'static str) {
    let streams = field.kitchen.limits.streams.saturating_sub(8);
    field.attackers(8, move |me| {
        let mut connection = Greedy::open(me.port, me.source, 0)?;
        me.count("connections");
        let mut asked = 0;
        while !me.is_over() {
            // A reset stream makes room for the next.
            while asked < streams + connection.resets {
                if connection.get(path).is_err() {
                    return Ok("closed by the host".to_owned());
                }
                asked += 1;
                me.count("requests");
            }
            if connection.linger(SLICE).is_err() {
                return Ok("closed by the host".to_owned());
            }
        }
        Ok(String::new())
    });
}

pub(super) fn closed_windows_on_docs(field: &mut Field<'_>) -> Result<()> {
    closed_windows(field, DOCS);
    Ok(())
}

pub(super) fn closed_windows_on_metrics(field: &mut Field<'_>) -> Result<()> {
    closed_windows(field, "/metrics");
    Ok(())
}

/// More connections than the host accepts, each idle after one request.
pub(super) fn idle_connections(field: &mut Field<'_>) -> Result<()> {
    let each = field.kitchen.limits.connections / 8 + 16;
    field.attackers(8, move |me| {
        let mut open: Vec<Greedy> = Vec::new();
        while !me.is_over() {
            if open.len() < each {
                match Greedy::open(me.port, me.source, 65_535).and_then(|mut new| new.get("/health/live").map(|()| new))
                {
                    Ok(new) => {
                        me.count("connections");
                        open.push(new);
                        continue;
                    }
                    Err(_) => {
                        me.count("connections refused");
                        me.sleep(SLICE);
                    }
                }
            }
            look_after(me, &mut open);
        }
        Ok(String::new())
    });
    Ok(())
}

/// Drops the connections that the host has closed.
fn look_after(me: &Attacker, open: &mut Vec<Greedy>) {
    open.retain_mut(|connection| {
        let kept = me.is_over() || connection.linger(Duration::from_millis(1)).is_ok();
        if !kept {
            me.count("closed by the host");
        }
        kept
    });
}

/// Large answers that are read slowly.
pub(super) fn slow_readers(field: &mut Field<'_>) -> Result<()> {
    field.attackers(8, |me| {
        let mut open = Vec::new();
        while !me.is_over() {
            if open.len() < 75 {
                let source = address(66, me.number);
                let asked = dial(me.port, source, Duration::from_secs(5), Some(4096)).and_then(|mut stream| {
                    stream.write_all(&request("GET", DOCS, None, None))?;
                    stream.set_nonblocking(true)?;
                    Ok(stream)
                });
                match asked {
                    Ok(stream) => {
                        me.count("connections");
                        open.push(stream);
                    }
                    Err(_) => {
                        me.count("connections refused");
                        me.sleep(SLICE);
                    }
                }
                continue;
            }
            me.sleep(SLICE);
            let before = open.len();
            open.retain_mut(is_open);
            (open.len()..before).for_each(|_| me.count("closed by the host"));
        }
        Ok(String::new())
    });
    Ok(())
}

/// Reads a few bytes; returns whether the connection is still open.
fn is_open(stream: &mut std::net::TcpStream) -> bool {
    use std::io::{ErrorKind, Read as _};
    let mut piece = [0; 16];
    match stream.read(&mut piece) {
        Ok(0) => false,
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}
