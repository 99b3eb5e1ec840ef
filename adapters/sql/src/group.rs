//! SQLite's one writer, shared: units of work that come while it is busy are committed together.
//!
//! A commit waits for the disk, and nothing else may write meanwhile. So a unit that ends while others wait for their turn
//! leaves its transaction open to them; the last of those commits for all, and only then does anybody learn that it is
//! done. Each unit but the first stands in a savepoint, so that one that fails takes nothing else with it. A unit that comes
//! alone pays for none of this.
//!
//! There is no task behind it: what must be awaited lies in the [`Slot`], and whoever has its turn there goes on with it.
//! When all callers of a group went away before its end, the next write of this process ends it.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ports::BackendError;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode, TransactionOptions,
    TransactionTrait, Value,
};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use crate::error::{ADAPTER, backend};
use crate::row::{Row, bounded, execute, fetch_all};

/// Units of one commit, at most: each waits for all of them.
const MOST: usize = 32;

type Exclusive<T> = std::sync::Mutex<T>;

type Verdict = Result<(), BackendError>;

/// The one writer, and whose turn it is.
pub(crate) struct Writer {
    connection: DatabaseConnection,
    slot: Arc<Mutex<Slot>>,
    queued: AtomicUsize,
    patience: Duration,
}

/// What stands between two turns.
#[derive(Default)]
enum Slot {
    /// Nothing.
    #[default]
    Free,
    /// A transaction that others may join.
    Open(Group),
    /// A commit under way, whoever polls it.
    /// In a lock only because a slot is shared by reference too; it is never taken.
    Closing(Exclusive<Pin<Box<dyn Future<Output = ()> + Send>>>),
}

struct Group {
    /// Shared with the unit whose turn it is, and with nobody else.
    transaction: Arc<DatabaseTransaction>,
    members: Vec<oneshot::Sender<Verdict>>,
    /// The savepoints that were made; their names are never used again within the group.
    savepoints: u32,
    /// The last of them belongs to a unit that left without a commit: what it wrote must go before anybody else writes.
    astray: bool,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("queued", &self.queued)
            .finish_non_exhaustive()
    }
}

impl Writer {
    /// Shares that connection, of which there is one. A unit waits for its turn as long as `patience`.
    pub(crate) fn new(connection: DatabaseConnection, patience: Duration) -> Self {
        Self {
            connection,
            slot: Arc::default(),
            queued: AtomicUsize::new(0),
            patience,
        }
    }

    /// Begins a unit of work, in its turn.
    pub(crate) async fn begin(self: &Arc<Self>) -> Result<Unit, BackendError> {
        self.unit(self.turn().await?).await
    }

    /// Runs one statement in its turn and gives how many rows it touched, once that is committed.
    pub(crate) async fn execute(
        self: &Arc<Self>,
        operation: &'static str,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<u64, BackendError> {
        match self.single().await? {
            Single::Alone(_turn) => execute(&self.connection, operation, sql, values).await,
            Single::Grouped(unit) => {
                let touched = execute(unit.conn(), operation, sql, values).await?;
                unit.commit().await?;
                Ok(touched)
            }
        }
    }

    /// As [`execute`](Self::execute), for a statement that returns rows.
    pub(crate) async fn fetch_all(
        self: &Arc<Self>,
        operation: &'static str,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, BackendError> {
        match self.single().await? {
            Single::Alone(_turn) => fetch_all(&self.connection, operation, sql, values).await,
            Single::Grouped(unit) => {
                let rows = fetch_all(unit.conn(), operation, sql, values).await?;
                unit.commit().await?;
                Ok(rows)
            }
        }
    }

    /// A place for one statement, which is its own transaction when nobody else waits.
    async fn single(self: &Arc<Self>) -> Result<Single, BackendError> {
        let slot = self.turn().await?;
        if matches!(*slot, Slot::Free) && self.queued.load(Ordering::Relaxed) == 0 {
            return Ok(Single::Alone(slot));
        }
        Ok(Single::Grouped(self.unit(slot).await?))
    }

    /// Ends what its callers left unended.
    pub(crate) async fn settle(&self) {
        end(&mut *self.slot.lock().await).await;
    }

    async fn turn(&self) -> Result<OwnedMutexGuard<Slot>, BackendError> {
        let queued = Queued::at(&self.queued);
        let turn = tokio::time::timeout(self.patience, Arc::clone(&self.slot).lock_owned()).await;
        drop(queued);
        let mut slot = turn.map_err(|_| BackendError::temporary(ADAPTER, "begin", "the one writer is taken"))?;
        tidy(&mut slot).await;
        Ok(slot)
    }

    async fn unit(self: &Arc<Self>, mut slot: OwnedMutexGuard<Slot>) -> Result<Unit, BackendError> {
        let (transaction, joined) = match &mut *slot {
            Slot::Open(group) => {
                group.savepoints += 1;
                let transaction = Arc::clone(&group.transaction);
                // Also while the savepoint is being made: the caller may go away amid it.
                let hold = Hold { slot, astray: true };
                let sql = format!("SAVEPOINT u{}", hold.savepoints());
                let made = bounded(transaction.execute_unprepared(&sql)).await;
                made.map_err(|error| backend("begin", error))?;
                return Ok(self.of(transaction, hold, true));
            }
            _ => {
                let options = TransactionOptions {
                    sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                    ..TransactionOptions::default()
                };
                let begun = bounded(self.connection.begin_with_options(options)).await;
                (begun.map_err(|error| backend("begin", error))?, false)
            }
        };
        Ok(self.of(Arc::new(transaction), Hold { slot, astray: false }, joined))
    }

