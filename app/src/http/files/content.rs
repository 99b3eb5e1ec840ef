//! The bytes of a file on the wire: status, validators and the headers that keep a browser from running them.

use std::fmt::Write;
use std::io;

use domain::file::File;
use futures_util::TryStreamExt;
use openapi::FileBody;
use poem::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use poem::{Body, IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::payload::{Binary, Payload};
use poem_openapi::registry::{
    MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use ports::ByteStream;

use super::conditions::{Validators, Verdict, http_date, judge};
use crate::http::problem::Fault;
use crate::service::files::{Disposition, Files, OpenFileError};

/// Scripts, forms and plug-ins are off, and the origin is one of its own, whatever a browser takes the bytes for.
const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox");
/// The bytes of an id never change, but who may read them does: caches ask each time, which costs a 304.
const CACHING: HeaderValue = HeaderValue::from_static("private, no-cache");

/// The answer with the bytes of a file, or with the news that the client has them.
#[derive(Debug)]
pub struct Content(Response);

impl Content {
    /// Answers a GET for `file`. Nothing is read before the answer is sent, so that a HEAD costs no more than opening.
    ///
    /// # Errors
    /// 412, 416, and 404 when the file was deleted meanwhile.
    pub(super) async fn of(files: &Files, file: File, headers: &HeaderMap, asked: Disposition) -> Result<Self, Fault> {
        let tag = FileBody::from(file.clone()).sha256;
        let modified = file.created_at.seconds();
        let part = match judge(
            headers,
            &Validators {
                tag: &tag,
                modified,
                size: file.size,
            },
        ) {
            Verdict::Failed => return Err(Fault::precondition_failed()),
            Verdict::Unsatisfiable => return Err(unsatisfiable(file.size)),
            Verdict::NotModified => return Ok(Self(marked(StatusCode::NOT_MODIFIED, &tag, modified))),
            Verdict::Whole => None,
            Verdict::Part(part) => Some(part),
        };
        let body = files.open(&file, part).await.map_err(unopened)?;
        let status = if part.is_some() {
            StatusCode::PARTIAL_CONTENT
        } else {
            StatusCode::OK
        };
        let mut response = marked(status, &tag, modified);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, part.map_or(file.size, |part| part.len()).into());
        if let Some(part) = part {
            set(
                headers,
                header::CONTENT_RANGE,
                &format!("bytes {}-{}/{}", part.start, part.end, file.size),
            );
        }
        set(headers, header::CONTENT_TYPE, &file.media_type);
        set(
            headers,
            header::CONTENT_DISPOSITION,
            &disposition(asked.allowed_for(&file.media_type), file.name.as_str()),
        );
        response.set_body(stream(body));
        Ok(Self(response))
    }
}

/// What every answer about the content says.
fn marked(status: StatusCode, tag: &str, modified: i64) -> Response {
    let mut response = Response::from(status);
    let headers = response.headers_mut();
    set(headers, header::ETAG, &format!("\"{tag}\""));
    if let Some(date) = http_date(modified) {
        set(headers, header::LAST_MODIFIED, &date);
    }
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, CACHING);
    headers.insert(header::CONTENT_SECURITY_POLICY, SANDBOX);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn stream(body: ByteStream) -> Body {
    Body::from_bytes_stream(body.map_err(io::Error::other))
}

fn unsatisfiable(size: u64) -> Fault {
    let fault = Fault::range_not_satisfiable();
    match HeaderValue::from_str(&format!("bytes */{size}")) {
        Ok(value) => fault.header(header::CONTENT_RANGE, value),
        Err(_) => fault,
    }
}

fn unopened(error: OpenFileError) -> Fault {
    match error {
        OpenFileError::NotFound => Fault::not_found(),
        OpenFileError::Backend(error) => error.into(),
    }
}

/// `Content-Disposition` (RFC 6266): the name as ASCII for old readers, and whole by RFC 8187 when that is not the same.
fn disposition(disposition: Disposition, name: &str) -> String {
    let plain = |c: char| {
        if (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '\\' | '%') {
            c
        } else {
            '_'
        }
    };
    let ascii: String = name.chars().map(plain).collect();
    let mut text = format!("{}; filename=\"{ascii}\"", disposition.as_str());
    if ascii != name {
        text.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            // RFC 8187, section 3.2.1: attr-char.
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                // Writing to a string cannot fail.
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

impl IntoResponse for Content {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for Content {
    fn meta() -> MetaResponses {
        let bytes = || {
            vec![MetaMediaType {
                content_type: Binary::<Body>::CONTENT_TYPE,
                schema: Binary::<Body>::schema_ref(),
            }]
        };
        let answer = |status, description, content, headers| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content,
            headers,
        };
        let whole = vec![etag(), length(), named()];
        let part = vec![
            etag(),
            length(),
            named(),
            said("Content-Range", "Which bytes of how many these are.", "string"),
        ];
        MetaResponses {
            responses: vec![
                answer(
                    200,
                    "The whole file. Its own media type is in `Content-Type`.",
                    bytes(),
                    whole,
                ),
                answer(206, "The part that `Range` asked for.", bytes(), part),
                answer(
                    304,
                    "The client has the file: its `ETag` is among those of `If-None-Match`.",
                    vec![],
                    vec![etag()],
                ),
            ],
        }
    }

    fn register(_registry: &mut Registry) {}
}

fn etag() -> MetaHeader {
    said(
        "ETag",
        "The SHA-256 of the file in quotation marks, a strong validator.",
        "string",
    )
}

fn length() -> MetaHeader {
    said("Content-Length", "Bytes in this answer.", "integer")
}

fn named() -> MetaHeader {
    said(
        "Content-Disposition",
        "Whether to show or to save the file, and its name.",
        "string",
    )
}

fn said(name: &str, description: &str, kind: &'static str) -> MetaHeader {
    MetaHeader {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        required: true,
        deprecated: false,
        schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new(kind))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::files::samples::{Bench, body, file};

    async fn get(lines: &[(HeaderName, &'static str)], stored: File) -> Result<Response, Fault> {
        let mut bench = Bench::new();
        bench.store.expect_get().returning(|_, range| {
            Ok(if range.is_some() {
                body(&[b"tor"])
            } else {
                body(&[b"stored"])
            })
        });
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Content::of(&bench.files(), stored, &headers, Disposition::Inline)
            .await
            .map(IntoResponse::into_response)
    }

    fn header_of(response: &Response, name: HeaderName) -> &str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[tokio::test]
    async fn the_whole_comes_with_all_that_keeps_it_from_running() {
        let response = get(&[], file(b"stored")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        for (name, value) in [
            (header::CONTENT_TYPE, "application/pdf"),
            (header::CONTENT_LENGTH, "6"),
            (header::CONTENT_DISPOSITION, "inline; filename=\"a b.pdf\""),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::CONTENT_SECURITY_POLICY, "sandbox"),
            (header::ACCEPT_RANGES, "bytes"),
            (header::LAST_MODIFIED, "Fri, 15 Jan 2027 08:00:00 GMT"),
        ] {
            assert_eq!(header_of(&response, name.clone()), value, "{name}");
        }
        let tag = header_of(&response, header::ETAG);
        assert!(tag.len() == 66 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        assert_eq!(response.into_body().into_vec().await.unwrap(), b"stored");
        let page = File {
            media_type: "text/html".to_owned(),
            ..file(b"stored")
        };
        let response = get(&[], page).await.unwrap();
        assert!(header_of(&response, header::CONTENT_DISPOSITION).starts_with("attachment"));
    }

    #[tokio::test]
    async fn a_part_says_which() {
        let response = get(&[(header::RANGE, "bytes=1-3")], file(b"stored")).await.unwrap();
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(header_of(&response, header::CONTENT_RANGE), "bytes 1-3/6");
        assert_eq!(header_of(&response, header::CONTENT_LENGTH), "3");
        assert_eq!(response.into_body().into_vec().await.unwrap(), b"tor");
        let beyond = get(&[(header::RANGE, "bytes=6-")], file(b"stored"))
            .await
            .err()
            .unwrap()
            .respond("r");
        assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(header_of(&beyond, header::CONTENT_RANGE), "bytes */6");
    }

    #[tokio::test]
    async fn what_the_client_has_is_not_sent() {
        let response = get(&[(header::IF_NONE_MATCH, "*")], file(b"stored")).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(header_of(&response, header::ETAG).len(), 66);
        assert!(!response.headers().contains_key(header::CONTENT_LENGTH));
        let failed = get(&[(header::IF_MATCH, "\"x\"")], file(b"stored"))
            .await
            .err()
            .unwrap();
        assert_eq!(failed.status_code(), StatusCode::PRECONDITION_FAILED);
    }

    #[tokio::test]
    async fn corrupt_bytes_break_the_body_off() {
        let response = get(&[], file(b"stOred")).await.unwrap();
        assert!(response.into_body().into_vec().await.is_err());
    }

    #[test]
    fn a_name_is_given_in_ascii_and_whole() {
        let text = |name| disposition(Disposition::Attachment, name);
        assert_eq!(text("report 1.pdf"), "attachment; filename=\"report 1.pdf\"");
        assert_eq!(
            text("Übersicht.pdf"),
            "attachment; filename=\"_bersicht.pdf\"; filename*=UTF-8''%C3%9Cbersicht.pdf"
        );
        assert_eq!(
            text("a\"b;c%d.txt"),
            "attachment; filename=\"a_b;c_d.txt\"; filename*=UTF-8''a%22b%3Bc%25d.txt"
        );
        assert!(
            HeaderValue::from_str(&text("\u{1F600}'*.txt"))
                .unwrap()
                .to_str()
                .unwrap()
                .ends_with("%F0%9F%98%80%27%2A.txt")
        );
        assert!(disposition(Disposition::Inline, "a").starts_with("inline; "));
    }
}
