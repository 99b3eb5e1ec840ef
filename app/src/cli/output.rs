//! Answers on standard output, as a table or JSON; prompts and progress on standard error.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::{Command, Stdio};

use serde::Serialize;

use super::args::{Format, Global};
use crate::config::{Environment, Secret};

/// One line of a table; the first cell is its id, which is all that `--quiet` prints.
pub trait Row: Serialize {
    /// The titles of the columns.
    const TITLES: &'static [&'static str];

    /// The cells, as many as titles.
    fn cells(&self) -> Vec<String>;
}

/// Where a command writes, and how.
pub struct Output {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    format: Format,
    quiet: bool,
    style: Style,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            format, quiet, style, ..
        } = self;
        formatter
            .debug_struct("Output")
            .field("format", format)
            .field("quiet", quiet)
            .field("style", style)
            .finish()
    }
}

/// What the reader's end can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Standard output is a terminal.
    pub terminal: bool,
    /// Colours may be used on standard output.
    pub colour: bool,
    /// Colours may be used on standard error.
    pub error_colour: bool,
}

impl Style {
    /// What the standard streams of this process can show.
    pub fn of_process(global: &Global, environment: &Environment) -> Self {
        let wanted = !global.no_color && !environment.no_colour();
        let terminal = io::stdout().is_terminal();
        Self {
            terminal,
            colour: wanted && terminal,
            error_colour: wanted && io::stderr().is_terminal(),
        }
    }
}

impl Output {
    /// The standard streams of this process.
    pub fn of_process(global: &Global, environment: &Environment) -> Self {
        let style = Style::of_process(global, environment);
        Self::new(
            Box::new(io::stdout()),
            Box::new(io::stderr()),
            global.format,
            global.quiet,
            style,
        )
    }

    /// An output to any two writers.
    pub fn new(
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
        format: Format,
        quiet: bool,
        style: Style,
    ) -> Self {
        Self {
            out,
            err,
            format,
            quiet,
            style,
        }
    }

    /// How answers are written.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Whether only ids are wanted.
    pub const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// What the reader's end can show.
    pub const fn style(&self) -> Style {
        self.style
    }

    /// Writes a list: a table, a JSON array, or with `--quiet` the ids.
    ///
    /// # Errors
    /// When standard output cannot be written; a reader that went away is no error.
    pub fn list<R: Row>(&mut self, rows: &[R]) -> io::Result<()> {
        if self.format == Format::Json {
            return self.json(&rows);
        }
        if self.quiet {
            let ids = rows.iter().filter_map(|row| row.cells().into_iter().next());
            let lines: String = ids.map(|id| format!("{}\n", harmless(&id))).collect();
            return self.text(&lines);
        }
        if rows.is_empty() {
            return Ok(());
        }
        let cells: Vec<Vec<String>> = rows.iter().map(Row::cells).collect();
        let table = render_table(R::TITLES, &cells, self.style.colour);
        self.text(&table)
    }

    /// Writes one record: titles with cells below each other, a JSON object, or with `--quiet` the id.
    ///
    /// # Errors
    /// As [`Output::list`].
    pub fn record<R: Row>(&mut self, row: &R) -> io::Result<()> {
        if self.format == Format::Json {
            return self.json(row);
        }
        let cells = row.cells();
        if self.quiet {
            let id = cells.first().map_or("", String::as_str);
            return self.text(&format!("{}\n", harmless(id)));
        }
        let width = R::TITLES.iter().map(|title| title.chars().count()).max().unwrap_or(0);
        let lines = R::TITLES
            .iter()
            .zip(&cells)
            .map(|(title, cell)| format!("{title:width$}  {}\n", harmless(cell)));
        let text: String = lines.collect();
        self.text(&text)
    }

    /// Writes any value as JSON on lines of its own.
    ///
    /// # Errors
    /// As [`Output::list`].
    pub fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
        text.push('\n');
        self.text(&text)
    }

    /// Writes a text to standard output as it is.
    ///
    /// # Errors
    /// As [`Output::list`].
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        let result = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        forgive_closed_pipe(result)
    }

    /// Writes a line of an endless text as it is, unless only ids are wanted: then nothing but the id.
    ///
    /// # Errors
    /// When standard output cannot be written; a reader that went away is told, since nothing else would end the text.
    pub fn line(&mut self, id: &str, line: &str) -> io::Result<()> {
        let line = if self.quiet { id } else { line };
        writeln!(self.out, "{}", harmless(line))?;
        self.out.flush()
    }

    /// Tells progress on standard error; nothing with `--quiet`.
    ///
    /// # Errors
    /// When standard error cannot be written.
    pub fn note(&mut self, text: &str) -> io::Result<()> {
        if self.quiet {
            Ok(())
        } else {
            forgive_closed_pipe(writeln!(self.err, "{text}"))
        }
    }

    /// Tells why a command failed, on standard error.
    ///
    /// # Errors
    /// When standard error cannot be written.
    pub fn fault(&mut self, text: &str) -> io::Result<()> {
        let text = paint(text, RED, self.style.error_colour);
        forgive_closed_pipe(writeln!(self.err, "plinth: {text}"))
    }
}

