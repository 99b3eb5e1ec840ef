//! Bad uploads: refused with the documented problem, and neither a blob nor a row of them stays.

use plinth_tests::api::{Client, Reply};
use plinth_tests::site::{Backing, Person, Site};
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::json;

use crate::rows::Rows;
use crate::tools::{PATIENCE, alike, eventually, exchange, files_below, refused_parts, sha256};

plinth_tests::on_both!(
    names_that_leave_their_folder,
    forms_that_are_none,
    more_than_the_plan_allows,
    uploads_that_break_off,
    an_upload_is_repeated,
);

const KIB: usize = 1024;

async fn small_plan(backing: Backing) -> Site {
    let change = |setup: plinth_tests::server::Setup| {
        setup
            .env("PLINTH_TIERS_FREE_MAX_FILE_BYTES", "64KiB")
            .env("PLINTH_TIERS_FREE_STORAGE_BYTES", "160KiB")
    };
    Site::start_with(backing, change).await
}

async fn put(client: &Client, query: &str, bytes: Vec<u8>) -> Reply {
    client
        .post_bytes(&format!("/v1/files?{query}"), "application/octet-stream", bytes)
        .await
}

/// Asserts that exactly these many files are there, in the database, on the disk and for the owner, and no room is held.
async fn assert_kept(site: &Site, ada: &Person, files: usize) {
    let rows = Rows::of(site).await;
    eventually("what was refused is cleared away", async || {
        let held = rows.number("SELECT count(*) FROM file_reservations").await;
        (held == 0).then_some(())
    })
    .await;
    let expected = i64::try_from(files).expect("few");
    assert_eq!(rows.number("SELECT count(*) FROM files").await, expected);
    assert_eq!(
        rows.number("SELECT CAST(coalesce(sum(reserved), 0) AS BIGINT) FROM storage_usage")
            .await,
        0
    );
    let stored = rows
        .number("SELECT CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM storage_usage")
        .await;
    assert_eq!(
        stored,
        rows.number("SELECT CAST(coalesce(sum(size), 0) AS BIGINT) FROM files")
            .await
    );
    assert_eq!(
        rows.number("SELECT count(*) FROM events WHERE type = 'file.uploaded'")
            .await,
        expected
    );
    let blobs = files_below(&site.server.data_dir().join("blobs"));
    assert_eq!(blobs.len(), files, "{blobs:?}");
    let listed = ada.client.get("/v1/files").await.expect_status(200).json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(files));
}

async fn names_that_leave_their_folder(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let before = files_below(site.server.data_dir());
    for name in [
        "..",
        ".",
        "../../etc/passwd",
        "..%2F..%2Fx",
        "a/b",
        "a%5Cb",
        "%00",
        "a%0D%0Ab",
        "%E2%80%AEgpj.exe",
        "",
        "%20",
    ] {
        let refused = put(&ada.client, &format!("type=note&name={name}"), b"x".to_vec()).await;
        let refused = refused.expect_problem(422, "validation_failed");
        assert_eq!(refused_parts(&refused)[0].0, "#/parameters/name", "{name}: {refused}");
    }
    for kind in ["..", "..%2Fx", "a%2Fb", "Report", "", "%00"] {
        let refused = put(&ada.client, &format!("type={kind}&name=x.txt"), b"x".to_vec()).await;
        let refused = refused.expect_problem(422, "validation_failed");
        assert_eq!(refused_parts(&refused)[0].0, "#/parameters/type", "{kind}: {refused}");
    }
    let _ = put(&ada.client, "name=x.txt", b"x".to_vec())
        .await
        .expect_problem(400, "malformed_request");
    assert_kept(&site, &ada, 0).await;

    // What is allowed and looks odd stays one file below the owner's folder.
    for name in [".htaccess", "..%20..", "-rf", "CON", "%F0%9F%A6%80.txt", "a..b"] {
        let _ = put(&ada.client, &format!("type=note&name={name}"), b"x".to_vec())
            .await
            .expect_status(201);
    }
    let owner = format!("users/{}/note", ada.id);
    let blobs = files_below(&site.server.data_dir().join("blobs"));
    assert_eq!(
        blobs
            .iter()
            .filter(|blob| blob.parent().is_some_and(|folder| folder.ends_with(&owner)))
            .count(),
        6,
        "{blobs:?}"
    );
    assert_kept(&site, &ada, 6).await;
    let elsewhere: Vec<_> = files_below(site.server.data_dir())
        .into_iter()
        .filter(|file| !before.contains(file) && !file.starts_with("blobs"))
        .filter(|file| !file.to_string_lossy().starts_with("plinth.db") && !file.starts_with("outbox"))
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}

async fn forms_that_are_none(backing: Backing) {
    let site = small_plan(backing).await;
    let ada = site.person("ada").await;
    let send =
        async |form: Form| Reply::of(ada.client.request(Method::POST, "/v1/files?type=note").multipart(form)).await;
    let file = |name: &'static str| Part::bytes(b"hello".as_slice()).file_name(name);
    for form in [
        Form::new(),
        Form::new().part("other", file("a.txt")),
        Form::new().part("file", file("a.txt")).part("file", file("b.txt")),
        Form::new().part("file", file("a.txt")).text("more", "x"),
        Form::new().part("file", file("../../a.txt")),
        Form::new().part("file", file("..")),
        Form::new().part("file", Part::bytes(b"no name".as_slice())),
    ] {
        let refused = send(form).await;
        assert!(matches!(refused.status, 400 | 422), "{refused}");
        let code = refused.json()["code"].clone();
        assert!(code == "validation_failed" || code == "malformed_request", "{refused}");
    }
    let cut = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nhal".to_vec();
    let cut = ada
        .client
        .post_bytes("/v1/files?type=note", "multipart/form-data; boundary=b", cut)
        .await;
    let _ = cut.expect_problem(400, "malformed_request");
    let bare = ada
        .client
        .post_bytes("/v1/files?type=note", "multipart/form-data", b"x".to_vec())
        .await;
    assert!(matches!(bare.status, 400 | 415), "{bare}");
    let large = Part::bytes(vec![7; 80 * KIB]).file_name("large.bin");
    let _ = send(Form::new().part("file", large))
        .await
        .expect_problem(413, "payload_too_large");
    assert_kept(&site, &ada, 0).await;
}

