//! `arcana user create-admin`.

use std::io::Write as _;
use std::process::{Output, Stdio};

use reqwest::Method;

use crate::support::{Session, Setup, first_admin};

fn create_admin(setup: &Setup, args: &[&str], input: Option<&str>) -> Output {
    let args = [&["user", "create-admin"], args].concat();
    let mut command = setup.command(&args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    if let Some(input) = input {
        // A program that ends before it reads closes the pipe; what it says is looked at.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    }
    child.wait_with_output().unwrap()
}

/// What it says when it makes an account.
fn made(setup: &Setup, args: &[&str], input: Option<&str>) -> String {
    let output = create_admin(setup, args, input);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What it says when it makes none.
fn refused(setup: &Setup, args: &[&str], input: Option<&str>) -> String {
    let output = create_admin(setup, args, input);
    assert!(!output.status.success(), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("created"), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn the_first_administrator_comes_from_the_command_line() {
    let setup = Setup::identity();
    let stdin = made(&setup, &["--email", "root@example.org", "--password-stdin"], Some("pass word, 8+\n"));
    assert!(stdin.contains("created root@example.org") && !stdin.contains("pass word"), "{stdin}");
    let printed = made(&setup, &["--email", "ops@example.org", "--username", "Ops"], None);
    let password =
        printed.lines().find_map(|line| line.strip_prefix("password: ")).unwrap_or_else(|| panic!("{printed}"));

    // Everything that is wrong is named.
    let bad = refused(&setup, &["--email", "nobody", "--username", "é", "--password-stdin"], Some("short\n"));
    assert!(bad.contains("email: ") && bad.contains("username: ") && bad.contains("password: "), "{bad}");
    let taken = refused(&setup, &["--email", "ROOT@example.org"], None);
    assert!(taken.contains("email: ") && taken.contains("already"), "{taken}");
    let none = refused(&Setup::new(), &["--email", "root@example.org"], None);
    assert!(none.contains("no active plugin provides arcana:user/user-service"), "{none}");

    let host = setup.start();
    for (name, password) in [("root@example.org", "pass word, 8+"), ("ops@example.org", password)] {
        let (status, answer) = host.login(name, password).await;
        assert_eq!((status, answer["user"]["role"].as_str()), (200, Some("superadmin")), "{name}: {answer}");
        let access = Session::read(&answer).access;
        let (status, page) = host.call(Method::GET, "/api/v1/users", Some(&access), None).await;
        assert_eq!((status, page["total_elements"].as_u64()), (200, Some(2)), "{page}");
    }
    let busy = refused(host.setup(), &["--email", "third@example.org"], None);
    assert!(busy.contains("another host is using the data folder"), "{busy}");
    assert_eq!(host.login("ops@example.org", password).await.0, 200, "the host did not notice");
}

#[tokio::test]
async fn development_mode_makes_one_administrator_and_says_so_once() {
    let announced = |printed: &[String]| printed.iter().any(|line| line.contains("administrator"));
    // Without development mode there is none.
    let host = Setup::identity().start();
    assert!(!announced(&host.printed), "{:?}", host.printed);
    let host = host.kill().dev().start();
    let admin = first_admin(&host).await;
    let password = host.printed.join("\n");
    assert!(!host.log().contains(password.split("with password ").nth(1).unwrap().split(' ').next().unwrap()));
    let host = host.kill().start();
    assert!(!announced(&host.printed), "{:?}", host.printed);
    let (status, page) = host.call(Method::GET, "/api/v1/users", Some(&admin.access), None).await;
    assert_eq!((status, page["total_elements"].as_u64()), (200, Some(1)), "{page}");
}
