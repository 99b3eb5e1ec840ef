//! Where settings come from: the environment, the file, the flags. The process environment is read here and nowhere else.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Origin};
use super::kind::Raw;

/// The most bytes that the configuration file or the file of a secret may have: far above any sound one, low enough that
/// a wrong path to a disk image fails at once.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Variables of the test suite; they steer tests, never the server.
const TEST_PREFIX: &str = "PLINTH_TEST_";

/// The variable that names the configuration file.
pub(super) const CONFIG_VARIABLE: &str = "PLINTH_CONFIG";

/// What the process was started with, taken once.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    unreadable: Vec<String>,
    working_dir: PathBuf,
    cores: usize,
    no_colour: bool,
}

impl Environment {
    /// The environment of this process. An empty variable counts as not set.
    pub fn of_process() -> Self {
        let mut environment = Self {
            working_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            ..Self::default()
        };
        #[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
        let variables = std::env::vars_os();
        for (name, value) in variables {
            let Ok(name) = name.into_string() else { continue };
            match name.as_str() {
                // https://no-color.org: present and not empty.
                "NO_COLOR" => environment.no_colour |= !value.is_empty(),
                "TERM" => environment.no_colour |= value == "dumb",
                _ if !name.starts_with("PLINTH_") || value.is_empty() => {}
                _ => match value.into_string() {
                    Ok(value) => {
                        environment.variables.insert(name, value);
                    }
                    Err(_) => environment.unreadable.push(name),
                },
            }
        }
        environment
    }

    /// An environment made by hand, for tests: the variables, and the folder where relative paths start.
    pub fn of_map<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>, working_dir: &Path) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self {
            variables,
            working_dir: working_dir.to_owned(),
            cores: 2,
            ..Self::default()
        }
    }

    /// Whether the user asked for no colours (`NO_COLOR`, or a terminal that has none).
    pub const fn no_colour(&self) -> bool {
        self.no_colour
    }

    /// The folder in which the process was started.
    pub fn working_dir(&self) -> &Path {
        &self.working_dir
    }

    /// The cores that this process may use.
    pub(super) const fn cores(&self) -> usize {
        self.cores
    }

    /// The configuration file that the environment names.
    pub(super) fn config_file(&self) -> Option<&str> {
        self.variables.get(CONFIG_VARIABLE).map(String::as_str)
    }

    /// Names that hold no text.
    pub(super) fn unreadable(&self) -> &[String] {
        &self.unreadable
    }

    /// Every variable that may be a setting.
    pub(super) fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        all.filter(|(name, _)| *name != CONFIG_VARIABLE && !name.starts_with(TEST_PREFIX))
    }
}

/// Whether a variable was made by a container platform for a service whose name begins with `plinth`, such as
/// `PLINTH_SERVICE_HOST` or `PLINTH_PORT_8080_TCP_ADDR`. Such variables are no settings and nobody chose to set them.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    let is_address = |scheme: &str| value.starts_with(scheme);
    let link = ["tcp://", "udp://", "sctp://"].into_iter().any(is_address);
    if name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || (name.ends_with("_PORT") && link) {
        return true;
    }
    let Some((_, port)) = name.rsplit_once("_PORT_") else {
        return false;
    };
    let mut parts = port.split('_');
    parts.next().is_some_and(|number| number.parse::<u16>().is_ok())
        && parts
            .next()
            .is_some_and(|protocol| matches!(protocol, "TCP" | "UDP" | "SCTP"))
        && parts
            .next()
            .is_none_or(|field| matches!(field, "ADDR" | "PORT" | "PROTO"))
}

/// One setting of the file: its path, its line, and its value unless that is of a shape that no key has.
#[derive(Clone, Debug)]
pub(super) struct FileSetting {
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) raw: Option<Raw>,
    pub(super) is_empty_table: bool,
}

/// Reads the settings of a TOML text; the faults are those of its syntax.
pub(super) fn read_toml(text: &str, file: &str) -> (Vec<FileSetting>, Vec<Fault>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut errors: Vec<_> = errors
        .iter()
        .map(|error| (line_of(text, error.span().unwrap_or_default()), error.message()))
        .collect();
    errors.sort_by_key(|(line, _)| *line);
    let faults = errors.into_iter().map(|(line, message)| {
        Fault::at(
            file,
            Origin::File {
                path: file.to_owned(),
                line,
            },
            format!("must be TOML: {message}"),
        )
    });
    let mut settings = Vec::new();
    collect(text, "", table.get_ref(), &mut settings);
    settings.sort_by_key(|setting| setting.line);
    (settings, faults.collect())
}

