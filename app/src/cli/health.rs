//! `plinth healthcheck`: for images without a shell or curl.

use std::time::Duration;

use super::args::{ExitCode, HealthcheckArgs};
use super::output::Output;
use crate::config::Config;
use crate::plain_http;

/// A container's health check is usually given a few seconds in all.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn run(args: &HealthcheckArgs, config: &Config, output: &mut Output) -> std::io::Result<ExitCode> {
    let address = match &args.url {
        Some(url) => url.trim_start_matches("http://").trim_end_matches('/').to_owned(),
        None => reachable(config),
    };
    let answer = tokio::time::timeout(PATIENCE, plain_http::get(&address, "/health/ready")).await;
    match answer {
        Ok(Ok((status, body))) => {
            let code = if status.is_success() {
                ExitCode::Done
            } else {
                ExitCode::Failed
            };
            output
                .text(&format!("{}\n", String::from_utf8_lossy(&body)))
                .map(|()| code)
        }
        Ok(Err(error)) => output.fault(&format!("{address}: {error}")).map(|()| ExitCode::Failed),
        Err(_) => output
            .fault(&format!("{address} did not answer within {} s", PATIENCE.as_secs()))
            .map(|()| ExitCode::Failed),
    }
}

/// An address that listens everywhere is asked on this machine.
pub(super) fn reachable(config: &Config) -> String {
    plain_http::reachable(config.ops.bind).to_string()
}
