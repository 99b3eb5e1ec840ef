//! What can be said of the client without a server.

use super::*;

fn problem(status: u16, code: &str) -> ApiError {
    ApiError::Refused(Box::new(Problem {
        kind: String::new(),
        title: "It was refused".to_owned(),
        status,
        detail: None,
        code: code.to_owned(),
        request_id: "r1".to_owned(),
        errors: None,
        retry_after: Some(3),
        challenge: None,
        methods: None,
    }))
}

#[test]
fn every_401_says_what_to_do() {
    for code in ["token_expired", "token_outdated"] {
        let error = problem(401, code);
        assert!(error.asks_to_refresh() && !error.asks_to_sign_in(), "{code}");
    }
    for code in ["token_missing", "token_invalid", "session_ended", "account_disabled"] {
        let error = problem(401, code);
        assert!(!error.asks_to_refresh() && error.asks_to_sign_in(), "{code}");
    }
    // A bad mailed token has the same code and another status.
    assert!(!problem(422, "token_invalid").asks_to_sign_in());
    assert!(!ApiError::Status(401).asks_to_sign_in());
}

#[test]
fn a_refusal_tells_its_code_and_its_request() {
    let error = problem(429, "rate_limited");
    assert_eq!((error.code(), error.request_id()), (Some("rate_limited"), Some("r1")));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
    assert_eq!(error.to_string(), "rate_limited (429): It was refused, request r1");
}

#[test]
fn paths_are_escaped_and_stand_below_the_address() {
    let url = |base: &str, path: &[&str]| {
        let client = ApiClient::new(base).unwrap();
        client.request(Method::GET, path).build().unwrap().url().to_string()
    };
    assert_eq!(url("http://localhost:1", &["v1", "me"]), "http://localhost:1/v1/me");
    assert_eq!(
        url("http://localhost:1/plinth/", &["v1", "a/b"]),
        "http://localhost:1/plinth/v1/a%2Fb"
    );
    let client = ApiClient::new("http://localhost:1").unwrap();
    let query = [("type", Some("a&b".to_owned())), ("after", None)];
    let request = asking(client.request(Method::GET, &["v1"]), &query).build().unwrap();
    assert_eq!(request.url().as_str(), "http://localhost:1/v1?type=a%26b");
}

#[test]
fn what_is_no_address_is_refused() {
    for address in ["", "localhost:1", "ftp://localhost", "http://localhost/?a=b", "http://"] {
        assert!(
            matches!(ApiClient::new(address), Err(ApiError::Address(_))),
            "{address}"
        );
    }
}

#[test]
fn tokens_are_not_shown() {
    let client = ApiClient::new("http://localhost:1").unwrap();
    let tokens = Tokens {
        access: "a-secret".to_owned(),
        refresh: Some("a-secret".to_owned()),
    };
    client.set_tokens(Some(tokens.clone()));
    assert!(!format!("{client:?} {tokens:?}").contains("a-secret"));
}
