//! The body of an upload: raw bytes, or a form with exactly one part `file`. Nothing is spooled or gathered: both are
//! streams, and a form is read no further than the headers of its part before the upload has been admitted.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::{StreamExt, stream};
use poem::http::header;
use poem::web::Multipart;
use poem::{Body, FromRequest, Request, RequestBody};
use poem_openapi::payload::{Binary, ParsePayload, Payload};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use ports::{ByteStream, StreamError};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::http::problem::Fault;

const FORM: &str = "multipart/form-data";
/// What a form may have before the bytes of its part, and after them. The parser gathers that, so that it must be
/// bounded; a read from the network may bring the first bytes of the file along with it.
const MOST_AROUND: u64 = 1024 * 1024;
/// How much of a part is handed on at once.
const PIECE: usize = 64 * 1024;

/// The body of an upload.
pub(super) enum UploadPayload {
    /// The bytes of the file.
    Raw {
        /// The bytes.
        body: ByteStream,
        /// How many, where `Content-Length` says so.
        length: Option<u64>,
        /// The `Content-Type`.
        media_type: Option<String>,
    },
    /// A form around them.
    Form {
        /// The form.
        form: Form,
        /// The size of the whole form, where `Content-Length` says so.
        length: Option<u64>,
    },
}

/// A form of which nothing has been read.
pub(super) struct Form {
    multipart: Multipart,
    watch: Arc<Watch>,
}

/// The one part of a form.
pub(super) struct Part {
    /// Its `filename`.
    pub(super) name: Option<String>,
    /// Its `Content-Type`.
    pub(super) media_type: Option<String>,
    /// Its bytes. The stream ends well only when the form ends well after it.
    pub(super) body: ByteStream,
    /// Tells what was wrong with the form when the stream broke off.
    pub(super) verdict: Verdict,
}

/// Why a form was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Broken,
    TooMuchAround,
    NoPart,
    OtherPart,
}

impl Refusal {
    fn fault(self) -> Fault {
        match self {
            Self::Broken => Fault::malformed_request().detail("the body is not valid multipart/form-data"),
            Self::TooMuchAround => Fault::malformed_request().detail("the headers of the part are too large"),
            Self::NoPart => Fault::validation_failed().at("#/file", "required", "the form needs one part named file"),
            Self::OtherPart => Fault::validation_failed().at(
                "#/file",
                "unknown_field",
                "the form takes one part named file, and no other",
            ),
        }
    }
}

/// What became of a form whose part is being read elsewhere.
#[derive(Clone)]
pub(super) struct Verdict(Arc<Watch>);

impl Verdict {
    /// The fault of the form, if it had one.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.0.refusal.get().map(|refusal| refusal.fault())
    }
}

/// Counts what passes around the part.
#[derive(Default)]
struct Watch {
    /// How much may still pass; everything while the part itself does.
    around: AtomicU64,
    refusal: OnceLock<Refusal>,
}

impl Watch {
    const INSIDE: u64 = u64::MAX;

    fn allow(&self, bytes: u64) {
        self.around.store(bytes, Ordering::Release);
    }

    fn pass(&self, bytes: u64) -> bool {
        let left = self.around.load(Ordering::Acquire);
        if left == Self::INSIDE {
            return true;
        }
        match left.checked_sub(bytes) {
            Some(left) => {
                self.allow(left);
                true
            }
            None => {
                self.refuse(Refusal::TooMuchAround);
                false
            }
        }
    }

    /// The first refusal stands: what follows is its consequence.
    fn refuse(&self, refusal: Refusal) -> StreamError {
        let _ = self.refusal.set(refusal);
        StreamError::Interrupted
    }
}

/// Hands on a chunk and then rests once: the parser reads until its source has nothing, and would gather as much of
/// the body as the network delivers.
struct Paced<S> {
    inner: S,
    resting: bool,
    watch: Arc<Watch>,
}

impl<S: Stream<Item = io::Result<Bytes>> + Unpin> Stream for Paced<S> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.resting) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let item = ready!(self.inner.poll_next_unpin(cx));
        self.resting = true;
        Poll::Ready(match item {
            Some(Ok(chunk)) if !self.watch.pass(chunk.len() as u64) => Some(Err(io::ErrorKind::InvalidData.into())),
            other => other,
        })
    }
}

