//! `plinth top`: the dashboard on a running server, or one look at it.

use super::args::{ExitCode, Format, TopArgs};
use super::health::reachable;
use super::output::Output;
use crate::config::Config;

/// Runs without logging: what is logged would stand in the middle of the picture.
pub(super) fn run(args: &TopArgs, config: &Config, output: &mut Output) -> std::io::Result<ExitCode> {
    if !args.once && !output.style().terminal {
        output.fault("standard output is no terminal; use --once, or --once --json for programs")?;
        return Ok(ExitCode::Usage);
    }
    let options = options(args, config, output);
    // One thread is enough for one connection and one picture.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(show(args, options, output));
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    match result? {
        Ok(()) => Ok(ExitCode::Done),
        Err(error) => output.fault(&error.to_string()).map(|()| ExitCode::Failed),
    }
}

fn options(args: &TopArgs, config: &Config, output: &Output) -> tui::Options {
    tui::Options {
        address: args.url.clone().unwrap_or_else(|| reachable(config)),
        token: config.ops.token.as_ref().map(|token| token.expose().clone()),
        profile: tui::Profile {
            colour: output.style().colour,
            ascii: args.ascii,
        },
        record: args.record.clone(),
        replay: args.replay.clone(),
    }
}

/// The outer error is of our own output, the inner one of what was to be shown.
async fn show(
    args: &TopArgs,
    options: tui::Options,
    output: &mut Output,
) -> std::io::Result<Result<(), tui::TopError>> {
    if args.once && (args.json || output.format() == Format::Json) {
        return match tui::once(&options).await {
            Ok(stats) => output.json(&stats).map(Ok),
            Err(error) => Ok(Err(error)),
        };
    }
    if args.once {
        return match tui::overview(&options).await {
            Ok(text) => output.text(&text).map(Ok),
            Err(error) => Ok(Err(error)),
        };
    }
    Ok(tui::run(options).await)
}