async fn more_than_the_plan_allows(backing: Backing) {
    let site = small_plan(backing).await;
    let ada = site.person("ada").await;
    let token = ada.client.token().expect("signed in");
    let _ = put(&ada.client, "type=note&name=a", vec![1; 64 * KIB + 1])
        .await
        .expect_problem(413, "payload_too_large");
    // Without a length it is counted while it comes, and cut.
    let head = format!(
        "POST /v1/files?type=note&name=a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );
    let chunks = format!("4000\r\n{}\r\n", "x".repeat(16 * KIB)).repeat(5);
    let cut = exchange(site.server.http(), format!("{head}{chunks}").as_bytes(), PATIENCE).await;
    assert!(
        cut.starts_with("HTTP/1.1 413 ") && cut.contains("payload_too_large"),
        "{cut}"
    );
    assert_kept(&site, &ada, 0).await;

    let mut stored = Vec::new();
    for number in 0..2_u8 {
        let reply = put(
            &ada.client,
            &format!("type=note&name=n{number}"),
            vec![number; 64 * KIB],
        )
        .await;
        stored.push(reply.expect_status(201).string("/id"));
    }
    let _ = put(&ada.client, "type=note&name=b", vec![2; 40 * KIB])
        .await
        .expect_problem(403, "quota_exceeded");
    let chunks = format!("4000\r\n{}\r\n", "x".repeat(16 * KIB)).repeat(3) + "0\r\n\r\n";
    let cut = exchange(site.server.http(), format!("{head}{chunks}").as_bytes(), PATIENCE).await;
    assert!(
        cut.starts_with("HTTP/1.1 403 ") && cut.contains("quota_exceeded"),
        "{cut}"
    );
    assert_kept(&site, &ada, 2).await;

    // Many at once cannot pass together what none may pass alone: 32 KiB are left, and each takes 20.
    let mut at_once = tokio::task::JoinSet::new();
    for number in 0..8_u8 {
        let client = ada.client.clone();
        at_once.spawn(async move { put(&client, &format!("type=note&name=c{number}"), vec![number; 20 * KIB]).await });
    }
    let mut taken = 0;
    while let Some(reply) = at_once.join_next().await {
        let reply = reply.expect("no panic");
        match reply.status {
            201 => taken += 1,
            _ => drop(reply.expect_problem(403, "quota_exceeded")),
        }
    }
    assert_eq!(taken, 1);
    assert_kept(&site, &ada, 3).await;

    let _ = ada
        .client
        .delete(&format!("/v1/files/{}", stored[0]))
        .await
        .expect_status(204);
    let _ = put(&ada.client, "type=note&name=d", vec![3; 60 * KIB])
        .await
        .expect_status(201);
}

async fn uploads_that_break_off(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let token = ada.client.token().expect("signed in");
    let head = format!(
        "POST /v1/files?type=note&name=a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n"
    );
    for request in [
        format!("{head}Content-Length: 100000\r\n\r\nonly this"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense\r\n"),
    ] {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = crate::tools::connect(site.server.http()).await;
        stream.write_all(request.as_bytes()).await.expect("the server reads");
        stream.shutdown().await.expect("half closed");
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("the server ends it");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    assert_kept(&site, &ada, 0).await;
}

async fn an_upload_is_repeated(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let send = async |key: &str, name: &str, bytes: &[u8]| {
        let request = ada
            .client
            .request(Method::POST, &format!("/v1/files?type=note&name={name}"));
        Reply::of(request.header("Idempotency-Key", key).body(bytes.to_vec())).await
    };
    let first = send("k1", "a.txt", b"hello").await.expect_status(201);
    let again = send("k1", "a.txt", b"hello").await.expect_status(201);
    assert_eq!(
        (again.header("idempotency-replayed"), again.json()),
        ("true", first.json())
    );
    assert_eq!(again.header("location"), first.header("location"));
    for (name, bytes) in [
        ("b.txt", b"hello".as_slice()),
        ("a.txt", b"hullo"),
        ("a.txt", b"hello!"),
    ] {
        let _ = send("k1", name, bytes)
            .await
            .expect_problem(422, "idempotency_key_reused");
    }
    let part = || Part::bytes(b"hello".as_slice()).file_name("form.txt");
    let by_form = async || {
        let request = ada
            .client
            .request(Method::POST, "/v1/files?type=note")
            .header("Idempotency-Key", "k2");
        // Each form has a boundary of its own.
        Reply::of(request.multipart(Form::new().part("file", part())))
            .await
            .expect_status(201)
    };
    let (one, two) = (by_form().await, by_form().await);
    assert_eq!((two.header("idempotency-replayed"), two.json()), ("true", one.json()));
    assert_eq!(one.json()["sha256"], sha256(b"hello").as_str());
    assert_kept(&site, &ada, 2).await;

    // Nothing about a file of another name or size is told without the right key.
    let unknown = ada.client.post("/v1/files/no-id/link", &json!({})).await;
    let missing = ada
        .client
        .post("/v1/files/0199c0de-0000-7000-8000-000000000000/link", &json!({}))
        .await;
    assert_eq!(alike(&unknown), alike(&missing));
}
