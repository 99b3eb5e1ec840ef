//! The rules of dependency: who may use whom inside the workspace, and what may come from outside.
//!
//! The tables are exact. An edge that is not in them fails, and so does one that stands in them unused: a table that
//! allows more than is needed stops telling what the architecture is. Change ARCHITECTURE.md in the same commit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use plinth_tests::source::names_crate;
use plinth_tests::{licence, workspace_root};
use serde_json::Value;

const DOMAIN: &str = "plinth-domain";
const PORTS: &str = "plinth-ports";
const OPENAPI: &str = "plinth-openapi";
const MIGRATION: &str = "plinth-migration";
const SQL: &str = "plinth-adapter-sql";
const LOCAL: &str = "plinth-adapter-local";
const CRYPTO: &str = "plinth-adapter-crypto";
const SYSTEM: &str = "plinth-adapter-system";
const GUARD: &str = "plinth-adapter-guard";
const KAFKA: &str = "plinth-adapter-kafka";
const WEBHOOK: &str = "plinth-adapter-webhook";
const TUI: &str = "plinth-tui";
const APP: &str = "plinth";
const TESTS: &str = "plinth-tests";

type Table = [(&'static str, &'static [&'static str])];

/// What the code that ships may use.
const NORMAL: &Table = &[
    (DOMAIN, &[]),
    (PORTS, &[DOMAIN]),
    (SQL, &[DOMAIN, PORTS]),
    (LOCAL, &[DOMAIN, PORTS]),
    (CRYPTO, &[DOMAIN, PORTS]),
    (SYSTEM, &[DOMAIN, PORTS]),
    (GUARD, &[DOMAIN, PORTS]),
    (KAFKA, &[DOMAIN, PORTS]),
    (WEBHOOK, &[DOMAIN, PORTS]),
    // Feature `server`: the conversions stand beside the bodies, because the orphan rule forbids them elsewhere.
    (OPENAPI, &[DOMAIN]),
    (TUI, &[OPENAPI]),
    (MIGRATION, &[]),
    (
        APP,
        &[
            DOMAIN, PORTS, OPENAPI, MIGRATION, TUI, SQL, LOCAL, CRYPTO, SYSTEM, GUARD, KAFKA, WEBHOOK,
        ],
    ),
    (TESTS, &[]),
];

/// What tests, benches and examples may use besides.
const DEV: &Table = &[
    (DOMAIN, &[]),
    (PORTS, &[]),
    (SQL, &[PORTS, MIGRATION, LOCAL]),
    (LOCAL, &[PORTS]),
    (CRYPTO, &[PORTS]),
    (SYSTEM, &[PORTS]),
    (GUARD, &[PORTS]),
    (KAFKA, &[PORTS]),
    (WEBHOOK, &[PORTS]),
    (OPENAPI, &[]),
    (TUI, &[]),
    (MIGRATION, &[]),
    (APP, &[PORTS]),
    (TESTS, &[DOMAIN, OPENAPI]),
];

/// Each technology has one home; the code that ships may name it nowhere else.
const HOMES: &Table = &[
    (
        "async-trait",
        &[PORTS, SQL, LOCAL, CRYPTO, SYSTEM, GUARD, KAFKA, WEBHOOK, MIGRATION, APP],
    ),
    ("bcrypt", &[CRYPTO]),
    ("chacha20poly1305", &[CRYPTO]),
    ("clap", &[APP]),
    ("ed25519-compact", &[CRYPTO]),
    ("getrandom", &[SYSTEM]),
    ("hkdf", &[CRYPTO]),
    ("hyper", &[APP, WEBHOOK]),
    ("hyper-util", &[APP, WEBHOOK]),
    ("jsonschema", &[APP]),
    ("mail-builder", &[LOCAL]),
    ("mockall", &[PORTS]),
    ("pasetors", &[CRYPTO]),
    ("poem", &[APP]),
    ("poem-openapi", &[APP, OPENAPI]),
    ("rand", &[SYSTEM]),
    ("ratatui", &[TUI]),
    ("rdkafka", &[KAFKA]),
    ("reqwest", &[OPENAPI, TESTS]),
    ("rustls", &[WEBHOOK]),
    ("sea-orm", &[SQL]),
    ("sea-orm-migration", &[MIGRATION]),
    ("sqlx", &[SQL]),
    ("tempfile", &[TESTS]),
    ("tokio-rustls", &[WEBHOOK]),
    ("toml", &[APP]),
    ("zxcvbn", &[DOMAIN]),
];

/// What a crate may not use in the code that ships, by name or by the beginning of a name that ends in `*`.
const DENIED: &Table = &[
    (
        DOMAIN,
        &[
            "async-*", "bytes", "futures*", "http*", "sea-*", "tokio*", "tracing*", "url",
        ],
    ),
    (PORTS, &["http*", "sea-*", "serde*", "tokio-util", "tracing*"]),
    (OPENAPI, &["async-*", "sea-*", "tokio*", "tracing*"]),
    (MIGRATION, &["http*", "serde*", "tokio*"]),
    (TUI, &["http*", "sea-*", "serde_yaml", "tracing-subscriber"]),
];

/// The domain is pure: none of these may reach it even through a crate that it uses.
const IMPURE: &[&str] = &[
    "hyper",
    "mio",
    "poem",
    "reqwest",
    "rustls",
    "sea-orm",
    "sqlx-core",
    "tokio",
    "tracing",
];

/// One build of each: two versions of these mean two pools, two runtimes or two sets of TLS rules in one process.
const ONCE: &[&str] = &[
    "bcrypt",
    "http",
    "hyper",
    "libsqlite3-sys",
    "pasetors",
    "poem",
    "reqwest",
    "ring",
    "rustls",
    "sea-orm",
    "sqlx-core",
    "tokio",
    "uuid",
];

/// Licences that a product under MIT or Apache-2.0 can carry along without a duty to publish its source.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "WTFPL",
    "Zlib",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Dev,
}

struct Dependency {
    name: String,
    /// The name that the source uses.
    alias: String,
    kind: Kind,
    requirement: String,
    inside: bool,
    features: Vec<String>,
}

fn metadata(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(arguments)
        .current_dir(workspace_root())
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo metadata answers in JSON")
}

fn workspace() -> &'static Value {
    static WORKSPACE: OnceLock<Value> = OnceLock::new();
    WORKSPACE.get_or_init(|| metadata(&["--no-deps"]))
}

/// Every package that a build for this platform can use. Without the filter cargo would fetch the crates of all others.
fn everything() -> &'static Value {
    static EVERYTHING: OnceLock<Value> = OnceLock::new();
    EVERYTHING.get_or_init(|| {
        let version = Command::new("rustc").arg("-vV").output().expect("rustc starts").stdout;
        let version = String::from_utf8_lossy(&version).into_owned();
        let host = version
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .expect("rustc names its host");
        metadata(&["--all-features", "--filter-platform", host])
    })
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn members() -> BTreeMap<&'static str, &'static Value> {
    list(workspace(), "packages")
        .iter()
        .map(|package| (text(package, "name"), package))
        .collect()
}

fn folder(package: &Value) -> PathBuf {
    let manifest = Path::new(text(package, "manifest_path"));
    manifest.parent().expect("a manifest stands in a folder").to_path_buf()
}

fn dependencies(package: &Value) -> Vec<Dependency> {
    let read = |dependency: &Value| Dependency {
        name: text(dependency, "name").to_owned(),
        alias: dependency["rename"]
            .as_str()
            .unwrap_or(text(dependency, "name"))
            .replace('-', "_"),
        // What a build script uses ships as little as what a test uses.
        kind: if dependency["kind"].is_null() {
            Kind::Normal
        } else {
            Kind::Dev
        },
        requirement: text(dependency, "req").to_owned(),
        inside: dependency["path"].is_string(),
        features: list(dependency, "features")
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
    };
    list(package, "dependencies").iter().map(read).collect()
}

type Edges = BTreeMap<String, BTreeSet<String>>;

fn actual_edges(kind: Kind) -> Edges {
    let edges = |package: &Value| {
        let inside = dependencies(package)
            .into_iter()
            .filter(|dependency| dependency.inside && dependency.kind == kind);
        inside.map(|dependency| dependency.name).collect()
    };
    members()
        .into_iter()
        .map(|(name, package)| (name.to_owned(), edges(package)))
        .collect()
}

fn table_edges(table: &Table) -> Edges {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    table
        .iter()
        .map(|(name, used)| ((*name).to_owned(), owned(used)))
        .collect()
}

/// One sentence for each difference between the table and the manifests.
fn differences(table: &Edges, manifests: &Edges) -> Vec<String> {
    let mut found = Vec::new();
    let names: BTreeSet<&String> = table.keys().chain(manifests.keys()).collect();
    for name in names {
        match (table.get(name), manifests.get(name)) {
            (None, _) => found.push(format!("{name} is not in the table")),
            (_, None) => found.push(format!("{name} is in the table, and no member of the workspace")),
            (Some(allowed), Some(used)) => {
                found.extend(
                    used.difference(allowed)
                        .map(|other| format!("{name} uses {other}, which it may not")),
                );
                found.extend(
                    allowed
                        .difference(used)
                        .map(|other| format!("{name} may use {other}, and does not")),
                );
            }
        }
    }
    found
}

fn assert_none(rule: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

#[test]
fn members_use_each_other_exactly_as_the_table_says() {
    let faults = differences(&table_edges(NORMAL), &actual_edges(Kind::Normal));
    assert_none("edges of the code that ships", &faults);
}

#[test]
fn tests_of_members_use_others_exactly_as_the_table_says() {
    assert_none(
        "edges of tests",
        &differences(&table_edges(DEV), &actual_edges(Kind::Dev)),
    );
}

#[test]
fn a_difference_is_found_on_both_sides() {
    let edges = |pairs: &[(&str, &[&str])]| -> Edges {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        pairs
            .iter()
            .map(|(name, used)| ((*name).to_owned(), owned(used)))
            .collect()
    };
    let table = edges(&[("a", &["b"]), ("b", &[]), ("gone", &[])]);
    let manifests = edges(&[("a", &["c"]), ("b", &[]), ("new", &[])]);
    assert_eq!(
        differences(&table, &manifests),
        [
            "a uses c, which it may not",
            "a may use b, and does not",
            "gone is in the table, and no member of the workspace",
            "new is not in the table",
        ]
    );
    assert!(differences(&table, &table).is_empty());
}

/// Every Rust file below a folder.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            text.push_str(&sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(&path).expect("a source file is text"));
        }
    }
    text
}

