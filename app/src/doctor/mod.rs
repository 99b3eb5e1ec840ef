//! The doctor: uses every configured backend for real, judges what only matters in production, and ends each finding with its remedy.
//!
//! A check is a function that gives a [`Verdict`]; [`examine`] runs all of them one after the other, each with its name and
//! within a time limit, so that what is frozen is a finding too. What another backend needs is one more function.
//! Nothing is made, migrated, bound or locked: a doctor may look at an installation that is not there yet, or beside a
//! running server. What it leaves behind is one event `plinth.checked` in the log.

mod backends;
mod database;
mod events;
mod hygiene;
mod kafka;
mod listeners;
mod secrets;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain::email::EmailAddress;
use ports::Sealer;
use serde::{Serialize, Serializer};
use tokio::time::Instant;

use crate::compose::look::{self, Connection, Tables};
use crate::config::Config;
use crate::service::Toolkit;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It works.
    Ok,
    /// It works, and somebody should look at it.
    Warn,
    /// It does not work.
    Fail,
    /// It was not looked at; the cause says why.
    Skipped,
}

impl State {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skipped => "skipped",
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    state: State,
    cause: String,
    fix: Option<String>,
}

impl Verdict {
    /// It works; `what` says what was seen.
    pub fn ok(what: impl Into<String>) -> Self {
        Self::new(State::Ok, what.into(), None)
    }

    /// Somebody should look at it.
    pub fn warn(cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(State::Warn, cause.into(), Some(fix.into()))
    }

    /// It does not work.
    pub fn fail(cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(State::Fail, cause.into(), Some(fix.into()))
    }

    /// It was not looked at.
    pub fn skipped(reason: impl Into<String>) -> Self {
        Self::new(State::Skipped, reason.into(), None)
    }

    fn new(state: State, cause: String, fix: Option<String>) -> Self {
        let (cause, fix) = (one_line(&cause), fix.map(|fix| one_line(&fix)));
        Self { state, cause, fix }
    }
}

/// One line of the report.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub name: String,
    /// How it is.
    pub state: State,
    /// What was seen, in one line.
    pub cause: String,
    /// What to do about it, in one line; always there when it is `warn` or `fail`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// How long it took.
    #[serde(rename = "took_ms", serialize_with = "milliseconds")]
    pub took: Duration,
}

fn milliseconds<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((took.as_secs_f64() * 1e6).round() / 1e3)
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long each check may take.
    pub timeout: Duration,
    /// Where a test message is to be handed over to; without it none is.
    pub send_mail_to: Option<EmailAddress>,
}

/// The running examination.
pub struct Examination<'a> {
    timeout: Duration,
    tell: &'a mut (dyn FnMut(&Finding) + Send),
    findings: Vec<Finding>,
}

impl std::fmt::Debug for Examination<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Examination")
            .field("findings", &self.findings)
            .finish_non_exhaustive()
    }
}

impl<'a> Examination<'a> {
    /// `tell` hears each finding when it is made.
    pub fn new(timeout: Duration, tell: &'a mut (dyn FnMut(&Finding) + Send)) -> Self {
        Self {
            timeout,
            tell,
            findings: Vec::new(),
        }
    }

    /// Runs one check under a name, within the time limit.
    pub async fn judge(&mut self, name: &str, check: impl Future<Output = Verdict>) -> State {
        let with_nothing = async { (check.await, None::<()>) };
        self.obtain(name, with_nothing).await;
        self.findings.last().map_or(State::Skipped, |finding| finding.state)
    }

    /// As [`judge`](Self::judge), for a check that also gives what later ones need.
    pub async fn obtain<T>(&mut self, name: &str, check: impl Future<Output = (Verdict, Option<T>)>) -> Option<T> {
        let began = Instant::now();
        let (verdict, obtained) = match tokio::time::timeout(self.timeout, check).await {
            Ok(judged) => judged,
            Err(_) => (frozen(self.timeout), None),
        };
        let Verdict { state, cause, fix } = verdict;
        let finding = Finding {
            name: name.to_owned(),
            state,
            cause,
            fix,
            took: began.elapsed(),
        };
        (self.tell)(&finding);
        self.findings.push(finding);
        obtained
    }

    /// Says why something was not looked at.
    async fn skip(&mut self, name: &str, reason: &str) {
        self.judge(name, async { Verdict::skipped(reason) }).await;
    }
}

