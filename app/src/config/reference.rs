//! The reference of the configuration as Markdown, made from the table of keys: `docs/configuration.md` is its output.

use std::fmt::Write as _;

use super::key::{Key, Preset};
use super::kind::Kind;
use super::table::{BUILT_IN_NAMES, KEYS, SECTIONS};

const HEAD: &str = "\
# Configuration

Plinth starts without any configuration. Each setting below comes from one of four sources; a later one wins:

1. its default,
2. a TOML file, named by `--config FILE` or `PLINTH_CONFIG`; none is read unless one is named,
3. the environment: `PLINTH_` and the key in capitals, dots as underscores,
4. the flag `--set KEY=VALUE`, for keys that are no secrets.

An unknown key in the file and an unknown `PLINTH_` variable are faults, and the server does not start. All faults are
told at once, each with the key, where it was set, what is allowed and the nearest key; never with the value.

- **Secrets** (marked below) also exist with `_file` in the file and `_FILE` in the environment: the path of a file that
  holds the value, as Docker, Kubernetes and Vault agent provide it. One closing line end is taken off. Setting a key and
  its twin in the same source is a fault. Secrets are never printed.
- **Lists** are arrays of texts in the file and separated by commas in a variable.
- **Durations** are a whole number and `ms`, `s`, `m`, `h` or `d`; **sizes** are bytes, or a whole number and `KiB`,
  `MiB`, `GiB` or `TiB`.
- **Relative paths** start in the folder in which the process was started.
- An empty variable counts as not set. Variables that begin with `PLINTH_TEST_` belong to the test suite. Variables that
  container platforms make for a service named `plinth`, such as `PLINTH_SERVICE_HOST`, are passed over.
- `<name>` stands for a name of your choice: 1 to 32 lower-case letters, digits and `_`, a letter first.

`plinth config check` reads everything and tells the faults and the dangerous settings; `plinth config show` prints what
is in force and where each value came from; `plinth config env` lists the variables; `plinth config docs` prints this
page. Other variables that count: `NO_COLOR`, and `TERM=dumb`, which both turn colours off.

Keys marked *reloads* take a new value when a running server gets SIGHUP; all others need a restart.
";

/// A small file for production. A test loads it.
pub(super) const PRODUCTION: &str = "\
public_url = \"https://plinth.example.org\"
master_key_file = \"/run/secrets/plinth_master_key\"

