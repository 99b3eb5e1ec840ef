//! Blobs on disk, the in-process event bus, .eml mail, the in-process rate limiter.
