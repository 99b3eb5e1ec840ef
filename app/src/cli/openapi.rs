//! `plinth openapi`: the contracts.

use super::args::{ExitCode, OpenapiArgs};
use super::output::Output;
use crate::asyncapi;
use crate::http::document;

/// Prints or writes the document, byte for byte as it is committed and the server serves it.
pub(super) fn run(args: &OpenapiArgs, output: &mut Output) -> std::io::Result<ExitCode> {
    let document = if args.asyncapi {
        asyncapi::document()
    } else {
        document::document()
    };
    match &args.output {
        Some(path) => std::fs::write(path, document)?,
        None => output.text(document)?,
    }
    Ok(ExitCode::Done)
}