/// `plinth user list | head` is no failure.
fn forgive_closed_pipe(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

pub(super) const RED: &str = "\x1b[31m";
pub(super) const YELLOW: &str = "\x1b[33m";
pub(super) const DIM: &str = "\x1b[2m";
pub(super) const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Colours a text, when colours may be used.
pub(super) fn paint(text: &str, code: &str, colour: bool) -> String {
    if colour {
        format!("{code}{text}{PLAIN}")
    } else {
        text.to_owned()
    }
}

/// A text without control letters: a user's name must not steer the administrator's terminal.
fn harmless(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { '\u{fffd}' } else { letter })
        .collect()
}

/// A table with a line of titles; columns are as wide as their widest cell, two spaces apart.
fn render_table(titles: &[&str], rows: &[Vec<String>], colour: bool) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| harmless(cell)).collect())
        .collect();
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells
            .chain(titles.get(column).map(|title| title.chars().count()))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut text = paint(&line(titles.to_vec()), BOLD, colour);
    text.push('\n');
    for row in &rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
        text.push('\n');
    }
    text
}

/// Asks for a password twice on a terminal without showing it; otherwise reads one line of standard input.
///
/// # Errors
/// When standard input ends or cannot be read, or the two entries differ.
pub fn ask_password(question: &str) -> io::Result<Secret<String>> {
    if !io::stdin().is_terminal() {
        return read_line().map(Secret::new);
    }
    let first = ask_hidden(question)?;
    let second = ask_hidden("Once more")?;
    if first == second {
        Ok(first)
    } else {
        Err(io::Error::other("the two entries differ"))
    }
}

fn ask_hidden(question: &str) -> io::Result<Secret<String>> {
    let mut err = io::stderr();
    write!(err, "{question}: ")?;
    err.flush()?;
    let hidden = HiddenEcho::start();
    let answer = read_line();
    drop(hidden);
    writeln!(err)?;
    answer.map(Secret::new)
}

fn read_line() -> io::Result<String> {
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "standard input ended before a password came",
        ));
    }
    let end = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(end);
    Ok(line)
}

/// Keeps the terminal from showing what is typed, until it is dropped. `stty` does it, since the terminal's own calls
/// would need unsafe code.
struct HiddenEcho;

impl HiddenEcho {
    fn start() -> Self {
        stty("-echo");
        Self
    }
}

impl Drop for HiddenEcho {
    fn drop(&mut self) {
        stty("echo");
    }
}

fn stty(mode: &str) {
    let result = Command::new("stty")
        .arg(mode)
        .stdin(Stdio::inherit())
        .stdout(Stdio::null())
        .status();
    if let Err(error) = result {
        tracing::warn!(%error, "the terminal may show what is typed");
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A writer whose text a test can read afterwards.
    #[derive(Clone, Default)]
    pub(in crate::cli) struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Sink {
        pub(in crate::cli) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
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

    /// The configuration of a process that stands in that folder and is told nothing.
    pub(in crate::cli) fn config_in(folder: &std::path::Path) -> crate::config::Config {
        let environment = Environment::of_map([], folder);
        crate::config::load(&environment, None, &[]).unwrap().config
    }

    /// An output with its two sinks.
    pub(in crate::cli) fn output(format: Format, quiet: bool) -> (Output, Sink, Sink) {
        let (out, err) = (Sink::default(), Sink::default());
        (
            Output::new(
                Box::new(out.clone()),
                Box::new(err.clone()),
                format,
                quiet,
                Style::default(),
            ),
            out,
            err,
        )
    }

    #[derive(Serialize)]
    struct Line {
        id: u32,
        name: &'static str,
    }

    impl Row for Line {
        const TITLES: &'static [&'static str] = &["ID", "NAME"];

        fn cells(&self) -> Vec<String> {
            vec![self.id.to_string(), self.name.to_owned()]
        }
    }

    const LINES: [Line; 2] = [
        Line {
            id: 1,
            name: "a\x1b[2J",
        },
        Line { id: 100, name: "b" },
    ];

    #[test]
    fn a_table_is_aligned_and_harmless() {
        let (mut output, out, _) = output(Format::Table, false);
        output.list(&LINES).unwrap();
        assert_eq!(out.text(), "ID   NAME\n1    a\u{fffd}[2J\n100  b\n");
    }

    #[test]
    fn quiet_prints_ids_only() {
        let (mut output, out, err) = output(Format::Table, true);
        output.list(&LINES).unwrap();
        output.note("working").unwrap();
        assert_eq!((out.text().as_str(), err.text().as_str()), ("1\n100\n", ""));
    }

    #[test]
    fn json_is_json() {
        let (mut output, out, _) = output(Format::Json, false);
        output.list(&LINES[1..]).unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&out.text()).unwrap(),
            serde_json::json!([{"id": 100, "name": "b"}])
        );
    }

    #[test]
    fn a_record_stands_line_by_line() {
        let (mut output, out, err) = output(Format::Table, false);
        output.record(&LINES[1]).unwrap();
        output.fault("no such user").unwrap();
        assert_eq!(out.text(), "ID    100\nNAME  b\n");
        assert_eq!(err.text(), "plinth: no such user\n");
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut output = Output::new(
            Box::new(Closed),
            Box::new(Closed),
            Format::Table,
            false,
            Style::default(),
        );
        assert!(output.list(&LINES).is_ok());
    }
}
