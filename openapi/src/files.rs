//! Files on the wire: what was stored, pages of it, and signed links.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Time;

/// The life of a signed link in seconds when nothing else is asked for.
pub const LINK_SECONDS_DEFAULT: u32 = 900;

/// A stored file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct FileBody {
    /// Its id.
    pub id: Uuid,
    /// The type that the uploader gave it, such as `resume`.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "server", oai(rename = "type"))]
    pub kind: String,
    /// The name that the uploader gave it.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// What its first bytes say it is; the declared media type where they say nothing.
    pub media_type: String,
    /// The SHA-256 of its bytes in lower-case hexadecimal. In quotation marks it is the `ETag` of the content.
    pub sha256: String,
    /// The name of the backend that holds the bytes.
    pub backend: String,
    /// When it was stored.
    pub created_at: Time,
}

/// A page of files, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct FilePageBody {
    /// The files.
    pub items: Vec<FileBody>,
    /// What to send as `after` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// What a signed link is to be like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields))]
pub struct CreateLinkBody {
    /// The life of the link in seconds, at most seven days.
    #[serde(default = "default_life")]
    #[cfg_attr(
        feature = "server",
        oai(default = "default_life", validator(minimum(value = "1"), maximum(value = "604800")))
    )]
    pub expires_in: u32,
    /// Whether a browser is to save the file or to show it. Only images, PDF and plain text are ever shown.
    #[serde(default)]
    #[cfg_attr(feature = "server", oai(default))]
    pub disposition: LinkDisposition,
}

fn default_life() -> u32 {
    LINK_SECONDS_DEFAULT
}

/// What a browser does with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "server", derive(poem_openapi::Enum), oai(rename_all = "lowercase"))]
pub enum LinkDisposition {
    /// Save it.
    #[default]
    Attachment,
    /// Show it.
    Inline,
}

/// A signed link: whoever has it reads the file, without a token, until it expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct LinkBody {
    /// The whole address. GET and HEAD, `Range` and conditions work as on the content of the file.
    pub url: String,
    /// Until when it works.
    pub expires_at: Time,
}

#[cfg(feature = "server")]
mod server {
    use std::fmt::Write;

    use domain::file::File;
    use domain::page::Page;

    use super::{FileBody, FilePageBody};

    impl From<File> for FileBody {
        fn from(file: File) -> Self {
            let sha256 = file.sha256.iter().fold(String::with_capacity(64), |mut text, byte| {
                // Writing to a string cannot fail.
                let _ = write!(text, "{byte:02x}");
                text
            });
            Self {
                id: file.id.uuid(),
                kind: file.kind.as_str().to_owned(),
                name: file.name.as_str().to_owned(),
                size: file.size,
                media_type: file.media_type,
                sha256,
                backend: file.backend.as_str().to_owned(),
                created_at: file.created_at.into(),
            }
        }
    }

    impl From<Page<File>> for FilePageBody {
        fn from(page: Page<File>) -> Self {
            Self {
                items: page.items.into_iter().map(FileBody::from).collect(),
                next_cursor: page.next,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_body_has_defaults_and_takes_nothing_unknown() {
        let body: CreateLinkBody = serde_json::from_str("{}").unwrap();
        assert_eq!(
            body,
            CreateLinkBody {
                expires_in: 900,
                disposition: LinkDisposition::Attachment
            }
        );
        let inline: CreateLinkBody = serde_json::from_str(r#"{"expires_in": 60, "disposition": "inline"}"#).unwrap();
        assert_eq!(inline.disposition, LinkDisposition::Inline);
        assert!(serde_json::from_str::<CreateLinkBody>(r#"{"expires": 60}"#).is_err());
    }
}
