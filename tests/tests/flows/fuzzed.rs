//! Schemathesis makes requests of the committed document, good and bad ones, and holds the answers of a live server
//! against it: with all its checks, signed in and not. Its exceptions stand in `tests/schemathesis.toml`, with their reasons.

use std::process::Command;

use plinth_tests::site::{Backing, Person, Site, sign_up};
use plinth_tests::tools::{run, script, succeeded};
use plinth_tests::workspace_root;

plinth_tests::on_both!(signed_in_and_not);

const TOOL: &str = "Schemathesis";

/// Stands in the report's list of operations that answered 401 and nothing else.
const ONLY_REFUSED: &str = "- GET /v1/me\n";

async fn signed_in_and_not(backing: Backing) {
    let found = tokio::task::spawn_blocking(|| script(TOOL, "tools", &["schemathesis"])).await;
    let Some(program) = found.expect("no panic") else {
        return;
    };
    // Addresses that a tester makes up may be somebody's: here nothing is ever sent to one.
    let site = Site::start_with(backing, |setup| setup.env("PLINTH_WEBHOOKS_PER_USER", "0")).await;
    let visitor = site.client();
    let (user, leaving, ending, victim) = (
        sign_up(&visitor, &site.outbox(), "user").await,
        sign_up(&visitor, &site.outbox(), "leaving").await,
        sign_up(&visitor, &site.outbox(), "ending").await,
        sign_up(&visitor, &site.outbox(), "victim").await,
    );
    let administrator = site.administrator().await;
    let people = [
        ("USER", &user),
        ("LEAVING", &leaving),
        ("ENDING", &ending),
        ("VICTIM", &victim),
        ("ADMIN", &administrator),
    ];

    let configuration =
        std::fs::read_to_string(workspace_root().join("tests/schemathesis.toml")).expect("it is committed");
    let said = test(&site, &program, &configuration, &people).await;
    assert!(!said.contains(ONLY_REFUSED), "the token was refused:\n{said}");
    // The run would be worth nothing if it had thrown itself out halfway.
    for person in [&user, &administrator] {
        let _ = person.client.get("/v1/auth/whoami").await.expect_status(200);
    }
    let _ = leaving.client.get("/v1/me").await.expect_problem(401, "session_ended");

    let nobody: Vec<&str> = configuration.lines().map(without_token).collect();
    let said = test(&site, &program, &nobody.join("\n"), &people).await;
    assert!(said.contains(ONLY_REFUSED), "a token went along:\n{said}");
}

/// A table of settings may not be left empty: another header stands where the token was.
fn without_token(line: &str) -> &str {
    if line.starts_with("headers = ") {
        "headers = { Accept = \"*/*\" }"
    } else {
        line
    }
}

async fn test(site: &Site, program: &str, configuration: &str, people: &[(&str, &Person)]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("schemathesis.toml");
    std::fs::write(&file, configuration).expect("a file");
    let mut command = Command::new(program);
    command
        .arg("--config-file")
        .arg(&file)
        .args(["run", "openapi/openapi.json", "--no-color", "--url"])
        .arg(site.server.http());
    command.args(["--report", "ndjson", "--report-dir"]).arg(folder.path());
    for (name, person) in people {
        command.env(format!("{name}_TOKEN"), person.client.token().unwrap_or_default());
        command.env(format!("{name}_ID"), &person.id);
    }
    let output = tokio::task::spawn_blocking(move || run(&mut command))
        .await
        .expect("no panic");
    let said = succeeded("schemathesis", &output);
    let all = operations();
    assert!(
        said.contains(&format!("Tested: {all}")),
        "not all of {all} operations:\n{said}"
    );
    said
}

/// How many operations the committed document has.
fn operations() -> usize {
    let text = std::fs::read_to_string(workspace_root().join("openapi/openapi.json")).expect("it is committed");
    let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    paths
        .values()
        .filter_map(|path| path.as_object())
        .map(serde_json::Map::len)
        .sum()
}
