//! Attacks by publishers and administrators.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use arcana_signing::SecretKey;
use serde_json::json;

use crate::client::{Client, dial, request};
use crate::field::{Attacker, Field, in_words, upload};
use crate::files;
use crate::kitchen::address;

/// The number of plugin names that uploads rotate through, below `limits.max_plugins`.
const NAMES: usize = 20;

/// Uploads from several attackers at once. `make` makes the files before the attack begins.
fn uploads(field: &mut Field<'_>, at_once: usize, make: impl Fn(&str, u32) -> Result<Vec<u8>>) -> Result<()> {
    let names = (0_u32..).take(NAMES).map(|at| (format!("bomb{at}"), at));
    let files: Vec<Vec<u8>> = names.map(|(name, at)| make(&name, at)).collect::<Result<_>>()?;
    let token = field.admin()?;
    field.attackers(at_once, move |me| {
        let file = files.get(me.turn() % NAMES).context("no file")?;
        me.upload(&token, file)
    });
    Ok(())
}

fn with_migration(field: &mut Field<'_>, sql: &str) -> Result<()> {
    let kitchen = field.kitchen;
    uploads(field, 2, |name, at| {
        kitchen.pack(&files::answering(name, at)?, &files::manifest(name, 1, files::OWN_STORE), Some(sql))
    })
}

/// Views that each double the expansion of a statement.
pub(super) fn doubling_views(field: &mut Field<'_>) -> Result<()> {
    with_migration(field, &files::doubling_views(18))
}

/// Triggers that each fire the next.
pub(super) fn chained_triggers(field: &mut Field<'_>) -> Result<()> {
    with_migration(field, &files::chained_triggers(3000))
}

/// Contracts that are small in the file and large after expansion.
pub(super) fn type_bombs(field: &mut Field<'_>) -> Result<()> {
    let kitchen = field.kitchen;
    uploads(field, 2, |name, _| kitchen.pack(&files::type_bomb(name, 18)?, &files::manifest(name, 1, ""), None))
}

/// Code that takes long to compile, while somebody else installs a small plugin.
pub(super) fn slow_compiles(field: &mut Field<'_>) -> Result<()> {
    let kitchen = field.kitchen;
    let make = |at: u32| kitchen.pack(&files::laborious(at), &files::bare_manifest(&format!("slow{at}"), 1), None);
    // Three outlast any attack.
    let files: Vec<Vec<u8>> = (0..3).map(make).collect::<Result<_>>()?;
    let token = field.admin()?;
    let attacking = token.clone();
    field.attackers(2, move |me| {
        let turn = me.turn();
        me.upload(&attacking, files.get(turn % files.len()).context("no file")?)
    });
    let small: Vec<Vec<u8>> = (1_u32..40)
        .map(|at| {
            let component = files::answering("small", at)?;
            kitchen.pack(&component, &files::manifest("small", u64::from(at), ""), None)
        })
        .collect::<Result<_>>()?;
    let port = field.port;
    field.other("small upload", 1, move |number| {
        let mut client = Client::new(port, address(202, 0), Duration::from_secs(30));
        let answer = client.ask(&upload(&token, small.get(number % small.len()).context("no file")?))?;
        ensure!(matches!(answer.status, 200 | 201), "{}", in_words(&answer));
        Ok(())
    });
    Ok(())
}

/// Files signed with a key that is not trusted.
pub(super) fn refused_uploads(field: &mut Field<'_>) -> Result<()> {
    let stranger = SecretKey::generate()?;
    uploads(field, 4, |name, at| {
        files::pack(&files::answering(name, at)?, &files::manifest(name, 1, ""), None, &stranger)
    })
}

/// The size of the database that records refusals.
pub(super) fn registry_size(field: &Field<'_>) -> Option<String> {
    let bytes = field.bytes_of_files("host.db") + field.bytes_of_files("host.db-wal");
    Some(format!("host.db {} KiB", bytes >> 10))
}

/// More followers than allowed, which read slowly while the plugin logs without pause.
pub(super) fn followers(field: &mut Field<'_>) -> Result<()> {
    let token = field.admin()?;
    field.attackers(64, move |me| follow(me, &token));
    field.attackers(2, |me| {
        let answer = me.call("/test/hostile/flood-log", &json!({ "lines": 100, "bytes": 4096 }))?;
        Ok(format!("log {}", in_words(&answer)))
    });
    Ok(())
}

fn follow(me: &mut Attacker, token: &str) -> Result<String> {
    let path = "/api/v1/plugins/test/hostile/logs?follow=true";
    let mut stream = dial(me.port, me.source, Duration::from_secs(5), Some(4096))?;
    stream.write_all(&request("GET", path, Some(token), None))?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    let status = String::from_utf8_lossy(head.get(9..).unwrap_or_default()).into_owned();
    if status != "200" {
        me.sleep(Duration::from_millis(100));
        return Ok(format!("follow {status}"));
    }
    me.count("follow 200");
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut piece = [0; 1024];
    while !me.is_over() {
        match stream.read(&mut piece) {
            Ok(0) => return Ok("follow ended".to_owned()),
            Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok("follow ended".to_owned());
            }
            _ => me.sleep(Duration::from_millis(20)),
        }
    }
    Ok(String::new())
}
