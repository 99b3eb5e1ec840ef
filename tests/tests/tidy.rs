//! The rules of form: what every file of the tree must look like, told with file and line.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use plinth_tests::source::{contains_word, implements, public_traits, snake};
use plinth_tests::workspace_root;

/// A file that is longer wants to be two.
const MOST_LINES: usize = 600;

/// The top level is fixed: whoever knows it finds everything.
const TOP: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "adapters",
    "app",
    "clippy.toml",
    "compose.yaml",
    "deny.toml",
    "docs",
    "domain",
    "justfile",
    "migration",
    "openapi",
    "ports",
    "rustfmt.toml",
    "scripts",
    "tests",
    "tui",
];

/// Made by builds and runs, and ignored by git.
const MADE: &[&str] = &["target", "plinth-data", "node_modules", "__pycache__"];

/// What may not stand in any Rust file, and why. In two halves each, so that this file passes its own judgement.
const NOT_IN_RUST: &[(&str, &str, &str)] = &[
    ("todo", "!(", "nothing lands half done"),
    ("unimplemented", "!(", "nothing lands half done"),
    (
        "TO",
        "DO",
        "nothing lands half done; an open end belongs into the tracker",
    ),
    (
        "FIX",
        "ME",
        "nothing lands half done; an open end belongs into the tracker",
    ),
    ("#[ig", "nore", "a test that does not run counts as a pass"),
    ("#[al", "low(", "use expect with a reason, which goes stale loudly"),
    ("#![al", "low(", "use expect with a reason, which goes stale loudly"),
];

/// What may not stand in any file: the text speaks of the project alone, and holds on every machine.
const NOT_IN_TEXT: &[(&str, &str)] = &[
    ("/ro", "ot/"),
    ("/ho", "me/"),
    ("/wo", "rk/"),
    ("registry.np", "mjs.org"),
    ("files.python", "hosted.org"),
    ("py", "pi.org"),
    ("static.crates", ".io"),
    ("index.crates", ".io"),
    ("repo1.ma", "ven.org"),
    ("deb.deb", "ian.org"),
    ("chat", "gpt"),
    ("clau", "de"),
    ("anthro", "pic"),
    ("open", "ai"),
    ("copi", "lot"),
    ("language ", "model"),
    ("sub", "agent"),
];

struct TextFile {
    /// Below the root of the workspace, with `/`.
    path: String,
    text: String,
}

impl TextFile {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

fn is_hidden(name: &str) -> bool {
    name.starts_with('.') && name != ".ci" && name != ".redocly.yaml" && name != ".gitignore" && name != ".github"
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_hidden(&name) || MADE.contains(&name.as_str()) {
            continue;
        }
        if entry.path().is_dir() {
            walk(&entry.path(), files);
        } else {
            files.push(entry.path());
        }
    }
}

/// Every text file of the tree that is not made by a tool.
fn tree() -> Vec<TextFile> {
    let root = workspace_root();
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&root).ok()?.to_string_lossy().into_owned();
        // The lock file is cargo's own text; a file that is no text has no lines to judge.
        let text = std::fs::read_to_string(&path).ok().filter(|_| name != "Cargo.lock")?;
        Some(TextFile { path: name, text })
    };
    let files: Vec<TextFile> = paths.into_iter().filter_map(read).collect();
    assert!(
        files.iter().any(|file| file.path == "tests/tests/tidy.rs"),
        "the walk found no tree"
    );
    files
}

fn assert_none(rule: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

/// `path:line` of every line on which `judge` finds a fault.
fn lines_that(
    files: &[TextFile],
    wanted: impl Fn(&TextFile) -> bool,
    judge: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| wanted(file)) {
        for (index, line) in file.text.lines().enumerate() {
            if let Some(fault) = judge(line) {
                faults.push(format!("{}:{}: {fault}", file.path, index + 1));
            }
        }
    }
    faults
}

#[test]
fn every_rust_file_begins_by_saying_what_it_is() {
    let begins = |file: &&TextFile| {
        file.text
            .lines()
            .next()
            .is_some_and(|line| line.starts_with("//! ") && line.len() > 12)
    };
    let files = tree();
    let faults: Vec<String> = files
        .iter()
        .filter(|file| file.is_rust() && !begins(file))
        .map(|file| file.path.clone())
        .collect();
    assert_none("no sentence in the first line", &faults);
}

#[test]
fn no_rust_file_is_too_long() {
    let files = tree();
    let too_long = files
        .iter()
        .filter(|file| file.is_rust() && file.text.lines().count() > MOST_LINES);
    let faults: Vec<String> = too_long
        .map(|file| format!("{}: {} lines", file.path, file.text.lines().count()))
        .collect();
    assert_none(&format!("more than {MOST_LINES} lines"), &faults);
}

#[test]
fn nothing_is_left_open_or_waved_through() {
    let faults = lines_that(&tree(), TextFile::is_rust, |line| {
        let found = NOT_IN_RUST
            .iter()
            .find(|(start, end, _)| contains_word(line, &format!("{start}{end}")));
        found.map(|(start, end, reason)| format!("{start}{end}: {reason}"))
    });
    assert_none("not in Rust files", &faults);
}

