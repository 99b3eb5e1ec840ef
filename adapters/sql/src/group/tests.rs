//! Groups on a real file: who is told what, when units fail, go away, or the engine gives up.

use std::task::Poll;

use super::*;
use crate::connect::{Database, DatabaseOptions};
use crate::row::fetch_one;

struct Bench {
    db: Database,
    writer: Arc<Writer>,
    _folder: tempfile::TempDir,
}

/// A table of numbers, and one whose rows each need a number; the second looks only at the commit.
async fn bench() -> Bench {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite://{}/plinth.db", folder.path().display());
    let db = Database::connect(&DatabaseOptions::new(url)).await.expect("it opens");
    let sql = "CREATE TABLE numbers (n INTEGER PRIMARY KEY); \
        CREATE TABLE needs (n INTEGER REFERENCES numbers (n) DEFERRABLE INITIALLY DEFERRED)";
    db.writer().execute_unprepared(sql).await.expect("tables");
    let writer = Arc::new(Writer::new(db.writer().clone(), Duration::from_secs(20)));
    Bench {
        db,
        writer,
        _folder: folder,
    }
}

impl Bench {
    /// What others see.
    async fn count(&self) -> i64 {
        let row = fetch_one(self.db.read(), "count", "SELECT count(*) AS c FROM numbers", vec![]).await;
        row.expect("read").expect("a row").get("c").expect("a count")
    }

    async fn unit(&self, n: u32) -> Unit {
        let unit = self.writer.begin_shared().await.expect("begun");
        put(&unit, n).await;
        unit
    }

    /// Units that wait for their turn, each to do `work` then.
    async fn waiting<F: Future<Output = Verdict> + Send + 'static>(
        &self,
        works: impl IntoIterator<Item = fn(Unit) -> F>,
    ) -> Vec<tokio::task::JoinHandle<Verdict>> {
        let mut tasks = Vec::new();
        for work in works {
            let writer = Arc::clone(&self.writer);
            tasks.push(spawn(
                async move { work(writer.begin_shared().await.expect("begun")).await },
            ));
            // In the order in which they were asked for.
            while self.writer.queued.load(Ordering::Relaxed) < tasks.len() {
                tokio::task::yield_now().await;
            }
        }
        tasks
    }
}

#[expect(clippy::disallowed_methods, reason = "a test ends its own tasks")]
fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::spawn(work)
}

async fn put(unit: &Unit, n: u32) {
    let sql = format!("INSERT INTO numbers VALUES ({n})");
    unit.conn().execute_unprepared(&sql).await.expect("inserted");
}

/// Polls once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context))).await
}

#[tokio::test]
async fn who_waits_is_committed_with_who_had_the_turn() {
    let bench = bench().await;
    let first = bench.unit(1).await;
    let works: [fn(Unit) -> _; 2] = [|unit| joined(unit, 2), |unit| joined(unit, 3)];
    let tasks = bench.waiting(works).await;
    first.commit().await.expect("committed");
    assert_eq!(bench.count().await, 3, "one commit for all three");
    for task in tasks {
        task.await.expect("joined").expect("committed");
    }
    assert!(matches!(*bench.writer.slot.lock().await, Slot::Free));
}

async fn joined(unit: Unit, n: u32) -> Verdict {
    assert!(unit.joined);
    put(&unit, n).await;
    unit.commit().await
}

#[tokio::test]
async fn a_unit_alone_is_committed_at_once_and_a_dropped_one_is_not() {
    let bench = bench().await;
    bench.unit(1).await.commit().await.expect("committed");
    drop(bench.unit(2).await);
    assert_eq!(bench.count().await, 1);
    bench.unit(2).await.commit().await.expect("committed");
    assert_eq!(bench.count().await, 2);
}

#[tokio::test]
async fn a_unit_that_fails_takes_nobody_with_it() {
    let bench = bench().await;
    let first = bench.unit(1).await;
    let works: [fn(Unit) -> _; 4] = [
        |unit| fails(unit, 2),
        |unit| fails(unit, 3),
        |unit| fails(unit, 4),
        |unit| fails(unit, 5),
    ];
    let tasks = bench.waiting(works).await;
    first.commit().await.expect("committed");
    let mut refused = 0;
    for task in tasks {
        refused += i64::from(task.await.expect("joined").is_err());
    }
    assert_eq!((refused, bench.count().await), (2, 3));
}

