//! The commands and their flags.

mod events;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use domain::email::EmailAddress;

use super::audit::AuditCommand;
pub use events::{DeadCommand, DeadFilter, End, EventsCommand, ReplayArgs};

/// How a command ended, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// Done.
    Done,
    /// Failed; the reason is on standard error.
    Failed,
    /// The command line was wrong. The argument parser ends the process with the same code.
    Usage,
    /// There was nothing to do, or what was asked for does not exist.
    Nothing,
}

impl ExitCode {
    /// The number that the process ends with.
    pub const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Nothing => 3,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

/// Accounts, tokens, files, events and mail in one binary.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "plinth",
    version,
    propagate_version = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 nothing to do or not found.\n\
                  Settings come from --config, PLINTH_ variables and --set; `plinth config env` lists them."
)]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Args, Clone, Debug, Default)]
pub struct Global {
    /// Configuration file (TOML); otherwise the one that PLINTH_CONFIG names, otherwise none
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one key, such as http.bind=127.0.0.1:0; may be repeated, not for secrets
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// How answers are written to standard output
    #[arg(long, global = true, value_enum, default_value_t)]
    pub format: Format,
    /// Print ids only, and no progress
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Print no colours, as NO_COLOR does
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// How answers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Serve the API, and work unless told otherwise
    Serve(ServeArgs),
    /// Work only: sequencer, handlers, mail
    Worker,
    /// Bring the database schema up to date, or ask about it
    Migrate(MigrateArgs),
    /// Administrators; works on the database, with or without a running server
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Users; works on the database, with or without a running server
    #[command(subcommand)]
    User(UserCommand),
    /// Keys that sign access tokens
    #[command(subcommand)]
    Keys(KeysCommand),
    /// The audit trail: proof, checkpoints, search; works on the database, with or without a running server
    #[command(subcommand)]
    Audit(AuditCommand),
    /// The configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the API's OpenAPI document
    Openapi(OpenapiArgs),
    /// Ask a running server whether it is ready; for container images without a shell
    Healthcheck(HealthcheckArgs),
    /// Use every configured backend for real, judge what matters in production, and say what to do
    Doctor(DoctorArgs),
    /// Watch a running server: pool, log, groups, mail, with history and warnings
    Top(TopArgs),
    /// The event log and its dead letters; works on the database, with or without a running server
    #[command(subcommand)]
    Events(EventsCommand),
}

/// Flags of `serve`.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// Serve only; `plinth worker` works
    #[arg(long)]
    pub no_workers: bool,
}

/// Flags of `migrate`.
#[derive(Args, Clone, Debug, Default)]
pub struct MigrateArgs {
    /// What to do; `up` when left out
    #[command(subcommand)]
    pub command: Option<MigrateCommand>,
}

/// What `migrate` does.
#[derive(Clone, Debug, Subcommand)]
pub enum MigrateCommand {
    /// Apply what is missing
    Up,
    /// Tell which migrations are applied; exit code 3 when some are missing
    Status {
        /// Wait until all are applied; for init containers
        #[arg(long)]
        wait: bool,
        /// How many seconds to wait at most
        #[arg(long, requires = "wait", value_name = "SECONDS", default_value = "300", value_parser = seconds)]
        timeout: Duration,
    },
    /// Take migrations back; tables that they made are dropped
    Down {
        /// The migration to keep as the last one, or `nothing`
        #[arg(long, value_name = "NAME")]
        to: String,
        /// Say that losing the data in dropped tables is meant
        #[arg(long, required = true)]
        danger_lose_data: bool,
    },
}

/// What `admin` does.
#[derive(Clone, Debug, Subcommand)]
pub enum AdminCommand {
    /// Make an administrator; asks for the password unless a file is given
    Create {
        /// Its e-mail address
        #[arg(long)]
        email: String,
        /// A file that holds the password; one closing line end is taken off
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// Its name
        #[arg(long, default_value = "Administrator")]
        name: String,
    },
}

/// What `user` does.
#[derive(Clone, Debug, Subcommand)]
pub enum UserCommand {
    /// List users, oldest first
    List {
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
        /// Go on after a page: the cursor that it printed
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// Show one user
    Show {
        /// The user's id or e-mail address
        user: String,
    },
    /// Change a user's tier
    SetTier {
        /// The user's id or e-mail address
        user: String,
        /// The tier's name
        tier: String,
    },
    /// Shut a user out: sessions end within a second
    Disable {
        /// The user's id or e-mail address
        user: String,
    },
    /// Let a user in again
    Enable {
        /// The user's id or e-mail address
        user: String,
    },
}

/// What `keys` does.
#[derive(Clone, Debug, Subcommand)]
pub enum KeysCommand {
    /// List the keys and their states
    List,
    /// Make a new key; it signs once every verifier can have seen it, after 10 minutes
    Rotate {
        /// Let the new key sign after 10 seconds, when every node has it; verifiers that cache the list may lag
        #[arg(long)]
        now: bool,
    },
}

/// What `config` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum ConfigCommand {
    /// Read everything; tell all faults and dangerous settings
    Check,
    /// Print what is in force and where each value was set; secrets are not shown
    Show,
    /// List every environment variable
    Env,
    /// Print the reference of all settings as Markdown
    Docs,
}

