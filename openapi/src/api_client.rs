//! The client of the API: one method for each operation, answers and refusals typed. It keeps the tokens of a session
//! and refreshes them when an answer says so.
//!
//! It speaks TLS when the program that uses it enables a TLS feature of `reqwest`, which this crate leaves to it.

mod account;
mod audit;
mod content;
mod dead_letters;
mod error;
mod file;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;

use crate::{Problem, RefreshBody, TokenPairBody};

pub use audit::AuditFilter;
pub use dead_letters::DeadLetterQuery;
pub use error::ApiError;
pub use file::{ByteRange, Content, NewFile};

/// How long a connection may take to come about.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How long the next bytes of an answer may take: a long poll of 30 seconds, and a server that is busy after it.
const READ_PATIENCE: Duration = Duration::from_secs(45);

/// The tokens of a session. Shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The access token.
    pub access: String,
    /// The refresh token, good for one use. Without it nothing is refreshed.
    pub refresh: Option<String>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens { .. }")
    }
}

impl From<&TokenPairBody> for Tokens {
    fn from(pair: &TokenPairBody) -> Self {
        Self {
            access: pair.access_token.clone(),
            refresh: Some(pair.refresh_token.clone()),
        }
    }
}

/// A client of one server, cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct ApiClient {
    http: reqwest::Client,
    base: Url,
    tokens: Arc<Mutex<Option<Tokens>>>,
}

impl std::fmt::Debug for ApiClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiClient")
            .field("base", &self.base.as_str())
            .finish_non_exhaustive()
    }
}

impl ApiClient {
    /// A client of the server at this address, with its path if it stands behind one.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(address: &str) -> Result<Self, ApiError> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_PATIENCE)
            .read_timeout(READ_PATIENCE)
            .build()
            .map_err(|error| error::told(&error))?;
        Self::with_http(address, http)
    }

    /// The same over a `reqwest` client of one's own: with proxies, certificates or times of another kind.
    ///
    /// # Errors
    /// When the address is none.
    pub fn with_http(address: &str, http: reqwest::Client) -> Result<Self, ApiError> {
        let base = Url::parse(address).map_err(|error| ApiError::Address(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.query().is_some() || base.fragment().is_some() {
            return Err(ApiError::Address(
                "it must be http:// or https://, without a query".to_owned(),
            ));
        }
        Ok(Self {
            http,
            base,
            tokens: Arc::new(Mutex::new(None)),
        })
    }

    /// The tokens that requests are made with now: keep them, and a later process goes on with the session.
    pub fn tokens(&self) -> Option<Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes on with a session that was begun elsewhere, or forgets the one that is here.
    pub fn set_tokens(&self, tokens: Option<Tokens>) {
        *self.tokens.lock().unwrap_or_else(PoisonError::into_inner) = tokens;
    }

    /// A request for the path made of these parts, each escaped.
    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        // Only an address without a host cannot be a base, and those were refused.
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(path);
        }
        self.http.request(method, url)
    }

    /// Sends a request that needs no token.
    async fn open(&self, request: RequestBuilder) -> Result<Response, ApiError> {
        accepted(request.send().await.map_err(|error| error::told(&error))?).await
    }

    /// Sends a request with the access token; when the server says that it is over or out of date, refreshes it and
    /// sends the request once more. A body that is a stream cannot be sent twice: then the refusal is the answer, and the
    /// next request has the new token.
    async fn send(&self, request: RequestBuilder) -> Result<Response, ApiError> {
        let first = request.build().map_err(|error| error::told(&error))?;
        let again = first.try_clone();
        let used = self.tokens();
        let refusal = match self.execute(first, used.as_ref()).await {
            Err(error) if error.asks_to_refresh() => error,
            other => return other,
        };
        let Some(used) = used.filter(|tokens| tokens.refresh.is_some()) else {
            return Err(refusal);
        };
        let fresh = self.refreshed(&used).await?;
        match again {
            Some(again) => self.execute(again, Some(&fresh)).await,
            None => Err(refusal),
        }
    }

    async fn execute(&self, mut request: reqwest::Request, tokens: Option<&Tokens>) -> Result<Response, ApiError> {
        if let Some(tokens) = tokens {
            let value = HeaderValue::try_from(format!("Bearer {}", tokens.access));
            let mut value = value.map_err(|_| ApiError::Token)?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        accepted(self.http.execute(request).await.map_err(|error| error::told(&error))?).await
    }

    /// The tokens that follow `used`: those that another clone got meanwhile, or new ones. Two that ask at once get the
    /// same from the server, which answers a repetition within seconds alike.
    async fn refreshed(&self, used: &Tokens) -> Result<Tokens, ApiError> {
        if let Some(newer) = self.tokens().filter(|now| now != used) {
            return Ok(newer);
        }
        let body = RefreshBody {
            refresh_token: used.refresh.clone().unwrap_or_default().into(),
        };
        let pair: TokenPairBody = read(
            self.open(self.request(Method::POST, &["v1", "auth", "refresh"]).json(&body))
                .await?,
        )
        .await?;
        let fresh = Tokens::from(&pair);
        let mut kept = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        // Signed out or in anew while the answer was on its way: what is kept then is not to be overwritten.
        if kept.as_ref() == Some(used) {
            *kept = Some(fresh.clone());
        }
        Ok(fresh)
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, Option<String>)]) -> Result<T, ApiError> {
        read(self.send(asking(self.request(Method::GET, path), query)).await?).await
    }
}

/// Adds the parameters that have a value.
fn asking(request: RequestBuilder, query: &[(&str, Option<String>)]) -> RequestBuilder {
    let mut request = request.build_split();
    if let (_, Ok(request)) = &mut request {
        let given: Vec<(&str, &str)> = query
            .iter()
            .filter_map(|(name, value)| value.as_deref().map(|value| (*name, value)))
            .collect();
        if !given.is_empty() {
            request.url_mut().query_pairs_mut().extend_pairs(given);
        }
    }
    match request {
        (http, Ok(request)) => RequestBuilder::from_parts(http, request),
        (http, Err(_)) => http.get(""),
    }
}

/// The answer when it is a success, else the refusal that it holds.
async fn accepted(response: Response) -> Result<Response, ApiError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = response.bytes().await.map_err(|error| error::told(&error))?;
    Err(match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => ApiError::Refused(Box::new(problem)),
        Err(_) => ApiError::Status(status.as_u16()),
    })
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T, ApiError> {
    let body = response.bytes().await.map_err(|error| error::told(&error))?;
    serde_json::from_slice(&body).map_err(|error| ApiError::Body(error.to_string()))
}
