//! `/v1/files`: uploading, listing, reading and deleting files, and `/v1/links`: reading one by a signed link.

use std::sync::Arc;
use std::time::Duration;

use domain::blob::{FileName, FileType};
use domain::id::FileId;
use openapi::{CreateLinkBody, FileBody, FilePageBody, LinkBody, LinkDisposition};
use poem::Request;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use ports::{ByteStream, StoredAnswer, StreamError};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::accounts::Done;
use super::auth::{Bearer, Caller};
use super::idempotency::Idempotency;
use super::input::{Fields, page};
use super::problem::Fault;
use crate::service::files::{
    Disposition, Files, FollowLinkError, Length, LinkFileError, NewFile, PresentedLink, RemoveFileError,
    UploadFileError,
};

mod conditions;
mod content;
mod payload;
#[cfg(test)]
mod tests;

pub use content::Content;
use payload::{Part, UploadPayload};

/// The route of uploads, to which their `Idempotency-Key`s are scoped.
const UPLOAD: &str = "POST /v1/files";

/// When the caller has too many uploads under way: nobody knows when one of them ends.
const PLACE_RETRY_SECONDS: u64 = 5;

/// What the operations answer beyond what all may answer.
pub const ERRORS: &[(&str, &[&str])] = &[
    (
        "upload_file",
        &[
            "validation_failed",
            "payload_too_large",
            "quota_exceeded",
            "request_timeout",
            "idempotency_key_reused",
            "idempotency_in_flight",
            "storage_full",
            "not_found",
        ],
    ),
    ("list_files", &["validation_failed"]),
    ("get_file", &["not_found"]),
    (
        "download_file",
        &["not_found", "precondition_failed", "range_not_satisfiable"],
    ),
    ("delete_file", &["not_found"]),
    ("create_file_link", &["validation_failed", "not_found"]),
    (
        "follow_file_link",
        &["not_found", "precondition_failed", "range_not_satisfiable"],
    ),
];

/// The operations.
#[derive(Debug)]
pub struct FilesApi {
    /// The service.
    pub files: Arc<Files>,
    /// Requests that come with an `Idempotency-Key`.
    pub idempotency: Arc<Idempotency>,
}

/// The answer to an upload.
#[derive(Debug, ApiResponse)]
pub enum Uploaded {
    /// The file is stored.
    #[oai(status = 201)]
    Stored(
        Json<FileBody>,
        /// The path of the file.
        #[oai(header = "Location")]
        String,
        /// `true` when an earlier request with the same `Idempotency-Key` stored the file.
        #[oai(header = "Idempotency-Replayed")]
        Option<String>,
    ),
}

/// An upload whose parameters and headers were read.
struct Upload<'a> {
    caller: &'a Caller,
    kind: FileType,
    name: FileName,
    length: Length,
    media_type: Option<String>,
}

