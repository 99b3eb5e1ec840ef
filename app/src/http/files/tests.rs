//! The operations on files: what is read from a request, and what is answered.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use domain::file::StorageUsage;
use domain::id::SessionId;
use domain::tier::TierName;
use domain::time::Timestamp;
use domain::token::Claims;
use domain::user::Role;
use futures_util::stream;
use poem::http::header;
use poem::{Body, IntoResponse};
use poem_openapi::payload::ParsePayload;
use ports::{Begun, IdempotencyScope, MockClock, MockIdempotencyStore, PutBlobError};

use super::*;
use crate::http::layer::ClientAddress;
use crate::service::files::samples::{Bench, QUOTA, drain, file, user};

const FORM: &str = "multipart/form-data; boundary=XX";

fn bearer() -> Bearer {
    let at = Timestamp::from_seconds(0);
    let claims = Claims {
        subject: user(),
        tier: TierName::free(),
        role: Role::User,
        session: SessionId::new(Uuid::nil()),
        epoch: 0,
        scope: Vec::new(),
        methods: Vec::new(),
        authenticated_at: at,
        actor: None,
        audience: String::new(),
        issuer: String::new(),
        issued_at: at,
        not_before: at,
        expires_at: at,
        token_id: Uuid::nil(),
    };
    Bearer(Caller {
        claims,
        request_id: None,
        client: ClientAddress::new(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    })
}

fn api(bench: Bench, store: MockIdempotencyStore) -> FilesApi {
    let mut clock = MockClock::new();
    clock.expect_now().returning(|| Timestamp::from_seconds(0));
    let idempotency = Idempotency::new(Arc::new(store), Arc::new(clock)).0;
    FilesApi {
        files: Arc::new(bench.files()),
        idempotency: Arc::new(idempotency),
    }
}

async fn payload(media_type: &str, body: Body) -> UploadPayload {
    let (request, mut body) = Request::builder().content_type(media_type).body(body).split();
    <UploadPayload as ParsePayload>::from_request(&request, &mut body)
        .await
        .unwrap()
}

/// A form whose part has that head and the bytes `stored`.
fn form(head: &str) -> Body {
    let head = format!("--XX\r\nContent-Disposition: form-data; name=\"file\"{head}\r\n\r\nstored\r\n--XX--\r\n");
    Body::from_string(head)
}

async fn upload(
    api: &FilesApi,
    name: Option<&str>,
    key: Option<&str>,
    payload: UploadPayload,
) -> Result<Uploaded, Fault> {
    let (name, key) = (name.map(str::to_owned), key.map(str::to_owned));
    api.upload(bearer(), Query("report".to_owned()), Query(name), Header(key), payload)
        .await
}

/// Rows and a backend that take one file.
fn taking() -> Bench {
    let mut bench = Bench::new();
    bench
        .repository
        .expect_usage()
        .returning(|_| Ok(StorageUsage::default()));
    bench.repository.expect_reserve().returning(|_, _| Ok(()));
    bench.repository.expect_insert().returning(|_, _| Ok(()));
    bench
        .store
        .expect_put()
        .times(1)
        .returning(|_, body| drain(body).map_err(PutBlobError::Stream));
    bench
}

fn pointers(fault: &Fault) -> Vec<String> {
    fault
        .pointer_errors()
        .iter()
        .map(|error| error.pointer.clone())
        .collect()
}

#[tokio::test]
async fn a_name_comes_from_the_query_or_from_the_part() {
    for (query, head, expected) in [
        (Some("q.pdf"), "; filename=\"p.pdf\"", "q.pdf"),
        (None, "; filename=\"p.pdf\"", "p.pdf"),
        (Some("q.pdf"), "", "q.pdf"),
    ] {
        let api = api(taking(), MockIdempotencyStore::new());
        let Uploaded::Stored(body, location, replayed) = upload(&api, query, None, payload(FORM, form(head)).await)
            .await
            .unwrap();
        assert_eq!((body.name.as_str(), body.size), (expected, 6));
        assert_eq!((location, replayed), (format!("/v1/files/{}", body.id), None));
    }
}

#[tokio::test]
async fn a_name_that_is_missing_or_has_a_path_is_refused() {
    let api = api(Bench::new(), MockIdempotencyStore::new());
    let raw = payload("image/png", Body::from_string("stored".to_owned())).await;
    let fault = upload(&api, None, None, raw).await.unwrap_err();
    assert_eq!(
        (fault.code(), pointers(&fault)),
        ("validation_failed", vec!["#/parameters/name".to_owned()])
    );
    let raw = payload("image/png", Body::from_string("stored".to_owned())).await;
    let both = api.upload(
        bearer(),
        Query("Re port".to_owned()),
        Query(Some("../x".to_owned())),
        Header(None),
        raw,
    );
    let fault = both.await.unwrap_err();
    assert_eq!(pointers(&fault), ["#/parameters/type", "#/parameters/name"]);
    assert!(!serde_json::to_string(&fault.problem("r")).unwrap().contains("../x"));
}

#[tokio::test]
async fn a_part_with_a_path_or_without_a_name_is_refused_before_anything_is_stored() {
    for (head, pointer) in [
        ("; filename=\"../../etc/passwd\"", "#/file/filename"),
        ("", "#/parameters/name"),
    ] {
        let mut bench = Bench::new();
        bench
            .repository
            .expect_usage()
            .returning(|_| Ok(StorageUsage::default()));
        let api = api(bench, MockIdempotencyStore::new());
        let fault = upload(&api, None, None, payload(FORM, form(head)).await)
            .await
            .unwrap_err();
        assert_eq!(
            (fault.code(), pointers(&fault)),
            ("validation_failed", vec![pointer.to_owned()])
        );
    }
}

#[tokio::test]
async fn a_form_that_cannot_fit_is_refused_unread() {
    let mut bench = Bench::new();
    bench.repository.expect_usage().returning(|_| {
        Ok(StorageUsage {
            files: 1,
            bytes: QUOTA,
            reserved: 0,
        })
    });
    let api = api(bench, MockIdempotencyStore::new());
    let unread = Body::from_bytes_stream(stream::poll_fn(
        |_| -> std::task::Poll<Option<std::io::Result<Bytes>>> { panic!("the body was read") },
    ));
    let fault = upload(&api, None, None, payload(FORM, unread).await).await.unwrap_err();
    assert_eq!(fault.code(), "quota_exceeded");
}

#[tokio::test]
async fn what_was_wrong_with_a_form_is_said_and_its_key_is_free_again() {
    let mut bench = Bench::new();
    bench
        .repository
        .expect_usage()
        .returning(|_| Ok(StorageUsage::default()));
    bench.repository.expect_reserve().returning(|_, _| Ok(()));
    bench
        .store
        .expect_put()
        .times(1)
        .returning(|_, body| drain(body).map_err(PutBlobError::Stream));
    bench.store.expect_remove().times(1).returning(|_| Ok(()));
    bench.repository.expect_cancel().times(1).returning(|_| Ok(()));
    let mut store = MockIdempotencyStore::new();
    store.expect_begin().times(1).returning(|_, _, _, _, _| Ok(Begun::New));
    store.expect_release().times(1).returning(|_| Ok(()));
    let api = api(bench, store);
    let two = "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n1\r\n\
               --XX\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n2\r\n--XX--\r\n";
    let two = payload(FORM, Body::from_string(two.to_owned())).await;
    let fault = upload(&api, None, Some("key"), two).await.unwrap_err();
    assert_eq!(
        (fault.code(), pointers(&fault)),
        ("validation_failed", vec!["#/file".to_owned()])
    );
}

#[tokio::test]
async fn a_repetition_is_answered_from_the_stored_file_when_the_bytes_are_the_same() {
    let stored = file(b"stored");
    for (rows, bytes, expected) in [
        (Some(stored.clone()), "stored", Ok(())),
        (Some(stored.clone()), "other!", Err("idempotency_key_reused")),
        (None, "stored", Err("not_found")),
    ] {
        let mut bench = Bench::new();
        bench
            .repository
            .expect_find()
            .times(1)
            .returning(move |_, _| Ok(rows.clone()));
        let mut store = MockIdempotencyStore::new();
        let id = stored.id.to_string();
        store.expect_begin().times(1).returning(move |scope, _, _, _, _| {
            assert_eq!((scope.route.as_str(), scope.key.as_str()), ("POST /v1/files", "key"));
            let scope: IdempotencyScope = scope.clone();
            Ok(Begun::Answered(StoredAnswer {
                scope,
                status: 201,
                resources: vec![id.clone()],
            }))
        });
        let api = api(bench, store);
        let raw = payload("text/plain", Body::from_string(bytes.to_owned())).await;
        match (upload(&api, Some("a b.pdf"), Some("key"), raw).await, expected) {
            (Ok(answer), Ok(())) => {
                let response = answer.into_response();
                assert_eq!(response.status().as_u16(), 201);
                assert_eq!(response.headers()["idempotency-replayed"], "true");
                assert_eq!(response.headers()[header::LOCATION], format!("/v1/files/{}", stored.id));
            }
            (Err(fault), Err(code)) => assert_eq!(fault.code(), code),
            (outcome, _) => panic!("{outcome:?}"),
        }
    }
}

#[test]
fn a_fingerprint_tells_uploads_apart() {
    let bearer = bearer();
    let of = |kind: &str, name: &str, length| {
        let (kind, name) = (kind.parse().unwrap(), name.parse().unwrap());
        Upload {
            caller: &bearer.0,
            kind,
            name,
            length,
            media_type: None,
        }
        .fingerprint()
    };
    let first = of("a", "b", Length::Exact(1));
    assert_eq!(first, of("a", "b", Length::Exact(1)));
    for other in [
        of("ab", "b", Length::Exact(1)),
        of("a", "b1", Length::Exact(1)),
        of("a", "b", Length::Exact(2)),
    ] {
        assert_ne!(first, other);
    }
    assert_eq!(of("a", "b", Length::Framed(1)), of("a", "b", Length::Framed(2)));
}

#[test]
fn every_operation_says_what_it_refuses() {
    let meta = FilesApi::meta();
    let operations = meta.iter().flat_map(|api| &api.paths).flat_map(|path| &path.operations);
    let mut ids: Vec<&str> = operations.filter_map(|operation| operation.operation_id).collect();
    let mut told: Vec<&str> = ERRORS.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    told.sort_unstable();
    assert_eq!(ids, told);
    let known = |code: &&str| crate::http::problem::CATALOGUE.iter().any(|entry| entry.code == *code);
    assert!(ERRORS.iter().flat_map(|(_, codes)| *codes).all(known));
}
