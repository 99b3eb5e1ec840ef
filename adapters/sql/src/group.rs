//! SQLite's one writer, and whose turn it is; with units of work that may share a commit.
//!
//! A commit waits for the disk, and nothing else may write meanwhile. A *shared* unit that ends while others wait for
//! their turn leaves its transaction open to those of them that are shared too, each in a savepoint; then one commits for all,
//! and only then does anybody learn anything of it: not that it is done, and not what it was refused for either, since that
//! may rest on what others have not committed yet. All other units have their transaction to themselves.
//!
//! There is no task behind it: what must be awaited lies in the [`Slot`], and whoever has its turn there goes on with it.
//! A group that all its callers have left is rolled back by the last of them.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ports::BackendError;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use crate::error::{ADAPTER, backend};
use crate::row::bounded;

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
    /// A commit under way, whoever polls it, and those who wait for it.
    /// In a lock only because a slot is shared by reference too; it is never taken.
    Closing(
        Exclusive<Pin<Box<dyn Future<Output = Verdict> + Send>>>,
        Vec<oneshot::Sender<Verdict>>,
    ),
}

impl Slot {
    /// Whether nobody waits any more for what lies here.
    fn is_left(&self) -> bool {
        match self {
            Self::Free => false,
            Self::Open(Group { members, .. }) | Self::Closing(_, members) => {
                members.iter().all(oneshot::Sender::is_closed)
            }
        }
    }
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

    /// Begins a unit of work, in its turn, with a transaction of its own.
    pub(crate) async fn begin(self: &Arc<Self>) -> Result<Unit, BackendError> {
        let Turn(slot) = self.turn_alone().await?;
        self.first(slot, false).await
    }

    /// Begins a unit of work, in its turn, whose commit may be shared with others of its kind.
    pub(crate) async fn begin_shared(self: &Arc<Self>) -> Result<Unit, BackendError> {
        let mut slot = self.turn().await?;
        let Slot::Open(group) = &mut *slot else {
            return self.first(slot, true).await;
        };
        group.savepoints += 1;
        let sql = format!("SAVEPOINT u{}", group.savepoints);
        let shared = Arc::clone(&group.transaction);
        // Also while the savepoint is being made: the caller may go away amid it.
        let hold = Hold { slot, astray: true };
        // Behind the turn, so that it is dropped before.
        let transaction = shared;
        let made = bounded(transaction.execute_unprepared(&sql)).await;
        made.map_err(|error| backend("begin", error))?;
        Ok(Unit {
            transaction,
            hold,
            shared: true,
            joined: true,
            writer: Arc::clone(self),
        })
    }

    /// Ends what its callers left unended.
    pub(crate) async fn settle(&self) {
        end(&mut *self.slot.lock().await).await;
    }

    async fn turn(&self) -> Result<OwnedMutexGuard<Slot>, BackendError> {
        let _leaving = Leaving(&self.slot);
        let queued = Queued::at(&self.queued);
        let turn = tokio::time::timeout(self.patience, Arc::clone(&self.slot).lock_owned()).await;
        drop(queued);
        let mut slot = turn.map_err(|_| BackendError::temporary(ADAPTER, "begin", "the one writer is taken"))?;
        tidy(&mut slot).await;
        Ok(slot)
    }

    /// A turn with nothing open: what others had open is committed.
    pub(crate) async fn turn_alone(&self) -> Result<Turn, BackendError> {
        let _leaving = Leaving(&self.slot);
        let mut slot = self.turn().await?;
        end(&mut slot).await;
        Ok(Turn(slot))
    }

    async fn first(self: &Arc<Self>, slot: OwnedMutexGuard<Slot>, shared: bool) -> Result<Unit, BackendError> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let begun = bounded(self.connection.begin_with_options(options)).await;
        Ok(Unit {
            transaction: Arc::new(begun.map_err(|error| backend("begin", error))?),
            hold: Hold { slot, astray: false },
            shared,
            joined: false,
            writer: Arc::clone(self),
        })
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

/// A turn with nothing open, until it is dropped.
pub(crate) struct Turn(OwnedMutexGuard<Slot>);

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

/// One who may be the last to care: what nobody waits for any more must not keep the lock of the file.
struct Leaving<'a>(&'a Mutex<Slot>);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        // Whoever has the turn, or is next, looks when leaving it.
        if let Ok(mut slot) = self.0.try_lock()
            && slot.is_left()
        {
            *slot = Slot::Free;
        }
    }
}

/// The turn of a unit.
struct Hold {
    slot: OwnedMutexGuard<Slot>,
    /// It joined a group and has not committed.
    astray: bool,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let (true, Slot::Open(group)) = (self.astray, &mut *self.slot) {
            group.astray = true;
        }
        if self.slot.is_left() {
            *self.slot = Slot::Free;
        }
    }
}

/// A unit of work that has its turn; dropping it undoes what it wrote.
pub(crate) struct Unit {
    // Dropped before the turn ends.
    transaction: Arc<DatabaseTransaction>,
    hold: Hold,
    /// Its commit may be shared.
    shared: bool,
    /// It stands in a savepoint of a transaction that others began.
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
    pub(crate) async fn commit(mut self) -> Verdict {
        self.hold.astray = false;
        self.finish().await
    }

    /// Undoes what it wrote, and returns once what it saw is committed: before that, a refusal may rest on nothing.
    pub(crate) async fn refuse(self) -> Verdict {
        if self.joined { self.finish().await } else { Ok(()) }
    }

    async fn finish(self) -> Verdict {
        let writer = Arc::clone(&self.writer);
        let _leaving = Leaving(&writer.slot);
        let Self {
            transaction,
            mut hold,
            shared,
            ..
        } = self;
        let (sender, answer) = oneshot::channel();
        let astray = std::mem::take(&mut hold.astray);
        let full = match &mut *hold.slot {
            Slot::Open(group) => {
                drop(transaction);
                group.astray = astray;
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
        if !shared || full || writer.queued.load(Ordering::Relaxed) == 0 {
            end(&mut hold.slot).await;
        }
        drop(hold);
        writer.verdict(answer).await
    }
}

/// Before anybody writes: a commit under way is awaited, and what was left half-done is undone.
async fn tidy(slot: &mut Slot) {
    if let Slot::Closing(commit, _) = slot {
        let verdict = commit.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().await;
        if let Slot::Closing(_, members) = std::mem::take(slot) {
            tell(members, verdict);
        }
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
        Slot::Open(group) => {
            let commit = close(group.transaction, group.savepoints);
            *slot = Slot::Closing(Exclusive::new(Box::pin(commit)), group.members);
        }
        other => *slot = other,
    }
    tidy(slot).await;
}

async fn close(transaction: Arc<DatabaseTransaction>, savepoints: u32) -> Verdict {
    match Arc::into_inner(transaction) {
        Some(transaction) => commit(transaction, savepoints)
            .await
            .map_err(|error| backend("commit", error)),
        None => Err(BackendError::permanent(ADAPTER, "commit", "a unit outlived its turn")),
    }
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
