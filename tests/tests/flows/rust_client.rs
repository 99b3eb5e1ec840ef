//! The typed Rust client does the five-minute path, and refreshes its tokens when the server says so.

use openapi::{
    ApiClient, ApiError, ByteRange, CreateLinkBody, LinkDisposition, LogoutScope, NewFile, PatchMeBody,
    PublishEventBody, PublishEventsBody, RegisterBody, Tokens,
};
use plinth_tests::site::{Backing, PASSWORD, Site, new_address};
use plinth_tests::workspace_root;
use serde_json::json;

use crate::tools::PDF;

plinth_tests::on_both!(
    the_path_with_the_rust_client,
    a_new_plan_is_one_refresh_for_all_clones,
    what_is_refused_is_typed
);

fn client(site: &Site) -> ApiClient {
    ApiClient::new(site.server.http()).expect("an address")
}

async fn signed_in(site: &Site) -> (ApiClient, String) {
    let (client, email) = (client(site), new_address("ada"));
    let body = RegisterBody {
        email: email.as_str().into(),
        password: PASSWORD.into(),
        name: "Ada".into(),
    };
    client.register(&body).await.expect("signed up");
    let mail = site.outbox().wait_for(&email, "token=").await;
    client.verify_email(&mail.token()).await.expect("verified");
    client.login(&email, PASSWORD).await.expect("signed in");
    (client, email)
}

fn note() -> PublishEventBody {
    PublishEventBody {
        event_type: "app.note.added".into(),
        data: openapi::AnyJson(json!({ "text": "hello" })),
        subject: Some("note 1".into()),
        schema_version: None,
        id: None,
    }
}

fn pdf() -> NewFile {
    NewFile {
        kind: "resume".to_owned(),
        name: "cv.pdf".to_owned(),
        media_type: None,
        idempotency_key: None,
    }
}

async fn the_path_with_the_rust_client(backing: Backing) {
    let site = Site::start(backing).await;
    let (client, email) = signed_in(&site).await;
    let (claims, me) = (
        client.whoami().await.expect("claims"),
        client.me().await.expect("an account"),
    );
    assert_eq!((claims.sub, &me.email), (me.id, &email));
    let renamed = client
        .update_me(&PatchMeBody {
            name: Some("Ada L.".into()),
        })
        .await
        .expect("renamed");
    assert_eq!(renamed.name, "Ada L.");
    assert!(client.sessions(None, Some(10)).await.expect("a page").items[0].current);
    let keys = client.public_keys().await.expect("keys");
    assert_eq!(keys.keys[0].status, "active");

    files(&client).await;
    events(&client).await;

    let before = client.tokens().expect("signed in");
    let after = client.refresh().await.expect("refreshed");
    assert_ne!(before, after);
    assert_eq!(client.whoami().await.expect("claims").sid, claims.sid);
    client.logout(LogoutScope::This).await.expect("signed out");
    assert_eq!(client.tokens(), None);
    client.set_tokens(Some(after));
    let over = client.me().await.expect_err("signed out");
    assert_eq!(over.code(), Some("session_ended"));
    assert!(over.asks_to_sign_in());
}

async fn files(client: &ApiClient) {
    let stored = client.upload_file(&pdf(), PDF).await.expect("stored");
    assert_eq!(
        (stored.size, &*stored.media_type),
        (PDF.len() as u64, "application/pdf")
    );
    assert_eq!(client.file(stored.id).await.expect("known"), stored);
    assert_eq!(
        client.files(Some("resume"), None, None).await.expect("a page").items,
        std::slice::from_ref(&stored)
    );
    let part = client
        .download_file(stored.id, Some(ByteRange::Between(0, 7)))
        .await
        .expect("a part");
    assert_eq!(part.range(), Some(&*format!("bytes 0-7/{}", PDF.len())));
    assert_eq!(part.bytes().await.expect("bytes"), &PDF[..8]);
    let mut whole = client.download_file(stored.id, None).await.expect("the whole");
    assert_eq!(whole.etag(), Some(&*format!("\"{}\"", stored.sha256)));
    let mut bytes = Vec::new();
    while let Some(chunk) = whole.chunk().await.expect("bytes") {
        bytes.extend(chunk);
    }
    assert_eq!(bytes, PDF);
    let wish = CreateLinkBody {
        expires_in: 600,
        disposition: LinkDisposition::Inline,
    };
    let link = client.create_file_link(stored.id, &wish).await.expect("a link");
    assert_eq!(
        client
            .follow_file_link(&link.url)
            .await
            .expect("followed")
            .bytes()
            .await
            .expect("bytes"),
        PDF
    );
    client.delete_file(stored.id).await.expect("deleted");
    assert_eq!(
        client.file(stored.id).await.expect_err("gone").code(),
        Some("not_found")
    );
    assert_eq!(client.usage().await.expect("usage").files, 0);
}

