//! The small pages behind mailed links, used as a browser without scripts uses them.

use plinth_tests::api::{Client, Reply};
use plinth_tests::site::{Backing, PASSWORD, Site, new_address, sign_in, sign_up_body};
use reqwest::Method;
use serde_json::json;

plinth_tests::on_both!(
    an_address_is_confirmed_by_the_button,
    a_password_is_set_by_the_form,
    pages_give_nothing_back_unescaped
);

/// What stands between two texts in a page.
fn between<'a>(page: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = page
        .split_once(before)
        .unwrap_or_else(|| panic!("no {before} in {page}"));
    rest.split_once(after)
        .unwrap_or_else(|| panic!("no {after} in {page}"))
        .0
}

/// Sends the form of a page with these fields beside its hidden token.
async fn submit(client: &Client, address: &str, page: &str, fields: &[(&str, &str)]) -> Reply {
    assert_eq!(between(page, "<form method=\"", "\""), "post");
    let action = between(page, "action=\"", "\"");
    let token = between(page, "name=\"token\" value=\"", "\"");
    let (folder, _) = address
        .split_once('?')
        .and_then(|(path, _)| path.rsplit_once('/'))
        .expect("an address with a query");
    let fields: Vec<String> = [("token", token)]
        .iter()
        .chain(fields)
        .map(|(name, value)| format!("{name}={}", value.replace(' ', "+")))
        .collect();
    let request = client.request(Method::POST, &format!("{folder}/{action}"));
    Reply::of(
        request
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(fields.join("&")),
    )
    .await
}

async fn an_address_is_confirmed_by_the_button(backing: Backing) {
    let site = Site::start(backing).await;
    let (visitor, email) = (site.client(), new_address("ada"));
    let _ = visitor
        .post("/v1/auth/register", &sign_up_body(&email, PASSWORD))
        .await
        .expect_status(202);
    let link = site.outbox().wait_for(&email, "token=").await.link();
    let page = visitor.get(&link).await.expect_status(200);
    assert!(!page.text().contains("<script"), "{page}");
    assert!(
        page.header("content-security-policy")
            .contains("frame-ancestors 'none'")
    );
    for _ in 0..2 {
        let done = submit(&visitor, &link, &page.text(), &[]).await.expect_status(200);
        assert!(done.text().contains("confirmed"), "{done}");
    }
    let _ = sign_in(&visitor, &email, PASSWORD).await;
}

async fn a_password_is_set_by_the_form(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let visitor = site.client();
    let _ = visitor
        .post("/v1/auth/password/forgot", &json!({ "email": ada.email }))
        .await
        .expect_status(202);
    let link = site.outbox().wait_for(&ada.email, "reset").await.link();
    let page = visitor.get(&link).await.expect_status(200);

    let weak = submit(&visitor, &link, &page.text(), &[("password", "passwordpassword")])
        .await
        .expect_status(422);
    assert!(
        weak.text().contains("too easy to guess") && !weak.text().contains("passwordpassword"),
        "{weak}"
    );
    let new = "four brass kettles in a green canoe";
    // The page that refused has the form again, and it works.
    let _ = submit(&visitor, &link, &weak.text(), &[("password", new)])
        .await
        .expect_status(200);
    let _ = ada
        .client
        .get("/v1/auth/whoami")
        .await
        .expect_problem(401, "session_ended");
    let _ = sign_in(&visitor, &ada.email, new).await;
    let again = submit(&visitor, &link, &page.text(), &[("password", PASSWORD)])
        .await
        .expect_status(422);
    assert!(!again.text().contains("<form"), "{again}");
}

async fn pages_give_nothing_back_unescaped(backing: Backing) {
    let site = Site::start(backing).await;
    let visitor = site.client();
    for path in ["/verify", "/reset", "/setup"] {
        let page = visitor
            .get(&format!("{path}?token=%22%3E%3Cscript%3Ealert(1)%3C/script%3E"))
            .await;
        assert!(!page.text().contains("<script"), "{page}");
        assert_eq!(page.header("cache-control"), "no-store");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        let other = visitor.post(path, &json!({ "token": "x" })).await;
        let _ = other.expect_problem(415, "unsupported_media_type");
        let request = visitor
            .request(Method::POST, path)
            .header("Content-Type", "application/x-www-form-urlencoded");
        let refused =
            Reply::of(request.body("token=no-token-of-ours&email=a%40example.org&password=seven+quiet+lamps+more"))
                .await;
        assert_eq!(refused.status, 422, "{refused}");
    }
}