[http]
bind = \"0.0.0.0:8080\"
trusted_proxies = [\"10.0.0.0/8\"]

[database]
url_file = \"/run/secrets/plinth_database_url\"

[mail]
from_address = \"no-reply@example.org\"
from_name = \"Example\"

[log]
format = \"json\"
";

/// The whole page.
pub fn render() -> String {
    let mut page = HEAD.to_owned();
    for (section, about) in SECTIONS {
        let title = if section.is_empty() {
            "top".to_owned()
        } else {
            format!("`[{section}]`")
        };
        push(&mut page, format_args!("\n## {title}\n\n{about}\n"));
        for key in KEYS.iter().filter(|key| key.section() == section) {
            push(&mut page, format_args!("\n{}", block(key)));
        }
    }
    push(
        &mut page,
        format_args!(
            "\n## A small file for production\n\nPostgreSQL, a proxy with TLS in front, secrets from files.\n\n```toml\n{PRODUCTION}```\n"
        ),
    );
    page
}

fn push(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = page.write_fmt(text);
}

fn block(key: &Key) -> String {
    let mut text = format!("### `{}`\n\n{}\n\n", key.path, key.doc);
    let twin = if key.kind.is_secret() {
        format!(", `{}_FILE` (secret)", key.variable())
    } else {
        String::new()
    };
    push(&mut text, format_args!("- variable: `{}`{twin}\n", key.variable()));
    push(&mut text, format_args!("- allowed: {}\n", key.kind.allowed()));
    push(&mut text, format_args!("- default: {}\n", default_text(key)));
    if let Some(example) = example_line(key) {
        push(&mut text, format_args!("- example: `{example}`\n"));
    }
    if key.reloads {
        text.push_str("- reloads\n");
    }
    text
}

/// The default in words, for the reference and `config env`.
pub fn default_text(key: &Key) -> String {
    match key.default {
        Preset::Is(value) => format!("`{value}`"),
        Preset::Words(words) => words.to_owned(),
        Preset::Named(values, other) => {
            let prefix = key.around_name().map_or("", |(before, _)| before);
            let names = BUILT_IN_NAMES
                .iter()
                .filter(|(known, _)| *known == prefix)
                .map(|(_, name)| *name);
            let own = |name: &str| {
                values
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map_or(other, |(_, value)| value)
            };
            let mut parts: Vec<String> = names.map(|name| format!("`{}` for `{name}`", own(name))).collect();
            parts.push(if other.is_empty() {
                "required for others".to_owned()
            } else {
                format!("`{other}` for others")
            });
            parts.join(", ")
        }
    }
}

/// A line for the file. A secret's is its twin: a secret that is printed in a reference ends up in use.
fn example_line(key: &Key) -> Option<String> {
    let name = key.path.rsplit('.').next().unwrap_or_default();
    if key.example.is_empty() {
        let file = format!("{name}_file = \"/run/secrets/plinth_{}\"", key.path.replace('.', "_"));
        return (key.kind.is_secret() && !matches!(key.kind, Kind::Absent(..))).then_some(file);
    }
    if key.kind.is_list() {
        let entries: Vec<String> = key.example.split(',').map(|entry| format!("\"{entry}\"")).collect();
        return Some(format!("{name} = [{}]", entries.join(", ")));
    }
    let bare = key.example == "true" || key.example == "false" || key.example.parse::<u64>().is_ok();
    Some(if bare {
        format!("{name} = {}", key.example)
    } else {
        format!("{name} = \"{}\"", key.example)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::kind::Raw;
    use super::*;

    #[test]
    fn the_committed_reference_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        #[expect(
            clippy::disallowed_methods,
            reason = "asks for a refresh of a generated page, nothing of the server"
        )]
        let refresh = std::env::var_os("UPDATE").is_some();
        if refresh {
            std::fs::write(&path, render()).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == render(),
            "docs/configuration.md is out of date: run `UPDATE=1 cargo test -p plinth reference`"
        );
    }

    #[test]
    fn every_key_is_documented_with_values_that_it_allows() {
        for key in KEYS {
            assert!(key.doc.ends_with('.') && key.doc.len() > 10, "{}", key.path);
            assert!(
                SECTIONS.iter().any(|(section, _)| *section == key.section()),
                "{}",
                key.path
            );
            let read = |text: &str| key.kind.read(&Raw::One(text.to_owned()), Path::new("/srv"));
            if let Kind::Absent(..) = key.kind {
                assert!(key.example.is_empty() && read("anything").is_none(), "{}", key.path);
                continue;
            }
            let has_example = read(key.example).is_some() || (key.example.is_empty() && key.kind.is_secret());
            assert!(has_example && example_line(key).is_some(), "{}: example", key.path);
            let defaults: Vec<&str> = match key.default {
                Preset::Is(value) => vec![value],
                Preset::Words(_) => vec![],
                Preset::Named(values, other) => values.iter().map(|(_, value)| *value).chain([other]).collect(),
            };
            for default in defaults.into_iter().filter(|default| !default.is_empty()) {
                assert!(read(default).is_some(), "{}: default {default}", key.path);
            }
        }
    }

    #[test]
    fn each_key_stands_once_under_its_section() {
        let page = render();
        for key in KEYS {
            assert_eq!(
                page.matches(&format!("### `{}`\n", key.path)).count(),
                1,
                "{}",
                key.path
            );
        }
    }
}
