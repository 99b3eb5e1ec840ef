//! The texts of messages: built-in templates, those of a folder in their place, and what is put into them.

use std::fmt;
use std::path::{Path, PathBuf};

use domain::mail::MailTemplate;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};

/// The frame that the built-in HTML parts stand in; a folder may replace it too.
const LAYOUT: &str = "layout.html";
/// The longest subject, in characters: what mail programs show of one is shorter still.
const SUBJECT_LENGTH: usize = 150;
/// What a trial rendering is given as link: it must appear in the texts of templates that carry a token.
const SAMPLE_LINK: &str = "https://example.org/prefix/verify?token=sample";

/// The three parts of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Subject,
    Text,
    Html,
}

impl Part {
    const ALL: [Self; 3] = [Self::Subject, Self::Text, Self::Html];

    fn file(self, template: MailTemplate) -> String {
        let ending = match self {
            Self::Subject => "subject.txt",
            Self::Text => "txt",
            Self::Html => "html",
        };
        format!("{}.{ending}", template.as_str())
    }
}

macro_rules! built_in {
    ($($template:ident $name:literal),* $(,)?) => {
        fn built_in(template: MailTemplate, part: Part) -> &'static str {
            match (template, part) {
                $(
                    (MailTemplate::$template, Part::Subject) => include_str!(concat!("../../../templates/mail/", $name, ".subject.txt")),
                    (MailTemplate::$template, Part::Text) => include_str!(concat!("../../../templates/mail/", $name, ".txt")),
                    (MailTemplate::$template, Part::Html) => include_str!(concat!("../../../templates/mail/", $name, ".html")),
                )*
            }
        }
    };
}

built_in! {
    VerifyEmail "verify_email",
    AlreadyRegistered "already_registered",
    ResetPassword "reset_password",
    PasswordChanged "password_changed",
    Welcome "welcome",
}

/// What a message says, rendered.
#[derive(Clone, PartialEq, Eq)]
pub struct Texts {
    /// One line.
    pub subject: String,
    /// The text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
}

/// The texts may hold a one-time token.
impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Texts")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

/// What templates are filled with. `name` and `product` always exist, an unknown name is empty; `link` and `expires`
/// exist where the message carries a token, and using them elsewhere is a fault.
#[derive(Clone, Copy, Default)]
pub struct Values<'a> {
    /// What the user is called.
    pub name: Option<&'a str>,
    /// Where the mailed link leads.
    pub link: Option<&'a str>,
    /// Until when the link works, as people write it.
    pub expires: Option<&'a str>,
}

impl fmt::Debug for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// A template that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFault {
    /// The file, or its name among the built-in ones.
    pub file: PathBuf,
    /// The line, where one is to blame; counted from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for TemplateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Every template of the folder that cannot be used; one line for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFaults(pub Vec<TemplateFault>);