impl Form {
    async fn new(request: &Request, body: Body) -> poem::Result<Self> {
        let watch = Arc::new(Watch::default());
        watch.allow(MOST_AROUND);
        let paced = Paced {
            inner: Box::pin(body.into_bytes_stream()),
            resting: false,
            watch: Arc::clone(&watch),
        };
        let mut body = RequestBody::new(Body::from_bytes_stream(paced));
        let multipart = <Multipart as FromRequest>::from_request(request, &mut body).await?;
        Ok(Self { multipart, watch })
    }

    /// Reads up to the bytes of the part.
    ///
    /// # Errors
    /// When the form is broken, or does not begin with a part `file`.
    pub(super) async fn open(mut self) -> Result<Part, Fault> {
        let refusal = match self.multipart.next_field().await {
            Ok(Some(field)) if field.name() == Some("file") => {
                self.watch.allow(Watch::INSIDE);
                let name = field.file_name().map(str::to_owned);
                let media_type = field.content_type().map(str::to_owned);
                let verdict = Verdict(Arc::clone(&self.watch));
                let reader: Pin<Box<dyn AsyncRead + Send>> = Box::pin(field.into_async_read());
                return Ok(Part {
                    name,
                    media_type,
                    body: self.stream(reader),
                    verdict,
                });
            }
            Ok(Some(_)) => Refusal::OtherPart,
            Ok(None) => Refusal::NoPart,
            Err(_) => Refusal::Broken,
        };
        let _ = self.watch.refuse(refusal);
        // It may have been refused before, for another reason, of which this is the consequence.
        Err(self.watch.refusal.get().copied().unwrap_or(refusal).fault())
    }

    /// The bytes of the part, and after them the check that nothing follows.
    fn stream(self, reader: Pin<Box<dyn AsyncRead + Send>>) -> ByteStream {
        let state = Some((self, reader, BytesMut::new()));
        Box::pin(stream::try_unfold(state, |state| async move {
            let Some((mut form, mut reader, mut buffer)) = state else {
                return Ok(None);
            };
            buffer.reserve(PIECE);
            match reader.read_buf(&mut buffer).await {
                Err(_) => Err(form.watch.refuse(Refusal::Broken)),
                Ok(0) => {
                    // The parser gives no other part while this one is held.
                    drop(reader);
                    form.end().await.map(|()| None)
                }
                Ok(_) => {
                    let piece = buffer.split().freeze();
                    Ok(Some((piece, Some((form, reader, buffer)))))
                }
            }
        }))
    }

    async fn end(&mut self) -> Result<(), StreamError> {
        self.watch.allow(MOST_AROUND);
        match self.multipart.next_field().await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(self.watch.refuse(Refusal::OtherPart)),
            Err(_) => Err(self.watch.refuse(Refusal::Broken)),
        }
    }
}

impl ParsePayload for UploadPayload {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        let said = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let length = said(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let media_type = request.content_type();
        let essence = media_type
            .and_then(|kind| kind.split(';').next())
            .unwrap_or_default()
            .trim();
        if essence.eq_ignore_ascii_case(FORM) {
            return Ok(Self::Form {
                form: Form::new(request, body.take()?).await?,
                length,
            });
        }
        let bytes = body
            .take()?
            .into_bytes_stream()
            .map(|chunk| chunk.map_err(|_| StreamError::Interrupted));
        Ok(Self::Raw {
            body: Box::pin(bytes),
            length,
            media_type: media_type.map(str::to_owned),
        })
    }
}

impl<'a> ApiExtractor<'a> for UploadPayload {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let form = MetaSchema {
            required: vec!["file"],
            properties: vec![("file", Binary::<Body>::schema_ref())],
            ..MetaSchema::new("object")
        };
        let form = MetaMediaType {
            content_type: FORM,
            schema: MetaSchemaRef::Inline(Box::new(form)),
        };
        let raw = MetaMediaType {
            content_type: Binary::<Body>::CONTENT_TYPE,
            schema: Binary::<Body>::schema_ref(),
        };
        let description = "The bytes of the file, under any other Content-Type or none too, or a form around them.";
        Some(MetaRequest {
            description: Some(description),
            content: vec![raw, form],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _param_opts: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        <Self as ParsePayload>::from_request(request, body).await
    }
}

#[cfg(test)]
mod tests;
