//! The flags of `plinth events`.

use clap::{Args, Subcommand};
use domain::event::{EventType, SHARDS, Shard};
use domain::id::{DeadLetterId, UserId};
use domain::time::Timestamp;

/// What `events` does.
#[derive(Clone, Debug, Subcommand)]
pub enum EventsCommand {
    /// Follow the log: print each event as it gets its position; `--format json` prints CloudEvents, one a line
    Tail {
        /// Only events of this user, by id or e-mail address
        #[arg(long, value_name = "USER")]
        user: Option<String>,
        /// Only events of this type
        #[arg(long = "type", value_name = "TYPE", value_parser = event_type)]
        event_type: Option<EventType>,
        /// Begin after this position of the user's events instead of with what happens next
        #[arg(long, value_name = "POSITION", requires = "user")]
        after: Option<u64>,
        /// End after so many events
        #[arg(long, value_name = "EVENTS")]
        limit: Option<u64>,
    },
    /// Print a user's events in order; `--format json` prints CloudEvents
    History {
        /// The user, by id or e-mail address
        #[arg(long, value_name = "USER")]
        user: String,
        /// Only events of this type
        #[arg(long = "type", value_name = "TYPE", value_parser = event_type)]
        event_type: Option<EventType>,
        /// Go on after this position
        #[arg(long, value_name = "POSITION", default_value_t = 0)]
        after: u64,
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
        limit: u64,
    },
    /// Have a handler group handle a part of the log once more
    Replay(ReplayArgs),
    /// Dead letters: events that a handler group gave up
    #[command(subcommand)]
    Dead(DeadCommand),
}

/// Flags of `events replay`.
#[derive(Args, Clone, Debug)]
pub struct ReplayArgs {
    /// The group
    #[arg(long)]
    pub group: String,
    /// From this time on (2026-11-22T09:30:00Z), or with --shard from this position
    #[arg(long, value_name = "TIME|POSITION", required_unless_present_any = ["to", "shard", "resume"])]
    pub from: Option<String>,
    /// Up to, but not at, this time; or with --shard up to and at this position
    #[arg(long, value_name = "TIME|POSITION")]
    pub to: Option<String>,
    /// Only this shard of the log, 0 to 15
    #[arg(long, value_parser = shard)]
    pub shard: Option<Shard>,
    /// Go on where an interrupted replay of the same part ended, as it printed
    #[arg(long, value_name = "POINT")]
    pub resume: Option<String>,
    /// Only count
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// What `events dead` does.
#[derive(Clone, Debug, Subcommand)]
pub enum DeadCommand {
    /// List dead letters, oldest first, and count them by reason
    List {
        /// Which
        #[command(flatten)]
        filter: DeadFilter,
        /// Only count them by reason
        #[arg(long)]
        reasons: bool,
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
        /// Go on after a page: the cursor that it printed
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// Show one dead letter with its event
    Show {
        /// The dead letter's id
        id: DeadLetterId,
    },
    /// Hand dead letters to their groups again
    Redrive {
        /// Ids of dead letters
        ids: Vec<DeadLetterId>,
        /// Which
        #[command(flatten)]
        filter: DeadFilter,
        /// All dead letters
        #[arg(long)]
        all: bool,
        /// How many at most
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// Those too that died again after three redrives
        #[arg(long)]
        force: bool,
        /// Only count
        #[arg(long)]
        dry_run: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Throw dead letters away; an event in the log names them
    Discard {
        /// Ids of dead letters
        ids: Vec<DeadLetterId>,
        /// Which
        #[command(flatten)]
        filter: DeadFilter,
        /// All dead letters
        #[arg(long)]
        all: bool,
        /// How many at most
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// Only count
        #[arg(long)]
        dry_run: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Which dead letters are meant.
#[derive(Args, Clone, Debug, Default)]
pub struct DeadFilter {
    /// Of this group
    #[arg(long)]
    pub group: Option<String>,
    /// With this reason
    #[arg(long)]
    pub reason: Option<String>,
    /// Of events of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = event_type)]
    pub event_type: Option<EventType>,
    /// Of events of the user with this id
    #[arg(long, value_name = "ID")]
    pub user: Option<UserId>,
}

fn event_type(text: &str) -> Result<EventType, String> {
    text.parse()
        .map_err(|error: domain::event::ParseEventTypeError| error.to_string())
}

fn shard(text: &str) -> Result<Shard, String> {
    let shard = text.parse().ok().and_then(Shard::new);
    shard.ok_or_else(|| format!("must be 0 to {}", SHARDS - 1))
}

/// One end of a part of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A time.
    Time(Timestamp),
    /// A position of the shard.
    Position(u64),
}

impl End {
    /// Reads an end: a number is a position, and there are positions only in a shard.
    ///
    /// # Errors
    /// What it must be.
    pub fn parse(text: &str, has_shard: bool) -> Result<Self, String> {
        match text.parse::<u64>() {
            Ok(position) if has_shard => Ok(Self::Position(position)),
            Ok(_) => Err("must be a time, unless --shard is given: positions are those of a shard".to_owned()),
            Err(_) => Timestamp::parse_rfc3339(text)
                .map(Self::Time)
                .map_err(|_| "must be a time such as 2026-11-22T09:30:00Z, or a position".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Cli, Command};
    use super::*;

    fn parse(line: &str) -> Result<EventsCommand, String> {
        let cli = Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
        match cli.command {
            Command::Events(command) => Ok(command),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn a_replay_says_which_part() {
        assert!(parse("plinth events replay --group usage").is_err());
        assert!(
            parse("plinth events replay --from 2026-11-22T09:30:00Z").is_err(),
            "of which group"
        );
        assert!(parse("plinth events replay --group usage --shard 16").is_err());
        for part in [
            "--from 2026-11-22T09:30:00Z",
            "--shard 3",
            "--shard 3 --from 7 --to 9",
            "--to 2026-11-22T09:30:00Z",
        ] {
            let line = format!("plinth events replay --group usage {part}");
            assert!(matches!(parse(&line), Ok(EventsCommand::Replay(_))), "{line}");
        }
        assert_eq!(End::parse("7", true), Ok(End::Position(7)));
        assert!(End::parse("7", false).is_err());
        assert!(matches!(End::parse("2026-11-22T09:30:00Z", true), Ok(End::Time(_))));
        assert!(End::parse("yesterday", true).is_err());
    }

    #[test]
    fn types_and_ids_are_checked_before_anything_is_opened() {
        for line in [
            "plinth events tail --type Order",
            "plinth events tail --after 7",
            "plinth events history",
            "plinth events dead show 7",
            "plinth events dead list --limit 201",
            "plinth events dead redrive --user anna",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        let Ok(EventsCommand::Dead(DeadCommand::Redrive { ids, filter, limit, .. })) =
            parse("plinth events dead redrive --group usage --type app.a --dry-run")
        else {
            panic!("another command")
        };
        assert_eq!((ids.len(), filter.group.as_deref(), limit), (0, Some("usage"), 1_000));
    }
}
