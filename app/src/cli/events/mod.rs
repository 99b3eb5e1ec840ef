//! `plinth events`.

mod dead;
mod log;
mod replay;

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use super::args::{EventsCommand, ExitCode};
use super::output::Output;
use super::run::{open_existing, refuse};
use crate::compose::Ports;
use crate::config::Config;
use crate::service::admin::AdminError;
use crate::service::dead_letters::DeadLetterError;
use crate::start::Services;

/// What a command works on.
struct Open<'a> {
    ports: &'a Ports,
    services: &'a Services,
    output: &'a mut Output,
}

pub(super) async fn run(command: EventsCommand, config: &Config, output: &mut Output) -> std::io::Result<ExitCode> {
    let (ports, services) = match open_existing(config).await {
        Ok(opened) => opened,
        Err(error) => return refuse(&error, output),
    };
    let open = Open {
        ports: &ports,
        services: &services,
        output,
    };
    let done = act(command, open).await;
    ports.close().await;
    match done {
        Ok(code) => Ok(code),
        Err(Fault::Output(error)) => Err(error),
        Err(Fault::Usage(text)) => {
            output.fault(&text)?;
            Ok(ExitCode::Usage)
        }
        Err(Fault::Nothing(text)) => {
            output.fault(&text)?;
            Ok(ExitCode::Nothing)
        }
        Err(Fault::Failed(text)) => {
            output.fault(&text)?;
            Ok(ExitCode::Failed)
        }
    }
}

async fn act(command: EventsCommand, open: Open<'_>) -> Result<ExitCode, Fault> {
    match command {
        EventsCommand::Tail {
            user,
            event_type,
            after,
            limit,
        } => log::tail(open, user.as_deref(), event_type.as_ref(), after, limit).await,
        EventsCommand::History {
            user,
            event_type,
            after,
            limit,
        } => log::history(open, &user, event_type.as_ref(), after, limit).await,
        EventsCommand::Replay(args) => replay::run(open, args).await,
        EventsCommand::Dead(command) => dead::run(open, command).await,
    }
}

/// Why a command ended early.
#[derive(Debug)]
enum Fault {
    /// The output is gone.
    Output(std::io::Error),
    /// The command line was wrong.
    Usage(String),
    /// What was asked for does not exist.
    Nothing(String),
    /// Something failed.
    Failed(String),
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<ports::BackendError> for Fault {
    fn from(error: ports::BackendError) -> Self {
        Self::Failed(format!("{error}: {}", error.source))
    }
}

impl From<DeadLetterError> for Fault {
    fn from(error: DeadLetterError) -> Self {
        match error {
            DeadLetterError::NotFound => Self::Nothing(error.to_string()),
            DeadLetterError::UnknownGroup(names) => {
                Self::Nothing(format!("there is no such group; there are {}", names.join(", ")))
            }
            DeadLetterError::Contended | DeadLetterError::Effects(_) => Self::Failed(error.to_string()),
        }
    }
}

impl From<AdminError> for Fault {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::NotFound => Self::Nothing(error.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Asks before something that cannot be taken back. Where nobody can be asked, `--yes` must have been said.
fn confirm(question: &str) -> Result<bool, Fault> {
    if !std::io::stdin().is_terminal() {
        return Err(Fault::Usage(format!(
            "{question} Say --yes, or --dry-run to only count"
        )));
    }
    let mut err = std::io::stderr();
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