#[test]
fn every_declared_edge_is_used_by_the_source() {
    let mut faults = Vec::new();
    for (name, package) in members() {
        let shipped = sources(&folder(package).join("src"));
        let tested = ["src", "tests", "benches", "examples"]
            .map(|part| sources(&folder(package).join(part)))
            .concat();
        for dependency in dependencies(package).into_iter().filter(|dependency| dependency.inside) {
            let source = if dependency.kind == Kind::Normal {
                &shipped
            } else {
                &tested
            };
            if !names_crate(source, &dependency.alias) {
                faults.push(format!(
                    "{name} declares {} and its source never names it",
                    dependency.name
                ));
            }
        }
    }
    assert_none("edges that are declared and unused", &faults);
}

#[test]
fn what_serves_tests_stays_out_of_the_code_that_ships() {
    let mut faults = Vec::new();
    for (name, package) in members() {
        for dependency in dependencies(package)
            .into_iter()
            .filter(|dependency| dependency.kind == Kind::Normal)
        {
            if dependency.name == TESTS {
                faults.push(format!("{name} uses {TESTS} outside its tests"));
            }
            let for_tests = |feature: &&String| ["conformance", "mocks"].contains(&feature.as_str());
            faults.extend(dependency.features.iter().filter(for_tests).map(|feature| {
                format!(
                    "{name} uses {} with feature {feature} outside its tests",
                    dependency.name
                )
            }));
            if dependency.name == OPENAPI
                && name != APP
                && dependency.features.iter().any(|feature| feature == "server")
            {
                faults.push(format!(
                    "{name} uses {OPENAPI} with feature server, which is for {APP} alone"
                ));
            }
        }
    }
    assert_none("features of other members", &faults);
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or(pattern == name, |start| name.starts_with(start))
}

