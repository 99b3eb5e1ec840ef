//! Support for tests: a Plinth process, a database of its own, a client, and the mail that was sent.
//!
//! Everything here stands on the outside of Plinth (a process, a socket, a file), and uses none of its crates: what the
//! tests see is what a user sees. Faults of the set-up panic with the reason, since there is nobody to hand them to.

use std::io::Write as _;
use std::path::{Path, PathBuf};

pub mod api;
pub mod kafka;
pub mod licence;
pub mod mime;
pub mod outbox;
pub mod postgres;
pub mod server;
pub mod site;
pub mod source;
pub mod stream;
pub mod tools;

/// The folder of the workspace.
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.to_path_buf(), Path::to_path_buf)
}

/// One variable of the environment of the test run, absent when empty.
#[expect(
    clippy::disallowed_methods,
    reason = "a test run is told by its environment where its servers are"
)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A number that the environment of the test run sets, for a test that can be made longer by hand.
///
/// # Panics
/// When it is set to something else.
pub fn number_from(name: &str) -> Option<u64> {
    environment(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// Says a line on standard error past the test runner's capture, so that it is seen although the test passes.
fn say(line: &str) {
    // A closed standard error is no reason to fail a test.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// The name of the running test: the test runner names its threads so.
fn test_name() -> String {
    std::thread::current().name().unwrap_or("?").to_owned()
}

/// Says that the running test is left out because `what` is not here.
///
/// # Panics
/// With `PLINTH_TEST_REQUIRE=1`, under which a silent skip would count as a pass.
pub fn left_out(what: &str) {
    let test = test_name();
    assert!(
        environment("PLINTH_TEST_REQUIRE").as_deref() != Some("1"),
        "{test} needs {what}, and PLINTH_TEST_REQUIRE=1 lets nothing be left out: run scripts/test"
    );
    say(&format!("SKIPPED (no {what}): {test}"));
}