async fn events(client: &ApiClient) {
    let mut after = client.events(None, Some(200), 0).await.expect("a page").next_cursor;
    let sent = client.publish_event(&note(), Some("note-1")).await.expect("published");
    assert_eq!(
        client.publish_event(&note(), Some("note-1")).await.expect("again"),
        sent
    );
    let batch = PublishEventsBody {
        events: vec![note(), note()],
    };
    let ids = client.publish_events(&batch, None).await.expect("published").ids;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let page = client.events(after.as_deref(), None, 10).await.expect("a page");
        after = page.next_cursor;
        let notes = page
            .items
            .into_iter()
            .filter(|event| event.event_type == "app.note.added");
        seen.extend(notes.map(|event| event.id));
    }
    assert_eq!(seen, [sent.id, ids[0], ids[1]]);
}

async fn a_new_plan_is_one_refresh_for_all_clones(backing: Backing) {
    let site = Site::start(backing).await;
    let (ada, _) = signed_in(&site).await;
    let root = site.administrator().await;
    let administrator = client(&site);
    administrator
        .login(&root.email, &root.password)
        .await
        .expect("signed in");
    let id = ada.me().await.expect("an account").id;
    let before = ada.tokens().expect("signed in");
    let changed = administrator.set_user_tier(id, "pro").await.expect("changed");
    assert_eq!(changed.tier, "pro");

    // Without a refresh token the refusal is handed on.
    let poor = client(&site);
    poor.set_tokens(Some(Tokens {
        refresh: None,
        ..before.clone()
    }));
    let refusal = poor.me().await.expect_err("out of date");
    assert_eq!(refusal.code(), Some("token_outdated"), "{refusal:?}");

    // Many at once: each goes on, and nobody's refresh ends the session.
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let ada = ada.clone();
        calls.spawn(async move { ada.whoami().await });
    }
    for call in calls.join_all().await {
        assert_eq!(call.expect("refreshed").tier, "pro");
    }
    assert_ne!(ada.tokens().expect("signed in"), before);
    ada.refresh().await.expect("the session goes on");

    // A stream cannot be sent twice: the refusal is the answer, and the next call has the new token.
    administrator.set_user_tier(id, "free").await.expect("changed");
    let file = tokio::fs::File::open(workspace_root().join("tests/data/sample.pdf")).await;
    let refusal = ada
        .upload_file(&pdf(), file.expect("the sample"))
        .await
        .expect_err("sent once");
    assert_eq!(refusal.code(), Some("token_outdated"), "{refusal:?}");
    assert_eq!(
        ada.upload_file(&pdf(), PDF).await.expect("stored").size,
        PDF.len() as u64
    );
}

async fn what_is_refused_is_typed(backing: Backing) {
    let site = Site::start(backing).await;
    let visitor = client(&site);
    let missing = visitor.me().await.expect_err("no token");
    assert_eq!(missing.code(), Some("token_missing"));
    assert!(missing.asks_to_sign_in());
    assert!(missing.request_id().is_some_and(|id| id.len() == 36), "{missing}");
    let body = RegisterBody {
        email: "nobody".into(),
        password: PASSWORD.into(),
        name: "Ada".into(),
    };
    let refused = visitor.register(&body).await.expect_err("no address");
    let errors = refused
        .problem()
        .and_then(|problem| problem.errors.clone())
        .expect("parts");
    assert_eq!((&*errors[0].pointer, &*errors[0].code), ("#/email", "format"));
    let wrong = visitor.login("nobody@example.org", PASSWORD).await.expect_err("nobody");
    assert_eq!(wrong.code(), Some("invalid_credentials"));

    // Not Plinth, and nobody at all.
    let ops = ApiClient::new(site.server.ops()).expect("an address");
    let other = ops.me().await.expect_err("no API");
    assert!(matches!(other, ApiError::Status(_) | ApiError::Refused(_)), "{other}");
    let nobody = ApiClient::new("http://127.0.0.1:1").expect("an address");
    assert!(matches!(nobody.me().await, Err(ApiError::Unreachable(_))));
}