#[OpenApi(tag = "super::Tags::Files")]
impl FilesApi {
    /// Upload a file
    ///
    /// The body is streamed into the default backend. Send the bytes themselves, or a form with one part `file`. Limits of the plan are checked before the body is read where its length is known; send `Expect: 100-continue` to learn of a refusal without sending it.
    #[oai(path = "/v1/files", method = "post", operation_id = "upload_file")]
    async fn upload(
        &self,
        auth: Bearer,
        /// What kind of file it is to the product, such as `resume`: 1 to 32 of `a-z0-9_-`.
        #[oai(name = "type")]
        kind: Query<String>,
        /// Its name, without a path; a form may name it by the `filename` of its part instead.
        name: Query<Option<String>>,
        /// Makes a repetition safe: the same key with the same file is stored once.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        payload: UploadPayload,
    ) -> Result<Uploaded, Fault> {
        let mut fields = Fields::new();
        let kind = fields.read("#/parameters/type", "format", &kind.0);
        let named = name
            .0
            .as_deref()
            .map(|name| fields.read("#/parameters/name", "format", name));
        let (Some(kind), false) = (kind, named == Some(None)) else {
            return Err(fields.fault());
        };
        let (named, caller, key) = (named.flatten(), &auth.0, idempotency_key.0.as_deref());
        match payload {
            UploadPayload::Raw {
                body,
                length,
                media_type,
            } => {
                let Some(name) = named else {
                    let detail = "the name of the file is required";
                    return Err(Fault::validation_failed().at("#/parameters/name", "required", detail));
                };
                let length = length.map_or(Length::Unknown, Length::Exact);
                self.store(
                    Upload {
                        caller,
                        kind,
                        name,
                        length,
                        media_type,
                    },
                    key,
                    body,
                )
                .await
            }
            UploadPayload::Form { form, length } => {
                let length = length.map_or(Length::Unknown, Length::Framed);
                // A repetition is answered even when the first upload has filled the quota.
                if key.is_none() {
                    self.files.admit(caller.user_id(), &caller.claims.tier, length).await?;
                }
                let part = form.open().await?;
                let name = match named {
                    Some(name) => name,
                    None => named_by(&part)?,
                };
                let upload = Upload {
                    caller,
                    kind,
                    name,
                    length,
                    media_type: part.media_type,
                };
                let outcome = self.store(upload, key, part.body).await;
                outcome.map_err(|fault| part.verdict.fault().unwrap_or(fault))
            }
        }
    }

    /// List files
    ///
    /// The caller's files, newest first.
    #[oai(path = "/v1/files", method = "get", operation_id = "list_files")]
    async fn list(
        &self,
        auth: Bearer,
        /// Only files of this type.
        #[oai(name = "type")]
        kind: Query<Option<String>>,
        /// The `next_cursor` of the page before.
        after: Query<Option<String>>,
        /// How many items at the most, 1 to 200; 50 when left out.
        limit: Query<Option<u32>>,
    ) -> Result<Json<FilePageBody>, Fault> {
        let mut fields = Fields::new();
        let kind = kind
            .0
            .as_deref()
            .map(|kind| fields.read("#/parameters/type", "format", kind));
        if kind == Some(None) {
            return Err(fields.fault());
        }
        let page = page(after.0, limit.0)?;
        Ok(Json(
            self.files.list(auth.0.user_id(), kind.flatten(), &page).await?.into(),
        ))
    }

    /// Read what is known of a file
    ///
    /// Its name, size, media type and hash; `GET /v1/files/{id}/content` has the bytes.
    #[oai(path = "/v1/files/:id", method = "get", operation_id = "get_file")]
    async fn get(
        &self,
        auth: Bearer,
        /// The file.
        id: Path<Uuid>,
    ) -> Result<Json<FileBody>, Fault> {
        let file = self.files.find(auth.0.user_id(), FileId::new(id.0)).await?;
        Ok(Json(file.ok_or_else(Fault::not_found)?.into()))
    }

