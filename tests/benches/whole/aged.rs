//! What an old log costs: a backlog that drains to Kafka out of a table with millions of older events, beside one without.

use std::time::Instant;

use plinth_tests::kafka::shared_brokers;
use plinth_tests::postgres::TestDatabase;
use plinth_tests::site::{Backing, Site};

use crate::Plan;
use crate::kafka::{drained, fill};
use crate::report::{Report, Wanted};

/// Older events, the same number in each of the 16 shards.
const OLDER: u64 = 5_000_000;
const YOUNG: &str = "a backlog to Kafka, no older events, PostgreSQL";

/// Older events of 256 users, as they would stand there: ids and times ascend with the positions, each user is in the shard of
/// the user's id. The hashes of the chain are arbitrary.
const EVENTS: &str = "INSERT INTO events (id, shard, user_id, type, subject, time, data, salt, digest, actor, impersonator, \
    request_id, client_id, schema_version) SELECT o.id, o.shard, o.user_id, 'app.bench.measured', NULL, o.time, \
    '{\"order\":\"' || o.n || '\",\"amount\":1995,\"currency\":\"EUR\",\"note\":\"a payload as they are\"}', \
    substring(o.hash FOR 16), o.hash, 'user:' || o.user_id, NULL, o.id, FALSE, NULL FROM older o ORDER BY o.n";
const LOG: &str = "INSERT INTO event_log (shard, position, event_id, user_id, hash) \
    SELECT o.shard, o.position, o.id, o.user_id, o.hash FROM older o ORDER BY o.n";

pub(crate) async fn measure(plan: &Plan, report: &mut Report) {
    let (Some((brokers, _)), Some(young), Some(old)) = (shared_brokers(), Backing::postgres(), Backing::postgres())
    else {
        println!("not measured: there is no PostgreSQL or no Kafka (run scripts/bench)");
        return;
    };
    let young = prepared(young, 0).await;
    let old = prepared(old, OLDER).await;
    for _ in 0..plan.rounds {
        for (site, name, wanted) in [
            (&young, YOUNG, Wanted::Nothing),
            (
                &old,
                "the same behind 5 million older events",
                Wanted::PartOf(0.9, YOUNG.to_owned()),
            ),
        ] {
            rewind(database(site));
            report.add(name, "events/s", drained(site, &brokers).await, wanted);
        }
    }
}

/// A site whose server has ended, with so many older events, with which every group is done, and the backlog behind them.
async fn prepared(backing: Backing, older: u64) -> Site {
    let mut site = Site::start(backing).await;
    let _ = site.server.terminate().await;
    age(database(&site), older);
    site.server.restart().await;
    let _ = fill(&site).await;
    let _ = site.server.terminate().await;
    database(&site).query("VACUUM ANALYZE");
    database(&site).query("CHECKPOINT");
    site
}

/// Puts the older events after what there is, and notes where the backlog begins.
fn age(database: &TestDatabase, older: u64) {
    let began = Instant::now();
    if older > 0 {
        database.query(&format!(
            "CREATE VIEW older AS SELECT n, s.shard, s.position + n / 16 + 1 AS position, \
             ('00000000-0000-7000-8000-' || lpad(to_hex((n / 16 % 16) * 4096 + n % 16), 12, '0'))::uuid AS user_id, \
             (lpad(to_hex(1600000000000 + n), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0') || '8' || lpad(to_hex(n), 15, '0'))::uuid AS id, \
             1600000000000000 + n * 1000 AS time, sha256(int8send(n)) AS hash FROM generate_series(0::bigint, {older} - 1) n JOIN log_shards s ON s.shard = n % 16"
        ));
        database.query(EVENTS);
        database.query(LOG);
        database.query(
            "UPDATE log_shards s SET position = l.position, hash = l.hash FROM event_log l WHERE l.shard = s.shard \
             AND l.position = (SELECT max(m.position) FROM event_log m WHERE m.shard = s.shard)",
        );
        database.query("UPDATE cursors c SET position = s.position FROM log_shards s WHERE s.shard = c.shard");
        database.query("VACUUM ANALYZE");
        println!("{older} older events made in {:.0} s", began.elapsed().as_secs_f64());
    }
    database.query("CREATE TABLE before_the_backlog AS SELECT shard, position FROM log_shards");
}

/// Lets the relay begin at the backlog (again).
fn rewind(database: &TestDatabase) {
    database.query(
        "INSERT INTO cursors (group_name, shard, position, lease_owner, lease_until) \
         SELECT 'kafka', shard, position, NULL, 0 FROM before_the_backlog \
         ON CONFLICT (group_name, shard) DO UPDATE SET position = excluded.position, lease_owner = NULL, lease_until = 0",
    );
}

fn database(site: &Site) -> &TestDatabase {
    match &site.backing {
        Backing::Postgres(database) => database,
        Backing::Sqlite => panic!("these sites stand on PostgreSQL"),
    }
}
