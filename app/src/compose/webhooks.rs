//! What sends webhooks.

use std::sync::Arc;

use ports::WebhookSender;

use super::{Allowed, ComposeError, HttpsWebhookSender, WebhookOptions};
use crate::config::Config;

/// The sender, with the exceptions and authorities of the configuration.
pub(super) fn sender(config: &Config) -> Result<Arc<dyn WebhookSender>, ComposeError> {
    let refused = |key: &str, reason: String| ComposeError::Setting {
        key: key.to_owned(),
        reason,
    };
    let allowed = Allowed::parse(config.webhooks.allow.iter().map(String::as_str)).map_err(|_| {
        let reason = "must hold host names, IP addresses or networks".to_owned();
        refused("webhooks.allow", reason)
    })?;
    let read = |path: &std::path::PathBuf| {
        std::fs::read(path).map_err(|source| ComposeError::Io {
            path: path.display().to_string(),
            what: "reading webhooks.ca_file",
            source,
        })
    };
    let extra_roots = config.webhooks.ca_file.as_ref().map(read).transpose()?;
    let sender = HttpsWebhookSender::new(WebhookOptions {
        allowed,
        timeout: config.webhooks.timeout,
        extra_roots,
    });
    let sender = sender.map_err(|error| refused("webhooks.ca_file", error.to_string()))?;
    Ok(Arc::new(sender))
}
