//! `plinth config check|show|env|docs`.

use std::io;

use serde::Serialize;

use super::args::{ConfigCommand, ExitCode, Format, Global};
use super::output::{Output, Row};
use crate::config::{self, Environment, Faults, Key, Loaded, ShownSetting, reference};

/// Runs one of the commands. They read sources only: nothing is opened, made or changed.
///
/// # Errors
/// When the output cannot be written.
pub fn run(
    command: ConfigCommand,
    global: &Global,
    environment: &Environment,
    output: &mut Output,
) -> io::Result<ExitCode> {
    let load = || config::load(environment, global.config.as_deref(), &global.set);
    match command {
        ConfigCommand::Check => check(load(), output),
        ConfigCommand::Show => match load() {
            Ok(loaded) => show(&loaded, output),
            Err(faults) => tell(&faults, output),
        },
        ConfigCommand::Env => {
            let rows: Vec<VariableRow> = config::keys().iter().flat_map(VariableRow::of).collect();
            output.list(&rows)?;
            Ok(ExitCode::Done)
        }
        ConfigCommand::Docs => {
            output.text(&reference::render())?;
            Ok(ExitCode::Done)
        }
    }
}

/// Tells all faults on standard error, and with `--format json` as an object on standard output too.
///
/// # Errors
/// When the output cannot be written.
pub fn tell(faults: &Faults, output: &mut Output) -> io::Result<ExitCode> {
    if output.format() == Format::Json {
        output.json(&serde_json::json!({ "ok": false, "faults": faults }))?;
    }
    output.fault(&faults.to_string())?;
    Ok(ExitCode::Failed)
}

fn check(result: Result<Loaded, Faults>, output: &mut Output) -> io::Result<ExitCode> {
    let loaded = match result {
        Ok(loaded) => loaded,
        Err(faults) => return tell(&faults, output),
    };
    let dangers = loaded.config.dangers();
    if output.format() == Format::Json {
        output.json(&serde_json::json!({ "ok": true, "faults": [], "dangers": dangers }))?;
        return Ok(ExitCode::Done);
    }
    for danger in &dangers {
        output.fault(&format!("danger: {}: {}", danger.key, danger.sentence))?;
    }
    output.note("the configuration is sound")?;
    Ok(ExitCode::Done)
}

fn show(loaded: &Loaded, output: &mut Output) -> io::Result<ExitCode> {
    output.list(&loaded.settings)?;
    Ok(ExitCode::Done)
}

impl Row for ShownSetting {
    const TITLES: &'static [&'static str] = &["KEY", "VALUE", "SET BY"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.key.clone(),
            self.value.clone().unwrap_or_else(|| "-".to_owned()),
            self.origin.to_string(),
        ]
    }
}

/// One line of `config env`.
#[derive(Serialize)]
struct VariableRow {
    variable: String,
    key: String,
    default: String,
    allowed: String,
    secret: bool,
    reloads: bool,
}

impl VariableRow {
    /// The variable of a key, and for a secret its twin.
    fn of(key: &Key) -> impl Iterator<Item = Self> {
        let plain = |text: String| text.replace('`', "");
        let own = Self {
            variable: key.variable(),
            key: key.path.to_owned(),
            default: plain(reference::default_text(key)),
            allowed: plain(key.kind.allowed()),
            secret: key.kind.is_secret(),
            reloads: key.reloads,
        };
        let twin = key.kind.is_secret().then(|| Self {
            variable: format!("{}_FILE", key.variable()),
            key: format!("{}_file", key.path),
            default: "none".to_owned(),
            allowed: "the path of a file that holds the value".to_owned(),
            secret: false,
            reloads: key.reloads,
        });
        std::iter::once(own).chain(twin)
    }
}

impl Row for VariableRow {
    const TITLES: &'static [&'static str] = &["VARIABLE", "DEFAULT", "ALLOWED"];

    fn cells(&self) -> Vec<String> {
        vec![self.variable.clone(), self.default.clone(), self.allowed.clone()]
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::output::tests::output;
    use super::*;

    fn run_with(command: ConfigCommand, format: Format, variables: &[(&str, &str)]) -> (ExitCode, String, String) {
        let (mut to, out, err) = output(format, false);
        let environment = Environment::of_map(variables.iter().copied(), Path::new("/srv"));
        let code = run(command, &Global::default(), &environment, &mut to).unwrap();
        (code, out.text(), err.text())
    }

    #[test]
    fn check_tells_faults_with_exit_code_1() {
        let (code, out, err) = run_with(
            ConfigCommand::Check,
            Format::Table,
            &[("PLINTH_HTTP_BND", "x"), ("PLINTH_LOG_LEVEL", "=")],
        );
        assert_eq!(code, ExitCode::Failed);
        assert!(
            out.is_empty() && err.starts_with("plinth: 2 faults in the configuration\n"),
            "{err}"
        );
        let (_, out, _) = run_with(ConfigCommand::Check, Format::Json, &[("PLINTH_HTTP_BND", "x")]);
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value["faults"][0]["nearest"], "PLINTH_HTTP_BIND");
        assert_eq!(value["faults"][0]["origin"], "PLINTH_HTTP_BND");
    }

    #[test]
    fn check_names_dangers_of_a_sound_configuration() {
        let (code, _, err) = run_with(ConfigCommand::Check, Format::Table, &[("PLINTH_AUTH_BCRYPT_COST", "4")]);
        assert_eq!(code, ExitCode::Done);
        assert!(
            err.contains("danger: auth.bcrypt_cost") && err.ends_with("the configuration is sound\n"),
            "{err}"
        );
    }

    #[test]
    fn show_redacts_and_names_origins() {
        let variables = [("PLINTH_OPS_TOKEN", "0123456789abcdef"), ("PLINTH_DATA_DIR", "d")];
        let (code, out, _) = run_with(ConfigCommand::Show, Format::Table, &variables);
        assert_eq!(code, ExitCode::Done);
        let line = |key: &str| {
            let line = out.lines().find(|line| line.starts_with(&format!("{key} "))).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("ops.token"), "ops.token [redacted] PLINTH_OPS_TOKEN");
        assert_eq!(line("data_dir"), "data_dir /srv/d PLINTH_DATA_DIR");
        assert_eq!(line("database.url"), "database.url sqlite:///srv/d/plinth.db default");
        assert_eq!(
            line("tiers.free.max_file_bytes"),
            "tiers.free.max_file_bytes 100MiB default"
        );
        assert!(!out.contains("0123456789abcdef"));
    }

    #[test]
    fn env_lists_every_variable_with_its_twin() {
        let (_, out, _) = run_with(ConfigCommand::Env, Format::Json, &[]);
        let rows: Vec<serde_json::Value> = serde_json::from_str(&out).unwrap();
        let names: Vec<&str> = rows.iter().filter_map(|row| row["variable"].as_str()).collect();
        for name in [
            "PLINTH_HTTP_BIND",
            "PLINTH_MASTER_KEY",
            "PLINTH_MASTER_KEY_FILE",
            "PLINTH_FILES_BACKENDS_<NAME>_KIND",
        ] {
            assert!(names.contains(&name), "{name}");
        }
        assert!(!names.contains(&"PLINTH_HTTP_BIND_FILE"));
    }

    #[test]
    fn docs_prints_the_reference() {
        assert_eq!(run_with(ConfigCommand::Docs, Format::Table, &[]).1, reference::render());
    }
}