fn collect(text: &str, parent: &str, table: &DeTable<'_>, settings: &mut Vec<FileSetting>) {
    for (key, value) in table {
        let path = if parent.is_empty() {
            key.get_ref().to_string()
        } else {
            format!("{parent}.{}", key.get_ref())
        };
        let line = line_of(text, key.span());
        match value.get_ref() {
            DeValue::Table(inner) if !inner.is_empty() => collect(text, &path, inner, settings),
            DeValue::Table(_) => settings.push(FileSetting {
                path,
                line,
                raw: None,
                is_empty_table: true,
            }),
            value => settings.push(FileSetting {
                path,
                line,
                raw: raw_of(value),
                is_empty_table: false,
            }),
        }
    }
}

fn raw_of(value: &DeValue<'_>) -> Option<Raw> {
    match value {
        DeValue::String(text) => Some(Raw::One(text.to_string())),
        DeValue::Integer(number) => Some(Raw::One(number.to_string())),
        DeValue::Boolean(value) => Some(Raw::One(value.to_string())),
        DeValue::Array(entries) => {
            let texts = entries
                .iter()
                .map(|entry: &Spanned<DeValue<'_>>| entry.get_ref().as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().map(Raw::Many)
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn line_of(text: &str, span: Range<usize>) -> usize {
    1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
}

/// Reads a text file; the error is the fault's sentence.
pub(super) fn read_text(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {}", plain(&error)))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read: {}", plain(&error)))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err("has more than 1MiB".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())
}

/// Reads the file of a secret and takes off one closing line end, which editors and `echo` add.
pub(super) fn read_secret(path: &Path) -> Result<String, String> {
    let text = read_text(path)?;
    let trimmed = text
        .strip_suffix('\n')
        .map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    Ok(trimmed.to_owned())
}

fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        kind => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_know_their_lines() {
        let text = "# comment\ndata_dir = \"x\"\n\n[http]\nbind = \"y\"\nlist = [\"a\", \"b\"]\n[files.backends.main]\nkind='local'\n";
        let (settings, faults) = read_toml(text, "plinth.toml");
        assert!(faults.is_empty());
        let seen: Vec<_> = settings
            .iter()
            .map(|setting| (setting.path.as_str(), setting.line))
            .collect();
        assert_eq!(
            seen,
            [
                ("data_dir", 2),
                ("http.bind", 5),
                ("http.list", 6),
                ("files.backends.main.kind", 8)
            ]
        );
        assert_eq!(settings[2].raw, Some(Raw::Many(vec!["a".to_owned(), "b".to_owned()])));
    }

    #[test]
    fn every_syntax_fault_is_told_with_its_line_and_no_value() {
        let (_, faults) = read_toml("a = hunter2\nb = 1\nc = \"open\nd = = 2\n", "plinth.toml");
        assert!(faults.len() >= 2, "{faults:?}");
        let text: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(text[0].starts_with("plinth.toml:1: must be TOML"), "{text:?}");
        assert!(text.iter().all(|fault| !fault.contains("hunter2")), "{text:?}");
    }

    #[test]
    fn a_secret_file_loses_one_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for (text, expected) in [
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            ("a", "a"),
            (" a ", " a "),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_secret(&path).unwrap(), expected, "{text:?}");
        }
        assert_eq!(
            read_secret(&folder.path().join("none")).unwrap_err(),
            "cannot be read: no such file"
        );
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert_eq!(read_secret(&path).unwrap_err(), "is not UTF-8 text");
    }

    #[test]
    fn variables_of_container_platforms_are_known() {
        for (name, value) in [
            ("PLINTH_SERVICE_HOST", "10.0.0.1"),
            ("PLINTH_SERVICE_PORT_HTTP", "8080"),
            ("PLINTH_PORT", "tcp://10.0.0.1:8080"),
            ("PLINTH_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("PLINTH_OPS_PORT_9090_TCP_ADDR", "10.0.0.1"),
        ] {
            assert!(is_service_link(name, value), "{name}");
        }
        assert!(!is_service_link("PLINTH_HTTP_PORT", "8080"));
        assert!(!is_service_link("PLINTH_PORT_RANGE", "1"));
    }
}
