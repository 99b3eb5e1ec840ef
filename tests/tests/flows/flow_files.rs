//! Files: conditions and ranges, signed links and their end, pages of the list, deleting.

use plinth_tests::api::{Client, Reply};
use plinth_tests::site::{Backing, Site};
use reqwest::Method;
use serde_json::json;

use crate::tools::{PDF, eventually, files_below, sha256};

plinth_tests::on_both!(
    ranges_and_conditions,
    links_end,
    lists_page_and_files_go,
    bytes_of_users_stay_bytes,
    a_broken_folder_is_told_to_callers_and_operators
);

async fn put(client: &Client, name: &str, bytes: &[u8]) -> String {
    let path = format!("/v1/files?type=note&name={name}");
    client
        .post_bytes(&path, "application/octet-stream", bytes.to_vec())
        .await
        .expect_status(201)
        .string("/id")
}

async fn ask(client: &Client, method: Method, path: &str, headers: &[(&str, &str)]) -> Reply {
    let request = client.request(method, path);
    Reply::of(
        headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, *value)),
    )
    .await
}

async fn ranges_and_conditions(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let id = put(&ada.client, "sample.pdf", PDF).await;
    let link = ada
        .client
        .post(&format!("/v1/files/{id}/link"), &json!({}))
        .await
        .expect_status(200);
    let (content, size) = (format!("/v1/files/{id}/content"), PDF.len());
    let etag = format!("\"{}\"", sha256(PDF));
    // The same manners with a token and by a link without one.
    for (client, path) in [(&ada.client, content), (&site.client(), link.string("/url"))] {
        let get = async |headers: &[(&str, &str)]| ask(client, Method::GET, &path, headers).await;

        let whole = get(&[]).await.expect_status(200);
        assert_eq!((whole.body.as_slice(), whole.header("etag")), (PDF, etag.as_str()));
        assert_eq!(
            (whole.header("content-type"), whole.header("accept-ranges")),
            ("application/pdf", "bytes")
        );

        for (asked, from, to) in [
            ("bytes=0-0", 0, 0),
            ("bytes=4000-", 4000, size - 1),
            ("bytes=-50", size - 50, size - 1),
        ] {
            let part = get(&[("Range", asked)]).await.expect_status(206);
            assert_eq!(part.body, &PDF[from..=to], "{asked}");
            assert_eq!(part.header("content-range"), format!("bytes {from}-{to}/{size}"));
        }
        let beyond = get(&[("Range", "bytes=999999-")])
            .await
            .expect_problem(416, "range_not_satisfiable");
        assert_eq!(beyond.header("content-range"), format!("bytes */{size}"));

        let same = get(&[("If-None-Match", &etag)]).await.expect_status(304);
        assert_eq!((same.body.len(), same.header("etag")), (0, etag.as_str()));
        assert_eq!(
            get(&[("If-None-Match", "\"other\"")]).await.expect_status(200).body,
            PDF
        );
        let other = get(&[("Range", "bytes=0-9"), ("If-Range", "\"other\"")])
            .await
            .expect_status(200);
        assert_eq!(other.body.len(), size, "a part of another file would be of no use");
        let _ = get(&[("If-Match", "\"other\"")])
            .await
            .expect_problem(412, "precondition_failed");

        let head = ask(client, Method::HEAD, &path, &[]).await.expect_status(200);
        assert_eq!(
            (head.body.len(), head.header("content-length")),
            (0, size.to_string().as_str())
        );
        assert_eq!(head.header("etag"), etag);
        let head = ask(client, Method::HEAD, &path, &[("Range", "bytes=0-9")])
            .await
            .expect_status(206);
        assert_eq!((head.body.len(), head.header("content-length")), (0, "10"));
    }
}

async fn links_end(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let id = put(&ada.client, "note.txt", b"read me").await;
    let path = format!("/v1/files/{id}/link");
    let stranger = site.client();

    let link = ada
        .client
        .post(&path, &json!({ "expires_in": 600, "disposition": "inline" }))
        .await
        .expect_status(200);
    let address = link.string("/url");
    let _ = stranger.get(&address).await.expect_status(200);
    // Nothing in a link can be changed: not its life, not its manner, not its file.
    let (before, query) = address.split_once('?').expect("a query");
    for changed in [
        query.replace("disposition=inline", "disposition=attachment"),
        query.replacen("expires=", "expires=9", 1),
        query.replacen("v=1", "v=2", 1),
        query.replacen("signature=", "signature=A", 1),
    ] {
        assert_ne!(changed, query);
        let _ = stranger
            .get(&format!("{before}?{changed}"))
            .await
            .expect_problem(404, "not_found");
    }
    let other = put(&ada.client, "other.txt", b"not for you").await;
    let _ = stranger
        .get(&address.replacen(&id, &other, 1))
        .await
        .expect_problem(404, "not_found");
    let _ = stranger.get(before).await.expect_problem(400, "malformed_request");

    for expires_in in [0, 604_801] {
        let refused = ada.client.post(&path, &json!({ "expires_in": expires_in })).await;
        let _ = refused.expect_problem(422, "validation_failed");
    }
    let short = ada
        .client
        .post(&path, &json!({ "expires_in": 1 }))
        .await
        .expect_status(200)
        .string("/url");
    eventually("a link of one second is over", async || {
        (stranger.get(&short).await.status == 404).then_some(())
    })
    .await;
    let _ = stranger.get(&short).await.expect_problem(404, "not_found");

    let _ = ada.client.delete(&format!("/v1/files/{id}")).await.expect_status(204);
    let _ = stranger.get(&address).await.expect_problem(404, "not_found");
}