    /// Download a file
    ///
    /// One range at a time; several are answered with the whole. The bytes are held against their stored SHA-256 while they leave: when they are not what was stored, the connection breaks before the last of them.
    #[oai(
        path = "/v1/files/:id/content",
        method = "get",
        operation_id = "download_file",
        request_header(
            name = "Range",
            ty = "Option<String>",
            description = "One range of bytes, such as `bytes=0-1023`."
        ),
        request_header(
            name = "If-None-Match",
            ty = "Option<String>",
            description = "Entity tags that the client has: 304 when the file has one of them."
        ),
        request_header(
            name = "If-Range",
            ty = "Option<String>",
            description = "The entity tag that `Range` is about: another file is answered with the whole."
        )
    )]
    async fn content(
        &self,
        auth: Bearer,
        /// The file.
        id: Path<Uuid>,
        request: &Request,
    ) -> Result<Content, Fault> {
        let file = self
            .files
            .find(auth.0.user_id(), FileId::new(id.0))
            .await?
            .ok_or_else(Fault::not_found)?;
        Content::of(&self.files, file, request.headers(), Disposition::Inline).await
    }

    /// Delete a file
    ///
    /// The file and all signed links to it are gone at once, and its room in the plan is free again.
    #[oai(path = "/v1/files/:id", method = "delete", operation_id = "delete_file")]
    async fn delete(
        &self,
        auth: Bearer,
        /// The file.
        id: Path<Uuid>,
    ) -> Result<Done, Fault> {
        self.files
            .remove(auth.0.user_id(), &auth.0.origin(), FileId::new(id.0))
            .await?;
        Ok(Done::Done)
    }

    /// Make a signed link
    ///
    /// Whoever has the link reads the file without a token until it expires. It cannot be called back but by deleting the file.
    #[oai(path = "/v1/files/:id/link", method = "post", operation_id = "create_file_link")]
    async fn link(
        &self,
        auth: Bearer,
        /// The file.
        id: Path<Uuid>,
        body: Json<CreateLinkBody>,
    ) -> Result<Json<LinkBody>, Fault> {
        let disposition = match body.disposition {
            LinkDisposition::Attachment => Disposition::Attachment,
            LinkDisposition::Inline => Disposition::Inline,
        };
        let life = Duration::from_secs(body.expires_in.into());
        let link = self
            .files
            .link(auth.0.user_id(), FileId::new(id.0), life, disposition)
            .await?;
        Ok(Json(LinkBody {
            url: link.url.into(),
            expires_at: link.expires_at.into(),
        }))
    }

    /// Follow a signed link
    ///
    /// Links are made by `POST /v1/files/{id}/link` and used as they are; a link that is wrong, changed, over, or whose file is gone answers 404.
    #[oai(
        path = "/v1/links/:id",
        method = "get",
        operation_id = "follow_file_link",
        request_header(
            name = "Range",
            ty = "Option<String>",
            description = "One range of bytes, such as `bytes=0-1023`."
        ),
        request_header(
            name = "If-None-Match",
            ty = "Option<String>",
            description = "Entity tags that the client has: 304 when the file has one of them."
        ),
        request_header(
            name = "If-Range",
            ty = "Option<String>",
            description = "The entity tag that `Range` is about: another file is answered with the whole."
        )
    )]
    async fn follow(
        &self,
        /// The file.
        id: Path<Uuid>,
        /// The form of the link.
        v: Query<String>,
        /// When it expires, in seconds since the Unix epoch.
        expires: Query<i64>,
        /// Whether a browser is to save the file or to show it: `attachment` or `inline`.
        disposition: Query<String>,
        /// The signature.
        signature: Query<String>,
        request: &Request,
    ) -> Result<Content, Fault> {
        let link = PresentedLink {
            id: FileId::new(id.0),
            version: &v.0,
            expires: expires.0,
            disposition: &disposition.0,
            signature: &signature.0,
        };
        let (file, disposition) = self.files.follow(link).await?;
        Content::of(&self.files, file, request.headers(), disposition).await
    }
}

impl FilesApi {
    /// Stores the file, or answers a repetition from the file that the first request stored.
    async fn store(&self, upload: Upload<'_>, key: Option<&str>, body: ByteStream) -> Result<Uploaded, Fault> {
        let caller = upload.caller;
        let ticket = self
            .idempotency
            .begin(key, caller, UPLOAD, upload.fingerprint())
            .await?;
        if let Some(answer) = ticket.replay() {
            return self.repeat(&upload, answer, body).await;
        }
        let new = NewFile {
            user_id: caller.user_id(),
            tier: caller.claims.tier.clone(),
            origin: caller.origin(),
            kind: upload.kind,
            name: upload.name,
            length: upload.length,
            media_type: upload.media_type,
        };
        match self
            .files
            .upload(new, body, |file| ticket.answer(201, vec![file.id.to_string()]))
            .await
        {
            Ok(file) => Ok(stored(file.into(), false)),
            Err(error) => {
                ticket.release().await;
                Err(error.into())
            }
        }
    }

