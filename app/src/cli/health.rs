//! `plinth healthcheck`: for images without a shell or curl.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::args::{ExitCode, HealthcheckArgs};
use super::output::Output;
use crate::config::Config;

/// A container's health check is usually given a few seconds in all.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn run(args: &HealthcheckArgs, config: &Config, output: &mut Output) -> std::io::Result<ExitCode> {
    let address = match &args.url {
        Some(url) => url.trim_start_matches("http://").trim_end_matches('/').to_owned(),
        None => reachable(config),
    };
    let answer = tokio::time::timeout(PATIENCE, ask(&address)).await;
    match answer {
        Ok(Ok((true, body))) => output.text(&(body + "\n")).map(|()| ExitCode::Done),
        Ok(Ok((false, body))) => output.text(&(body + "\n")).map(|()| ExitCode::Failed),
        Ok(Err(error)) => output.fault(&format!("{address}: {error}")).map(|()| ExitCode::Failed),
        Err(_) => output
            .fault(&format!("{address} did not answer within {} s", PATIENCE.as_secs()))
            .map(|()| ExitCode::Failed),
    }
}

/// An address that listens everywhere is asked on this machine.
pub(super) fn reachable(config: &Config) -> String {
    let mut address = config.ops.bind;
    if address.ip().is_unspecified() {
        let local: std::net::IpAddr = if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        };
        address.set_ip(local);
    }
    address.to_string()
}

async fn ask(address: &str) -> Result<(bool, String), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = http::Request::get("/health/ready")
        .header(http::header::HOST, address)
        .body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let ready = response.status().is_success();
        let body = response.into_body().collect().await?.to_bytes();
        drop(sender);
        Ok::<_, hyper::Error>((ready, String::from_utf8_lossy(&body).into_owned()))
    };
    let (answer, _) = tokio::join!(exchange, connection);
    Ok(answer?)
}