/// Even numbers come and go.
async fn fails(unit: Unit, n: u32) -> Verdict {
    put(&unit, n).await;
    if n.is_multiple_of(2) {
        return Err(BackendError::permanent("test", "fails", "even"));
    }
    unit.commit().await
}

#[tokio::test]
async fn a_caller_that_goes_away_amid_its_unit_leaves_nothing() {
    let bench = bench().await;
    let first = bench.unit(1).await;
    let works: [fn(Unit) -> _; 1] = [hangs];
    let tasks = bench.waiting(works).await;
    let mut committed = Box::pin(first.commit());
    assert!(poll_once(&mut committed).await.is_pending());
    while bench.writer.queued.load(Ordering::Relaxed) > 0 {
        tokio::task::yield_now().await;
    }
    for task in &tasks {
        task.abort();
    }
    committed.await.expect("committed");
    assert_eq!(bench.count().await, 1);
}

async fn hangs(unit: Unit) -> Verdict {
    put(&unit, 2).await;
    std::future::pending().await
}

#[tokio::test]
async fn a_refused_commit_is_told_to_every_member() {
    let bench = bench().await;
    let first = bench.unit(1).await;
    let works: [fn(Unit) -> _; 2] = [needs_what_is_missing, needs_what_is_missing];
    let tasks = bench.waiting(works).await;
    first.commit().await.expect_err("the group was refused");
    for task in tasks {
        task.await.expect("joined").expect_err("the group was refused");
    }
    assert_eq!(bench.count().await, 0);
    bench.unit(7).await.commit().await.expect("the writer goes on");
    assert_eq!(bench.count().await, 1);
}

async fn needs_what_is_missing(unit: Unit) -> Verdict {
    unit.conn()
        .execute_unprepared("INSERT INTO needs VALUES (99)")
        .await
        .expect("inserted");
    unit.commit().await
}

/// As on a full disk: what was written before is gone, and must not pass for done because a later unit commits.
#[tokio::test]
async fn a_transaction_that_the_engine_ended_is_lost_for_all() {
    for after in [ends_and_drops as fn(Unit) -> Ended, ends_and_commits] {
        let bench = bench().await;
        let first = bench.unit(1).await;
        let works: [fn(Unit) -> Ended; 2] = [after, |unit| Box::pin(joins_or_not(unit))];
        let tasks = bench.waiting(works).await;
        first.commit().await.expect_err("lost");
        let mut verdicts = Vec::new();
        for task in tasks {
            verdicts.push(task.await.expect("joined").is_ok());
        }
        assert!(!verdicts[0]);
        let there = i64::from(verdicts[1]);
        assert_eq!(bench.count().await, there, "what is told is what is there");
        bench.unit(7).await.commit().await.expect("the writer goes on");
        assert_eq!(bench.count().await, there + 1);
        let other = Database::connect(&DatabaseOptions::new(bench.url()))
            .await
            .expect("opens");
        let unit = bench.writer.begin().await.expect("begun");
        let mut second = Box::pin(other.begin_write());
        let early = tokio::time::timeout(Duration::from_millis(50), &mut second).await;
        assert!(
            early.is_err(),
            "a unit holds the write lock from its beginning, as before"
        );
        drop(unit);
        drop(second.await.expect("begun"));
    }
}

type Ended = Pin<Box<dyn Future<Output = Verdict> + Send>>;

impl Bench {
    fn url(&self) -> String {
        format!("sqlite://{}/plinth.db", self._folder.path().display())
    }
}

fn ends_and_drops(unit: Unit) -> Ended {
    Box::pin(async move {
        unit.conn().execute_unprepared("ROLLBACK").await.expect("ended");
        Err(BackendError::permanent("test", "ends", "full"))
    })
}

fn ends_and_commits(unit: Unit) -> Ended {
    Box::pin(async move {
        unit.conn().execute_unprepared("ROLLBACK").await.expect("ended");
        unit.commit().await
    })
}

async fn joins_or_not(unit: Unit) -> Verdict {
    put(&unit, 3).await;
    unit.commit().await
}

