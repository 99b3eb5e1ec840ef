//! The flags of `plinth events`.

use clap::Subcommand;

use super::schema::SchemaCommand;

/// What `events` does.
#[derive(Clone, Debug, Subcommand)]
pub enum EventsCommand {
    /// Schemas of events in files, for CI; needs no server and no database
    #[command(subcommand)]
    Schema(SchemaCommand),
}