/// Flags of `openapi`.
#[derive(Args, Clone, Debug, Default)]
pub struct OpenapiArgs {
    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Flags of `healthcheck`.
#[derive(Args, Clone, Debug, Default)]
pub struct HealthcheckArgs {
    /// The ops address; otherwise the configured one
    #[arg(long, value_name = "ADDRESS")]
    pub url: Option<String>,
}

/// Flags of `doctor`.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// Hand a test message over to this address; otherwise the mail is tried without one
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub send_mail_to: Option<EmailAddress>,
    /// End with exit code 1 for warnings too
    #[arg(long)]
    pub strict: bool,
    /// How many seconds each check may take
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = some_seconds)]
    pub timeout: Duration,
}

/// Flags of `top`.
#[derive(Args, Clone, Debug, Default)]
pub struct TopArgs {
    /// The ops address; otherwise the configured one
    #[arg(long, value_name = "ADDRESS")]
    pub url: Option<String>,
    /// Print the overview and end; it takes a second, since rates need two readings
    #[arg(long)]
    pub once: bool,
    /// With --once: print the figures as JSON, from one reading
    #[arg(long, requires = "once")]
    pub json: bool,
    /// Use letters of ASCII only
    #[arg(long)]
    pub ascii: bool,
    /// Write all that happens to a new file, to be shown again by --replay
    #[arg(long, value_name = "FILE", conflicts_with = "once")]
    pub record: Option<PathBuf>,
    /// Show a recording instead of a server
    #[arg(long, value_name = "FILE", conflicts_with_all = ["once", "url", "record"])]
    pub replay: Option<PathBuf>,
}

fn address(text: &str) -> Result<EmailAddress, String> {
    text.parse()
        .map_err(|error: domain::email::ParseEmailError| error.to_string())
}

fn some_seconds(text: &str) -> Result<Duration, String> {
    seconds(text).and_then(|limit| {
        if limit.is_zero() || limit > Duration::from_secs(3_600) {
            Err("must be 1 to 3600".to_owned())
        } else {
            Ok(limit)
        }
    })
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .map(Duration::from_secs)
        .map_err(|_| "must be a whole number of seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_flags_may_stand_anywhere() {
        for line in [
            "plinth --format json --quiet user list",
            "plinth user list --format json -q",
        ] {
            let cli = parse(line).unwrap();
            assert_eq!(cli.global.format, Format::Json, "{line}");
            assert!(cli.global.quiet);
            assert!(matches!(
                cli.command,
                Command::User(UserCommand::List { limit: 50, after: None })
            ));
        }
        let cli = parse("plinth serve --no-workers --set http.bind=127.0.0.1:0 --set log.level=warn").unwrap();
        assert_eq!(cli.global.set, ["http.bind=127.0.0.1:0", "log.level=warn"]);
        assert!(matches!(cli.command, Command::Serve(ServeArgs { no_workers: true })));
    }

    #[test]
    fn migrate_goes_up_unless_told_otherwise_and_never_down_by_accident() {
        assert!(matches!(
            parse("plinth migrate").unwrap().command,
            Command::Migrate(MigrateArgs { command: None })
        ));
        let error = parse("plinth migrate down --to nothing").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MissingRequiredArgument);
        assert!(parse("plinth migrate down --to nothing --danger-lose-data").is_ok());
        assert!(parse("plinth migrate status --timeout 5").is_err());
        let Command::Migrate(MigrateArgs {
            command: Some(MigrateCommand::Status { wait, timeout }),
        }) = parse("plinth migrate status --wait --timeout 5").unwrap().command
        else {
            panic!("another command")
        };
        assert!(wait && timeout == Duration::from_secs(5));
    }

    #[test]
    fn wrong_usage_ends_with_2() {
        for line in [
            "plinth",
            "plinth srv",
            "plinth user list --limit 0",
            "plinth --format xml openapi",
        ] {
            assert_eq!(
                parse(line).unwrap_err().exit_code(),
                i32::from(ExitCode::Usage.number()),
                "{line}"
            );
        }
        assert_eq!(parse("plinth --version").unwrap_err().exit_code(), 0);
    }
}
