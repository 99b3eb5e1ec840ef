//! Webhooks over HTTPS.
