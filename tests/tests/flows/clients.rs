//! Clients that generators make of the committed document do the whole five-minute path, in Python and in TypeScript.

use std::path::Path;
use std::process::Command;

use plinth_tests::site::{Backing, Site};
use plinth_tests::tools::{run, script, succeeded};
use plinth_tests::workspace_root;

plinth_tests::on_both!(python, typescript);

async fn python(backing: Backing) {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().to_str().expect("a path in UTF-8").to_owned();
    let made = blocking(move || script("Python client", "spec", &["client", "python", &place])).await;
    let Some(interpreter) = made else { return };
    let mut command = Command::new(interpreter);
    command
        .env("PYTHONPATH", folder.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(workspace_root().join("tests/clients/python/five_minutes.py"));
    walk(backing, command).await;
}

async fn typescript(backing: Backing) {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().to_str().expect("a path in UTF-8").to_owned();
    let made = blocking(move || script("TypeScript client", "spec", &["client", "typescript", &place])).await;
    if made.is_some() {
        let mut command = Command::new("node");
        command.arg(folder.path().join("five-minutes.js"));
        walk(backing, command).await;
    }
}

/// Starts a server and gives the program its address, its outbox and the repository.
async fn walk(backing: Backing, mut command: Command) {
    let site = Site::start(backing).await;
    command.arg(site.server.http()).arg(outbox(&site)).arg(workspace_root());
    let output = blocking(move || run(&mut command)).await;
    let said = succeeded("the client", &output);
    assert!(said.contains("the five-minute path holds"), "{said}");
}

fn outbox(site: &Site) -> std::path::PathBuf {
    Path::new(site.server.data_dir()).join("outbox")
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("no panic")
}