fn frozen(limit: Duration) -> Verdict {
    Verdict::fail(
        format!("no answer within {}", in_words(limit)),
        "see whether what stands behind it is frozen, overloaded or cut off by a firewall; --timeout SECONDS waits longer",
    )
}

/// Examines the installation that the configuration describes; `tell` hears each finding when it is made. All checks are made, whatever the others find.
pub async fn examine(config: &Config, options: &Options, tell: &mut (dyn FnMut(&Finding) + Send)) -> Vec<Finding> {
    let toolkit = look::toolkit();
    let mut examination = Examination::new(options.timeout, tell);
    let e = &mut examination;
    let connection = e.obtain("database", database::connect(config)).await;
    let tables = schema(e, connection.as_ref()).await;
    data(e, config, tables.as_ref(), &toolkit).await;
    let keys = secrets_of(e, config, tables.as_ref(), &toolkit).await;
    let serving = served(e, config, &keys).await;
    log(e, tables.as_ref(), &toolkit, serving).await;
    if let Some(kafka) = &config.kafka {
        e.judge("kafka", kafka::topic(kafka)).await;
        if !kafka.consume.is_empty() {
            e.judge("kafka topics", kafka::foreign(kafka)).await;
        }
        e.judge("kafka TLS", async { kafka::tls(kafka) }).await;
    }
    files(e, config, connection.is_some(), &toolkit).await;
    mail(
        e,
        config,
        options,
        tables.as_ref(),
        &toolkit,
        connection.is_some(),
        serving,
    )
    .await;
    hygiene::judge(e, config, tables.as_ref()).await;
    if let Some(connection) = connection {
        // A database that froze meanwhile must not hold the end up.
        let _ = tokio::time::timeout(Duration::from_secs(1), connection.close()).await;
    }
    examination.findings
}

const NO_DATABASE: &str = "it needs the database";

async fn schema(e: &mut Examination<'_>, connection: Option<&Connection>) -> Option<Tables> {
    match connection {
        Some(connection) => e.obtain("schema", database::schema(connection)).await,
        None => {
            e.skip("schema", NO_DATABASE).await;
            None
        }
    }
}

async fn data(e: &mut Examination<'_>, config: &Config, tables: Option<&Tables>, toolkit: &Toolkit) {
    let Some(tables) = tables else {
        return e.skip("database rows", "it needs the schema").await;
    };
    e.judge(
        "database rows",
        database::rows(&*tables.idempotency, &*tables.probe, toolkit),
    )
    .await;
    if config.database.url.is_postgres() {
        e.judge("database clock", database::clock(&*tables.probe, &*toolkit.clock))
            .await;
    }
}

/// Gives the ids of the published keys, by which this installation is told from another.
async fn secrets_of(
    e: &mut Examination<'_>,
    config: &Config,
    tables: Option<&Tables>,
    toolkit: &Toolkit,
) -> Vec<String> {
    let installation = tables.map(|tables| &*tables.installation);
    let derived = e
        .obtain("master key", secrets::master_key(config, installation, toolkit))
        .await;
    let Some(derived) = derived else {
        for name in ["tokens", "links", "passwords"] {
            e.skip(name, "it needs the master key").await;
        }
        return Vec::new();
    };
    let sealer: &Arc<dyn Sealer> = &derived.sealer;
    let keys = match tables {
        Some(tables) => {
            let check = secrets::tokens(&*tables.signing_keys, |issuer| look::keyring(sealer, issuer), toolkit);
            e.obtain("tokens", check).await.unwrap_or_default()
        }
        None => {
            e.skip("tokens", "it needs the schema").await;
            Vec::new()
        }
    };
    e.judge("links", async { secrets::links(&*derived.links, toolkit) })
        .await;
    let threads = config.auth.hash_threads;
    let check = secrets::passwords(&*derived.hasher, config.auth.bcrypt_cost, threads, toolkit);
    e.judge("passwords", check).await;
    keys
}

/// Gives whether a server of this installation answers here.
async fn served(e: &mut Examination<'_>, config: &Config, keys: &[String]) -> bool {
    let ops = e.obtain("operations", listeners::operations(config)).await;
    let api = e.obtain("API", listeners::api(config, keys)).await;
    let serving = ops.is_some() || api.is_some();
    if let Some(url) = &config.public_url {
        e.judge("public URL", listeners::public_url(url, keys, serving)).await;
    }
    serving
}

