//! `plinth keys`.

use domain::token::SigningKey;
use serde::Serialize;

use super::args::{ExitCode, KeysCommand};
use super::output::{Output, Row};
use super::run::{open, open_existing, refuse};
use crate::config::Config;

#[derive(Serialize)]
struct KeyRow {
    kid: String,
    status: &'static str,
    created_at: String,
    activates_at: String,
    retired_at: Option<String>,
}

impl From<&SigningKey> for KeyRow {
    fn from(key: &SigningKey) -> Self {
        Self {
            kid: key.kid.clone(),
            status: key.status.as_str(),
            created_at: key.created_at.to_rfc3339(),
            activates_at: key.activates_at.to_rfc3339(),
            retired_at: key.retired_at.map(|at| at.to_rfc3339()),
        }
    }
}

impl Row for KeyRow {
    const TITLES: &[&str] = &["kid", "status", "created", "signs from", "retired"];

    fn cells(&self) -> Vec<String> {
        let retired = self.retired_at.clone().unwrap_or_default();
        vec![
            self.kid.clone(),
            self.status.to_owned(),
            self.created_at.clone(),
            self.activates_at.clone(),
            retired,
        ]
    }
}

pub(super) async fn run(command: KeysCommand, config: &Config, output: &mut Output) -> std::io::Result<ExitCode> {
    let opened = match command {
        KeysCommand::List => open_existing(config).await,
        // A first key may be made before the first start.
        KeysCommand::Rotate { .. } => open(config).await,
    };
    let (ports, services) = match opened {
        Ok(opened) => opened,
        Err(error) => return refuse(&error, output),
    };
    let keys = match command {
        KeysCommand::List => services.keys.list().await.map_err(Into::into),
        KeysCommand::Rotate { now } => services.keys.rotate(now).await.map(|key| vec![key]),
    };
    ports.close().await;
    match keys {
        Ok(keys) => {
            let rows: Vec<KeyRow> = keys.iter().map(KeyRow::from).collect();
            let code = if rows.is_empty() {
                ExitCode::Nothing
            } else {
                ExitCode::Done
            };
            output.list(&rows).map(|()| code)
        }
        Err(error) => {
            output.fault(&error.to_string())?;
            Ok(ExitCode::Failed)
        }
    }
}