impl fmt::Display for TemplateFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(TemplateFault::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for TemplateFaults {}

/// All templates, parsed and tried.
pub struct Templates {
    environment: Environment<'static>,
    product: String,
    folder: Option<PathBuf>,
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Templates")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Templates {
    /// The built-in templates, and in place of them those of `folder`: `<template>.subject.txt`, `<template>.txt`,
    /// `<template>.html` and `layout.html`. `product` is what the texts call the product.
    ///
    /// # Errors
    /// Every file that cannot be read, is no template of ours, does not parse, or does not render with sample values.
    pub fn load(folder: Option<&Path>, product: &str) -> Result<Self, TemplateFaults> {
        let folder = folder.map(Path::to_owned);
        let mut templates = Self {
            environment: environment(),
            product: clean(product),
            folder,
        };
        let mut faults = Vec::new();
        templates.put(LAYOUT, include_str!("../../../templates/mail/layout.html"), &mut faults);
        for template in MailTemplate::ALL {
            for part in Part::ALL {
                templates.put(&part.file(template), built_in(template, part), &mut faults);
            }
        }
        if let Some(folder) = templates.folder.clone() {
            templates.read_folder(&folder, &mut faults);
        }
        if faults.is_empty() {
            MailTemplate::ALL
                .into_iter()
                .for_each(|template| templates.try_out(template, &mut faults));
        }
        if faults.is_empty() {
            Ok(templates)
        } else {
            Err(TemplateFaults(faults))
        }
    }

    fn put(&mut self, name: &str, source: &str, faults: &mut Vec<TemplateFault>) {
        if let Err(error) = self.environment.add_template_owned(name.to_owned(), source.to_owned()) {
            faults.push(self.fault(name, &error));
        }
    }

    fn read_folder(&mut self, folder: &Path, faults: &mut Vec<TemplateFault>) {
        let unreadable = |file: &Path, error: &std::io::Error| TemplateFault {
            file: file.to_owned(),
            line: None,
            reason: format!("cannot be read: {error}"),
        };
        let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return faults.push(unreadable(folder, &error)),
        };
        entries.sort_by_key(std::fs::DirEntry::file_name);
        let known = |name: &str| {
            name == LAYOUT
                || MailTemplate::ALL
                    .iter()
                    .any(|template| Part::ALL.iter().any(|part| part.file(*template) == name))
        };
        for path in entries.into_iter().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // Notes and hidden files may lie beside the templates; a misspelt template must not go unnoticed.
            if !name.ends_with(".txt") && !name.ends_with(".html") || name.starts_with('.') {
                continue;
            }
            if !known(&name) {
                faults.push(TemplateFault {
                    file: path,
                    line: None,
                    reason: format!("is no template: {}", self.names()),
                });
                continue;
            }
            match std::fs::read_to_string(&path) {
                Ok(source) => self.put(&name, &source, faults),
                Err(error) => faults.push(unreadable(&path, &error)),
            }
        }
    }

    fn names(&self) -> String {
        let names: Vec<&str> = MailTemplate::ALL.iter().map(|template| template.as_str()).collect();
        format!(
            "there are {}, each with .subject.txt, .txt and .html, and {LAYOUT}",
            names.join(", ")
        )
    }

    /// Renders with and without what may be missing, so that a fault shows at the start and not with the first mail.
    fn try_out(&self, template: MailTemplate, faults: &mut Vec<TemplateFault>) {
        let carries = template.carries_token();
        for name in [Some("Anna"), None] {
            let values = Values {
                name,
                link: carries.then_some(SAMPLE_LINK),
                expires: carries.then_some("22 November 2026, 14:05 UTC"),
            };
            for part in Part::ALL {
                let file = part.file(template);
                let reason = match self.render_part(template, part, &values) {
                    Err(error) => {
                        faults.push(self.fault(&file, &error));
                        continue;
                    }
                    Ok(text) if text.trim().is_empty() => "is empty",
                    Ok(text) if carries && part != Part::Subject && !text.contains(SAMPLE_LINK) => {
                        "does not show {{ link }}, without which the message is of no use"
                    }
                    Ok(_) => continue,
                };
                faults.push(TemplateFault {
                    file: self.path_of(&file),
                    line: None,
                    reason: reason.to_owned(),
                });
            }
            // The second trial would tell the same faults again.
            if !faults.is_empty() {
                return;
            }
        }
    }

    fn fault(&self, name: &str, error: &minijinja::Error) -> TemplateFault {
        let file = self.path_of(error.name().unwrap_or(name));
        let kind = error.kind().to_string();
        let reason = error
            .detail()
            .map_or_else(|| kind.clone(), |detail| format!("{kind}: {detail}"));
        TemplateFault {
            file,
            line: error.line(),
            reason,
        }
    }

    fn path_of(&self, name: &str) -> PathBuf {
        let overridden = self
            .folder
            .as_ref()
            .map(|folder| folder.join(name))
            .filter(|path| path.exists());
        overridden.unwrap_or_else(|| Path::new("built-in").join(name))
    }

    /// Renders a message. There is one language, English, and every other falls back to it.
    ///
    /// # Errors
    /// When a template of the folder fails with these values although it took the samples.
    pub fn render(
        &self,
        template: MailTemplate,
        _locale: &str,
        values: &Values<'_>,
    ) -> Result<Texts, minijinja::Error> {
        let subject = self.render_part(template, Part::Subject, values)?;
        Ok(Texts {
            subject: one_line(&subject, SUBJECT_LENGTH),
            text: self.render_part(template, Part::Text, values)?,
            html: self.render_part(template, Part::Html, values)?,
        })
    }

    fn render_part(&self, template: MailTemplate, part: Part, values: &Values<'_>) -> Result<String, minijinja::Error> {
        // The engine would escape slashes too, which is right but makes a link in the source of a mail unreadable.
        let link = values.link.map(|link| match part {
            Part::Html => Value::from_safe_string(escape_attribute(link)),
            Part::Subject | Part::Text => Value::from(link),
        });
        let context = context! {
            name => clean(values.name.unwrap_or_default()),
            product => &self.product,
            link => link.unwrap_or(Value::UNDEFINED),
            expires => values.expires.map_or(Value::UNDEFINED, Value::from),
        };
        self.environment.get_template(&part.file(template))?.render(context)
    }
}

