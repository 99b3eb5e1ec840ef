//! What changed between two readings, as sentences.
use openapi::{BackendStatsBody, StatsBody};

use crate::format::{of, short, span, words};
use crate::warning::{BROKER, Severity};

/// Something that changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Happening {
    /// When, in milliseconds since the dashboard was opened.
    pub at: u64,
    /// What.
    pub what: What,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The first figures came.
    First {
        /// How it was.
        health: String,
    },
    /// The server has no stream of figures.
    Asked,
    /// The server stopped answering.
    Gone {
        /// Why.
        reason: String,
    },
    /// The server answers again.
    Back {
        /// After so many milliseconds.
        after_ms: u64,
    },
    /// The server was started anew.
    Restarted {
        /// For how long it had not answered, in milliseconds; none when that was not noticed.
        after_ms: Option<u64>,
        /// Its version, when that is another one.
        version: Option<String>,
    },
    /// Another process answers, which runs for longer than it is known of.
    Another {
        /// Its id.
        node: String,
        /// Its version, when that is another one.
        version: Option<String>,
    },
    /// A state went from one word to another.
    Turned {
        /// Whose.
        name: String,
        /// From.
        from: String,
        /// To.
        to: String,
    },
    /// Handlings failed.
    HandlingsFailed(u64),
    /// Attempts to hand a message over failed.
    AttemptsFailed(u64),
    /// Messages were given up.
    MailsDead(u64),
    /// Password hashings were refused.
    Shed(u64),
    /// Requests began to fail with a 5xx status.
    FailuresBegan {
        /// The share of the requests, in words for people.
        share: String,
    },
    /// Requests no longer fail so.
    FailuresEnded {
        /// For how long they did, in milliseconds.
        lasted_ms: u64,
        /// How many.
        failed: u64,
        /// The greatest share of the requests of a reading, in words for people.
        worst: String,
    },
}

impl What {
    /// The sentence.
    pub fn text(&self) -> String {
        match self {
            Self::First { health } => format!("first figures: the server is {}", words(health)),
            Self::Asked => "this server has no stream of figures: it is asked for them".to_owned(),
            Self::Gone { reason } => format!("the server stopped answering ({reason})"),
            Self::Back { after_ms } => format!("the server answers again, after {}", span(*after_ms)),
            Self::Restarted { after_ms, version } => {
                let again = after_ms.map_or_else(String::new, |after| {
                    format!(" and answers again, after {}", span(after))
                });
                format!("the server was restarted{again}{}", with(version.as_deref()))
            }
            Self::Another { node, version } => {
                format!("another process answers: {}{}", short(node), with(version.as_deref()))
            }
            Self::Turned { name, from, to } => format!("{name}: {} → {}", words(from), words(to)),
            Self::HandlingsFailed(times) => {
                format!("{} failed", of(*times, "handling of an event", "handlings of events"))
            }
            Self::AttemptsFailed(times) => format!("{} to hand over mail failed", of(*times, "attempt", "attempts")),
            Self::MailsDead(times) => format!("{} given up", of(*times, "message was", "messages were")),
            Self::Shed(times) => format!(
                "{} refused: the hashing queue was full",
                of(*times, "login was", "logins were")
            ),
            Self::FailuresBegan { share } => format!("requests began to fail with a 5xx status, {share} of them"),
            Self::FailuresEnded {
                lasted_ms: 0,
                failed,
                worst,
            } => format!(
                "no 5xx any more: {} failed, {worst} of the requests then",
                of(*failed, "request", "requests")
            ),
            Self::FailuresEnded {
                lasted_ms,
                failed,
                worst,
            } => format!(
                "no 5xx any more: {} failed within {}, at worst {worst} of all",
                of(*failed, "request", "requests"),
                span(*lasted_ms)
            ),
        }
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        match self {
            Self::First { .. } | Self::Asked | Self::Back { .. } | Self::FailuresEnded { .. } => Severity::Fine,
            Self::Turned { to, .. } => state_severity(to),
            Self::Restarted { .. }
            | Self::Another { .. }
            | Self::HandlingsFailed(_)
            | Self::AttemptsFailed(_)
            | Self::Shed(_) => Severity::Warn,
            Self::Gone { .. } | Self::MailsDead(_) | Self::FailuresBegan { .. } => Severity::Severe,
        }
    }

