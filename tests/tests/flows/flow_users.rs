//! Users from the administrator's side: plans, shutting out, the first administrator, the command line, keys.

use std::process::{Command, Stdio};

use plinth_tests::api::{Client, Reply};
use plinth_tests::postgres::TestDatabase;
use plinth_tests::server::{PlinthBinary, binary};
use plinth_tests::site::{Backing, PASSWORD, Site, new_address, sign_in};
use serde_json::{Value, json};

use crate::tools::{assert_refused, eventually};

plinth_tests::on_both!(
    a_new_plan_outdates_tokens,
    a_disabled_user_is_out,
    users_on_the_command_line,
    keys_rotate_and_nobody_is_signed_out,
    the_first_administrator_by_the_link,
);

async fn whoami(client: &Client) -> Reply {
    client.get("/v1/auth/whoami").await
}

async fn a_new_plan_outdates_tokens(backing: Backing) {
    let site = Site::start(backing).await;
    let (ada, admin) = (site.person("ada").await, site.administrator().await);
    assert_eq!(whoami(&admin.client).await.json()["role"], "admin");
    let path = format!("/v1/admin/users/{}/tier", ada.id);

    let refused = ada
        .client
        .put(&path, &json!({ "tier": "pro" }))
        .await
        .expect_problem(403, "scope_missing");
    assert!(refused.header("www-authenticate").contains("insufficient_scope"));
    let unknown = admin
        .client
        .put(&path, &json!({ "tier": "platinum" }))
        .await
        .expect_problem(422, "validation_failed");
    assert_refused(&unknown, "#/tier", "enum");

    let changed = admin
        .client
        .put(&path, &json!({ "tier": "pro" }))
        .await
        .expect_status(200);
    assert_eq!(changed.string("/tier"), "pro");
    let outdated = whoami(&ada.client).await.expect_problem(401, "token_outdated");
    assert!(outdated.header("www-authenticate").starts_with("Bearer"));
    let refresh = json!({ "refresh_token": ada.refresh_token });
    let tokens = site
        .client()
        .post("/v1/auth/refresh", &refresh)
        .await
        .expect_status(200);
    let again = ada.client.with_token(tokens.string("/access_token"));
    assert_eq!(whoami(&again).await.expect_status(200).string("/tier"), "pro");
    assert_eq!(again.get("/v1/me").await.expect_status(200).string("/tier"), "pro");

    // The same plan again changes nothing and signs nobody out.
    let _ = admin
        .client
        .put(&path, &json!({ "tier": "pro" }))
        .await
        .expect_status(200);
    let _ = whoami(&again).await.expect_status(200);
    eventually("the change is told", async || {
        let history = again.get("/v1/events?limit=200").await.expect_status(200).json();
        let found = history["items"]
            .as_array()?
            .iter()
            .filter(|event| event["type"] == "tier.changed")
            .cloned();
        let found: Vec<Value> = found.collect();
        assert!(found.len() < 2, "one change, one event: {found:?}");
        let event = found.first()?;
        assert_eq!(
            (&event["data"], event["actorid"].as_str()),
            (&json!({ "from": "free", "to": "pro" }), Some(&*admin.id))
        );
        Some(())
    })
    .await;
}

