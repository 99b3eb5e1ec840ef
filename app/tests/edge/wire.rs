//! How requests are checked and how refusals look.
use plinth::{edge::EdgeConfig, http::layer::EdgePolicy};

use crate::support::{Answer, RAW_LIMIT, Server, request};

const SECRET: &str = "correct-horse-battery-staple";

async fn with(policy: impl FnOnce(&mut EdgePolicy)) -> Server {
    Server::start(EdgeConfig::default(), policy).await
}

async fn raw_head(server: &Server, text: &str) -> Answer {
    let mut raw = server.connect().await;
    raw.send(text).await;
    raw.answer().await
}

#[tokio::test]
async fn the_host_header_is_there_once_and_well_formed() {
    let server = Server::plain().await;
    for headers in [
        "",
        "host: a\r\nhost: a\r\n",
        "host: a,b\r\n",
        "host: u@a\r\n",
        "host: \r\n",
        "host: a:b\r\n",
    ] {
        let answer = raw_head(&server, &format!("GET /who HTTP/1.1\r\n{headers}\r\n")).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "host_invalid"),
            "{headers:?}"
        );
        assert_eq!(answer.header("connection"), "close");
    }
    assert_eq!(raw_head(&server, "GET /who HTTP/1.0\r\n\r\n").await.status, 200);
    assert_eq!(
        raw_head(&server, "GET http://b/who HTTP/1.1\r\nhost: a:80\r\n\r\n")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_listener_with_names_answers_to_no_other() {
    let server = with(|policy| policy.allowed_hosts = Some(vec!["localhost".into(), "[::1]".into()])).await;
    for (host, status) in [
        ("localhost:9090", 200),
        ("LOCALHOST", 200),
        ("[::1]:9090", 200),
        ("evil.example", 400),
    ] {
        let answer = raw_head(&server, &format!("GET /who HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        assert_eq!(answer.status, status, "{host}");
    }
    assert_eq!(raw_head(&server, "GET /who HTTP/1.0\r\n\r\n").await.status, 400);
}

#[tokio::test]
async fn a_chunked_body_is_cut_where_it_passes_the_limit() {
    let server = Server::plain().await;
    let head = "POST /v1/raw HTTP/1.1\r\nhost: test\r\ncontent-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    let chunks = RAW_LIMIT as usize / 0x4000;
    let fits = raw_head(&server, &format!("{head}{}0\r\n\r\n", chunk.repeat(chunks))).await;
    assert_eq!((fits.status, fits.body), (200, RAW_LIMIT.to_string()));

    let mut raw = server.connect().await;
    raw.send(&format!("{head}{}1\r\nx\r\n", chunk.repeat(chunks))).await;
    let cut = raw.answer().await;
    assert_eq!((cut.status, cut.code().as_str()), (413, "payload_too_large"));
    assert_eq!(cut.header("connection"), "close");
}

#[tokio::test]
async fn an_announced_excess_is_refused_without_100_continue() {
    let server = Server::plain().await;
    let head = |length: u64| {
        format!("POST /v1/raw\ncontent-type: application/octet-stream\nexpect: 100-continue\ncontent-length: {length}")
    };
    let mut raw = server.connect().await;
    raw.send(&request(&head(RAW_LIMIT + 1), "")).await;
    assert!(raw.rest().await.starts_with("HTTP/1.1 413 "));

    let mut raw = server.connect().await;
    raw.send(&request(&head(2), "")).await;
    assert_eq!(raw.answer().await.status, 100);
    raw.send("ab").await;
    assert_eq!(raw.answer().await.body, "2");
}

#[tokio::test]
async fn a_known_path_names_its_methods() {
    let server = Server::plain().await;
    for (line, allow) in [
        ("POST /v1/things/1", "GET, HEAD, DELETE, OPTIONS"),
        ("PUT /v1/login", "POST, OPTIONS"),
        ("DELETE /who", "GET, HEAD, OPTIONS"),
        ("BREW /who", "GET, HEAD, OPTIONS"),
        ("HEAD /v1/raw", "POST, OPTIONS"),
    ] {
        let mut raw = server.connect().await;
        raw.send(&request(line, "")).await;
        let answer = raw.answer_to_head().await;
        assert_eq!((answer.status, answer.header("allow")), (405, allow), "{line}");
    }
    let options = server.ask("OPTIONS /v1/login", "").await;
    assert_eq!((options.status, options.header("allow")), (204, "POST, OPTIONS"));
    assert_eq!(server.ask("GET /nowhere", "").await.code(), "not_found");
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = Server::plain().await;
    let mut raw = server.connect().await;
    for line in ["/who", "/nowhere", "/v1/things/0199aaaa-0000-7000-8000-000000000001"] {
        let get = server.ask(&format!("GET {line}"), "").await;
        raw.send(&request(&format!("HEAD {line}"), "")).await;
        let head = raw.answer_to_head().await;
        assert_eq!(head.status, get.status);
        for name in ["content-length", "content-type", "cache-control"] {
            assert_eq!(head.header(name), get.header(name), "{line} {name}");
        }
        assert!(!get.body.is_empty());
    }
}

#[tokio::test]
async fn a_preflight_is_answered_for_exact_origins() {
    let server = with(|policy| policy.cors_origins = vec!["https://app.example".into()]).await;
    let ask = "access-control-request-method: POST\naccess-control-request-headers: idempotency-key";
    let preflight = server
        .ask(&format!("OPTIONS /v1/login\norigin: https://app.example\n{ask}"), "")
        .await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(preflight.header("access-control-allow-methods"), "POST, OPTIONS");
    assert!(
        preflight
            .header("access-control-allow-headers")
            .contains("Idempotency-Key")
    );
    assert!(preflight.header("vary").contains("Origin"));

    for origin in [
        "https://app.example.evil",
        "https://APP.example",
        "null",
        "http://app.example",
    ] {
        let other = server
            .ask(&format!("OPTIONS /v1/login\norigin: {origin}\n{ask}"), "")
            .await;
        assert_eq!(other.header("access-control-allow-origin"), "", "{origin}");
        assert!(other.header("vary").contains("Origin"));
    }
    // Errors can be read by the page, too.
    let error = server.ask("GET /nowhere\norigin: https://app.example", "").await;
    assert_eq!(error.header("access-control-allow-origin"), "https://app.example");
    for name in [
        "ETag",
        "Location",
        "Retry-After",
        "RateLimit-Policy",
        "X-Request-Id",
        "Idempotency-Replayed",
    ] {
        assert!(error.header("access-control-expose-headers").contains(name), "{name}");
    }
    let none = Server::plain()
        .await
        .ask("GET /who\norigin: https://app.example", "")
        .await;
    assert_eq!(
        (none.header("access-control-allow-origin"), none.header("vary")),
        ("", "")
    );
}

#[tokio::test]
async fn only_trusted_proxies_name_the_client_and_the_request() {
    let sent = "GET /who\nx-forwarded-for: 6.6.6.6, 2001:db8::7, 127.0.0.9\nx-request-id: from-the-proxy";
    let plain = Server::plain().await.ask(sent, "").await;
    assert_eq!(plain.body, "127.0.0.1 00000000-0000-0000-0000-000000000001 GET");

    let server = with(|policy| policy.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let trusted = server.ask(sent, "").await;
    assert_eq!(trusted.body, "2001:db8::7 from-the-proxy GET");
    assert_eq!(trusted.header("x-request-id"), "from-the-proxy");
    let odd = server.ask("GET /who\nx-request-id: a b\"", "").await;
    assert_eq!(odd.header("x-request-id"), "00000000-0000-0000-0000-000000000001");
}

async fn login(server: &Server, body: &str) -> Answer {
    let answer = server.ask("POST /v1/login\ncontent-type: application/json", body).await;
    assert!(!answer.body.contains(SECRET), "{}", answer.body);
    answer
}

#[tokio::test]
async fn a_body_that_is_no_json_is_400_and_never_repeated() {
    let server = Server::plain().await;
    for body in [
        format!("{{\"email\":\"a@b.c\",\"password\":{SECRET}}}"),
        format!("{{\"email\":\"a@b.c\",\"password\":\"{SECRET}"),
        format!("\"{SECRET}\"x"),
        "[".repeat(500),
    ] {
        let answer = login(&server, &body).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "malformed_request"),
            "{body}"
        );
    }
    assert_eq!(login(&server, "").await.code(), "malformed_request");
    assert_eq!(
        login(&server, r#"{"email":"a@b.c","password":"twelve"}"#).await.body,
        "5 6 0"
    );
}

#[tokio::test]
async fn a_refused_body_is_422_with_pointers_and_never_repeated() {
    let server = Server::plain().await;
    for (body, pointer, code) in [
        (
            format!(r#"{{"email":"a@b.c","password":{{"is":"{SECRET}"}}}}"#),
            "#/password",
            "type",
        ),
        (format!(r#"{{"password":"{SECRET}"}}"#), "#/email", "required"),
        (
            format!(r#"{{"email":"{SECRET}{SECRET}","password":"x"}}"#),
            "#/email",
            "length",
        ),
        (
            format!(r#"{{"email":"a","password":"x","devise":"{SECRET}"}}"#),
            "#/devise",
            "unknown_field",
        ),
        (
            format!(r#"{{"email":"a","password":"x","a {SECRET}":1}}"#),
            "#",
            "unknown_field",
        ),
        (
            format!(r#"{{"email":"a","password":"x","device":{{"ports":[1,"{SECRET}"]}}}}"#),
            "#/device/ports/1",
            "type",
        ),
        (
            r#"{"email":"a","password":"x","device":{"ports":[1,2,70000]}}"#.to_owned(),
            "#/device/ports/2",
            "range",
        ),
        (format!("\"{SECRET}\""), "#", "type"),
        (
            format!(r#"{{"email":"a","password":"x","locale":"{SECRET}"}}"#),
            "#/locale",
            "pattern",
        ),
        (
            format!(r#"{{"email":"a","password":"x","contact":"{SECRET}"}}"#),
            "#/contact",
            "format",
        ),
    ] {
        let answer = login(&server, &body).await;
        let problem = answer.problem();
        assert_eq!(
            (answer.status, problem.code.as_str()),
            (422, "validation_failed"),
            "{body}"
        );
        let errors = problem.errors.unwrap_or_default();
        assert_eq!(errors.len(), 1, "{body}: {errors:?}");
        assert_eq!(
            (errors[0].pointer.as_str(), errors[0].code.as_str()),
            (pointer, code),
            "{body}"
        );
    }
    let typo = login(&server, r#"{"email":"a","password":"x","devise":1}"#).await;
    assert!(typo.body.contains("did you mean `device`?"), "{}", typo.body);
}

#[tokio::test]
async fn a_body_too_large_to_keep_is_refused_in_the_parsers_own_words() {
    let server = with(|policy| policy.body_limit = std::sync::Arc::new(|_, _| 1 << 30)).await;
    let pattern = login(
        &server,
        &format!(r#"{{"email":"a","password":"x","locale":"{SECRET}"}}"#),
    )
    .await;
    assert_eq!(
        (pattern.status, pattern.problem().errors.unwrap()[0].pointer.as_str()),
        (422, "#/locale")
    );
    let typed = login(&server, &format!(r#"{{"email":"a","password":["{SECRET}"]}}"#)).await;
    assert_eq!((typed.status, typed.problem().errors), (422, None));
    assert_eq!(
        login(&server, &format!("{{{SECRET}}}")).await.code(),
        "malformed_request"
    );
}

#[tokio::test]
async fn types_and_parameters_are_refused_by_their_kind() {
    let server = Server::plain().await;
    let typed = format!("POST /v1/login\ncontent-type: text/{SECRET}");
    let answer = server.ask(&typed, "{}").await;
    assert_eq!((answer.status, answer.code().as_str()), (415, "unsupported_media_type"));
    assert!(!answer.body.contains(SECRET));
    assert_eq!(server.ask("POST /v1/login", "{}").await.status, 415);
    for (line, status) in [
        ("GET /v1/list", 400),
        ("GET /v1/list?limit=correct-horse", 400),
        ("GET /v1/list?limit=201", 422),
        ("GET /v1/list?limit=200", 200),
        ("GET /v1/things/correct-horse", 404),
    ] {
        let answer = server.ask(line, "").await;
        assert_eq!(answer.status, status, "{line}");
        assert!(!answer.body.contains("correct-horse"), "{}", answer.body);
        if line.contains("list") && status != 200 {
            let error = answer.problem().errors.unwrap().remove(0);
            assert_eq!(error.pointer, "#/parameters/limit");
            assert!(status != 422 || error.detail == "must be at most 200", "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_panic_is_500_with_the_request_id_and_the_connection_lives() {
    let server = Server::plain().await;
    let mut raw = server.connect().await;
    raw.send(&request("GET /fail", "")).await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (500, "internal_error"));
    assert_eq!(answer.header("x-request-id"), "00000000-0000-0000-0000-000000000001");
    assert!(!answer.body.contains("purpose"), "{}", answer.body);
    raw.send(&request("GET /who", "")).await;
    assert_eq!(raw.answer().await.status, 200);
}

#[tokio::test]
async fn every_answer_wears_the_security_headers_and_a_bare_status_becomes_a_problem() {
    let server = Server::plain().await;
    for line in ["GET /who", "GET /nowhere", "OPTIONS /who", "GET /bare"] {
        let answer = server.ask(line, "").await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cache-control", "no-store"),
            ("content-security-policy", "frame-ancestors 'none'"),
        ] {
            assert_eq!(answer.header(name), value, "{line}");
        }
    }
    assert_eq!(server.ask("GET /bare", "").await.code(), "conflict");
    let head = format!("GET /who\nx: {}", "y".repeat(40_000));
    assert_eq!(server.ask(&head, "").await.status, 431);
}
