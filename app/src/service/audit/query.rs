//! Reading what somebody searches for.

use domain::event::{Actor, EventType};
use domain::id::{RequestId, UserId};
use domain::time::Timestamp;
use ports::AuditQuery;

/// What is searched for, unchecked; a text for each filter.
#[derive(Debug, Clone, Default)]
pub struct AuditSearch {
    /// Whose events.
    pub user: Option<String>,
    /// Their type, or the beginning of their types with a dot at its end.
    pub event_type: Option<String>,
    /// Who caused them.
    pub actor: Option<String>,
    /// The administrator behind the actor.
    pub impersonator: Option<String>,
    /// The request.
    pub request: Option<String>,
    /// Not before this.
    pub from: Option<String>,
    /// Before this.
    pub to: Option<String>,
}

/// A filter that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedFilter {
    /// Its name on the wire.
    pub name: &'static str,
    /// The stable name of the rule.
    pub code: &'static str,
    /// What the rule asks for.
    pub detail: &'static str,
}

impl AuditSearch {
    /// The query.
    ///
    /// # Errors
    /// Each filter that cannot be read.
    pub fn read(&self) -> Result<AuditQuery, Vec<RefusedFilter>> {
        let mut refused = Vec::new();
        let query = {
            let mut filter = |name, text: &Option<String>, detail, fits: &dyn Fn(&str) -> bool| {
                let text = text.clone()?;
                if fits(&text) {
                    return Some(text);
                }
                let code = "format";
                refused.push(RefusedFilter { name, code, detail });
                None
            };
            let is_id = |text: &str| text.parse::<UserId>().is_ok();
            let is_time = |text: &str| Timestamp::parse_rfc3339(text).is_ok();
            let id = "must be a UUID";
            let time = "must be an RFC 3339 time";
            let user = filter("user", &self.user, id, &is_id);
            let event_type = filter(
                "type",
                &self.event_type,
                "must be a type of events, or the beginning of one with a dot at its end",
                &is_type_or_beginning,
            );
            let actor = "must be a user's id, anonymous or system";
            let actor = filter("actor", &self.actor, actor, &|text| Actor::parse(text).is_some());
            let impersonator = filter("impersonator", &self.impersonator, id, &is_id);
            let request = filter("request_id", &self.request, id, &is_id);
            let from = filter("from", &self.from, time, &is_time);
            let to = filter("to", &self.to, time, &is_time);
            AuditQuery {
                user: user.and_then(|text| text.parse().ok()),
                event_type,
                actor: actor.and_then(|text| Actor::parse(&text)).map(Actor::as_text),
                impersonator: impersonator.and_then(|text| text.parse().ok()),
                request: request.and_then(|text| text.parse::<RequestId>().ok()),
                from: from.and_then(|text| Timestamp::parse_rfc3339(&text).ok()),
                to: to.and_then(|text| Timestamp::parse_rfc3339(&text).ok()),
            }
        };
        if refused.is_empty() { Ok(query) } else { Err(refused) }
    }
}

/// `app.order.placed`, or `app.order.` and even `app.` for all that begins so.
fn is_type_or_beginning(text: &str) -> bool {
    let whole = if text.ends_with('.') {
        format!("{text}x")
    } else {
        text.to_owned()
    };
    whole.parse::<EventType>().is_ok()
}