async fn a_disabled_user_is_out(backing: Backing) {
    let site = Site::start(backing).await;
    let (ada, admin) = (site.person("ada").await, site.administrator().await);
    let visitor = site.client();
    let act = async |id: &str, verb: &str| {
        admin
            .client
            .post(&format!("/v1/admin/users/{id}/{verb}"), &json!({}))
            .await
    };
    let disabled = act(&ada.id, "disable").await.expect_status(200);
    assert_eq!(disabled.json()["disabled"], true);
    let _ = whoami(&ada.client).await.expect_problem(401, "account_disabled");
    let refresh = visitor
        .post("/v1/auth/refresh", &json!({ "refresh_token": ada.refresh_token }))
        .await;
    assert_eq!(refresh.status, 401, "{refresh}");
    let login = async |password: &str| {
        visitor
            .post("/v1/auth/login", &json!({ "email": ada.email, "password": password }))
            .await
    };
    let _ = login(PASSWORD).await.expect_problem(401, "account_disabled");
    let _ = login("not the password at all")
        .await
        .expect_problem(401, "invalid_credentials");

    let _ = act(&ada.id, "enable").await.expect_status(200);
    // At once, although tokens tell whole seconds and this one may be of the second of the disabling.
    let tokens = login(PASSWORD).await.expect_status(200);
    let _ = whoami(&visitor.with_token(tokens.string("/access_token")))
        .await
        .expect_status(200);
    assert_eq!(whoami(&ada.client).await.status, 401, "the old session stays ended");

    let _ = act(&admin.id, "disable").await.expect_problem(409, "conflict");
    let unknown = "0199c0de-0000-7000-8000-000000000000";
    let _ = act(unknown, "disable").await.expect_problem(404, "not_found");
}

fn cli(server: &PlinthBinary, arguments: &[&str]) -> Value {
    let output = server.cli(arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error} in {}", String::from_utf8_lossy(&output.stdout)))
}

async fn users_on_the_command_line(backing: Backing) {
    let site = Site::start(backing).await;
    let (ada, admin) = (site.person("ada").await, site.administrator().await);
    let listed = cli(&site.server, &["user", "list", "--format", "json"]);
    let emails: Vec<&str> = listed
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|user| user["email"].as_str())
        .collect();
    assert_eq!(emails.len(), 2, "{listed}");
    assert!(
        emails.contains(&&*ada.email) && emails.contains(&&*admin.email),
        "{listed}"
    );

    for by in [&ada.id, &ada.email] {
        let shown = cli(&site.server, &["user", "show", by, "--format", "json"]);
        assert_eq!(
            (shown["id"].as_str(), shown["email"].as_str()),
            (Some(&*ada.id), Some(&*ada.email))
        );
        assert_eq!(
            (shown["tier"].as_str(), shown["role"].as_str()),
            (Some("free"), Some("user"))
        );
        assert!(!shown.to_string().contains("hash"), "{shown}");
    }
    let missing = site.server.cli(&["user", "show", "nobody@example.org"]);
    assert_eq!(missing.status.code(), Some(3));
    let refused = site
        .server
        .cli(&["admin", "create", "--email", &admin.email, "--password-file", "nowhere"]);
    assert_eq!(refused.status.code(), Some(1));

    // Another process changed it: the server hears of it by itself.
    let changed = cli(
        &site.server,
        &["user", "set-tier", &ada.email, "pro", "--format", "json"],
    );
    assert_eq!(changed["tier"], "pro");
    let refused = eventually("the token is outdated", async || {
        Some(whoami(&ada.client).await).filter(|r| r.status == 401)
    });
    let _ = refused.await.expect_problem(401, "token_outdated");
    let _ = cli(&site.server, &["user", "disable", &ada.id, "--format", "json"]);
    eventually("the user is out", async || {
        let reply = whoami(&ada.client).await;
        (reply.json()["code"] == "account_disabled").then_some(())
    })
    .await;
}

