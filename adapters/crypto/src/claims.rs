//! Claims as JSON: registered names of PASETO, times in RFC 3339 with whole seconds.

use std::borrow::Cow;

use domain::time::Timestamp;
use domain::token::Claims;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use uuid::Uuid;

/// The payload of a token; none when a scope would not come back as it is.
pub(crate) fn to_json(claims: &Claims) -> Option<String> {
    // RFC 8693 section 4.2: scopes are one text, separated by spaces.
    if claims
        .scope
        .iter()
        .any(|scope| scope.is_empty() || scope.contains(char::is_whitespace))
    {
        return None;
    }
    let mut payload = json!({
        "sub": claims.subject.to_string(),
        "tier": claims.tier.as_str(),
        "role": claims.role.as_str(),
        "sid": claims.session.to_string(),
        "epoch": claims.epoch,
        "scope": claims.scope.join(" "),
        "amr": claims.methods,
        "auth_time": written(claims.authenticated_at),
        "aud": claims.audience,
        "iss": claims.issuer,
        "iat": written(claims.issued_at),
        "nbf": written(claims.not_before),
        "exp": written(claims.expires_at),
        "jti": claims.token_id.to_string(),
    });
    if let Some(actor) = claims.actor {
        payload["act"] = json!({ "sub": actor.to_string() });
    }
    Some(payload.to_string())
}

/// A payload as it is read: in place, since most of it is parsed further. What is not ours is left unread.
#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    sub: Cow<'a, str>,
    #[serde(borrow)]
    tier: Cow<'a, str>,
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    sid: Cow<'a, str>,
    epoch: u64,
    #[serde(borrow)]
    scope: Cow<'a, str>,
    amr: Vec<String>,
    #[serde(borrow)]
    auth_time: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "there")]
    act: Option<Actor<'a>>,
    aud: String,
    iss: String,
    #[serde(borrow)]
    iat: Cow<'a, str>,
    #[serde(borrow)]
    nbf: Cow<'a, str>,
    #[serde(borrow)]
    exp: Cow<'a, str>,
    #[serde(borrow)]
    jti: Cow<'a, str>,
}

/// Who acts for the subject.
#[derive(Deserialize)]
struct Actor<'a> {
    #[serde(borrow)]
    sub: Cow<'a, str>,
}

/// A value that may be missing, but not `null`.
fn there<'a, D: Deserializer<'a>>(value: D) -> Result<Option<Actor<'a>>, D::Error> {
    Actor::deserialize(value).map(Some)
}

/// The claims of a payload; none when one is missing or not of its form.
pub(crate) fn from_json(payload: &str) -> Option<Claims> {
    let payload: Payload<'_> = serde_json::from_str(payload).ok()?;
    let time = |text: &str| Timestamp::parse_rfc3339(text).ok();
    Some(Claims {
        subject: payload.sub.parse().ok()?,
        tier: payload.tier.parse().ok()?,
        role: payload.role.parse().ok()?,
        session: payload.sid.parse().ok()?,
        epoch: payload.epoch,
        scope: payload
            .scope
            .split(' ')
            .filter(|scope| !scope.is_empty())
            .map(str::to_owned)
            .collect(),
        methods: payload.amr,
        authenticated_at: time(&payload.auth_time)?,
        actor: match payload.act {
            Some(actor) => Some(actor.sub.parse().ok()?),
            None => None,
        },
        audience: payload.aud,
        issuer: payload.iss,
        issued_at: time(&payload.iat)?,
        not_before: time(&payload.nbf)?,
        expires_at: time(&payload.exp)?,
        token_id: Uuid::try_parse(&payload.jti).ok()?,
    })
}

/// A footer as it is read.
#[derive(Deserialize)]
struct Footer<'a> {
    #[serde(borrow)]
    kid: Cow<'a, str>,
}

/// The id of the key in a footer.
pub(crate) fn kid(footer: &[u8]) -> Option<Cow<'_, str>> {
    serde_json::from_slice::<Footer<'_>>(footer)
        .ok()
        .map(|footer| footer.kid)
}

fn written(at: Timestamp) -> String {
    Timestamp::from_seconds(at.seconds()).to_rfc3339()
}

#[cfg(test)]
mod tests {
    use ports::conformance::token_keyring::claims;
    use serde_json::{Map, Value};

    use super::*;

    fn payload() -> Map<String, Value> {
        let json = to_json(&claims()).expect("the sample can be written");
        serde_json::from_str(&json).expect("it is JSON")
    }

    fn read(payload: &Map<String, Value>) -> Option<Claims> {
        from_json(&Value::Object(payload.clone()).to_string())
    }

    #[test]
    fn writes_the_documented_names_and_forms() {
        let expected = json!({
            "sub": "00000000-0000-0000-0000-000000000001",
            "tier": "free",
            "role": "admin",
            "sid": "00000000-0000-0000-0000-000000000002",
            "epoch": 42,
            "scope": "files:read events:write",
            "amr": ["pwd", "otp"],
            "auth_time": "2027-01-15T07:59:00Z",
            "act": { "sub": "00000000-0000-0000-0000-000000000003" },
            "aud": "urn:plinth:conformance:audience",
            "iss": "urn:plinth:conformance",
            "iat": "2027-01-15T08:00:00Z",
            "nbf": "2027-01-15T08:00:00Z",
            "exp": "2027-01-15T08:15:00Z",
            "jti": "00000000-0000-0000-0000-000000000004",
        });
        assert_eq!(Value::Object(payload()), expected);
    }

    #[test]
    fn needs_every_claim_but_the_actor() {
        for name in payload().keys().filter(|name| *name != "act") {
            let mut missing = payload();
            missing.remove(name);
            assert_eq!(read(&missing), None, "{name} may be missing");
            let mut wrong = payload();
            wrong.insert(name.clone(), json!({ "no": "claim" }));
            assert_eq!(read(&wrong), None, "{name} may be anything");
        }
        for wrong in [
            json!(null),
            json!("text"),
            json!({}),
            json!({ "sub": 1 }),
            json!({ "sub": "no id" }),
        ] {
            let mut payload = payload();
            payload.insert("act".to_owned(), wrong);
            assert_eq!(read(&payload), None);
        }
    }

    #[test]
    fn leaves_unknown_claims_unread() {
        let mut more = payload();
        more.insert("later".to_owned(), json!([1, 2]));
        assert_eq!(read(&more), Some(claims()));
    }

    #[test]
    fn cuts_times_to_whole_seconds() {
        let mut finer = claims();
        finer.expires_at = Timestamp::from_micros(finer.expires_at.micros() + 999_999);
        assert_eq!(to_json(&finer), to_json(&claims()));
    }
}
