//! The README's five-minute path, run as it stands there.

use std::process::{Command, Stdio};

use plinth_tests::site::{Backing, Site};
use plinth_tests::workspace_root;

plinth_tests::on_both!(the_five_minute_path);

const MARK: &str = "<!-- test: five-minute path -->";

/// The fenced blocks that follow the mark, each as one script.
fn marked_blocks(text: &str) -> Vec<String> {
    let after_mark = |part: &str| {
        let (fence, rest) = part.trim_start().split_once('\n')?;
        let body = rest.split("\n```").next()?;
        fence.starts_with("```").then(|| format!("{body}\n"))
    };
    text.split(MARK).skip(1).filter_map(after_mark).collect()
}

async fn the_five_minute_path(backing: Backing) {
    let readme = std::fs::read_to_string(workspace_root().join("README.md")).expect("there is a README");
    let script = marked_blocks(&readme).concat();
    assert!(!script.trim().is_empty(), "README.md has no shell block after {MARK}");
    let site = Site::start(backing).await;
    let mut command = Command::new("bash");
    command
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(workspace_root())
        .stdin(Stdio::null());
    command
        .env("PLINTH", site.server.http())
        .env("DATA", site.server.data_dir());
    let run = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("no panic")
        .expect("bash starts");
    assert!(
        run.status.success(),
        "the README's path fails ({}):\n{script}\n--- said\n{}\n--- complained\n{}",
        run.status,
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
}

#[test]
fn marked_blocks_are_found_and_others_are_not() {
    let text = format!(
        "```sh\nno\n```\n{MARK}\n```sh\nfirst\nsecond\n```\ntext\n```\nno\n```\n{MARK}\n\n```bash\nthird\n```\n"
    );
    assert_eq!(marked_blocks(&text), ["first\nsecond\n", "third\n"]);
    assert_eq!(marked_blocks(&format!("{MARK}\nno fence\n")), Vec::<String>::new());
}