#[test]
fn outside_crates_stay_where_they_belong() {
    let mut faults = Vec::new();
    for (name, package) in members() {
        let denied = DENIED
            .iter()
            .find(|(member, _)| *member == name)
            .map(|(_, denied)| *denied)
            .unwrap_or_default();
        let optional_tokio = |dependency: &Dependency| name == PORTS && dependency.name == "tokio";
        for dependency in dependencies(package)
            .iter()
            .filter(|d| d.kind == Kind::Normal && !d.inside)
        {
            if denied.iter().any(|pattern| matches(pattern, &dependency.name)) && !optional_tokio(dependency) {
                faults.push(format!("{name} may not use {}", dependency.name));
            }
            let homes = HOMES.iter().find(|(technology, _)| *technology == dependency.name);
            if let Some((technology, homes)) = homes.filter(|(_, homes)| !homes.contains(&name)) {
                faults.push(format!(
                    "{name} may not use {technology}, which belongs to {}",
                    homes.join(", ")
                ));
            }
        }
    }
    assert_none("outside crates", &faults);
}

#[test]
fn ports_are_free_of_a_runtime_unless_their_suites_are_asked_for() {
    let ports = members()[PORTS];
    for dependency in list(ports, "dependencies")
        .iter()
        .filter(|dependency| dependency["kind"].is_null())
    {
        let name = text(dependency, "name");
        let optional = dependency["optional"] == true;
        assert!(
            optional || !["tokio", "mockall", "futures-util"].contains(&name),
            "{name} must be optional in {PORTS}"
        );
    }
    assert!(
        list(&ports["features"], "default").is_empty(),
        "{PORTS} has no default features"
    );
}

