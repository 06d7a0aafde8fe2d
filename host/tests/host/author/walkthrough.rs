//! `docs/walkthrough.md`, run as it stands.

use std::fs;

use serde_json::json;

use super::{command, desk, root, said};
use crate::grpc::client::{Client, How};
use crate::live::make_admin;
use crate::support::{KEY, Setup};

/// The commands of the guide, block by block.
fn blocks() -> Vec<String> {
    let text = fs::read_to_string(root().join("docs/walkthrough.md")).unwrap();
    let mut blocks: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line {
            "```sh" => {
                inside = true;
                blocks.push(String::new());
            }
            "```" => inside = false,
            line if inside => {
                let block = blocks.last_mut().unwrap();
                block.push_str(line);
                block.push('\n');
            }
            _ => {}
        }
    }
    assert!(blocks.len() >= 9, "{blocks:?}");
    blocks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guide_works_as_it_is_written() {
    let setup = Setup::identity();
    make_admin(&setup);
    let host = setup.start();
    let desk = desk();
    let key = desk.path().join("key.pem");
    KEY.write_new(&key).unwrap();
    // The dependencies that this workspace has: nothing is fetched.
    let lock = root().join("Cargo.lock");
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_arcana")).parent().unwrap().to_owned();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let run = |script: String| {
        let mut bash = command("bash", desk.path());
        bash.args(["-euo", "pipefail", "-c", &script]).env("PATH", &path);
        bash.env("ARCANA_SERVER_URL", &host.url).env("KEY", &key);
        bash.env("ADMIN", "root@example.org").env("PASSWORD", crate::support::PASSWORD);
        bash.env("HOME", desk.path()).env("XDG_CONFIG_HOME", desk.path().join("config"));
        // rustup and cargo have their homes in the real one.
        for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            let home = std::env::var(name).unwrap_or_else(|_| format!("{}/{folder}", std::env::var("HOME").unwrap()));
            bash.env(name, home);
        }
        let said = said(&mut bash);
        assert_eq!(said.code, Some(0), "{script}\n{}\n{}", said.out, said.err);
        said.out
    };
    let blocks = blocks();
    // One shell would do; two show where gRPC is called, with the token of the shell before.
    let called = blocks.iter().position(|block| block.contains("TOKEN=")).unwrap();
    let (first, rest) = blocks.split_at(called + 1);
    let lock_it = format!("cp '{}' notes/Cargo.lock\n", lock.display());
    let first = first.concat().replacen("cd notes\n", &format!("{lock_it}cd notes\n"), 1);
    let out = run(first + "echo \"TOKEN $TOKEN\"\n");
    assert!(out.contains("acme/notes"), "{out}");
    let token = out.lines().find_map(|line| line.strip_prefix("TOKEN ")).unwrap().to_owned();

    let client = Client::new(&host, Some(&token)).await;
    let how = How::caller(Some(&token));
    let listed = client.call("acme.notes.v0.Notes.List", &json!({}), &how).await.unwrap();
    assert_eq!(listed["value"][0]["text"], json!("buy milk"), "{listed}");

    run(format!("cd notes\nTOKEN={token}\n") + &rest.concat());
}