async fn keys_rotate_and_nobody_is_signed_out(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let published = async || {
        let keys = site
            .client()
            .get("/.well-known/paseto-keys")
            .await
            .expect_status(200)
            .json();
        keys["keys"].as_array().expect("a list").clone()
    };
    let before = published().await;
    assert_eq!(before.len(), 1);

    let output = site.server.cli(&["keys", "rotate", "--now", "--format", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let status = |keys: &[Value], kid: &Value| {
        keys.iter()
            .find(|key| key["kid"] == *kid)
            .map(|key| key["status"].clone())
    };
    // It is published at once and signs when every node can have loaded it.
    eventually("both keys are published and the first one retires", async || {
        let keys = published().await;
        (keys.len() == 2 && status(&keys, &before[0]["kid"]) == Some(json!("retiring"))).then_some(())
    })
    .await;

    let _ = whoami(&ada.client).await.expect_status(200);
    let later = sign_in(&site.client(), &ada.email, PASSWORD).await;
    let kid = |client: &Client| {
        use base64::Engine as _;
        let footer = client
            .token()
            .and_then(|token| token.rsplit('.').next())
            .expect("a footer");
        let footer = base64::prelude::BASE64_URL_SAFE_NO_PAD
            .decode(footer)
            .expect("base64url");
        serde_json::from_slice::<Value>(&footer).expect("JSON")["kid"].clone()
    };
    assert_eq!(kid(&ada.client), before[0]["kid"]);
    assert_ne!(kid(&later.client), before[0]["kid"], "the new key signs");
    let _ = whoami(&ada.client).await.expect_status(200);
    let listed = cli(&site.server, &["keys", "list", "--format", "json"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
}

/// A server whose standard output is a terminal, which alone is told the set-up link.
struct OnTerminal {
    script: std::process::Child,
    line: Value,
    _folder: tempfile::TempDir,
    _database: Option<TestDatabase>,
}

impl OnTerminal {
    /// None, said aloud, where the program `script` is missing.
    async fn start(backing: Backing) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let said = folder.path().join("said");
        let mut command = Command::new("script");
        command
            .args(["-q", "-e", "-f", "-c"])
            .arg(format!("'{}' serve --format json", binary().display()))
            .arg(&said);
        command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        for (name, value) in [
            ("HTTP_BIND", "127.0.0.1:0"),
            ("OPS_BIND", "127.0.0.1:0"),
            ("AUTH_BCRYPT_COST", "4"),
        ] {
            command.env(format!("PLINTH_{name}"), value);
        }
        let database = match backing {
            Backing::Sqlite => None,
            Backing::Postgres(database) => Some(database),
        };
        if let Some(database) = &database {
            command
                .env("PLINTH_DATABASE_URL", database.url())
                .env("PLINTH_MASTER_KEY", "A".repeat(43) + "=");
        }
        let Ok(script) = command.spawn() else {
            plinth_tests::left_out("the program script");
            return None;
        };
        let line = eventually("the server tells its addresses", async || {
            let said = std::fs::read(&said).ok()?;
            let said = String::from_utf8_lossy(&said).into_owned();
            said.lines()
                .find_map(|line| serde_json::from_str::<Value>(line.trim()).ok().filter(Value::is_object))
        });
        Some(Self {
            line: line.await,
            script,
            _folder: folder,
            _database: database,
        })
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        if let Some(pid) = self.line["pid"].as_u64() {
            let _ = Command::new("sh").arg("-c").arg(format!("kill -TERM {pid}")).status();
        }
        let _ = self.script.wait();
    }
}

async fn the_first_administrator_by_the_link(backing: Backing) {
    let Some(server) = OnTerminal::start(backing).await else {
        return;
    };
    assert_eq!(server.line["setup_needed"], true);
    let link = server.line["setup_url"].as_str().expect("a terminal is told the link");
    let token = link.split_once("token=").expect("a token in it").1;
    let visitor = Client::new(server.line["http"].as_str().expect("an address"));
    let email = new_address("root");
    let set_up = async |token: &str, email: &str, password: &str| {
        visitor
            .post(
                "/v1/admin/setup",
                &json!({ "token": token, "email": email, "password": password }),
            )
            .await
    };
    let _ = set_up("not-the-token", &email, PASSWORD)
        .await
        .expect_problem(422, "token_invalid");
    let weak = set_up(token, &email, "passwordpassword")
        .await
        .expect_problem(422, "validation_failed");
    assert_refused(&weak, "#/password", "too_guessable");

    let made = set_up(token, &email, PASSWORD).await.expect_status(201);
    assert_eq!(
        (made.string("/role"), made.string("/email")),
        ("admin".to_owned(), email.clone())
    );
    let again = set_up(token, &new_address("second"), PASSWORD).await;
    assert!(matches!(again.status, 409 | 422), "the token is good once: {again}");
    let admin = sign_in(&visitor, &email, PASSWORD).await;
    let users = admin.client.get("/v1/admin/users").await.expect_status(200).json();
    assert_eq!(users["items"].as_array().map(Vec::len), Some(1), "{users}");
}