#[test]
fn nothing_impure_reaches_the_domain() {
    let packages: BTreeMap<&str, &Value> = list(everything(), "packages")
        .iter()
        .map(|package| (text(package, "id"), package))
        .collect();
    let nodes: BTreeMap<&str, &Value> = list(&everything()["resolve"], "nodes")
        .iter()
        .map(|node| (text(node, "id"), node))
        .collect();
    let start = packages
        .iter()
        .find(|(_, package)| text(package, "name") == DOMAIN)
        .map(|(id, _)| *id);
    let mut open = vec![start.expect("the domain is a package")];
    let mut reached = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !reached.insert(id) {
            continue;
        }
        for dependency in list(nodes[id], "deps") {
            if list(dependency, "dep_kinds").iter().any(|kind| kind["kind"].is_null()) {
                open.push(text(dependency, "pkg"));
            }
        }
    }
    let names: BTreeSet<&str> = reached.iter().map(|id| text(packages[id], "name")).collect();
    assert!(names.contains("serde"), "the walk found nothing: {names:?}");
    let faults: Vec<String> = IMPURE
        .iter()
        .filter(|name| names.contains(*name))
        .map(|name| (*name).to_owned())
        .collect();
    assert_none("crates that reach the domain", &faults);
}

#[test]
fn the_whole_workspace_asks_for_one_version_of_each_crate() {
    let mut asked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in members().values() {
        for dependency in dependencies(package)
            .into_iter()
            .filter(|dependency| !dependency.inside)
        {
            asked.entry(dependency.name).or_default().insert(dependency.requirement);
        }
    }
    asked.retain(|_, requirements| requirements.len() > 1);
    assert!(asked.is_empty(), "asked for in several versions: {asked:?}");
}

#[test]
fn heavy_crates_are_built_once() {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in list(everything(), "packages") {
        versions
            .entry(text(package, "name"))
            .or_default()
            .insert(text(package, "version"));
    }
    versions.retain(|name, found| ONCE.contains(name) && found.len() > 1);
    assert!(versions.is_empty(), "in several versions: {versions:?}");
}

#[test]
fn crates_come_from_the_registry_under_a_permissive_licence() {
    let mut faults = Vec::new();
    for package in list(everything(), "packages") {
        let name = format!("{} {}", text(package, "name"), text(package, "version"));
        if !(package["source"].is_null() || text(package, "source").starts_with("registry+")) {
            faults.push(format!("{name} comes from {}", text(package, "source")));
        }
        if !licence::allows(text(package, "license"), LICENCES) {
            faults.push(format!("{name} is under {}", package["license"]));
        }
    }
    assert_none("licences and sources", &faults);
}

#[test]
fn every_member_takes_lints_licence_and_version_from_the_workspace() {
    let needed = [
        "version.workspace = true",
        "edition.workspace = true",
        "rust-version.workspace = true",
        "license.workspace = true",
    ];
    let mut faults = Vec::new();
    for (name, package) in members() {
        let manifest = std::fs::read_to_string(text(package, "manifest_path")).expect("a manifest is text");
        let lines: Vec<&str> = manifest
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        faults.extend(
            needed
                .iter()
                .filter(|line| !lines.contains(line))
                .map(|line| format!("{name} lacks {line}")),
        );
        if !lines.windows(2).any(|pair| pair == ["[lints]", "workspace = true"]) {
            faults.push(format!("{name} does not take the lints of the workspace"));
        }
    }
    assert_none("manifests", &faults);
}

#[test]
fn there_is_one_binary() {
    let mut binaries = Vec::new();
    for (name, package) in members() {
        let targets = list(package, "targets").iter();
        let is_binary = |target: &&Value| list(target, "kind").iter().any(|kind| kind == "bin");
        binaries.extend(
            targets
                .filter(is_binary)
                .map(|target| format!("{name}/{}", text(target, "name"))),
        );
    }
    assert_eq!(binaries, ["plinth/plinth"]);
}
