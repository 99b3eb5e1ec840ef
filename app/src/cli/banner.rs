//! What `plinth serve` prints when it is ready: where it is, what it stands on, and what is dangerous about it.

use serde::Serialize;

use super::args::Format;
use super::output::{BOLD, Output, RED, paint};
use crate::config::{Danger, Secret};

/// The facts that the banner tells.
#[derive(Clone, Debug)]
pub struct Banner {
    /// The address of the API listener, such as `http://127.0.0.1:8080`.
    pub http: String,
    /// The address of the ops listener.
    pub ops: String,
    /// The address of the docs page.
    pub docs: String,
    /// The role of each port that has an adapter, with the adapter: `("database", "SQLite, /srv/plinth.db")`.
    pub adapters: Vec<(&'static str, String)>,
    /// Who makes the first administrator; absent when there is one.
    pub setup: Option<Setup>,
    /// Settings that are not meant for production.
    pub dangers: Vec<Danger>,
    /// The process id.
    pub pid: u32,
}

/// How the first administrator is made.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The one-time link. It is printed to a terminal only: what goes elsewhere lands in logs, and who reads it there
    /// would own the installation.
    pub url: Secret<String>,
    /// How many minutes the link works.
    pub minutes: u64,
}

/// The first line of standard output with `--format json`.
#[derive(Serialize)]
struct Announcement<'a> {
    http: &'a str,
    ops: &'a str,
    docs: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    setup_url: Option<&'a str>,
    setup_needed: bool,
    adapters: std::collections::BTreeMap<&'a str, &'a str>,
    dangers: &'a [Danger],
    pid: u32,
}

impl Banner {
    /// Writes the banner in the output's format.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn print(&self, output: &mut Output) -> std::io::Result<()> {
        let style = output.style();
        match output.format() {
            Format::Table => output.text(&self.render(style.terminal, style.colour)),
            Format::Json => {
                let mut line =
                    serde_json::to_string(&self.announcement(style.terminal)).map_err(std::io::Error::other)?;
                line.push('\n');
                output.text(&line)
            }
        }
    }

    fn announcement(&self, terminal: bool) -> Announcement<'_> {
        Announcement {
            http: &self.http,
            ops: &self.ops,
            docs: &self.docs,
            setup_url: self
                .setup
                .as_ref()
                .filter(|_| terminal)
                .map(|setup| setup.url.expose().as_str()),
            setup_needed: self.setup.is_some(),
            adapters: self
                .adapters
                .iter()
                .map(|(role, adapter)| (*role, adapter.as_str()))
                .collect(),
            dangers: &self.dangers,
            pid: self.pid,
        }
    }

    fn render(&self, terminal: bool, colour: bool) -> String {
        let addresses = [("API", &self.http), ("docs", &self.docs), ("ops", &self.ops)];
        let titles = addresses
            .iter()
            .map(|(title, _)| *title)
            .chain(self.adapters.iter().map(|(role, _)| *role));
        let width = titles.map(str::len).max().unwrap_or(0).max("danger".len());
        let mut text = String::new();
        let mut line = |title: &str, rest: &str| {
            text.push_str(&format!("  {title:width$}  {rest}\n"));
        };
        for (title, address) in addresses {
            line(title, &paint(address, BOLD, colour));
        }
        for (role, adapter) in &self.adapters {
            line(role, adapter);
        }
        for Danger { key, sentence } in &self.dangers {
            line("danger", &paint(&format!("{key}: {sentence}"), RED, colour));
        }
        match &self.setup {
            Some(setup) if terminal => {
                let rest = format!("{} (once, within {} minutes)", setup.url.expose(), setup.minutes);
                line("set up", &rest);
            }
            Some(_) => line(
                "set up",
                "there is no administrator yet: run `plinth admin create --email ADDRESS`",
            ),
            None => {}
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::Style;
    use super::super::output::tests::{Sink, output};
    use super::*;

    fn banner() -> Banner {
        Banner {
            http: "http://127.0.0.1:8080".to_owned(),
            ops: "http://127.0.0.1:9090".to_owned(),
            docs: "http://127.0.0.1:8080/docs".to_owned(),
            adapters: vec![("database", "SQLite".to_owned()), ("mail", "outbox".to_owned())],
            setup: Some(Setup {
                url: Secret::new("http://127.0.0.1:8080/setup?token=xyz".to_owned()),
                minutes: 30,
            }),
            dangers: vec![Danger {
                key: "limits.enabled",
                sentence: "nothing slows down guessing".to_owned(),
            }],
            pid: 7,
        }
    }

    #[test]
    fn a_terminal_gets_the_link_and_red_dangers() {
        let text = banner().render(true, true);
        assert!(
            text.contains("  set up    http://127.0.0.1:8080/setup?token=xyz (once, within 30 minutes)\n"),
            "{text}"
        );
        assert!(
            text.contains("\x1b[31mlimits.enabled: nothing slows down guessing\x1b[0m"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 7, "{text}");
    }

    #[test]
    fn a_pipe_gets_neither_link_nor_colour() {
        let (mut to, out, _) = output(Format::Table, false);
        banner().print(&mut to).unwrap();
        assert!(
            !out.text().contains("xyz") && !out.text().contains('\x1b'),
            "{}",
            out.text()
        );
        assert!(
            out.text().starts_with("  API       http://127.0.0.1:8080\n"),
            "{}",
            out.text()
        );
        assert!(out.text().contains("plinth admin create"));
    }

    #[test]
    fn the_first_json_line_tells_the_addresses_and_no_token() {
        let (mut to, out, _) = output(Format::Json, false);
        banner().print(&mut to).unwrap();
        let text = out.text();
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["http"], "http://127.0.0.1:8080");
        assert_eq!(value["ops"], "http://127.0.0.1:9090");
        assert_eq!(
            (value["pid"].as_u64(), value["setup_needed"].as_bool()),
            (Some(7), Some(true))
        );
        assert!(value.get("setup_url").is_none() && !text.contains("xyz"));
    }

    #[test]
    fn json_on_a_terminal_has_the_link() {
        let sink = Sink::default();
        let style = Style {
            terminal: true,
            ..Style::default()
        };
        let mut to = Output::new(
            Box::new(sink.clone()),
            Box::new(Sink::default()),
            Format::Json,
            false,
            style,
        );
        banner().print(&mut to).unwrap();
        assert!(sink.text().contains("token=xyz"));
        assert!(!format!("{:?}", banner()).contains("xyz"));
    }
}
