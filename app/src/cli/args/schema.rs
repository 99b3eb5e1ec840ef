//! The flags of `plinth events schema`.

use std::path::PathBuf;

use clap::Subcommand;
use domain::schema::Compatibility;

/// What `events schema` does.
#[derive(Clone, Debug, Subcommand)]
pub enum SchemaCommand {
    /// Check schemas in files: their form, each version against the one before, and that published ones stay as they are;
    /// exit code 1 when something is wrong, 3 when there is no schema
    Check {
        /// A schema, or a folder of them: TYPE/VERSION.json, or TYPE.json for the newest alone
        #[arg(value_name = "FOLDER|FILE")]
        path: PathBuf,
        /// What was published before: the same folder as it was then, or for a file the version before
        #[arg(long, value_name = "FOLDER|FILE")]
        against: Option<PathBuf>,
        /// How a version must go with the one before: backward, forward, full or none
        #[arg(long, value_name = "RULE", default_value = "backward", value_parser = rule)]
        compatibility: Compatibility,
    },
    /// Write the digests of all versions in a folder into its published.json: from then on `check` refuses a change to them
    Publish {
        /// A folder of TYPE/VERSION.json
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
        /// How a version must go with the one before: backward, forward, full or none
        #[arg(long, value_name = "RULE", default_value = "backward", value_parser = rule)]
        compatibility: Compatibility,
    },
}

fn rule(text: &str) -> Result<Compatibility, String> {
    text.parse()
        .map_err(|error: domain::schema::ParseCompatibilityError| error.to_string())
}