/// The engine as all templates of Plinth use it: an unknown variable is an error, what goes into `.html` is escaped, and
/// a line that holds a block alone leaves no empty line behind.
pub fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|name| match name.ends_with(".html") {
        true => AutoEscape::Html,
        false => AutoEscape::None,
    });
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the usual delimiters"));
    environment
}

/// A text as one line of at most `length` characters: runs of white space and control characters become one space.
pub fn one_line(text: &str, length: usize) -> String {
    let words = clean(text);
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(length).collect()
}

/// A value without what could break a line or turn the text after it round.
fn clean(text: &str) -> String {
    let bad = |c: char| {
        c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    text.replace(bad, " ").trim().to_owned()
}

fn escape_attribute(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "https://example.org/prefix/verify?token=abc-_123";

    fn values(template: MailTemplate, name: Option<&str>) -> Values<'_> {
        let carries = template.carries_token();
        Values {
            name,
            link: carries.then_some(LINK),
            expires: carries.then_some("1 January 2027, 00:00 UTC"),
        }
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn faults(files: &[(&str, &str)]) -> Vec<TemplateFault> {
        let folder = folder(files);
        let mut faults = Templates::load(Some(folder.path()), "Shop").unwrap_err().0;
        for fault in &mut faults {
            assert_eq!(fault.file.parent(), Some(folder.path()), "{fault}");
            fault.file = fault.file.file_name().unwrap().into();
        }
        faults
    }

    #[test]
    fn every_template_renders_in_any_language_with_and_without_a_name() {
        let templates = Templates::load(None, "Plinth").unwrap();
        for template in MailTemplate::ALL {
            for name in [Some("Zoë"), None] {
                for locale in ["en", "de-AT", ""] {
                    let texts = templates.render(template, locale, &values(template, name)).unwrap();
                    assert!(
                        texts.subject.contains("Plinth") && !texts.subject.contains('\n'),
                        "{texts:?}"
                    );
                    assert!(
                        texts.html.starts_with("<!doctype html>") && texts.html.ends_with("</html>"),
                        "{}",
                        texts.html
                    );
                    for text in [&texts.text, &texts.html] {
                        let hello = name.map_or("Hello,".to_owned(), |name| format!("Hello {name},"));
                        assert!(text.contains(&hello), "{text}");
                        assert_eq!(text.contains(LINK), template.carries_token(), "{text}");
                        assert!(!text.contains("{%") && !text.contains(" none"), "{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_hostile_name_stays_text() {
        let templates = Templates::load(None, "A & B\r\nBcc: x@example.org").unwrap();
        let name = "<script>alert(1)</script>\r\nBcc: evil@example.org\u{202E}";
        for template in MailTemplate::ALL {
            let texts = templates.render(template, "en", &values(template, Some(name))).unwrap();
            assert!(!texts.html.contains("<script"), "{}", texts.html);
            assert!(
                texts.html.contains("&lt;script&gt;") && texts.html.contains("A &amp; B"),
                "{}",
                texts.html
            );
            assert!(!texts.subject.contains(['\r', '\n']), "{:?}", texts.subject);
            assert!(
                !texts.text.contains("\nBcc:") && !texts.text.contains('\u{202E}'),
                "{}",
                texts.text
            );
        }
    }

    #[test]
    fn a_hostile_link_stays_in_its_attribute() {
        let templates = Templates::load(None, "Shop").unwrap();
        let values = Values {
            link: Some("https://a/?x=\"><b>&'"),
            ..values(MailTemplate::VerifyEmail, None)
        };
        let html = templates.render(MailTemplate::VerifyEmail, "en", &values).unwrap().html;
        assert!(
            html.contains("href=\"https://a/?x=&quot;&gt;&lt;b&gt;&amp;&#39;\""),
            "{html}"
        );
    }

    #[test]
    fn a_subject_is_one_short_line_whatever_the_template_says() {
        let folder = folder(&[(
            "password_changed.subject.txt",
            "Hi {{ name }}\nBcc: a@b.c\n\n{{ product }}",
        )]);
        let templates = Templates::load(Some(folder.path()), "Shop").unwrap();
        let long = "x".repeat(500);
        let subject = |name| {
            templates
                .render(
                    MailTemplate::PasswordChanged,
                    "en",
                    &values(MailTemplate::PasswordChanged, Some(name)),
                )
                .unwrap()
                .subject
        };
        assert_eq!(subject("Eve\r\nTo: x"), "Hi Eve To: x Bcc: a@b.c Shop");
        assert_eq!(subject(&long).chars().count(), SUBJECT_LENGTH);
    }

    #[test]
    fn a_folder_replaces_single_parts_and_the_layout() {
        let folder = folder(&[
            ("reset_password.txt", "Bonjour {{ name }}: {{ link }}"),
            ("layout.html", "<main>{% block content %}{% endblock %}</main>"),
            ("README.md", "{% not a template"),
        ]);
        let templates = Templates::load(Some(folder.path()), "Shop").unwrap();
        let template = MailTemplate::ResetPassword;
        let texts = templates
            .render(template, "fr", &values(template, Some("Zoë")))
            .unwrap();
        assert_eq!(texts.text, format!("Bonjour Zoë: {LINK}"));
        assert!(
            texts.html.starts_with("<main>") && texts.html.contains("Choose a new password"),
            "{}",
            texts.html
        );
        assert_eq!(texts.subject, "Set a new password for Shop");
    }

    #[test]
    fn a_broken_file_is_named_with_its_line() {
        let found = faults(&[
            ("password_changed.txt", "one\ntwo {% if %}\n"),
            ("verify_email.html", "{{ link"),
        ]);
        let place: Vec<_> = found
            .iter()
            .map(|fault| (fault.file.to_str().unwrap(), fault.line))
            .collect();
        assert_eq!(
            place,
            [("password_changed.txt", Some(2)), ("verify_email.html", Some(1))]
        );
        assert!(
            found[0].to_string().starts_with("password_changed.txt:2: syntax error"),
            "{}",
            found[1]
        );
    }

    #[test]
    fn an_unknown_variable_is_found_at_the_start() {
        let found = faults(&[("password_changed.html", "<p>\n\n{{ nmae }}")]);
        assert_eq!((found.len(), found[0].line), (1, Some(3)), "{found:?}");
        let found = faults(&[("password_changed.txt", "{{ link }}")]);
        assert_eq!(found.len(), 1, "a notice carries no link");
    }

    #[test]
    fn a_template_that_loses_its_link_or_all_text_is_refused() {
        let reason = |files: &[(&str, &str)]| faults(files)[0].reason.clone();
        assert!(reason(&[("verify_email.txt", "Hello")]).contains("{{ link }}"));
        assert_eq!(reason(&[("password_changed.subject.txt", " \n")]), "is empty");
        assert!(reason(&[("pasword_changed.txt", "Hello")]).contains("password_changed"));
        let missing = Templates::load(Some(Path::new("/nonexistent/templates")), "Shop").unwrap_err();
        assert!(
            missing
                .to_string()
                .starts_with("/nonexistent/templates: cannot be read"),
            "{missing}"
        );
    }
}
