//! Bodies of uploads as clients send them, whole and in pieces, good and bad.

use super::*;
use poem::error::ResponseError;

const TYPE: &str = "multipart/form-data; boundary=XX";

/// A request whose body arrives in pieces of that size.
async fn payload(media_type: Option<&str>, text: &[u8], size: usize) -> UploadPayload {
    let pieces: Vec<io::Result<Bytes>> = text
        .chunks(size)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    let mut request = Request::builder().header(header::CONTENT_LENGTH, text.len());
    if let Some(media_type) = media_type {
        request = request.content_type(media_type);
    }
    let (request, mut body) = request.body(Body::from_bytes_stream(stream::iter(pieces))).split();
    <UploadPayload as ParsePayload>::from_request(&request, &mut body)
        .await
        .unwrap()
}

async fn read(mut body: ByteStream) -> Result<Vec<u8>, StreamError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes)
}

async fn open(text: &[u8], size: usize) -> Result<Part, Fault> {
    match payload(Some(TYPE), text, size).await {
        UploadPayload::Form { form, length } => {
            assert_eq!(length, Some(text.len() as u64));
            form.open().await
        }
        UploadPayload::Raw { .. } => panic!("it is a form"),
    }
}

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut text = Vec::new();
    for (head, bytes) in parts {
        text.extend_from_slice(format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes());
        text.extend_from_slice(bytes);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"--XX--\r\n");
    text
}

#[tokio::test]
async fn a_form_is_read_in_pieces_of_any_size() {
    // Beginnings of boundaries within the bytes, and more than one piece is handed on at once.
    let mut bytes: Vec<u8> = b"\r\n--X\r\n\r\n--XY--\r".to_vec();
    bytes.extend((0..200_000_u32).map(|n| n.to_le_bytes()[0]));
    let text = form(&[(
        "name=\"file\"; filename=\"\u{dc}ber.bin\"\r\nContent-Type: text/x",
        &bytes,
    )]);
    for size in [1, 7, 4_096, 65_537, usize::MAX] {
        let part = open(&text, size).await.unwrap();
        assert_eq!(part.name.as_deref(), Some("\u{dc}ber.bin"));
        assert_eq!(part.media_type.as_deref(), Some("text/x"));
        assert!(read(part.body).await.unwrap() == bytes, "pieces of {size}");
        assert!(part.verdict.fault().is_none());
    }
}

#[tokio::test]
async fn an_empty_part_is_an_empty_file() {
    let part = open(&form(&[("name=\"file\"", b"")]), 5).await.unwrap();
    assert_eq!(part.name, None);
    assert!(read(part.body).await.unwrap().is_empty());
}

#[tokio::test]
async fn exactly_one_part_named_file() {
    let code = |fault: Fault| {
        (
            fault.status().as_u16(),
            fault.pointer_errors().first().map(|error| error.code.clone()),
        )
    };
    let other = open(&form(&[("name=\"other\"", b"1")]), 64).await.err().map(code);
    assert_eq!(other, Some((422, Some("unknown_field".to_owned()))));
    let empty = open(b"--XX--\r\n", 64).await.err().map(code);
    assert_eq!(empty, Some((422, Some("required".to_owned()))));
    for second in ["name=\"file\"", "name=\"note\""] {
        let part = open(&form(&[("name=\"file\"", b"12"), (second, b"3")]), 3)
            .await
            .unwrap();
        assert!(matches!(read(part.body).await, Err(StreamError::Interrupted)));
        assert_eq!(
            part.verdict.fault().map(code),
            Some((422, Some("unknown_field".to_owned())))
        );
    }
}

#[tokio::test]
async fn a_broken_form_is_refused_wherever_it_breaks() {
    let text = form(&[("name=\"file\"", b"1234567890")]);
    let refused = |fault: Fault| fault.code().to_owned();
    for cut in 0..text.len() - 4 {
        let fault = match open(&text[..cut], 8).await {
            Err(fault) => Some(fault),
            Ok(part) => {
                assert!(read(part.body).await.is_err(), "cut at {cut}");
                part.verdict.fault()
            }
        };
        assert_eq!(fault.map(refused).as_deref(), Some("malformed_request"), "cut at {cut}");
    }
}

#[tokio::test]
async fn what_stands_around_the_part_is_bounded() {
    let long = vec![b'x'; MOST_AROUND as usize + 1];
    for before in [
        long.clone(),
        [b"--XX\r\nContent-Disposition: ".as_slice(), &long].concat(),
    ] {
        let fault = open(&before, 10_000).await.err().unwrap();
        assert_eq!(
            fault.problem("r").detail.as_deref(),
            Some("the headers of the part are too large")
        );
    }
}

/// Counts how much of its source has been asked for.
#[tokio::test]
async fn a_form_is_not_gathered() {
    let asked = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&asked);
    let head = b"--XX\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n";
    let pieces = stream::iter(0_u64..).map(move |n| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok::<_, io::Error>(if n == 0 {
            Bytes::from_static(head)
        } else {
            Bytes::from(vec![b'y'; 65_536])
        })
    });
    let (request, _) = Request::builder().content_type(TYPE).finish().split();
    let form = Form::new(&request, Body::from_bytes_stream(pieces)).await.unwrap();
    assert_eq!(
        asked.load(Ordering::SeqCst),
        0,
        "nothing is read before the upload was admitted"
    );
    let mut part = form.open().await.unwrap();
    for _ in 0..100 {
        part.body.next().await.unwrap().unwrap();
        let passed = asked.load(Ordering::SeqCst);
        assert!(passed < 110, "{passed} pieces of 64 KiB were read ahead");
    }
}

#[tokio::test]
async fn every_other_type_or_none_is_raw() {
    for media_type in [
        None,
        Some("application/octet-stream"),
        Some("application/x-www-form-urlencoded"),
        Some("nonsense"),
    ] {
        match payload(media_type, b"raw bytes", 4).await {
            UploadPayload::Raw {
                body,
                length,
                media_type: said,
            } => {
                assert_eq!((length, said.as_deref()), (Some(9), media_type));
                assert_eq!(read(body).await.unwrap(), b"raw bytes");
            }
            UploadPayload::Form { .. } => panic!("it is not a form"),
        }
    }
}

#[tokio::test]
async fn a_form_without_a_boundary_is_refused() {
    let (request, mut body) = Request::builder().content_type("multipart/form-data").body("x").split();
    let refused = <UploadPayload as ParsePayload>::from_request(&request, &mut body)
        .await
        .err()
        .unwrap();
    assert_eq!(refused.status().as_u16(), 400);
}

#[test]
fn both_forms_of_the_body_are_documented() {
    let meta = <UploadPayload as ApiExtractor>::request_meta().unwrap();
    let types: Vec<&str> = meta.content.iter().map(|media| media.content_type).collect();
    assert_eq!(types, ["application/octet-stream", "multipart/form-data"]);
    assert_eq!(meta.content[1].schema.unwrap_inline().required, ["file"]);
}
