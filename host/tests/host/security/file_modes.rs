//! A data folder that others could look into before the host started.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::support::{Setup, guest};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

fn set(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Everything below a folder, links not followed.
fn all(folder: &Path, found: &mut Vec<PathBuf>) {
    found.push(folder.to_owned());
    for entry in fs::read_dir(folder).unwrap().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => all(&entry.path(), found),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

fn open_to_others(data: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    all(data, &mut found);
    assert!(found.iter().any(|path| path.ends_with("stores/identity.db")), "{found:?}");
    found.retain(|path| mode(path) & 0o077 != 0);
    found
}

#[tokio::test]
async fn a_data_folder_that_everybody_could_read_is_its_owners_alone_after_the_start() {
    // The folder of an administrator's `mkdir`, and the umask of most shells.
    let setup = Setup::identity().plugin("chaos", &guest("chaos"));
    let data = setup.path("data");
    fs::create_dir(&data).unwrap();
    set(&data, 0o755);
    let host = setup.start();
    host.register("ada@example.org").await;
    assert_eq!(open_to_others(&data), Vec::<PathBuf>::new());
    assert!(host.log().contains("others could reach files of the data folder"), "{}", host.log());

    // What an older version left, what is used while the host runs, and a link that leads elsewhere.
    let setup = host.kill();
    let outside = setup.path("outside.txt");
    fs::write(&outside, "x").unwrap();
    set(&outside, 0o644);
    symlink(&outside, data.join("stores/link.db")).unwrap();
    fs::write(data.join("stores/backup.db"), "x").unwrap();
    let mut found = Vec::new();
    all(&data, &mut found);
    for path in found.iter().filter(|path| !path.starts_with(data.join("keys"))) {
        set(path, if path.is_dir() { 0o775 } else { 0o664 });
    }
    let host = setup.start();
    host.register("bob@example.org").await;
    assert_eq!(open_to_others(&data), Vec::<PathBuf>::new());
    assert_eq!(mode(&outside), 0o644, "links are not followed");
    for end in ["", "-wal", "-shm"] {
        assert_eq!(mode(&data.join(format!("stores/identity.db{end}"))), 0o600, "{end}");
    }
}

#[tokio::test]
async fn a_registry_outside_of_the_data_folder_is_private_too() {
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("registry.db");
    set(elsewhere.path(), 0o755);
    let setup = Setup::new().settings(&format!("[plugins]\nregistry = {file:?}\n"));
    let host = setup.start();
    assert_eq!(mode(&file), 0o600);
    let setup = host.kill();
    set(&file, 0o644);
    let host = setup.start();
    assert_eq!((mode(&file), mode(elsewhere.path())), (0o600, 0o755));
    drop(host);
}

#[test]
fn an_administrator_made_on_the_command_line_opens_nothing() {
    let setup = Setup::identity();
    let data = setup.path("data");
    fs::create_dir(&data).unwrap();
    set(&data, 0o777);
    let made = setup.command(&["user", "create-admin", "--email", "root@example.org"]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    assert_eq!(open_to_others(&data), Vec::<PathBuf>::new());
}