    fn of(self: &Arc<Self>, transaction: Arc<DatabaseTransaction>, hold: Hold, joined: bool) -> Unit {
        Unit {
            transaction,
            hold,
            joined,
            writer: Arc::clone(self),
        }
    }

    /// Waits for the end of the group, and brings it about when nobody else does.
    async fn verdict(&self, mut answer: oneshot::Receiver<Verdict>) -> Verdict {
        tokio::select! {
            biased;
            answered = &mut answer => return answered.unwrap_or_else(|_| Err(left())),
            // Behind all who waited for their turn when this was asked: they are of the group by then.
            mut slot = self.slot.lock() => end(&mut slot).await,
        }
        answer.await.unwrap_or_else(|_| Err(left()))
    }
}

/// One who waits for a turn.
struct Queued<'a>(&'a AtomicUsize);

impl<'a> Queued<'a> {
    fn at(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The turn of a unit that joined a group.
struct Hold {
    slot: OwnedMutexGuard<Slot>,
    astray: bool,
}

impl Hold {
    fn savepoints(&self) -> u32 {
        match &*self.slot {
            Slot::Open(group) => group.savepoints,
            _ => 0,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let (true, Slot::Open(group)) = (self.astray, &mut *self.slot) {
            group.astray = true;
        }
    }
}

/// A unit of work that has its turn; dropping it undoes what it wrote.
pub(crate) struct Unit {
    // Dropped before the turn ends.
    transaction: Arc<DatabaseTransaction>,
    hold: Hold,
    joined: bool,
    writer: Arc<Writer>,
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unit")
            .field("joined", &self.joined)
            .finish_non_exhaustive()
    }
}

impl Unit {
    /// For its statements.
    pub(crate) fn conn(&self) -> &DatabaseTransaction {
        &self.transaction
    }

    /// Returns once it is committed, alone or with others.
    pub(crate) async fn commit(self) -> Verdict {
        let Self {
            transaction,
            mut hold,
            writer,
            ..
        } = self;
        let (sender, answer) = oneshot::channel();
        hold.astray = false;
        let full = match &mut *hold.slot {
            Slot::Open(group) => {
                drop(transaction);
                group.members.push(sender);
                group.members.len() >= MOST
            }
            slot => {
                *slot = Slot::Open(Group {
                    transaction,
                    members: vec![sender],
                    savepoints: 0,
                    astray: false,
                });
                false
            }
        };
        if full || writer.queued.load(Ordering::Relaxed) == 0 {
            end(&mut hold.slot).await;
        }
        drop(hold);
        writer.verdict(answer).await
    }

    /// Ends a unit that found nothing to change. What it saw may be of others in its group: it says so only when that is committed.
    pub(crate) async fn unchanged(self) -> Verdict {
        if self.joined { self.commit().await } else { Ok(()) }
    }
}

/// A place for one statement.
enum Single {
    /// By itself; nobody else has a turn until it is done.
    Alone(OwnedMutexGuard<Slot>),
    /// With others.
    Grouped(Unit),
}

/// Before anybody writes: a commit under way is awaited, and what was left half-done is undone.
async fn tidy(slot: &mut Slot) {
    if let Slot::Closing(commit) = slot {
        commit.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().await;
        *slot = Slot::Free;
    }
    let Slot::Open(group) = slot else { return };
    if !group.astray {
        return;
    }
    let undo = format!("ROLLBACK TO u{}", group.savepoints);
    match bounded(group.transaction.execute_unprepared(&undo)).await {
        Ok(_) => group.astray = false,
        // The engine ended the whole transaction itself (a full disk, say), or the savepoint was never made and nobody
        // can tell: nothing of the group may be called done.
        Err(error) => {
            if let Slot::Open(group) = std::mem::take(slot) {
                drop(group.transaction);
                tell(group.members, Err(backend("commit", error)));
            }
        }
    }
}

/// Commits what is open and tells its members.
async fn end(slot: &mut Slot) {
    tidy(slot).await;
    match std::mem::take(slot) {
        Slot::Open(group) => *slot = Slot::Closing(Exclusive::new(Box::pin(close(group)))),
        other => *slot = other,
    }
    tidy(slot).await;
}

async fn close(group: Group) {
    let verdict = match Arc::into_inner(group.transaction) {
        Some(transaction) => commit(transaction, group.savepoints)
            .await
            .map_err(|error| backend("commit", error)),
        None => Err(BackendError::permanent(ADAPTER, "commit", "a unit outlived its turn")),
    };
    tell(group.members, verdict);
}

async fn commit(transaction: DatabaseTransaction, savepoints: u32) -> Result<(), DbErr> {
    if savepoints > 0 {
        // Fails when the engine ended the transaction by itself meanwhile, in which case a later savepoint began another one.
        bounded(transaction.execute_unprepared("RELEASE u1")).await?;
    }
    bounded(transaction.commit()).await
}

fn tell(members: Vec<oneshot::Sender<Verdict>>, verdict: Verdict) {
    for member in members {
        let told = verdict.as_ref().copied().map_err(BackendError::again);
        // A member that went away meanwhile does not want to know.
        let _gone = member.send(told);
    }
}

fn left() -> BackendError {
    BackendError::permanent(ADAPTER, "commit", "a group left a member without an answer")
}

#[cfg(test)]
mod tests;