    /// Adds a count of the same kind to this one; whether it could.
    pub fn absorb(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::HandlingsFailed(sum), Self::HandlingsFailed(more))
            | (Self::AttemptsFailed(sum), Self::AttemptsFailed(more))
            | (Self::MailsDead(sum), Self::MailsDead(more))
            | (Self::Shed(sum), Self::Shed(more)) => {
                *sum += more;
                true
            }
            _ => false,
        }
    }
}

/// Another version, as the end of a sentence.
fn with(version: Option<&str>) -> String {
    version.map_or_else(String::new, |version| format!(", version {version}"))
}

/// How bad a state of health or of a breaker is.
pub fn state_severity(state: &str) -> Severity {
    match state {
        "ok" | "ready" | "closed" => Severity::Fine,
        "down" | "unready" | "open" => Severity::Severe,
        _ => Severity::Warn,
    }
}

/// A process that answers has run no longer than this beyond the last reading of the one before it when it took its place,
/// in milliseconds: uptimes are told in whole seconds.
const START_MS: u64 = 2_000;

/// What changed from one reading to the next, so many milliseconds later; `silent_ms` when the server had not answered
/// between them.
pub fn changes(before: &StatsBody, after: &StatsBody, elapsed_ms: u64, silent_ms: Option<u64>) -> Vec<What> {
    let mut found = Vec::new();
    let is_same = before.node == after.node && after.uptime_seconds >= before.uptime_seconds;
    if !is_same {
        let version = (before.version != after.version).then(|| after.version.clone());
        let is_new = after.uptime_seconds.saturating_mul(1_000) <= elapsed_ms.saturating_add(START_MS);
        // That it answers again is told with its start.
        if before.node == after.node || is_new {
            found.push(What::Restarted {
                after_ms: silent_ms,
                version,
            });
        } else {
            found.extend(silent_ms.map(|after_ms| What::Back { after_ms }));
            found.push(What::Another {
                node: after.node.clone(),
                version,
            });
        }
    } else {
        found.extend(silent_ms.map(|after_ms| What::Back { after_ms }));
    }
    let mut turned = |name: &str, from: Option<&str>, to: &str| {
        if let Some(from) = from.filter(|from| *from != to) {
            found.push(What::Turned {
                name: name.to_owned(),
                from: from.to_owned(),
                to: to.to_owned(),
            });
        }
    };
    for dependency in &after.health.dependencies {
        let earlier = before
            .health
            .dependencies
            .iter()
            .find(|other| other.name == dependency.name);
        // A backend's state is told once, by its breaker; but a broker may be away while its breaker is closed.
        let by_its_breaker = |backend: &BackendStatsBody| backend.name == dependency.name && backend.kind != BROKER;
        if !after.backends.iter().any(by_its_breaker) {
            turned(
                &dependency.name,
                earlier.map(|other| other.status.as_str()),
                &dependency.status,
            );
        }
    }
    for backend in &after.backends {
        let earlier = before.backends.iter().find(|other| other.name == backend.name);
        turned(
            &format!("breaker {}", backend.name),
            earlier.map(|other| other.breaker.as_str()),
            &backend.breaker,
        );
    }
    turned("health", Some(&before.health.status), &after.health.status);
    if is_same {
        found.extend(counted(before, after));
    }
    // The ledger outlives the process.
    let dead = after.mail.dead.saturating_sub(before.mail.dead);
    found.extend((dead > 0).then_some(What::MailsDead(dead)));
    found
}

fn counted(before: &StatsBody, after: &StatsBody) -> impl Iterator<Item = What> {
    let (was, is) = (before.workers.unwrap_or_default(), after.workers.unwrap_or_default());
    let counts = [
        (
            is.handler_failures.saturating_sub(was.handler_failures),
            What::HandlingsFailed as fn(u64) -> What,
        ),
        (is.mail_failures.saturating_sub(was.mail_failures), What::AttemptsFailed),
        (after.passwords.shed.saturating_sub(before.passwords.shed), What::Shed),
    ];
    counts
        .into_iter()
        .filter(|(times, _)| *times > 0)
        .map(|(times, make)| make(times))
}
