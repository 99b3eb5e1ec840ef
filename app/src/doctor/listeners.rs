//! The listeners of this machine: free for a server, or held by a server of this installation.

use std::error::Error;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use openapi::ReadyBody;
use serde::Deserialize;
use url::Url;

use super::{Verdict, in_words};
use crate::config::{Config, PublicUrl};
use crate::plain_http;

/// A listener on this machine answers at once.
const PATIENCE: Duration = Duration::from_secs(3);
const KEYS: &str = "/.well-known/paseto-keys";

/// What became of a question to a listener.
enum Answer {
    /// Nobody listens there.
    Nobody,
    /// Somebody listens, and this is the trouble with it.
    Trouble(String),
    /// It answered.
    Said(StatusCode, Vec<u8>),
}

async fn ask(address: &str, path: &str) -> Answer {
    match tokio::time::timeout(PATIENCE, plain_http::get(address, path)).await {
        Ok(Ok((status, body))) => Answer::Said(status, body.to_vec()),
        Ok(Err(error)) => {
            let io = error.downcast_ref::<std::io::Error>();
            if io.is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
                return Answer::Nobody;
            }
            let source: &(dyn Error + 'static) = &*error;
            Answer::Trouble(super::innermost(source))
        }
        Err(_) => Answer::Trouble(format!("no answer within {}", in_words(PATIENCE))),
    }
}

/// Whether a server could listen there; it is tried for a moment.
fn bindable(address: SocketAddr, key: &str) -> Verdict {
    match std::net::TcpListener::bind(address) {
        Ok(_) => Verdict::ok(format!("{address} is free; no server runs here")),
        Err(error) => Verdict::fail(
            format!("{address} cannot be bound: {error}"),
            format!("set {key} to an address of this machine and a port that this user may take"),
        ),
    }
}

fn any_port(key: &str) -> Verdict {
    Verdict::skipped(format!(
        "{key} takes any free port; --set {key}=ADDRESS names the one of a running server"
    ))
}

fn taken(address: SocketAddr, key: &str, what: &str) -> Verdict {
    Verdict::fail(
        format!("{address} is taken by something else: {what}"),
        format!("end what listens there, or set {key} to a free port"),
    )
}

/// The operations listener: ready, or free. Gives something when a server answers.
pub(super) async fn operations(config: &Config) -> (Verdict, Option<()>) {
    let (bind, key) = (config.ops.bind, "ops.bind");
    if bind.port() == 0 {
        return (any_port(key), None);
    }
    match ask(&plain_http::reachable(bind).to_string(), "/health/ready").await {
        Answer::Nobody => (bindable(bind, key), None),
        Answer::Trouble(what) => (taken(bind, key, &what), None),
        Answer::Said(status, body) => match serde_json::from_slice::<ReadyBody>(&body) {
            Ok(body) => (readiness(bind, &body), Some(())),
            Err(_) => (taken(bind, key, &format!("it answers with status {status}")), None),
        },
    }
}

pub(super) fn readiness(bind: SocketAddr, body: &ReadyBody) -> Verdict {
    let troubled = body.dependencies.iter().filter(|dependency| dependency.status != "ok");
    let troubled: Vec<String> = troubled
        .map(|dependency| {
            let reason = dependency.reason.as_deref().unwrap_or(&dependency.status);
            format!("{}: {reason}", dependency.name)
        })
        .collect();
    let cause = format!("the server on {bind} is {}: {}", body.status, troubled.join("; "));
    match &*body.status {
        "ready" => Verdict::ok(format!("the server on {bind} is ready")),
        "degraded" => Verdict::warn(cause, "see the findings here, and `plinth top`"),
        _ => Verdict::fail(
            cause,
            "see the findings here and the server's log; it takes no traffic until then",
        ),
    }
}

#[derive(Deserialize)]
struct PublishedKeys {
    keys: Vec<PublishedKey>,
}

#[derive(Deserialize)]
struct PublishedKey {
    kid: String,
}

enum Whose {
    Ours,
    Theirs,
    Unknown,
    NotPlinth(String),
}

/// Whose server that answer comes from: the keys that it publishes tell.
fn whose(status: StatusCode, body: &[u8], keys: &[String]) -> Whose {
    match serde_json::from_slice::<PublishedKeys>(body) {
        Ok(_) if keys.is_empty() => Whose::Unknown,
        Ok(published) if published.keys.iter().any(|key| keys.contains(&key.kid)) => Whose::Ours,
        Ok(_) => Whose::Theirs,
        Err(_) => Whose::NotPlinth(format!("it answers with status {status}")),
    }
}

/// The API listener: answered by this installation, or free. Gives something when this installation answers.
pub(super) async fn api(config: &Config, keys: &[String]) -> (Verdict, Option<()>) {
    let (bind, key) = (config.http.bind, "http.bind");
    if bind.port() == 0 {
        return (any_port(key), None);
    }
    match ask(&plain_http::reachable(bind).to_string(), KEYS).await {
        Answer::Nobody => (bindable(bind, key), None),
        Answer::Trouble(what) => (taken(bind, key, &what), None),
        Answer::Said(status, body) => match whose(status, &body, keys) {
            Whose::Ours => (Verdict::ok(format!("this installation answers on {bind}")), Some(())),
            Whose::Unknown => (
                Verdict::ok(format!(
                    "a Plinth answers on {bind}, of which installation is not known"
                )),
                None,
            ),
            Whose::Theirs => (taken(bind, key, "another installation of Plinth answers"), None),
            Whose::NotPlinth(what) => (taken(bind, key, &what), None),
        },
    }
}

/// Whether the public address leads to this installation. `serving`: a server of it answers on this machine.
pub(super) async fn public_url(url: &PublicUrl, keys: &[String], serving: bool) -> Verdict {
    let probe = url.join(KEYS);
    if url.is_https() {
        return Verdict::skipped(format!(
            "TLS is the proxy's; `curl -fsS {probe}` shows whether {url} leads here"
        ));
    }
    if !serving {
        return Verdict::skipped("no server answers on this machine, so none is looked for there");
    }
    let Some((address, path)) = target(&probe) else {
        return Verdict::skipped("its host cannot be read");
    };
    let fix = "correct public_url, or the proxy that it names: links in mails and documents begin with it";
    match ask(&address, &path).await {
        Answer::Nobody => Verdict::fail(format!("nobody listens at {url}"), fix),
        Answer::Trouble(what) => Verdict::fail(format!("{url}: {what}"), fix),
        Answer::Said(status, body) => match whose(status, &body, keys) {
            Whose::Ours => Verdict::ok(format!("{url} leads to this installation")),
            Whose::Unknown => Verdict::ok(format!("{url} leads to a Plinth, of which installation is not known")),
            Whose::Theirs => Verdict::fail(format!("{url} leads to another installation of Plinth"), fix),
            Whose::NotPlinth(what) => Verdict::fail(format!("{url} does not lead to Plinth: {what}"), fix),
        },
    }
}

fn target(url: &str) -> Option<(String, String)> {
    let url = Url::parse(url).ok()?;
    let port = url.port_or_known_default()?;
    Some((format!("{}:{port}", url.host_str()?), url.path().to_owned()))
}