    /// The answer that the first request got, when the body is the same.
    async fn repeat(&self, upload: &Upload<'_>, answer: &StoredAnswer, body: ByteStream) -> Result<Uploaded, Fault> {
        let id: Option<FileId> = answer.resources.first().and_then(|id| id.parse().ok());
        let id = id.ok_or_else(|| Fault::internal_error().caused_by("a stored answer without the id of a file"))?;
        let Some(file) = self.files.find(upload.caller.user_id(), id).await? else {
            return Err(Fault::not_found().detail("the file that the first request stored has been deleted"));
        };
        match self.files.is_content(&file, upload.length, body).await {
            Ok(true) => Ok(stored(file.into(), true)),
            Ok(false) => Err(Fault::idempotency_key_reused()),
            Err(StreamError::Backend(error)) => Err(error.into()),
            Err(StreamError::Interrupted | StreamError::Corrupt | StreamError::TooLarge(_)) => Err(broken_off()),
        }
    }
}

impl Upload<'_> {
    /// What a repetition must have in common before its body is looked at. The size of a form is left out: it changes with the boundary, which clients choose anew each time.
    fn fingerprint(&self) -> [u8; 32] {
        let length = match self.length {
            Length::Exact(length) => format!("{length}"),
            Length::Framed(_) | Length::Unknown => String::new(),
        };
        let mut hash = Sha256::new_with_prefix(b"plinth.upload.v1\0");
        // None of the parts can hold the byte that ends it.
        for part in [self.kind.as_str(), self.name.as_str(), &length] {
            hash.update(part);
            hash.update([0]);
        }
        hash.finalize().into()
    }
}

/// The name that a form gives its part.
fn named_by(part: &Part) -> Result<FileName, Fault> {
    let Some(name) = &part.name else {
        let detail = "the file needs a name: this parameter, or the filename of the part";
        return Err(Fault::validation_failed().at("#/parameters/name", "required", detail));
    };
    let mut fields = Fields::new();
    fields
        .read("#/file/filename", "format", name)
        .ok_or_else(|| fields.fault())
}

fn stored(body: FileBody, replayed: bool) -> Uploaded {
    let path = format!("/v1/files/{}", body.id);
    Uploaded::Stored(Json(body), path, replayed.then(|| "true".to_owned()))
}

fn broken_off() -> Fault {
    Fault::malformed_request().detail("the body ended early")
}

impl From<UploadFileError> for Fault {
    fn from(error: UploadFileError) -> Self {
        match error {
            UploadFileError::TooLarge(most) => {
                Self::payload_too_large().detail(format!("a file of this plan has at most {most} bytes"))
            }
            UploadFileError::QuotaExceeded => {
                Self::quota_exceeded().detail("the storage of this plan would be exceeded")
            }
            UploadFileError::StorageFull => Self::storage_full(),
            UploadFileError::Interrupted => broken_off(),
            UploadFileError::TooMany => Self::rate_limited()
                .retry_after(PLACE_RETRY_SECONDS)
                .detail("too many uploads at one time; wait for one of them to end"),
            UploadFileError::TooSlow => Self::request_timeout(),
            UploadFileError::Effects(error) => error.into(),
        }
    }
}

impl From<RemoveFileError> for Fault {
    fn from(error: RemoveFileError) -> Self {
        match error {
            RemoveFileError::NotFound => Self::not_found(),
            RemoveFileError::Effects(error) => error.into(),
        }
    }
}

impl From<LinkFileError> for Fault {
    fn from(error: LinkFileError) -> Self {
        match error {
            LinkFileError::NotFound => Self::not_found(),
            LinkFileError::Life => Self::validation_failed().at("#/expires_in", "range", "must be 1 to 604800"),
            LinkFileError::Backend(error) => error.into(),
        }
    }
}

impl From<FollowLinkError> for Fault {
    fn from(error: FollowLinkError) -> Self {
        match error {
            FollowLinkError::Invalid => {
                Self::not_found().detail("the link is wrong or has expired, or its file is gone; ask for a new one")
            }
            FollowLinkError::Backend(error) => error.into(),
        }
    }
}
