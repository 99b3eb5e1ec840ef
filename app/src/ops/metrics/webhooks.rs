//! The figures of webhooks.

use openapi::WebhookStatsBody;
use prometheus::proto::MetricType;

use super::{Labels, Page, count};

/// Adds what waits, when that is known, and what this process sent, when it works.
pub(super) fn add(page: &mut Page, webhooks: &WebhookStatsBody, known: bool, works: bool) {
    if known {
        let states: [(Labels<'_>, u64); 3] = [
            (&[("state", "queued")], webhooks.queued),
            (&[("state", "sending")], webhooks.sending),
            (&[("state", "dead")], webhooks.dead),
        ];
        page.gauges(
            "plinth_webhook_deliveries",
            "Deliveries to webhooks that wait, that a worker holds, and that were given up and are still kept.",
            states.map(|(names, deliveries)| (names, deliveries as f64)),
        );
        page.gauge(
            "plinth_webhook_oldest_due_seconds",
            "How long the oldest due delivery to a webhook has waited.",
            webhooks.oldest_due_seconds as f64,
        );
    }
    if !works {
        return;
    }
    let outcomes = [
        ("delivered", webhooks.delivered),
        ("retried", webhooks.retried),
        ("given_up", webhooks.given_up),
        ("lost", webhooks.lost),
    ];
    let metrics = outcomes.map(|(outcome, attempts)| count(&[("outcome", outcome)], attempts as f64));
    page.add(
        "plinth_webhook_attempts_total",
        "Attempts to reach a webhook in this process, by what came of them.",
        MetricType::COUNTER,
        metrics.into(),
    );
    page.counter(
        "plinth_webhooks_disabled_total",
        "Webhooks that this process disabled since nothing reached them.",
        webhooks.disabled as f64,
    );
    page.histogram(
        "plinth_webhook_attempt_duration_seconds",
        "How long an attempt to reach a webhook took.",
        &webhooks.time,
    );
}
