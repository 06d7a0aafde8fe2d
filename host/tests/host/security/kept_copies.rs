//! A file of the folder that claims to be an installed one must not take the place of the good copy.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arcana::backends::sqlite::{SqliteSettings, SqliteStore, Trust};
use arcana_signing::envelope;
use serde_json::json;

use crate::small::{answer, codes, expect, json_log, plugin, stopped};
use crate::support::{Setup, threads};

/// The bytes that the host's database keeps of a digest.
async fn kept_in_database(setup: &Setup, digest: &str) -> Vec<u8> {
    let settings = Arc::new(SqliteSettings::default());
    let database =
        SqliteStore::open("host", &setup.path("data/host.db"), Trust::Host, &settings, &threads()).await.unwrap();
    let sql = format!("SELECT bytes FROM plugin_files WHERE digest = '{digest}' ORDER BY part");
    let until = Instant::now() + Duration::from_secs(10);
    let rows = database.query(&sql, Vec::new(), until).await.unwrap().rows;
    database.close(until).await;
    let part = |row: Vec<arcana::backends::sql::Value>| match row.into_iter().next() {
        Some(arcana::backends::sql::Value::Bytes(bytes)) => bytes,
        other => panic!("{other:?}"),
    };
    rows.into_iter().flat_map(part).collect()
}

/// The same envelope, which claims the same digest, around another body.
fn forged(file: &[u8]) -> Vec<u8> {
    let mut forged = file.to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert_eq!(envelope::parse(&forged).unwrap().digest(), envelope::parse(file).unwrap().digest());
    forged
}

#[tokio::test]
async fn a_forged_file_of_the_folder_never_overwrites_a_kept_copy() {
    let good = plugin("app", 1, 1);
    let digest = envelope::parse(&good).unwrap().digest().to_string();
    let host = json_log().plugin("app", &good).start();
    assert_eq!(answer(&host, "/app").await, (200, json!(1)));
    let kept = host.path(&format!("data/plugins/{digest}.wasm"));
    let policy = fs::read_to_string(host.path("config/trust.toml")).unwrap();

    // The policy refuses what was installed; in the folder lies something that calls itself the same.
    let refusing = policy.replace("serial = 1", &format!("serial = 2\nrevoked = [\"{digest}\"]"));
    let setup = stopped(host).plugin("app", &forged(&good));
    fs::write(setup.path("config/trust.toml"), &refusing).unwrap();
    let host = setup.start();
    assert_eq!((answer(&host, "/app").await.0, codes(&host)), (404, expect([("test/app", "REVOKED")])));
    let setup = stopped(host);
    assert!(fs::read(&kept).unwrap() == good, "the copy on the disk was overwritten");
    assert!(kept_in_database(&setup, &digest).await == good, "the copy in the database was overwritten");

    // The copy on the disk is gone as well: what is left is good, and stays so.
    fs::remove_file(&kept).unwrap();
    let host = setup.start();
    assert_eq!(codes(&host), expect([("test/app", "REVOKED")]));
    let setup = stopped(host);
    assert!(kept_in_database(&setup, &digest).await == good, "the copy in the database was overwritten");

    // The policy takes it back, and it serves from the database, whatever lies in the folder.
    fs::write(setup.path("config/trust.toml"), policy.replace("serial = 1", "serial = 3")).unwrap();
    let host = setup.start();
    assert_eq!((answer(&host, "/app").await, codes(&host)), ((200, json!(1)), expect([])));

    // Both copies are lost: a forged file is not made one of them, and the real one is.
    let setup = stopped(host);
    fs::remove_file(&kept).unwrap();
    let settings = Arc::new(SqliteSettings::default());
    let database =
        SqliteStore::open("host", &setup.path("data/host.db"), Trust::Host, &settings, &threads()).await.unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    database.execute("DELETE FROM plugin_files", Vec::new(), until).await.unwrap();
    database.close(until).await;
    let host = setup.start();
    assert_eq!((answer(&host, "/app").await.0, codes(&host)), (404, expect([("test/app", "UNREADABLE")])));
    let setup = stopped(host);
    assert!(!kept.exists() && kept_in_database(&setup, &digest).await.is_empty());
    let host = setup.plugin("app", &good).start();
    assert_eq!((answer(&host, "/app").await, codes(&host)), ((200, json!(1)), expect([])));
    assert!(fs::read(&kept).unwrap() == good);
}
