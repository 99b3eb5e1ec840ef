//! From the command line to the command.

use clap::Parser;

use super::args::{Cli, Command, ExitCode, Global};
use super::output::Output;
use super::{admin, audit, config, doctor, events, health, keys, migrate, openapi, top, user};
use crate::compose::{self, ComposeError, Ports};
use crate::config::{Config, Environment, PublicUrl};
use crate::service::admin::AdminError;
use crate::start::Services;
use crate::telemetry::Telemetry;
use crate::{serve, telemetry};

/// Runs the process and gives the code that it ends with.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let environment = Environment::of_process();
    let mut output = Output::of_process(&cli.global, &environment);
    match dispatch(cli, &environment, &mut output) {
        Ok(code) => code,
        // Whoever read our output is gone: there is nobody left to tell.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::Done,
        Err(error) => {
            let _ = output.fault(&error.to_string());
            ExitCode::Failed
        }
    }
}

fn dispatch(cli: Cli, environment: &Environment, output: &mut Output) -> std::io::Result<ExitCode> {
    let global = cli.global;
    match cli.command {
        Command::Config(command) => return config::run(command, &global, environment, output),
        Command::Openapi(args) => return openapi::run(&args, output),
        _ => {}
    }
    let config = match load(&global, environment) {
        Ok(config) => config,
        Err(faults) => return config::tell(&faults, output),
    };
    match &cli.command {
        Command::Top(args) => return top::run(args, &config, output),
        Command::Doctor(args) => return doctor::run(args, &config, output),
        _ => {}
    }
    // Held to the end of the process: what is logged on the way out is written when it is dropped.
    let (telemetry, _flush) = match telemetry::init(&config.log, output.style().error_colour) {
        Ok(started) => started,
        Err(error) => {
            output.fault(&error.to_string())?;
            return Ok(ExitCode::Failed);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let command = cli.command;
    let environment = environment.clone();
    let reload = Box::new(move || reload(&global, &environment, &telemetry));
    let code = runtime.block_on(execute(command, &config, reload, output));
    // Threads that still hash for callers who are gone are not waited for.
    runtime.shutdown_background();
    code
}

fn load(global: &Global, environment: &Environment) -> Result<Config, crate::config::Faults> {
    crate::config::load(environment, global.config.as_deref(), &global.set).map(|loaded| loaded.config)
}

/// What may change at run time is the log level; everything else needs a restart.
fn reload(global: &Global, environment: &Environment, telemetry: &Telemetry) {
    match load(global, environment) {
        Ok(config) => match telemetry.set_level(&config.log.level) {
            Ok(()) => tracing::info!(level = config.log.level, "the configuration was read again"),
            Err(error) => tracing::error!(%error, "the log level stays as it was"),
        },
        Err(faults) => tracing::error!(%faults, "the configuration has faults and stays as it was"),
    }
}

async fn execute(
    command: Command,
    config: &Config,
    reload: serve::Reload,
    output: &mut Output,
) -> std::io::Result<ExitCode> {
    match command {
        Command::Serve(args) => serve::serve(config, !args.no_workers && config.workers.enabled, reload, output).await,
        Command::Worker => serve::worker(config, reload, output).await,
        Command::Migrate(args) => migrate::run(args, config, output).await,
        Command::Admin(command) => admin::run(command, config, output).await,
        Command::User(command) => user::run(command, config, output).await,
        Command::Keys(command) => keys::run(command, config, output).await,
        Command::Events(command) => events::run(command, config, output).await,
        Command::Audit(command) => audit::run(command, config, output).await,
        Command::Healthcheck(args) => health::run(&args, config, output).await,
        // Answered before logging began.
        Command::Config(_) | Command::Openapi(_) | Command::Top(_) | Command::Doctor(_) => Ok(ExitCode::Usage),
    }
}

/// The ports and services of a command that works on the database, beside a running server or without one.
pub(super) async fn open(config: &Config) -> Result<(Ports, Services), ComposeError> {
    crate::folder::data_folder(config)?;
    let ports = compose::ports(config).await?;
    let public_url = config
        .public_url
        .clone()
        .unwrap_or_else(|| PublicUrl::of_listener(config.http.bind));
    let services = Services::new(&ports, config, &public_url)?;
    Ok((ports, services))
}

/// As [`open`], for commands about an installation that is there: a wrong folder must not look like an empty one, nor
/// become one.
pub(super) async fn open_existing(config: &Config) -> Result<(Ports, Services), ComposeError> {
    match compose::look::missing_file(config).await {
        Some(path) => Err(ComposeError::NothingInstalled(path.display().to_string())),
        None => open(config).await,
    }
}

/// Tells why a command could not begin.
pub(super) fn refuse(error: &ComposeError, output: &mut Output) -> std::io::Result<ExitCode> {
    output.fault(&error.to_string())?;
    Ok(ExitCode::Failed)
}

/// Tells why an act of administration was refused.
pub(super) fn refuse_act(error: &AdminError, output: &mut Output) -> std::io::Result<ExitCode> {
    let text = match error {
        AdminError::UnknownTier(names) => format!("{error}; there are {}", names.join(", ")),
        other => other.to_string(),
    };
    output.fault(&text)?;
    Ok(if matches!(error, AdminError::NotFound) {
        ExitCode::Nothing
    } else {
        ExitCode::Failed
    })
}
