//! Logins at the default cost: beside what the cores hash, and what a token check feels of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plinth_tests::server::Setup;
use plinth_tests::site::{Backing, Site};
use serde_json::json;

use crate::Plan;
use crate::load::{self, Target};
use crate::report::{Report, Wanted};

const RAW: &str = "bcrypt at cost 12, all cores";
const COST: u32 = 12;
/// As many callers keep the pool full and its queue short.
const CALLERS: usize = 8;
/// As many overfill it.
const CROWD: usize = 96;

pub(crate) async fn measure(plan: &Plan, report: &mut Report) {
    let cost = |setup: Setup| setup.env("PLINTH_AUTH_BCRYPT_COST", COST.to_string());
    let site = Site::start_with(Backing::Sqlite, cost).await;
    let person = site.person("login").await;
    let body = Arc::new(json!({ "email": person.email, "password": person.password }));
    // Hashes take a quarter of a second each: a short stretch would count whole ones and say little.
    let length = plan.length.max(Duration::from_secs(6));
    for _ in 0..plan.rounds {
        report.add(RAW, "hashes/s", raw(length), Wanted::Nothing);
        let (done, _, _) = crowd(&site, &body, CALLERS, length).await;
        report.add(
            "POST /v1/auth/login",
            "logins/s",
            done,
            Wanted::PartOf(0.95, RAW.to_owned()),
        );
        let checks = load::possible().then(|| {
            let token = person.client.token().expect("signed in").to_owned();
            let target = Target::get(format!("{}/v1/auth/whoami", site.server.http())).token(&token);
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs(1));
                load::run(&target, 4, Duration::from_secs(4))
            })
        });
        let (_, shed, asked_to_wait) = crowd(&site, &body, CROWD, length).await;
        if let Some(checks) = checks {
            let load = checks.join().expect("the load ends");
            report.add(
                "whoami while logins saturate, p99",
                "ms",
                load.p99,
                Wanted::AtMost(100.0),
            );
        }
        report.add("logins shed out of 96 callers", "per s", shed, Wanted::AtLeast(0.1));
        report.add("of those with Retry-After", "part", asked_to_wait, Wanted::AtLeast(1.0));
    }
}

/// Hashes in a second on as many threads as there are cores.
fn raw(length: Duration) -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let start = Instant::now();
    let threads: Vec<_> = (0..cores)
        .map(|_| {
            std::thread::spawn(move || {
                let mut hashes = 0_u32;
                while start.elapsed() < length {
                    bcrypt::hash_with_salt(
                        "as long as a digest in base64 is: 64 characters, not one more",
                        COST,
                        [7; 16],
                    )
                    .expect("a cost that bcrypt has");
                    hashes += 1;
                }
                f64::from(hashes) / start.elapsed().as_secs_f64()
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().expect("a hash")).sum()
}

/// Logins in a second by so many callers, refusals in a second, and which part of those said how long to wait.
async fn crowd(site: &Site, body: &Arc<serde_json::Value>, callers: usize, length: Duration) -> (f64, f64, f64) {
    let counts: Arc<[AtomicU64; 3]> = Arc::default();
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let (client, body, counts) = (site.client(), Arc::clone(body), Arc::clone(&counts));
        tasks.spawn(async move {
            while start.elapsed() < length {
                let reply = client.post("/v1/auth/login", &body).await;
                match reply.status {
                    200 => counts[0].fetch_add(1, Ordering::Relaxed),
                    503 => {
                        if !reply.header("retry-after").is_empty() {
                            counts[2].fetch_add(1, Ordering::Relaxed);
                        }
                        let before = counts[1].fetch_add(1, Ordering::Relaxed);
                        // A client that is told to wait does, a little.
                        tokio::time::sleep(Duration::from_millis(200)).await;
                        before
                    }
                    _ => panic!("{reply}"),
                };
            }
        });
    }
    tasks.join_all().await;
    let seconds = start.elapsed().as_secs_f64();
    let [done, shed, told] = [0, 1, 2].map(|index: usize| counts[index].load(Ordering::Relaxed) as f64);
    (
        done / seconds,
        shed / seconds,
        if shed > 0.0 { told / shed } else { 0.0 },
    )
}
