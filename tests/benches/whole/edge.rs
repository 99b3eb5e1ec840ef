//! What a request costs before it does anything: beside a bare handler, with known tokens and with new ones.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use pasetors::Public;
use pasetors::keys::{AsymmetricKeyPair, Generate as _};
use pasetors::token::UntrustedToken;
use pasetors::version4::{PublicToken, V4};
use plinth_tests::api::Client;
use plinth_tests::site::{Backing, Site, sign_in};
use serde_json::json;

use crate::Plan;
use crate::load::{self, Target};
use crate::peers::Peer;
use crate::process;
use crate::report::{Report, Wanted};

const BARE: &str = "bare JSON handler, 32 connections";
const CONNECTIONS: u32 = 32;

/// Sessions that the new tokens are taken from, and how many each gives in one round.
const SESSIONS: usize = 16;
const TOKENS: usize = 150;
/// Connections that ask with them.
const ASKERS: usize = 4;

pub(crate) async fn measure(plan: &Plan, report: &mut Report) {
    let site = Site::start(Backing::Sqlite).await;
    let person = site.person("edge").await;
    let token = person.client.token().expect("signed in").to_owned();
    if load::possible() {
        let bare = Peer::json();
        let targets = [
            (BARE, Target::get(format!("{}/json", bare.base)), Wanted::Nothing),
            (
                "GET /health/live",
                Target::get(format!("{}/health/live", site.server.ops())),
                Wanted::PartOf(0.85, BARE.to_owned()),
            ),
            (
                "GET /v1/auth/whoami, one token",
                Target::get(format!("{}/v1/auth/whoami", site.server.http())).token(&token),
                Wanted::PartOf(0.75, BARE.to_owned()),
            ),
        ];
        for _ in 0..plan.rounds {
            for (name, target, wanted) in &targets {
                let load = load::run(target, CONNECTIONS, plan.length);
                assert_eq!(load.refused, 0, "{name}");
                report.add(name, "requests/s", load.rate, wanted.clone());
            }
        }
    }
    for _ in 0..plan.rounds {
        report.add(
            "the signature check by itself",
            "us",
            signature_check(),
            Wanted::Nothing,
        );
        new_tokens(&site, &person.email, &person.password, report).await;
    }
}

/// The processor time of a request with a token that was never seen, above that of one with a known token.
async fn new_tokens(site: &Site, email: &str, password: &str, report: &mut Report) {
    let mut mints = tokio::task::JoinSet::new();
    for _ in 0..SESSIONS {
        let person = sign_in(&site.client(), email, password).await;
        mints.spawn(mint(site.client(), person.refresh_token));
    }
    let tokens: Vec<String> = mints.join_all().await.into_iter().flatten().collect();
    let known = tokens.first().expect("there are tokens").clone();
    let pid = site.server.pid();
    // The workers' own doings between two requests are in both.
    let cost = |tokens: &[String]| {
        let before = process::processor_time(pid);
        // Some at a time, so that the server is as warm as under load.
        std::thread::scope(|scope| {
            for part in tokens.chunks(tokens.len().div_ceil(ASKERS)) {
                scope.spawn(|| ask(site.server.http(), part));
            }
        });
        (process::processor_time(pid) - before).as_secs_f64() * 1e6 / tokens.len() as f64
    };
    let repeated = vec![known; tokens.len()];
    let warm = cost(&repeated);
    let cold = cost(&tokens[1..]);
    report.add("whoami, processor time, known token", "us", warm, Wanted::Nothing);
    report.add("whoami, processor time, new token", "us", cold, Wanted::Nothing);
    report.add(
        "whoami, what a new token costs",
        "us",
        cold - warm,
        Wanted::AtMost(55.0),
    );
}

/// What the library takes to verify a token of the size of ours: most of what a new token costs.
fn signature_check() -> f64 {
    let pair = AsymmetricKeyPair::<V4>::generate().expect("the system has randomness");
    let token = PublicToken::sign(&pair.secret, &[b'x'; 440], Some(&[b'k'; 60]), None).expect("a token");
    let (start, times) = (Instant::now(), 3_000);
    for _ in 0..times {
        let untrusted = UntrustedToken::<Public, V4>::try_from(token.as_str()).expect("a token");
        PublicToken::verify(&pair.public, &untrusted, Some(&[b'k'; 60]), None).expect("our own signature");
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(times)
}

async fn mint(client: Client, mut refresh: String) -> Vec<String> {
    let mut tokens = Vec::new();
    for _ in 0..TOKENS {
        let body = json!({ "refresh_token": refresh });
        let reply = client.post("/v1/auth/refresh", &body).await.expect_status(200);
        refresh = reply.string("/refresh_token");
        tokens.push(reply.string("/access_token"));
    }
    tokens
}

/// Asks with each token once, over one connection.
fn ask(base: &str, tokens: &[String]) {
    let address = base.strip_prefix("http://").expect("an address");
    let mut socket = TcpStream::connect(address).expect("the server is there");
    socket.set_nodelay(true).expect("a socket of TCP");
    let mut answer = vec![0; 16 * 1024];
    for token in tokens {
        let request =
            format!("GET /v1/auth/whoami HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
        socket.write_all(request.as_bytes()).expect("it takes the request");
        let mut read = 0;
        while !whole(&answer[..read]) {
            let more = socket.read(&mut answer[read..]).expect("it answers");
            assert!(more > 0, "the server ended the connection");
            read += more;
        }
        assert!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer[..read])
        );
    }
}

/// Whether the head and as many bytes as it tells are there.
fn whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.to_ascii_lowercase().lines().find_map(|line| {
        let length = line.strip_prefix("content-length:")?;
        length.trim().parse::<usize>().ok()
    });
    length.is_some_and(|length| body.len() >= length)
}
