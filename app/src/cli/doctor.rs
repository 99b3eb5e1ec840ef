//! `plinth doctor`: uses each backend for real, and ends each finding with the fix.

use std::time::Duration;

use serde::Serialize;

use super::args::{DoctorArgs, ExitCode, Format};
use super::output::{BOLD, DIM, Output, RED, YELLOW, paint};
use crate::config::Config;
use crate::doctor::{self, Finding, Options, State, in_words};

/// The column of names is as wide as the longest of those that every installation has.
const NAME_WIDTH: usize = 14;
/// The column of times: `119 min` at most.
const TIME_WIDTH: usize = 7;

/// The report for programs.
#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    version: &'static str,
    counts: Counts,
    checks: &'a [Finding],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Counts {
    ok: usize,
    warn: usize,
    fail: usize,
    skipped: usize,
}

impl Counts {
    fn of(findings: &[Finding]) -> Self {
        let mut counts = Self::default();
        for finding in findings {
            match finding.state {
                State::Ok => counts.ok += 1,
                State::Warn => counts.warn += 1,
                State::Fail => counts.fail += 1,
                State::Skipped => counts.skipped += 1,
            }
        }
        counts
    }

    const fn is_well(self, strict: bool) -> bool {
        self.fail == 0 && !(strict && self.warn > 0)
    }
}

/// Runs without logging: what is worth knowing is in the findings, and lines between them would hide it.
pub(super) fn run(args: &DoctorArgs, config: &Config, output: &mut Output) -> std::io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(examine(args, config, output));
    // Work on a disk that does not answer is not waited for.
    runtime.shutdown_background();
    code
}

async fn examine(args: &DoctorArgs, config: &Config, output: &mut Output) -> std::io::Result<ExitCode> {
    let options = Options {
        timeout: args.timeout,
        send_mail_to: args.send_mail_to.clone(),
    };
    let (format, colour) = (output.format(), output.style().colour);
    let backends = config.files.backends.keys().map(|name| "files ".len() + name.len());
    let dangers = config.dangers();
    let names = backends.chain(dangers.iter().map(|danger| danger.key.len()));
    let width = names.chain([NAME_WIDTH]).max().unwrap_or(NAME_WIDTH);
    let quiet = output.is_quiet();
    // Each line is shown when it is known: some checks take a while.
    let mut told = Ok(());
    let mut tell = |finding: &Finding| {
        if format == Format::Table && !quiet && told.is_ok() {
            told = output.text(&line(finding, width, colour));
        }
    };
    let findings = doctor::examine(config, &options, &mut tell).await;
    told?;
    let counts = Counts::of(&findings);
    let well = counts.is_well(args.strict);
    match format {
        Format::Json => output.json(&Report {
            ok: well,
            version: env!("CARGO_PKG_VERSION"),
            counts,
            checks: &findings,
        })?,
        Format::Table if quiet => {
            let troubled = findings
                .iter()
                .filter(|finding| matches!(finding.state, State::Warn | State::Fail));
            output.text(
                &troubled
                    .map(|finding| format!("{}\n", finding.name))
                    .collect::<String>(),
            )?;
        }
        Format::Table => output.text(&summary(&findings, counts, args.strict, colour))?,
    }
    Ok(if well { ExitCode::Done } else { ExitCode::Failed })
}

fn line(finding: &Finding, width: usize, colour: bool) -> String {
    let (word, code) = match finding.state {
        State::Ok => ("ok  ", ""),
        State::Warn => ("warn", YELLOW),
        State::Fail => ("FAIL", RED),
        State::Skipped => ("skip", DIM),
    };
    let coloured = colour && !code.is_empty();
    let took = if finding.took < Duration::from_micros(50) {
        String::new()
    } else {
        in_words(finding.took)
    };
    let mut text = format!(
        "  {}  {}  {}  {}\n",
        paint(word, code, coloured),
        paint(
            &format!("{:width$}", finding.name),
            BOLD,
            colour && finding.state != State::Skipped
        ),
        paint(&format!("{took:>TIME_WIDTH$}"), DIM, colour),
        paint(&finding.cause, code, coloured),
    );
    if let Some(fix) = &finding.fix {
        text.push_str(&format!("{:indent$}→ {fix}\n", "", indent = width + TIME_WIDTH + 12));
    }
    text
}

fn summary(findings: &[Finding], counts: Counts, strict: bool, colour: bool) -> String {
    let took: Duration = findings.iter().map(|finding| finding.took).sum();
    let parts = [
        (counts.fail, "failed", RED),
        (
            counts.warn,
            if counts.warn == 1 { "warning" } else { "warnings" },
            YELLOW,
        ),
        (counts.ok, "ok", ""),
        (counts.skipped, "skipped", ""),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(number, _, _)| *number > 0)
        .map(|(number, word, code)| paint(&format!("{number} {word}"), code, colour && !code.is_empty()))
        .collect();
    let strictly = if strict && counts.fail == 0 && counts.warn > 0 {
        "; --strict counts warnings as failures"
    } else {
        ""
    };
    format!(
        "\n  {} checks in {}: {}{strictly}\n",
        findings.len(),
        in_words(took),
        parts.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(state: State, fix: Option<&str>) -> Finding {
        Finding {
            name: "mail".to_owned(),
            state,
            cause: "it is full".to_owned(),
            fix: fix.map(str::to_owned),
            took: Duration::from_millis(12),
        }
    }

    #[test]
    fn a_line_tells_state_name_time_and_cause_and_the_fix_stands_below_the_cause() {
        let text = line(&finding(State::Fail, Some("make room")), NAME_WIDTH, false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "  FAIL  mail              12 ms  it is full");
        assert_eq!(lines[0].find("it is full"), lines[1].find('→'), "{text}");
        assert!(lines[1].ends_with("→ make room"), "{text}");
    }

    #[test]
    fn only_trouble_has_a_colour() {
        let coloured = |state, code: &str| line(&finding(state, None), NAME_WIDTH, true).contains(code);
        assert!(coloured(State::Fail, RED) && coloured(State::Warn, YELLOW));
        assert!(!coloured(State::Ok, RED) && !coloured(State::Ok, YELLOW));
        for state in [State::Ok, State::Warn, State::Fail, State::Skipped] {
            assert!(!line(&finding(state, None), NAME_WIDTH, false).contains('\x1b'));
        }
    }

    #[test]
    fn failures_fail_and_warnings_only_strictly() {
        let counts =
            |states: &[State]| Counts::of(&states.iter().map(|state| finding(*state, None)).collect::<Vec<_>>());
        for (states, well, strictly) in [
            (&[State::Ok, State::Skipped][..], true, true),
            (&[State::Ok, State::Warn], true, false),
            (&[State::Warn, State::Fail], false, false),
        ] {
            let counts = counts(states);
            assert_eq!(
                (counts.is_well(false), counts.is_well(true)),
                (well, strictly),
                "{counts:?}"
            );
        }
        let findings = [finding(State::Warn, Some("x"))];
        let text = summary(&findings, Counts::of(&findings), true, false);
        assert_eq!(
            text,
            "\n  1 checks in 12 ms: 1 warning; --strict counts warnings as failures\n"
        );
    }
}
