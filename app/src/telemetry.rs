//! Logging: structured lines on standard error, for people or for machines. A thread of its own writes them: whoever
//! reads the log may be slow or stand still, and no request waits for that.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt as lines, reload};

use crate::config::{LogConfig, LogFormat};

/// Libraries that tell every statement and connection at `info`. A filter that names one of them overrides this.
const QUIET: &str = "sqlx=warn,sea_orm=warn,sea_orm_migration=warn,hyper=warn";

/// Lines that wait for the writer; more are dropped and counted. A line has a few hundred bytes: some megabytes at most.
const WAITING_LINES: usize = 8 * 1024;

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

/// Starts logging for this process, once. What was logged before the [`Flush`] is dropped is written then: it must be
/// held until the process ends.
///
/// # Errors
/// When the level is no filter or logging was started before.
pub fn init(log: &LogConfig, colour: bool) -> Result<(Telemetry, Flush), TelemetryError> {
    let (filter, handle) = reload::Layer::new(filter(&log.level)?);
    let (lines, flush) = behind(io::stderr(), WAITING_LINES, tell_dropped);
    tracing_subscriber::registry()
        .with(filter)
        .with(writer(log.format, colour, lines))
        .try_init()?;
    Ok((Telemetry { filter: handle }, flush))
}

fn tell_dropped(lines: usize) {
    tracing::warn!(
        lines,
        "lines of the log were dropped, they came faster than they could be written"
    );
}

/// Writes what is left of the log when it is dropped; gives up after a second when nobody takes it.
#[derive(Debug)]
pub struct Flush {
    dropped: Arc<Dropped>,
    _writer: WorkerGuard,
}

impl Drop for Flush {
    fn drop(&mut self) {
        // Still before the last line: the guard of the writer is dropped after this.
        self.dropped.tell();
    }
}

/// The lines that were dropped, and how many of them were told.
struct Dropped {
    counter: OnceLock<ErrorCounter>,
    told: AtomicUsize,
    tell: fn(usize),
}

impl fmt::Debug for Dropped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Dropped")
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}

impl Dropped {
    fn tell(&self) {
        let dropped = self.counter.get().map_or(0, ErrorCounter::dropped_lines);
        let told = self.told.fetch_max(dropped, Ordering::AcqRel);
        if dropped > told {
            (self.tell)(dropped - told);
        }
    }
}

/// Gathers lines on the writer's thread. It is flushed whenever no more of them wait: then there is room to tell of
/// those that were dropped.
struct Gathered<W: Write> {
    inner: BufWriter<W>,
    dropped: Arc<Dropped>,
}

impl<W: Write> Write for Gathered<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.dropped.tell();
        self.inner.flush()
    }
}

/// Puts a queue of so many lines and a thread before a writer.
fn behind<W: Write + Send + 'static>(to: W, waiting: usize, tell: fn(usize)) -> (NonBlocking, Flush) {
    let dropped = Arc::new(Dropped {
        counter: OnceLock::new(),
        told: AtomicUsize::new(0),
        tell,
    });
    let gathered = Gathered {
        inner: BufWriter::new(to),
        dropped: Arc::clone(&dropped),
    };
    let queue = NonBlockingBuilder::default()
        .buffered_lines_limit(waiting)
        .lossy(true)
        .thread_name("log");
    let (lines, guard) = queue.finish(gathered);
    let _ = dropped.counter.set(lines.error_counter());
    (
        lines,
        Flush {
            dropped,
            _writer: guard,
        },
    )
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
    use std::sync::{Condvar, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
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

    /// A reader that takes nothing until it is told to.
    #[derive(Clone, Default)]
    struct Stuck {
        taken: Sink,
        free: Arc<(Mutex<bool>, Condvar)>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (free, changed) = &*self.free;
            drop(changed.wait_while(free.lock().unwrap(), |free| !*free).unwrap());
            self.taken.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    static TOLD: AtomicUsize = AtomicUsize::new(0);

    #[test]
    fn a_reader_that_stands_still_holds_nobody_up_and_what_is_lost_is_told() {
        let stuck = Stuck::default();
        let (lines, flush) = behind(stuck.clone(), 4, |lines| {
            TOLD.fetch_add(lines, Ordering::SeqCst);
        });
        let subscriber = tracing_subscriber::registry()
            .with(filter("info").unwrap())
            .with(writer(LogFormat::Text, false, lines));
        let long = "x".repeat(16 * 1024);
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..20 {
                tracing::info!(target: "plinth", long, "served");
            }
        });
        assert!(stuck.taken.0.lock().unwrap().is_empty(), "it took something");
        let (free, changed) = &*stuck.free;
        *free.lock().unwrap() = true;
        changed.notify_all();
        drop(flush);
        let written = String::from_utf8(stuck.taken.0.lock().unwrap().clone())
            .unwrap()
            .lines()
            .count();
        let told = TOLD.load(Ordering::SeqCst);
        assert_eq!(written + told, 20);
        // Four wait, and one may be in the writer's hands.
        assert!((4..=5).contains(&written), "{written} lines were written");
    }

    #[test]
    fn the_end_writes_what_waits() {
        let sink = Sink::default();
        let (mut lines, flush) = behind(sink.clone(), 1000, |lines| panic!("{lines} lines were dropped"));
        for _ in 0..500 {
            lines.write_all(b"line\n").unwrap();
        }
        drop(flush);
        assert_eq!(sink.0.lock().unwrap().len(), 500 * 5);
    }

    #[test]
    fn a_quiet_library_can_be_asked_for() {
        assert!(logged("info,sqlx=info", LogFormat::Text).contains("statement"));
    }
}
