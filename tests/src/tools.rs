//! Tools that are not Rust (generators of clients, testers of servers), which `scripts/test` brings.

use std::process::{Command, Output, Stdio};

use crate::{environment, left_out, workspace_root};

/// The exit code by which the scripts say that something cannot be had here.
const NOT_HERE: i32 = 3;

/// Runs `scripts/NAME ARGUMENTS...`; None, said aloud, where its tools cannot be had. Only under `scripts/test`, which
/// sets `PLINTH_TEST_TOOLS=1`, is anything brought from a registry: `cargo test` alone asks no network.
///
/// # Panics
/// When the script ends with any other value than success.
pub fn script(what: &str, name: &str, arguments: &[&str]) -> Option<String> {
    if environment("PLINTH_TEST_TOOLS").as_deref() != Some("1") {
        left_out(what);
        return None;
    }
    let mut command = Command::new(workspace_root().join("scripts").join(name));
    let output = run(command.args(arguments));
    if output.status.code() == Some(NOT_HERE) {
        left_out(what);
        return None;
    }
    Some(succeeded(&format!("scripts/{name} {}", arguments.join(" ")), &output))
}

/// Runs a program to its end, with nothing to read.
///
/// # Panics
/// When it does not start.
pub fn run(command: &mut Command) -> Output {
    let shown = format!("{command:?}");
    command
        .current_dir(workspace_root())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{shown}: {error}"))
}

/// What a program said, without the last line end.
///
/// # Panics
/// When it did not succeed, with all that it said.
#[track_caller]
pub fn succeeded(what: &str, output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{what} ({}):\n--- said\n{said}\n--- complained\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    said.trim_end().to_owned()
}
