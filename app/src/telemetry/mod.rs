//! Logging: structured lines on standard error, for people or for machines.

mod lines;
mod queue;

use std::fmt;
use std::io;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::config::LogConfig;
use lines::Lines;
pub use queue::Flush;

/// Libraries that tell every statement and connection at `info`. A filter that names one of them overrides this.
const QUIET: &str = "sqlx=warn,sea_orm=warn,sea_orm_migration=warn,hyper=warn";

/// Bytes of lines that wait for the writer; more lines are dropped and counted. A line has some 200: this is a tenth of
/// a second of the most requests that two cores answer, many times over.
const WAITING: usize = 4 * 1024 * 1024;

/// Logging could not be started or changed.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is no filter; the configuration refuses such a level before.
    #[error("log.level is no filter")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Something else in this process logs already.
    #[error("logging was started twice")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
    /// There is no thread to write it.
    #[error("the log has no thread to be written by")]
    Thread(#[from] io::Error),
    /// The log is gone.
    #[error("the log level could not be changed")]
    Reload(#[from] reload::Error),
}

/// The running log.
#[derive(Clone)]
pub struct Telemetry {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Telemetry")
    }
}

impl Telemetry {
    /// Changes what is logged, from the next line on.
    ///
    /// # Errors
    /// When `level` is no filter.
    pub fn set_level(&self, level: &str) -> Result<(), TelemetryError> {
        Ok(self.filter.reload(filter(level)?)?)
    }
}

/// Starts logging for this process, once. What was logged before the [`Flush`] is dropped is written then: it must be
/// held until the process ends.
///
/// # Errors
/// When the level is no filter, logging was started before, or the system gives no thread.
pub fn init(log: &LogConfig, colour: bool) -> Result<(Telemetry, Flush), TelemetryError> {
    let (filter, handle) = reload::Layer::new(filter(&log.level)?);
    let (queue, flush) = queue::before(io::stderr(), WAITING, tell_dropped)?;
    tracing_subscriber::registry()
        .with(filter)
        .with(Lines::new(log.format, colour, move |line: &[u8]| queue.take(line)))
        .try_init()?;
    Ok((Telemetry { filter: handle }, flush))
}

fn tell_dropped(lines: usize) {
    tracing::warn!(
        lines,
        "lines of the log were dropped, they came faster than they could be written"
    );
}

fn filter(level: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(format!("{QUIET},{level}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::config::LogFormat;

    #[derive(Clone, Default)]
    pub(super) struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Sink {
        pub(super) fn bytes(&self) -> Vec<u8> {
            self.0.lock().unwrap().clone()
        }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(level: &str, format: LogFormat, colour: bool, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let to = sink.clone();
        let lines = Lines::new(format, colour, move |line: &[u8]| {
            to.clone().write_all(line).unwrap();
        });
        let subscriber = tracing_subscriber::registry().with(filter(level).unwrap()).with(lines);
        tracing::subscriber::with_default(subscriber, log);
        String::from_utf8(sink.bytes()).unwrap()
    }

    fn logged(level: &str, format: LogFormat) -> String {
        written(level, format, false, || {
            tracing::info!(target: "plinth", request_id = "r1", "served");
            tracing::debug!(target: "plinth", "detail");
            tracing::info!(target: "sqlx::query", "statement");
        })
    }

    #[test]
    fn lines_for_people_hold_level_and_fields() {
        let text = logged("info", LogFormat::Text);
        let (time, rest) = text.split_once(' ').unwrap();
        assert_eq!(rest, " INFO plinth: served request_id=\"r1\"\n");
        let parsed = domain::time::Timestamp::parse_rfc3339(time).unwrap();
        assert!(time.len() == 27 && parsed.seconds() > 1_700_000_000, "{time}");
    }

    #[test]
    fn lines_for_machines_are_json() {
        let text = logged("debug", LogFormat::Json);
        assert_eq!(text.lines().count(), 2, "{text}");
        let value: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(
            (value["level"].as_str(), value["request_id"].as_str()),
            (Some("INFO"), Some("r1"))
        );
        assert_eq!(
            (&value["message"], &value["target"]),
            (&"served".into(), &"plinth".into())
        );
    }

    #[test]
    fn values_keep_their_kind() {
        let text = written("info", LogFormat::Json, false, || {
            let error = io::Error::other("away");
            tracing::info!(a = 1, b = -2_i64, c = true, d = 0.5, e = f64::NAN, f = %"x", g = ?Some("y"), %error, "m");
        });
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "a": 1, "b": -2, "c": true, "d": 0.5, "e": null, "f": "x", "g": "Some(\"y\")", "error": "away",
        });
        for (name, wanted) in expected.as_object().unwrap() {
            assert_eq!(&value[name], wanted, "{name} in {text}");
        }
    }

    #[test]
    fn what_others_wrote_makes_no_line_of_its_own() {
        let evil = "a\n2026 ERROR forged\u{1b}[2J\u{9b}31m\u{2028}\"\\";
        let log = || {
            tracing::info!(value = evil, shown = %evil, debug = ?evil, "served {evil}");
        };
        let text = written("info", LogFormat::Text, false, log);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.trim_end().chars().any(char::is_control), "{text:?}");
        let json = written("info", LogFormat::Json, false, log);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(
            json.lines().count() == 1 && !json.trim_end().chars().any(char::is_control),
            "{json:?}"
        );
        assert_eq!((&value["value"], &value["shown"]), (&evil.into(), &evil.into()));
    }

    #[test]
    fn colours_are_for_terminals() {
        let coloured = written("info", LogFormat::Text, true, || tracing::info!("served"));
        assert!(coloured.contains("\x1b[32m INFO\x1b[0m"), "{coloured:?}");
        assert!(!logged("info", LogFormat::Text).contains('\x1b'));
    }

    #[test]
    fn a_quiet_library_can_be_asked_for() {
        assert!(logged("info,sqlx=info", LogFormat::Text).contains("statement"));
    }
}
