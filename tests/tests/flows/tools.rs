//! What several flows need: waiting for what comes by itself, requests byte by byte, answers without what always differs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use plinth_tests::api::Reply;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// For what workers do by themselves, on a machine that also compiles.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// A real PDF of one page.
pub(crate) const PDF: &[u8] = include_bytes!("../../data/sample.pdf");

/// Asks again until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An answer without what differs between any two: the request id and the date.
pub(crate) fn alike(reply: &Reply) -> (u16, Vec<(String, String)>, String) {
    let mut headers: Vec<(String, String)> = reply
        .headers
        .iter()
        .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
        .collect();
    headers.sort();
    let body = match serde_json::from_slice::<Value>(&reply.body) {
        Ok(mut problem) => {
            if let Some(problem) = problem.as_object_mut() {
                problem.remove("request_id");
            }
            problem.to_string()
        }
        Err(_) => reply.text(),
    };
    (reply.status, headers, body)
}

/// The pointers and codes of a problem's refused parts.
pub(crate) fn refused_parts(reply: &Reply) -> Vec<(String, String)> {
    let problem = reply.json();
    let parts = problem["errors"].as_array().cloned().unwrap_or_default();
    let text = |part: &Value, name: &str| part[name].as_str().unwrap_or_default().to_owned();
    parts
        .iter()
        .map(|part| (text(part, "pointer"), text(part, "code")))
        .collect()
}

/// Asserts that exactly one part was refused, by this rule.
#[track_caller]
pub(crate) fn assert_refused(reply: &Reply, pointer: &str, code: &str) {
    assert_eq!(refused_parts(reply), [(pointer.to_owned(), code.to_owned())], "{reply}");
}

/// A connection to speak HTTP on by hand. `address` is `http://HOST:PORT`.
pub(crate) async fn connect(address: &str) -> TcpStream {
    let address = address.trim_start_matches("http://");
    TcpStream::connect(address).await.expect("the server takes connections")
}

/// Sends bytes and reads what comes until the server closes, or `patience` is over.
pub(crate) async fn exchange(address: &str, request: &[u8], patience: Duration) -> String {
    let mut stream = connect(address).await;
    stream.write_all(request).await.expect("the server reads");
    let mut answer = Vec::new();
    let reading = async {
        let mut buffer = [0; 8 * 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..read]);
        }
    };
    let _ = tokio::time::timeout(patience, reading).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Every file below a folder, by its path below it.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if let Ok(below) = entry.path().strip_prefix(folder) {
                found.push(below.to_path_buf());
            }
        }
    }
    found.sort();
    found
}
