//! `plinth events schema`: schemas in files, without a server.

use super::args::{ExitCode, SchemaCommand};
use super::output::{Output, Row};
use crate::schema_files::{self, Finding, PUBLISHED, Report};

impl Row for Finding {
    const TITLES: &[&str] = &["file", "where", "rule", "what is wrong"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.file.clone(),
            self.pointer.clone(),
            self.rule.clone(),
            self.reason.clone(),
        ]
    }
}

pub(super) fn run(command: &SchemaCommand, output: &mut Output) -> std::io::Result<ExitCode> {
    let (path, outcome) = match command {
        SchemaCommand::Check {
            path,
            against,
            compatibility,
        } => (path, schema_files::check(path, against.as_deref(), *compatibility)),
        SchemaCommand::Publish { folder, compatibility } => match schema_files::publish(folder, *compatibility) {
            Ok(Ok(added)) => {
                output.note(&format!("{added} added to {}", folder.join(PUBLISHED).display()))?;
                return Ok(if added == 0 { ExitCode::Nothing } else { ExitCode::Done });
            }
            Ok(Err(report)) => (folder, Ok(report)),
            Err(error) => (folder, Err(error)),
        },
    };
    match outcome {
        Ok(report) => tell(&report, output),
        Err(error) => {
            output.fault(&format!("{}: {error}", path.display()))?;
            Ok(ExitCode::Failed)
        }
    }
}

fn tell(report: &Report, output: &mut Output) -> std::io::Result<ExitCode> {
    output.list(&report.findings)?;
    if !report.findings.is_empty() {
        output.note(&format!(
            "{} things are wrong with {} schemas",
            report.findings.len(),
            report.schemas
        ))?;
        return Ok(ExitCode::Failed);
    }
    if report.schemas == 0 {
        output.fault("there is no schema")?;
        return Ok(ExitCode::Nothing);
    }
    output.note(&format!("{} schemas are as they must be", report.schemas))?;
    Ok(ExitCode::Done)
}