async fn log(e: &mut Examination<'_>, tables: Option<&Tables>, toolkit: &Toolkit, serving: bool) {
    match tables {
        Some(tables) => {
            let log = events::Log {
                store: &*tables.events,
                log: &*tables.log,
                sequencer: &*tables.sequencer,
                patience: e.timeout / 2,
            };
            e.judge("events", events::publish_and_consume(&log, toolkit, serving))
                .await;
        }
        None => e.skip("events", "it needs the schema").await,
    }
}

async fn files(e: &mut Examination<'_>, config: &Config, installed: bool, toolkit: &Toolkit) {
    for (name, backend) in &config.files.backends {
        let name = format!("files {name}");
        let key = format!("files.backends.{}.root", name.trim_start_matches("files "));
        if let Some(verdict) = absent(look::blob_folder(backend).map(|path| &**path), &key, installed).await {
            e.judge(&name, async { verdict }).await;
            continue;
        }
        let check = async {
            match look::blob_store(backend).await {
                Ok(store) => backends::blobs(&*store, toolkit, &key).await,
                Err(error) => backends::unusable(&error, &key),
            }
        };
        e.judge(&name, check).await;
    }
}

async fn mail(
    e: &mut Examination<'_>,
    config: &Config,
    options: &Options,
    tables: Option<&Tables>,
    toolkit: &Toolkit,
    installed: bool,
    serving: bool,
) {
    let folder = look::mail_folder(config).map(|path| &**path);
    let wanted = options.send_mail_to.as_ref();
    let key = "mail.outbox_dir";
    match absent(folder, key, installed).await {
        // Whoever asks for a message gets one, into a folder that is made for it.
        Some(verdict) if wanted.is_none() => {
            e.judge("mail", async { verdict }).await;
        }
        Some(_) | None => {
            let check = async {
                match look::mailer(config).await {
                    Ok(mailer) => backends::mailer(&*mailer, wanted, folder, toolkit).await,
                    Err(error) => backends::unusable(&error, key),
                }
            };
            e.judge("mail", check).await;
        }
    }
    if let Some(folder) = &config.mail.templates_dir {
        let check = async { backends::templates(folder, &config.mail.from_name) };
        e.judge("templates", check).await;
    }
    match tables {
        Some(tables) => {
            e.judge(
                "mail queue",
                backends::mail_queue(&*tables.mails, toolkit.now(), serving),
            )
            .await;
        }
        None => e.skip("mail queue", "it needs the schema").await,
    }
}

/// What to say of a folder that is not there: opening it would make it, and where a mount is missing that is the last thing to do.
async fn absent(folder: Option<&Path>, key: &str, installed: bool) -> Option<Verdict> {
    let folder = folder?;
    let found = tokio::fs::symlink_metadata(folder).await;
    if !found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return None;
    }
    let cause = format!("{} is not there", folder.display());
    Some(if installed {
        Verdict::warn(
            cause,
            format!("mount what belongs there, or let `plinth serve` make it; {key} names another folder"),
        )
    } else {
        Verdict::skipped(cause + " yet; the first `plinth serve` makes it")
    })
}

/// The innermost cause: what the system or the server said, without the layers that each say "error" in other words.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let said = cause.to_string();
    // The line of the server's own source, which its driver adds.
    match said.rsplit_once(" at line ") {
        Some((said, line)) if line.bytes().all(|byte| byte.is_ascii_digit()) => said.to_owned(),
        _ => said,
    }
}

/// A text in one line, and harmless to a terminal: servers and file names have a say in it.
fn one_line(text: &str) -> String {
    let words: Vec<String> = text
        .split_whitespace()
        .map(|word| {
            word.chars()
                .map(|c| if c.is_control() { '\u{fffd}' } else { c })
                .collect()
        })
        .collect();
    words.join(" ")
}

/// A time as people say it.
pub fn in_words(time: Duration) -> String {
    let micros = time.as_micros();
    match micros {
        0..10_000 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        10_000..1_000_000 => format!("{:.0} ms", time.as_secs_f64() * 1e3),
        1_000_000..10_000_000 => format!("{:.1} s", time.as_secs_f64()),
        10_000_000..120_000_000 => format!("{} s", time.as_secs()),
        120_000_000..7_200_000_000 => format!("{} min", time.as_secs() / 60),
        _ => format!("{} h", time.as_secs() / 3_600),
    }
}

/// `1 event`, `2 events`.
fn count(number: u64, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}
