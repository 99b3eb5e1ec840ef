//! `plinth migrate`.

use std::time::Duration;

use serde::Serialize;

use super::args::{ExitCode, MigrateArgs, MigrateCommand};
use super::output::{Output, Row};
use super::run::refuse;
use crate::compose::{self, ComposeError};
use crate::config::Config;

/// How often `status --wait` looks.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Serialize)]
struct MigrationRow {
    migration: String,
    state: &'static str,
}

impl Row for MigrationRow {
    const TITLES: &[&str] = &["migration", "state"];

    fn cells(&self) -> Vec<String> {
        vec![self.migration.clone(), self.state.to_owned()]
    }
}

fn rows(names: Vec<String>, state: &'static str) -> Vec<MigrationRow> {
    names
        .into_iter()
        .map(|migration| MigrationRow { migration, state })
        .collect()
}

pub(super) async fn run(args: MigrateArgs, config: &Config, output: &mut Output) -> std::io::Result<ExitCode> {
    let done = match args.command.unwrap_or(MigrateCommand::Up) {
        MigrateCommand::Up => up(config, output).await,
        MigrateCommand::Status { wait, timeout } => status(config, wait.then_some(timeout), output).await,
        MigrateCommand::Down {
            to,
            danger_lose_data: _,
        } => down(config, &to, output).await,
    };
    match done {
        Ok(code) => code,
        Err(error) => refuse(&error, output),
    }
}

type Outcome = Result<std::io::Result<ExitCode>, ComposeError>;

async fn up(config: &Config, output: &mut Output) -> Outcome {
    crate::folder::data_folder(config)?;
    let applied = compose::migrate_up(config).await?;
    let code = if applied.is_empty() {
        ExitCode::Nothing
    } else {
        ExitCode::Done
    };
    let told = output.list(&rows(applied, "applied")).and_then(|()| match code {
        ExitCode::Nothing => output.note("nothing to do: the schema is up to date"),
        _ => Ok(()),
    });
    Ok(told.map(|()| code))
}

async fn down(config: &Config, to: &str, output: &mut Output) -> Outcome {
    let applied = compose::migration_status(config).await?.applied;
    let kept = match to {
        "nothing" => 0,
        name => match applied.iter().position(|known| known == name) {
            Some(index) => index + 1,
            None => {
                return Ok(output
                    .fault("--to names no applied migration")
                    .map(|()| ExitCode::Nothing));
            }
        },
    };
    let steps = u32::try_from(applied.len() - kept).unwrap_or(u32::MAX);
    if steps == 0 {
        return Ok(Ok(ExitCode::Nothing));
    }
    let undone = compose::migrate_down(config, steps).await?;
    Ok(output.list(&rows(undone, "taken back")).map(|()| ExitCode::Done))
}

async fn status(config: &Config, wait: Option<Duration>, output: &mut Output) -> Outcome {
    let look = async {
        loop {
            match compose::migration_status(config).await {
                Ok(status) if status.pending.is_empty() => return,
                // An init container starts before its database does.
                Ok(_) | Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    };
    if let Some(limit) = wait {
        // What there is when the time is up is told below.
        let _ = tokio::time::timeout(limit, look).await;
    }
    let status = compose::migration_status(config).await?;
    let code = if status.pending.is_empty() {
        ExitCode::Done
    } else {
        ExitCode::Nothing
    };
    let mut all = rows(status.applied, "applied");
    all.extend(rows(status.pending, "missing"));
    all.extend(rows(status.unknown, "of a newer version"));
    Ok(output.list(&all).map(|()| code))
}

#[cfg(test)]
mod tests {
    use super::super::args::Format;
    use super::super::output::tests::{config_in, output};
    use super::*;

    async fn status_in(folder: &std::path::Path) -> (ExitCode, String) {
        let config = config_in(folder);
        let (mut output, out, _) = output(Format::Json, false);
        let command = Some(MigrateCommand::Status {
            wait: false,
            timeout: Duration::from_secs(1),
        });
        let code = run(MigrateArgs { command }, &config, &mut output).await.unwrap();
        (code, out.text())
    }

    #[tokio::test]
    async fn asking_in_an_empty_folder_says_that_all_is_missing_and_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (code, text) = status_in(folder.path()).await;
        assert_eq!(code, ExitCode::Nothing);
        assert!(
            text.contains("m20261122_000001_core") && text.contains("missing") && !text.contains("applied"),
            "{text}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        // Nor in a data folder whose database is not there yet.
        let data = folder.path().join("plinth-data");
        std::fs::create_dir(&data).unwrap();
        assert_eq!(status_in(folder.path()).await, (code, text));
        assert_eq!(std::fs::read_dir(data).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_is_applied_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let config = config_in(folder.path());
        let (mut output, _, _) = output(Format::Json, false);
        assert_eq!(
            run(MigrateArgs { command: None }, &config, &mut output).await.unwrap(),
            ExitCode::Done
        );
        let (code, text) = status_in(folder.path()).await;
        assert_eq!(code, ExitCode::Done);
        assert!(text.contains("applied") && !text.contains("missing"), "{text}");
    }
}
