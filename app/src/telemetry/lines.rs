//! How a line of the log looks. Written by hand into one buffer per thread: every request is a line, and the general
//! formatter took longer over it than a small request takes for everything else.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use domain::time::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::config::LogFormat;
use crate::http::layer::Current;

/// Lines longer than this do not keep their memory.
const KEPT: usize = 16 * 1024;

/// Makes a line of every event and hands it over, its end included.
pub(super) struct Lines<T> {
    format: LogFormat,
    colour: bool,
    take: T,
}

impl<T: Fn(&[u8])> Lines<T> {
    pub(super) fn new(format: LogFormat, colour: bool, take: T) -> Self {
        Self { format, colour, take }
    }
}

impl<S: Subscriber, T: Fn(&[u8]) + 'static> Layer<S> for Lines<T> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        thread_local! {
            static BUFFER: RefCell<String> = const { RefCell::new(String::new()) };
        }
        BUFFER.with(|buffer| match buffer.try_borrow_mut() {
            Ok(mut line) => {
                self.write(event, &mut line);
                (self.take)(line.as_bytes());
                line.clear();
                line.shrink_to(KEPT);
            }
            // A value that logs while it is being logged.
            Err(_) => {
                let mut line = String::new();
                self.write(event, &mut line);
                (self.take)(line.as_bytes());
            }
        });
    }
}

impl<T> Lines<T> {
    fn write(&self, event: &Event<'_>, line: &mut String) {
        match self.format {
            LogFormat::Text => self.text(event, line),
            LogFormat::Json => json(event, line),
        }
        line.push('\n');
    }

    /// `TIME LEVEL target: message name=value ...`
    fn text(&self, event: &Event<'_>, line: &mut String) {
        let metadata = event.metadata();
        let (dim, end) = if self.colour { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        line.push_str(dim);
        push_time(line);
        line.push_str(end);
        line.push(' ');
        let level = *metadata.level();
        if self.colour {
            line.push_str(match level {
                Level::ERROR => "\x1b[31m",
                Level::WARN => "\x1b[33m",
                Level::INFO => "\x1b[32m",
                Level::DEBUG => "\x1b[34m",
                Level::TRACE => "\x1b[35m",
            });
        }
        let name = level.as_str();
        line.push_str(&"     "[name.len().min(5)..]);
        line.push_str(name);
        for part in [end, " ", dim, metadata.target(), ":", end] {
            line.push_str(part);
        }
        // The message comes first, wherever it stands in the event.
        let mut message = Text { line, message: true };
        event.record(&mut message);
        message.message = false;
        event.record(&mut message);
        let mut fields = message;
        Current::with(|current| {
            let has = |name| metadata.fields().field(name).is_some();
            if !has("request_id") {
                fields.string("request_id", current.id.as_str());
                fields.string("method", current.method.as_str());
                fields.string("route", current.route());
            }
        });
    }
}

/// `{"timestamp":...,"level":...,"message":...,...,"target":...}`
fn json(event: &Event<'_>, line: &mut String) {
    let metadata = event.metadata();
    line.push_str("{\"timestamp\":\"");
    push_time(line);
    line.push_str("\",\"level\":\"");
    line.push_str(metadata.level().as_str());
    line.push('"');
    let mut fields = Json { line };
    event.record(&mut fields);
    Current::with(|current| {
        if metadata.fields().field("request_id").is_none() {
            fields.string("request_id", current.id.as_str());
            fields.string("method", current.method.as_str());
            fields.string("route", current.route());
        }
    });
    fields.string("target", metadata.target());
    line.push('}');
}

/// The time in RFC 3339, UTC, with microseconds. The part down to the second is made once in a second.
fn push_time(line: &mut String) {
    thread_local! {
        static SECOND: Cell<(i64, [u8; 19])> = const { Cell::new((i64::MIN, [0; 19])) };
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "a line tells the time of the machine, whatever clock the rest has"
    )]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let (known, mut text) = SECOND.get();
    if known != seconds {
        let made = Timestamp::from_seconds(seconds).to_rfc3339();
        if let Some(start) = made.as_bytes().first_chunk::<19>() {
            text = *start;
            SECOND.set((seconds, text));
        }
    }
    line.push_str(std::str::from_utf8(&text).unwrap_or_default());
    // Seven digits whose first is cut off: leading zeros without the padding of the general formatter.
    let micros = 1_000_000 + since.subsec_micros();
    line.push('.');
    let mut digits = [b'0'; 6];
    let mut rest = micros;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    line.push_str(std::str::from_utf8(&digits).unwrap_or_default());
    line.push('Z');
}

/// Fields as people read them.
struct Text<'a> {
    line: &'a mut String,
    /// Whether only the message is taken, or only the rest.
    message: bool,
}

impl Text<'_> {
    fn begin(&mut self, name: &str) -> bool {
        if (name == "message") != self.message {
            return false;
        }
        self.line.push(' ');
        if !self.message {
            self.line.push_str(name);
            self.line.push('=');
        }
        true
    }

    fn string(&mut self, name: &str, value: &str) {
        if self.begin(name) {
            if self.message {
                let _ = Visible(self.line).write_str(value);
            } else {
                self.line.push('"');
                push_escaped(self.line, value);
                self.line.push('"');
            }
        }
    }

    // Writing to a string cannot fail, here and below; a value whose own formatting fails is told as far as it came.
    fn plain(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if self.begin(field.name()) {
            let _ = Visible(self.line).write_fmt(value);
        }
    }
}

impl Visit for Text<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.string(field.name(), value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.plain(field, format_args!("{}", Causes(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.plain(field, format_args!("{value:?}"));
    }
}

/// Fields as machines read them: every one begins with a comma.
struct Json<'a> {
    line: &'a mut String,
}

impl Json<'_> {
    fn begin(&mut self, name: &str) {
        self.line.push_str(",\"");
        push_escaped(self.line, name);
        self.line.push_str("\":");
    }

    fn string(&mut self, name: &str, value: &str) {
        self.begin(name);
        self.line.push('"');
        push_escaped(self.line, value);
        self.line.push('"');
    }

    fn number(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.begin(field.name());
        let _ = self.line.write_fmt(value);
    }

    fn shown(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.begin(field.name());
        self.line.push('"');
        let _ = Escaped(self.line).write_fmt(value);
        self.line.push('"');
    }
}

impl Visit for Json<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.string(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field, format_args!("{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.number(field, format_args!("{value:?}"));
        } else {
            // JSON has no such number.
            self.number(field, format_args!("null"));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.shown(field, format_args!("{}", Causes(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.shown(field, format_args!("{value:?}"));
    }
}

/// An error and what caused it, joined by colons.
struct Causes<'a>(&'a (dyn std::error::Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Whether a character could move a terminal's cursor, colour it, or end a line that is not ours to end.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Text as it is, its control characters escaped: what others wrote cannot make up lines of its own.
struct Visible<'a>(&'a mut String);

impl fmt::Write for Visible<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            self.0.push_str(text);
            return Ok(());
        }
        for c in text.chars() {
            if is_control(c) {
                self.0.extend(c.escape_default());
            } else {
                self.0.push(c);
            }
        }
        Ok(())
    }
}

/// Text within quotation marks, escaped as JSON asks.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        push_escaped(self.0, text);
        Ok(())
    }
}

fn push_escaped(line: &mut String, text: &str) {
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        line.push_str(text);
        return;
    }
    for c in text.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            // All of them lie in the first plane: four digits suffice.
            c if is_control(c) => {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
}
