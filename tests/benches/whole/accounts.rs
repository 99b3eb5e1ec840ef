//! Reading a user by id: beside the bare handler over SeaORM, and the database by itself.

use plinth_tests::site::{Backing, Site};

use crate::Plan;
use crate::events::pgbench;
use crate::load::{self, Target};
use crate::peers::Peer;
use crate::report::{Report, Wanted};

const BARE: &str = "bare handler over SeaORM find_by_id, PostgreSQL, 32 connections";
const BARE_LATENCY: &str = "the same at 1 connection, p50";
const CONNECTIONS: u32 = 32;

pub(crate) async fn measure(plan: &Plan, report: &mut Report) {
    if !load::possible() {
        return;
    }
    let sqlite = Site::start(Backing::Sqlite).await;
    let person = sqlite.person("reader").await;
    let on_sqlite = me(&sqlite, person.client.token());
    let postgres = match Backing::postgres() {
        Some(backing) => Some(Site::start(backing).await),
        None => None,
    };
    let on_postgres = match &postgres {
        Some(site) => {
            let person = site.person("reader").await;
            let bare = Peer::find(&site.database_url());
            let address = format!("{}/users/{}", bare.base, person.id);
            Some((
                site,
                person.id.clone(),
                me(site, person.client.token()),
                bare,
                Target::get(address),
            ))
        }
        None => {
            println!("not measured: there is no PostgreSQL (run scripts/bench)");
            None
        }
    };
    for _ in 0..plan.rounds {
        if let Some((site, id, me, _bare, target)) = &on_postgres {
            let script = format!("SELECT * FROM users WHERE id = '{id}';\n");
            if let Some(rate) = pgbench(&site.database_url(), &script, plan.length) {
                report.add("pgbench, one prepared read by id", "reads/s", rate, Wanted::Nothing);
            }
            report.add(BARE, "requests/s", rate(target, plan), Wanted::Nothing);
            let passes = Wanted::PartOf(1.0, BARE.to_owned());
            report.add("GET /v1/me, PostgreSQL", "requests/s", rate(me, plan), passes);
            let (bare, ours) = (load::run(target, 1, plan.length), load::run(me, 1, plan.length));
            report.add(BARE_LATENCY, "ms", bare.p50, Wanted::Nothing);
            report.add(
                "GET /v1/me, PostgreSQL, 1 connection, p50",
                "ms",
                ours.p50,
                Wanted::AtMost(bare.p50 * 1.1),
            );
        }
        report.add(
            "GET /v1/me, SQLite",
            "requests/s",
            rate(&on_sqlite, plan),
            Wanted::AtLeast(20_000.0),
        );
    }
}

fn me(site: &Site, token: Option<&str>) -> Target {
    Target::get(format!("{}/v1/me", site.server.http())).token(token.expect("signed in"))
}

fn rate(target: &Target, plan: &Plan) -> f64 {
    let load = load::run(target, CONNECTIONS, plan.length);
    assert_eq!(load.refused, 0, "{}", target.url);
    load.rate
}
