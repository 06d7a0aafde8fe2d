//! Clients that others wrote agree with the host: grpcio with stubs made from `proto/` and by reflection, an OpenAPI
//! validator and schemathesis. The programs are those of `host/tests/clients`; they run in the Python of `cargo xtask test`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Host, Session, Setup, first_admin, guest};

/// The Python with the clients; none where it cannot be had on this machine, which is told for this test.
fn python(test: &str) -> Option<PathBuf> {
    let python = std::env::var_os("ARCANA_TEST_PYTHON").map(PathBuf::from);
    if python.is_none() {
        let why = std::env::var("ARCANA_TEST_PYTHON_MISSING")
            .unwrap_or_else(|_| "ARCANA_TEST_PYTHON is not set; `cargo xtask test` sets it".into());
        // Past the harness, which shows nothing of what a test prints that does not fail. `cargo xtask test` counts it.
        let mut out = std::io::stdout().lock();
        out.write_all(format!("\nskipped: clients::{test}: {why}\n").as_bytes()).unwrap();
        out.flush().unwrap();
    }
    python
}

/// Runs programs of `host/tests/clients` against this host. They are told of it by `ARCANA_…` variables.
fn run(python: &Path, programs: &[&str], host: &Host, more: &[(&str, &str)]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let mut command = Command::new(python);
    // No plugin, cache or byte code is looked for or left outside the environment.
    command.args(["-B", "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider", "--rootdir"]).arg(&folder);
    command.args(programs.iter().map(|program| folder.join(program)));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ARCANA_") || name.starts_with("PYTHON")) {
        command.env_remove(name);
    }
    command.current_dir(host.path("")).env("ARCANA_REST", &host.url);
    command.env("ARCANA_GRPC", host.grpc.trim_start_matches("http://"));
    command.envs(more.iter().copied()).stdin(Stdio::null());
    let output = command.output().unwrap();
    if !output.status.success() {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let log = host.log();
        // The end of the log is what belongs to the failure.
        let tail: Vec<&str> = log.lines().rev().take(40).collect();
        let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
        panic!(
            "{programs:?}: {}\n{}\n{}\nthe host's log:\n{tail}",
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        );
    }
}

fn of_admin(admin: &Session) -> [(&'static str, &str); 2] {
    [("ARCANA_ADMIN_TOKEN", &admin.access), ("ARCANA_ADMIN_ID", &admin.id)]
}

#[tokio::test]
async fn grpcio_signs_in_manages_accounts_and_finds_everything_by_reflection() {
    let Some(python) = python("grpcio_signs_in_manages_accounts_and_finds_everything_by_reflection") else { return };
    let host = Setup::identity().dev().plugin("echo", &guest("echo")).start();
    let admin = first_admin(&host).await;
    run(&python, &["test_session.py", "test_reflection.py", "test_types.py"], &host, &of_admin(&admin));
}

#[test]
fn grpcio_is_told_when_to_come_back() {
    let Some(python) = python("grpcio_is_told_when_to_come_back") else { return };
    let host = Setup::identity().settings("[limits]\nrate_limits = true\n").start();
    run(&python, &["test_limits.py"], &host, &[]);
}

#[tokio::test]
async fn schemathesis_finds_nothing_as_administrator() {
    let Some(python) = python("schemathesis_finds_nothing_as_administrator") else { return };
    let host = Setup::identity().dev().start();
    let admin = first_admin(&host).await;
    run(&python, &["test_openapi.py"], &host, &of_admin(&admin));
}

#[test]
fn schemathesis_finds_nothing_without_a_token() {
    let Some(python) = python("schemathesis_finds_nothing_without_a_token") else { return };
    let host = Setup::identity().dev().start();
    run(&python, &["test_openapi.py"], &host, &[]);
}

#[test]
fn schemathesis_finds_nothing_in_every_type() {
    let Some(python) = python("schemathesis_finds_nothing_in_every_type") else { return };
    let host = Setup::new().dev().plugin("echo", &guest("echo")).start();
    run(&python, &["test_openapi.py"], &host, &[]);
}
