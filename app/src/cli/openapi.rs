//! `plinth openapi`.

use super::args::{ExitCode, OpenapiArgs};
use super::output::Output;
use crate::http::document;

/// Prints or writes the document, byte for byte as the server serves it.
pub(super) fn run(args: &OpenapiArgs, output: &mut Output) -> std::io::Result<ExitCode> {
    match &args.output {
        Some(path) => std::fs::write(path, document::document())?,
        None => output.text(document::document())?,
    }
    Ok(ExitCode::Done)
}