/// Nobody was told anything, and the lock of the file is another process's to take.
#[tokio::test]
async fn what_everybody_left_is_undone_at_once() {
    let bench = bench().await;
    let other = Database::connect(&DatabaseOptions::new(bench.url()))
        .await
        .expect("opens");
    let first = bench.unit(1).await;
    let works: [fn(Unit) -> _; 1] = [hangs];
    let tasks = bench.waiting(works).await;
    let mut committed = Box::pin(first.commit());
    assert!(poll_once(&mut committed).await.is_pending());
    drop(committed);
    for task in tasks {
        task.abort();
        task.await.expect_err("aborted");
    }
    let taken = tokio::time::timeout(Duration::from_secs(2), other.begin_write()).await;
    drop(taken.expect("the lock is free").expect("begun"));
    assert_eq!(bench.count().await, 0);
    bench.unit(3).await.commit().await.expect("committed");
    assert_eq!(bench.count().await, 1);
}

/// A caller that goes away while its commit is under way: done or undone, but not left standing.
#[tokio::test]
async fn a_commit_that_its_only_caller_left_does_not_keep_the_lock() {
    let bench = bench().await;
    let other = Database::connect(&DatabaseOptions::new(bench.url()))
        .await
        .expect("opens");
    for n in 0..50 {
        let mut committed = Box::pin(bench.unit(n).await.commit());
        for _ in 0..n % 5 {
            if poll_once(&mut committed).await.is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(committed);
        let taken = tokio::time::timeout(Duration::from_secs(2), other.begin_write()).await;
        drop(taken.expect("the lock is free").expect("begun"));
    }
}

#[tokio::test]
async fn a_refusal_hears_of_what_it_rests_on() {
    let bench = bench().await;
    let first = bench.unit(1).await;
    let works: [fn(Unit) -> Ended; 2] = [
        |unit| Box::pin(needs_what_is_missing(unit)),
        |unit| {
            Box::pin(async move {
                put(&unit, 5).await;
                unit.refuse().await
            })
        },
    ];
    let tasks = bench.waiting(works).await;
    first.commit().await.expect_err("refused");
    for task in tasks {
        task.await.expect("joined").expect_err("it saw what never came to be");
    }

    let first = bench.unit(2).await;
    let works: [fn(Unit) -> Ended; 2] = [
        |unit| {
            Box::pin(async move {
                put(&unit, 6).await;
                unit.refuse().await
            })
        },
        |unit| Box::pin(joined(unit, 7)),
    ];
    let tasks = bench.waiting(works).await;
    first.commit().await.expect("committed");
    for task in tasks {
        task.await.expect("joined").expect("what it saw is committed");
    }
    assert_eq!(bench.count().await, 2, "what was refused is undone");
}

#[tokio::test]
async fn who_has_a_transaction_alone_sees_only_what_is_committed() {
    let bench = bench().await;
    let first = bench.unit(1).await;
    let writer = Arc::clone(&bench.writer);
    let alone = spawn(async move {
        let unit = writer.begin().await.expect("begun");
        assert!(!unit.joined);
        put(&unit, 2).await;
        Ok(unit)
    });
    while bench.writer.queued.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    first.commit().await.expect("committed");
    assert_eq!(bench.count().await, 1, "before the second has begun its own");
    let unit: Result<Unit, ()> = alone.await.expect("joined");
    let unit = unit.expect("a unit");
    let works: [fn(Unit) -> _; 1] = [joins_or_not];
    let tasks = bench.waiting(works).await;
    unit.commit().await.expect("committed");
    for task in tasks {
        task.await.expect("joined").expect("committed");
    }
    assert_eq!(bench.count().await, 3);
}

#[tokio::test]
async fn a_turn_is_waited_for_only_so_long() {
    let bench = bench().await;
    let hasty = Arc::new(Writer {
        connection: bench.db.writer().clone(),
        slot: Arc::clone(&bench.writer.slot),
        queued: AtomicUsize::new(0),
        patience: Duration::from_millis(20),
    });
    let unit = bench.unit(1).await;
    let refused = hasty.begin_shared().await.expect_err("no turn");
    assert!(refused.temporary);
    assert_eq!(hasty.queued.load(Ordering::Relaxed), 0);
    unit.commit().await.expect("committed");
}
