//! The client of the operations listener: plain HTTP, since the listener speaks nothing else.
use std::error::Error;
use std::time::Duration;

use crate::{StatsBody, StatsStream};

/// How long an answer may take in all. The server itself gives a probe of the database 2 seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection may take to come about.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

/// The most bytes of an answer. Figures of hundreds of groups take some tens of KiB; whatever sends more is not Plinth.
pub(crate) const MAX_BODY_BYTES: usize = 1 << 20;

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none.
    #[error("the address must be HOST:PORT or http://HOST:PORT: {0}")]
    Address(String),
    /// The token cannot stand in a header.
    #[error("the token holds letters that no header can carry")]
    Token,
    /// Nobody could be reached.
    #[error("{0}")]
    Unreachable(String),
    /// No answer, or only a part of one, in time.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Slow,
    /// The listener wants a token, or another one.
    #[error("the listener refuses the token (status {0}); set PLINTH_OPS_TOKEN to the server's")]
    Unauthorised(u16),
    /// The listener answered with another status than 200.
    #[error("it answered with status {0}; is this the ops address?")]
    Status(u16),
    /// The answer is not what this client reads.
    #[error("its answer cannot be read ({0}); is this the ops address, and is the server of this version?")]
    Body(String),
}

/// A client of one operations listener. It keeps its connection between calls.
#[derive(Clone)]
pub struct OpsClient {
    http: reqwest::Client,
    address: String,
    stats: reqwest::Url,
    authorisation: Option<reqwest::header::HeaderValue>,
}

impl std::fmt::Debug for OpsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpsClient")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl OpsClient {
    /// A client of the listener at `HOST:PORT` or `http://HOST:PORT`, with the bearer token if it asks for one. Proxies
    /// of the environment are not used: what is asked here is on this machine or next to it.
    ///
    /// # Errors
    /// When the address or the token cannot be used.
    pub fn new(address: &str, token: Option<&str>) -> Result<Self, ClientError> {
        let base = parse(address)?;
        let authorisation = token.map(|token| reqwest::header::HeaderValue::try_from(format!("Bearer {token}")));
        let mut authorisation = authorisation.transpose().map_err(|_| ClientError::Token)?;
        if let Some(value) = &mut authorisation {
            value.set_sensitive(true);
        }
        let http = builder().timeout(PATIENCE).build().map_err(|error| told(&error))?;
        let address = base.authority().to_owned();
        let stats = base
            .join("/ops/stats")
            .map_err(|error| ClientError::Address(error.to_string()))?;
        Ok(Self {
            http,
            address,
            stats,
            authorisation,
        })
    }

    /// The listener's address as `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Reads the figures of now.
    ///
    /// # Errors
    /// When there is no answer in time, or not the one that was asked for.
    pub async fn stats(&self) -> Result<StatsBody, ClientError> {
        let mut response = self.ask(self.http.get(self.stats.clone())).await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| told(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_BODY_BYTES {
                return Err(ClientError::Body(format!("it has more than {MAX_BODY_BYTES} bytes")));
            }
        }
        serde_json::from_slice(&body).map_err(|error| ClientError::Body(error.to_string()))
    }

    /// Follows the figures: the server sends them at once and then at this interval, as near as it takes it.
    ///
    /// # Errors
    /// When there is no answer in time, or not the one that was asked for.
    pub async fn watch(&self, every: Duration) -> Result<StatsStream, ClientError> {
        let mut url = self.stats.clone();
        url.set_path("/ops/stats/stream");
        url.query_pairs_mut()
            .append_pair("every_ms", &every.as_millis().to_string());
        // The stream has no end of its own; the wait for each of its parts has one.
        let http = builder().read_timeout(every + PATIENCE).build();
        let http = http.map_err(|error| told(&error))?;
        Ok(StatsStream::new(self.ask(http.get(url)).await?))
    }

    async fn ask(&self, mut request: reqwest::RequestBuilder) -> Result<reqwest::Response, ClientError> {
        if let Some(value) = &self.authorisation {
            request = request.header(reqwest::header::AUTHORIZATION, value.clone());
        }
        let response = request.send().await.map_err(|error| told(&error))?;
        match response.status().as_u16() {
            200 => Ok(response),
            status @ (401 | 403) => Err(ClientError::Unauthorised(status)),
            status => Err(ClientError::Status(status)),
        }
    }
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_PATIENCE)
}

fn parse(address: &str) -> Result<reqwest::Url, ClientError> {
    let refuse = |why: &str| Err(ClientError::Address(why.to_owned()));
    if address.starts_with("https://") {
        return refuse("the listener speaks no TLS");
    }
    let text = address.strip_prefix("http://").unwrap_or(address);
    let url = match reqwest::Url::parse(&format!("http://{text}")) {
        Ok(url) => url,
        Err(error) => return refuse(&error.to_string()),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("it holds a user");
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return refuse("it holds a path");
    }
    Ok(url)
}

/// The innermost cause alone: the layers above it repeat the address and say "error" in other words.
pub(crate) fn told(error: &reqwest::Error) -> ClientError {
    if error.is_timeout() {
        return ClientError::Slow;
    }
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let text = match cause.downcast_ref::<std::io::Error>() {
        Some(error) if error.raw_os_error().is_some() => error.kind().to_string(),
        _ => cause.to_string(),
    };
    ClientError::Unreachable(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_a_scheme() {
        for address in ["127.0.0.1:9090", "http://127.0.0.1:9090", "http://127.0.0.1:9090/"] {
            assert_eq!(
                OpsClient::new(address, None).unwrap().address(),
                "127.0.0.1:9090",
                "{address}"
            );
        }
        assert_eq!(OpsClient::new("[::1]:9090", None).unwrap().address(), "[::1]:9090");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for address in [
            "",
            "http://",
            "https://localhost:9090",
            "a:b@localhost:1",
            "localhost:1/ops/stats",
            "localhost:99999",
        ] {
            assert!(
                matches!(OpsClient::new(address, None), Err(ClientError::Address(_))),
                "{address}"
            );
        }
    }

    #[test]
    fn a_token_is_not_shown_and_must_fit_a_header() {
        let client = OpsClient::new("localhost:1", Some("a-secret-of-length")).unwrap();
        assert!(!format!("{client:?}").contains("a-secret"));
        assert!(matches!(
            OpsClient::new("localhost:1", Some("a\nb")),
            Err(ClientError::Token)
        ));
    }
}
