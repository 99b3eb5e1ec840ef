//! Logging: structured lines on standard error, for people or for machines.

use std::fmt;
use std::io;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt as lines, reload};

use crate::config::{LogConfig, LogFormat};

/// Libraries that tell every statement and connection at `info`. A filter that names one of them overrides this.
const QUIET: &str = "sqlx=warn,sea_orm=warn,sea_orm_migration=warn,hyper=warn";

/// Logging could not be started or changed.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is no filter; the configuration refuses such a level before.
    #[error("log.level is no filter")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Something else in this process logs already.
    #[error("logging was started twice")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
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

/// Starts logging for this process, once.
///
/// # Errors
/// When the level is no filter or logging was started before.
pub fn init(log: &LogConfig, colour: bool) -> Result<Telemetry, TelemetryError> {
    let (filter, handle) = reload::Layer::new(filter(&log.level)?);
    tracing_subscriber::registry()
        .with(filter)
        .with(writer(log.format, colour, io::stderr))
        .try_init()?;
    Ok(Telemetry { filter: handle })
}

fn filter(level: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(format!("{QUIET},{level}"))
}

/// The layer that writes lines; times are UTC in RFC 3339.
fn writer<S, W>(format: LogFormat, colour: bool, to: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'w> lines::MakeWriter<'w> + Send + Sync + 'static,
{
    match format {
        LogFormat::Text => lines::layer().with_writer(to).with_ansi(colour).boxed(),
        LogFormat::Json => lines::layer().with_writer(to).json().flatten_event(true).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: &str, format: LogFormat) -> String {
        let sink = Sink::default();
        let to = sink.clone();
        let subscriber =
            tracing_subscriber::registry()
                .with(filter(level).unwrap())
                .with(writer(format, false, move || to.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "plinth", request_id = "r1", "served");
            tracing::debug!(target: "plinth", "detail");
            tracing::info!(target: "sqlx::query", "statement");
        });
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_for_people_hold_level_and_fields() {
        let text = logged("info", LogFormat::Text);
        assert!(
            text.contains("INFO") && text.contains("served") && text.contains("request_id=\"r1\""),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains('\x1b'));
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
        assert_eq!(value["message"], "served");
    }

    #[test]
    fn a_quiet_library_can_be_asked_for() {
        assert!(logged("info,sqlx=info", LogFormat::Text).contains("statement"));
    }
}