async fn lists_page_and_files_go(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let mut put_in = Vec::new();
    for number in 0..7 {
        put_in.push(
            put(
                &ada.client,
                &format!("n{number}.txt"),
                format!("note {number}").as_bytes(),
            )
            .await,
        );
    }
    put_in.reverse();
    let (mut listed, mut after) = (Vec::new(), String::new());
    loop {
        let page = ada
            .client
            .get(&format!("/v1/files?limit=3{after}"))
            .await
            .expect_status(200)
            .json();
        let items = page["items"].as_array().expect("items");
        assert!(items.len() <= 3);
        listed.extend(items.iter().filter_map(|file| file["id"].as_str().map(str::to_owned)));
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        after = format!("&after={cursor}");
    }
    assert_eq!(listed, put_in, "each once, newest first");

    let blobs = site.server.data_dir().join("blobs");
    assert_eq!(files_below(&blobs).len(), 7);
    for id in &put_in {
        let _ = ada.client.delete(&format!("/v1/files/{id}")).await.expect_status(204);
        let _ = ada
            .client
            .get(&format!("/v1/files/{id}"))
            .await
            .expect_problem(404, "not_found");
        let _ = ada
            .client
            .get(&format!("/v1/files/{id}/content"))
            .await
            .expect_problem(404, "not_found");
        let _ = ada
            .client
            .delete(&format!("/v1/files/{id}"))
            .await
            .expect_problem(404, "not_found");
    }
    assert!(files_below(&blobs).is_empty(), "{:?}", files_below(&blobs));
    let usage = ada.client.get("/v1/me/usage").await.expect_status(200).json();
    assert_eq!(
        (usage["files"].as_u64(), usage["storage_bytes"].as_u64()),
        (Some(0), Some(0))
    );
}

async fn a_broken_folder_is_told_to_callers_and_operators(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let pdf = put(&ada.client, "sample.pdf", PDF).await;
    let (blobs, aside) = (
        site.server.data_dir().join("blobs"),
        site.server.data_dir().join("aside"),
    );
    std::fs::rename(&blobs, &aside).expect("moved away");
    std::fs::write(&blobs, "no folder").expect("something else in its place");
    let content = format!("/v1/files/{pdf}/content");
    for _ in 0..6 {
        let refused = ada.client.get(&content).await;
        assert!(!refused.header("retry-after").is_empty(), "{:?}", refused.headers);
        let _ = refused.expect_problem(503, "dependency_unavailable");
    }
    let path = "/v1/files?type=resume&name=cv.pdf";
    let upload = ada.client.post_bytes(path, "application/pdf", PDF.to_vec()).await;
    let _ = upload.expect_problem(503, "dependency_unavailable");
    let health = Client::new(site.server.ops())
        .get("/health/ready")
        .await
        .expect_status(200)
        .json();
    assert_eq!(health["status"], "degraded", "{health}");
    let usage = ada.client.get("/v1/me/usage").await.expect_status(200).json();
    assert_eq!(usage["files"].as_u64(), Some(1), "the upload left nothing");
}

async fn bytes_of_users_stay_bytes(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let page = b"<html><script>alert(1)</script></html>";
    let path = "/v1/files?type=note&name=%C3%9Cbersicht%20%22a%22.html";
    let file = ada
        .client
        .post_bytes(path, "text/html", page.to_vec())
        .await
        .expect_status(201);
    let link = format!("/v1/files/{}/link", file.string("/id"));
    let link = ada
        .client
        .post(&link, &json!({ "disposition": "inline" }))
        .await
        .expect_status(200)
        .string("/url");
    let read = site.client().get(&link).await.expect_status(200);
    assert_eq!(read.body, page);
    assert_eq!(read.header("x-content-type-options"), "nosniff");
    assert!(
        read.header("content-security-policy").contains("sandbox"),
        "{:?}",
        read.headers
    );
    let disposition = read.header("content-disposition");
    assert!(
        disposition.starts_with("attachment;"),
        "a page is never shown: {disposition}"
    );
    assert!(
        disposition.ends_with("filename*=UTF-8''%C3%9Cbersicht%20%22a%22.html"),
        "{disposition}"
    );

    let pdf = put(&ada.client, "sample.pdf", PDF).await;
    let link = format!("/v1/files/{pdf}/link");
    let link = ada
        .client
        .post(&link, &json!({ "disposition": "inline" }))
        .await
        .expect_status(200)
        .string("/url");
    let read = site.client().get(&link).await.expect_status(200);
    assert!(read.header("content-disposition").starts_with("inline;"));
}
