//! Trouble with requests and with what every request needs: answers, tokens, file descriptors.
use openapi::StatsBody;

use super::{FAILED_SHARE, Severity, Warning, is_near_limit, lately, warn};
use crate::data::Data;
use crate::format::{count, of, percent, rate};
use crate::model::Screen;
use crate::rates::{Rates, RouteRates};

/// The share of requests that may be turned away without a word.
const SHED_SHARE: f64 = 0.001;

/// The share of requests that rate limits refuse when more than some clients are too fast.
const LIMITED_SHARE: f64 = 0.1;

/// The share of tokens whose refusal is no longer the everyday one of tokens that have expired.
const REFUSED_SHARE: f64 = 0.2;

/// Fewer refusals a second than this are one client's.
const FEW_REFUSALS: f64 = 1.0;

/// Answers with a 5xx status but 503, which says that the server is busy and not that it is broken.
pub(super) fn failed(data: &Data, found: &mut Vec<Warning>) {
    let Some(rates) = &data.lately else { return };
    let failed = (rates.by_class[4] - rates.unavailable).max(0.0);
    if rates.requests > 0.0 && rates.share_of(failed) >= FAILED_SHARE {
        let route = most(data, |route| {
            route.timed.per_second * route.failed.unwrap_or_default() - route.unavailable
        });
        let text = format!(
            "{} of the requests fail with a 5xx status, {} of late{route}.",
            percent(rates.share_of(failed)),
            rate(failed)
        );
        warn(found, Severity::Severe, Screen::Overview, text);
    }
}

/// Answers with status 503, but those of a full hashing queue, which has its own sentence.
pub(super) fn shed(data: &Data, found: &mut Vec<Warning>) {
    let Some(rates) = &data.lately else { return };
    let shed = rates.unavailable - rates.shed;
    if shed > 0.0 && rates.share_of(shed) >= SHED_SHARE {
        let route = most(data, |route| route.unavailable);
        let text = format!(
            "The server turns requests away with 503, {} of late ({} of all){route}.",
            rate(shed),
            percent(rates.share_of(shed))
        );
        warn(found, Severity::Severe, Screen::Overview, text);
    }
}

/// Answers with status 429, when they are many: a client that went wild, or limits that do not fit their clients.
pub(super) fn limited(data: &Data, found: &mut Vec<Warning>) {
    let Some(rates) = &data.lately else { return };
    if rates.limited < FEW_REFUSALS || rates.share_of(rates.limited) < LIMITED_SHARE {
        return;
    }
    let route = most(data, |route| route.limited);
    let text = format!(
        "Rate limits refuse {} of the requests with 429, {} of late{route}.",
        percent(rates.share_of(rates.limited)),
        rate(rates.limited)
    );
    warn(found, Severity::Warn, Screen::Overview, text);
}

/// The route that has the most of something, as the end of a sentence.
fn most(data: &Data, read: impl Fn(&RouteRates) -> f64) -> String {
    let greatest = data.routes.iter().max_by(|one, two| read(one).total_cmp(&read(two)));
    greatest
        .filter(|route| read(route) > 0.0)
        .map_or_else(String::new, |route| format!(", most of them on {}", route.name))
}

/// Many refused tokens, with what the most frequent code means.
pub(super) fn tokens(data: &Data, found: &mut Vec<Warning>) {
    let refused = lately(data, |rates| rates.refused);
    let share = lately(data, Rates::refused_share);
    if refused < FEW_REFUSALS || share < REFUSED_SHARE {
        return;
    }
    let cause = match data.lately.as_ref().and_then(|rates| rates.refused_as.as_deref()) {
        Some("token_expired") => "; most have expired: do clients refresh them?".to_owned(),
        Some("token_outdated") => {
            "; most are older than a change to their account: do clients refresh them?".to_owned()
        }
        Some("token_invalid") => "; most are not valid: another server's, or guessed.".to_owned(),
        Some("token_missing") => "; most requests have none.".to_owned(),
        Some(other) => format!("; most with code {other}."),
        None => ".".to_owned(),
    };
    let text = format!(
        "Tokens are refused, {} of late ({} of all){cause}",
        rate(refused),
        percent(share)
    );
    warn(found, Severity::Warn, Screen::Pool, text);
}

/// At the limit no connection is accepted and no file opened.
pub(super) fn files(stats: &StatsBody, found: &mut Vec<Warning>) {
    let process = &stats.process;
    if !is_near_limit(process) {
        return;
    }
    let severity = if process.open_files + 10 >= process.max_files {
        Severity::Severe
    } else {
        Severity::Warn
    };
    let text = format!(
        "{} of {} file descriptors are open, {}: at the limit no connection is taken; raise it (ulimit -n).",
        count(process.open_files),
        count(process.max_files),
        of(stats.http.connections, "connection", "connections")
    );
    warn(found, severity, Screen::Overview, text);
}
