//! Claims as JSON: registered names of PASETO, times in RFC 3339 with whole seconds.

use domain::id::{SessionId, UserId};
use domain::time::Timestamp;
use domain::token::Claims;
use serde_json::{Map, Value, json};
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

/// The claims of a payload; none when one is missing or not of its form. What is not ours is left unread.
pub(crate) fn from_json(payload: &str) -> Option<Claims> {
    let payload: Map<String, Value> = serde_json::from_str(payload).ok()?;
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    let time = |name: &str| text(name).and_then(|text| Timestamp::parse_rfc3339(text).ok());
    Some(Claims {
        subject: text("sub")?.parse().ok()?,
        tier: text("tier")?.parse().ok()?,
        role: text("role")?.parse().ok()?,
        session: text("sid")?.parse::<SessionId>().ok()?,
        epoch: payload.get("epoch")?.as_u64()?,
        scope: text("scope")?
            .split(' ')
            .filter(|scope| !scope.is_empty())
            .map(str::to_owned)
            .collect(),
        methods: texts(payload.get("amr")?)?,
        authenticated_at: time("auth_time")?,
        actor: actor(payload.get("act"))?,
        audience: text("aud")?.to_owned(),
        issuer: text("iss")?.to_owned(),
        issued_at: time("iat")?,
        not_before: time("nbf")?,
        expires_at: time("exp")?,
        token_id: Uuid::try_parse(text("jti")?).ok()?,
    })
}

fn written(at: Timestamp) -> String {
    Timestamp::from_seconds(at.seconds()).to_rfc3339()
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value
        .as_array()?
        .iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect()
}

/// Nobody when there is no `act`; none when there is one that names nobody.
fn actor(act: Option<&Value>) -> Option<Option<UserId>> {
    match act {
        None => Some(None),
        Some(act) => act.get("sub")?.as_str()?.parse().ok().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use ports::conformance::token_keyring::claims;

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