#[test]
fn the_text_speaks_of_the_project_alone() {
    let faults = lines_that(
        &tree(),
        |_| true,
        |line| {
            let line = line.to_lowercase();
            let found = NOT_IN_TEXT
                .iter()
                .map(|(start, end)| format!("{start}{end}"))
                .find(|text| line.contains(text));
            found.or_else(|| numbered_issue(&line))
        },
    );
    assert_none("not in any file", &faults);
}

/// The word with a number behind it: where a reason is filed is no reason.
fn numbered_issue(line: &str) -> Option<String> {
    line.match_indices("issue ").find_map(|(at, word)| {
        let rest = line[at + word.len()..].trim_start_matches('#');
        rest.starts_with(|character: char| character.is_ascii_digit())
            .then(|| format!("{word}{rest}"))
    })
}

#[test]
fn a_numbered_issue_is_found() {
    assert!(numbered_issue(concat!("see issue", " #12")).is_some());
    assert!(numbered_issue(concat!("issue", " 3 asks for it")).is_some());
    assert!(numbered_issue("to issue tokens; the issue is old").is_none());
}

#[test]
fn text_has_no_trailing_space_and_ends_in_one_line_end() {
    let files = tree();
    let hand_written = |file: &TextFile| {
        [".rs", ".toml", ".md", ".yaml"]
            .iter()
            .any(|end| file.path.ends_with(end))
    };
    let mut faults = lines_that(&files, hand_written, |line| {
        line.ends_with([' ', '\t', '\r']).then(|| "trailing space".to_owned())
    });
    let badly_ended =
        |file: &&TextFile| hand_written(file) && (!file.text.ends_with('\n') || file.text.ends_with("\n\n"));
    faults.extend(
        files
            .iter()
            .filter(badly_ended)
            .map(|file| format!("{}: its end", file.path)),
    );
    assert_none("form of text", &faults);
}

#[test]
fn the_top_level_is_what_it_is() {
    let mut faults = Vec::new();
    for entry in std::fs::read_dir(workspace_root())
        .expect("a readable folder")
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !(name.starts_with('.') || MADE.contains(&name.as_str()) || TOP.contains(&name.as_str())) {
            faults.push(name);
        }
    }
    assert_none("unknown at the top level", &faults);
}

/// The folders below `adapters`: each is a crate `adapter_NAME`.
fn adapters() -> Vec<String> {
    let entries = std::fs::read_dir(workspace_root().join("adapters")).expect("a folder of adapters");
    let folders = entries
        .flatten()
        .filter(|entry| entry.path().join("Cargo.toml").is_file());
    let mut names: Vec<String> = folders
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 5, "adapters: {names:?}");
    names
}

#[test]
fn only_compose_names_adapters() {
    let crates: Vec<String> = adapters().iter().map(|name| format!("adapter_{name}")).collect();
    let composes = |path: &str| path == "app/src/compose.rs" || path.starts_with("app/src/compose/");
    let in_app = |file: &TextFile| file.is_rust() && file.path.starts_with("app/src/") && !composes(&file.path);
    let faults = lines_that(&tree(), in_app, |line| {
        crates
            .iter()
            .find(|name| contains_word(line, name))
            .map(|name| format!("names {name}"))
    });
    assert_none("adapters are named outside compose.rs", &faults);
}

#[test]
fn every_port_that_an_adapter_implements_is_judged_by_its_suite() {
    let files = tree();
    let below = |folder: String| {
        files
            .iter()
            .filter(move |file| file.is_rust() && file.path.starts_with(&folder))
    };
    let is_suite = |file: &&TextFile| file.path.starts_with("ports/src/conformance");
    let ports: BTreeSet<String> = below("ports/src/".to_owned())
        .filter(|file| !is_suite(file))
        .flat_map(|file| public_traits(&file.text))
        .collect();
    let mut faults = Vec::new();
    for adapter in adapters() {
        for port in &ports {
            let implemented = below(format!("adapters/{adapter}/src/")).find(|file| implements(&file.text, port));
            let call = format!("{}_conformance!", snake(port));
            let judged = below(format!("adapters/{adapter}/")).any(|file| file.text.contains(&call));
            if let Some(file) = implemented.filter(|_| !judged) {
                faults.push(format!(
                    "{} implements {port}, and no test of adapters/{adapter} has {call}",
                    file.path
                ));
            }
        }
    }
    assert_none("adapters without a judge", &faults);
}

#[test]
fn scripts_can_be_run_and_have_no_fault_of_syntax() {
    let root = workspace_root();
    let files = tree();
    let scripts: Vec<&TextFile> = files
        .iter()
        .filter(|file| file.path.starts_with("scripts/") || file.path == ".ci/run")
        .filter(|file| file.text.starts_with("#!"))
        .collect();
    assert!(
        scripts.iter().any(|file| file.path == "scripts/test") && scripts.iter().any(|file| file.path == ".ci/run")
    );
    for script in scripts {
        let path = root.join(&script.path);
        let mode = std::fs::metadata(&path).expect("a script").permissions().mode();
        assert!(mode & 0o111 == 0o111, "{} is not executable", script.path);
        if script.text.starts_with("#!/usr/bin/env bash") {
            let judged = Command::new("bash").arg("-n").arg(&path).output().expect("bash starts");
            assert!(
                judged.status.success(),
                "{}: {}",
                script.path,
                String::from_utf8_lossy(&judged.stderr)
            );
        }
    }
}
