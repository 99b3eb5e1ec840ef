//! Wake-ups that reach the other nodes on one PostgreSQL, by LISTEN and NOTIFY.
//!
//! A NOTIFY inside a writing transaction takes a lock of the whole database over its commit, so that all writers wait for
//! each other. Here it comes after the commit, on a connection of its own, and once for all wakes of some milliseconds.
//! One that is lost costs nothing but time: whoever waits looks by himself now and then.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ports::{Wakeup, WakeupBus};
use sea_orm::sqlx::postgres::{PgListener, PgPool, PgPoolOptions};
use sea_orm::sqlx::{self, Error as DriverError};
use tokio::sync::Notify;

use crate::connect::Database;

/// The channel of all nodes.
const CHANNEL: &str = "plinth_wakeups";
/// Wakes of so long a time are told together.
const GATHERING: Duration = Duration::from_millis(3);
/// How long to wait with a new connection when one was lost.
const PAUSE: Duration = Duration::from_secs(1);

/// [`WakeupBus`] of one process that tells the others. What it hears from them wakes those who wait here.
pub struct PostgresWakeupBus {
    here: Arc<dyn WakeupBus>,
    told: Arc<Told>,
}

/// What is to be told to the others.
#[derive(Default)]
struct Told {
    kinds: AtomicU8,
    some: Notify,
}

impl PostgresWakeupBus {
    /// A bus beside `here`, under the name of this process, which no other may have, and what carries wakes to and fro
    /// until it is dropped. None on SQLite, where processes on one file look by themselves.
    pub fn new(
        db: &Database,
        here: Arc<dyn WakeupBus>,
        node: String,
    ) -> Option<(Self, impl Future<Output = ()> + Send + 'static)> {
        let options = db.postgres()?.connect_options();
        // Beside the pool of all others: a pool that is in use to its last connection must not keep wakes waiting.
        let own = PgPoolOptions::new()
            .max_connections(2)
            .connect_lazy_with((*options).clone());
        let told = Arc::<Told>::default();
        let bus = Self {
            here: Arc::clone(&here),
            told: Arc::clone(&told),
        };
        let carried = async move {
            tokio::join!(tell(&own, &told, &node), hear(&own, &*here, &node));
        };
        Some((bus, carried))
    }
}

#[async_trait]
impl WakeupBus for PostgresWakeupBus {
    fn wake(&self, wakeup: Wakeup) {
        self.here.wake(wakeup);
        self.told.kinds.fetch_or(bit(wakeup), Ordering::Relaxed);
        self.told.some.notify_one();
    }

    async fn wait(&self, waiter: &str, wakeup: Wakeup, at_most: Duration) {
        self.here.wait(waiter, wakeup, at_most).await;
    }
}

impl fmt::Debug for PostgresWakeupBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresWakeupBus").finish_non_exhaustive()
    }
}

const fn bit(wakeup: Wakeup) -> u8 {
    match wakeup {
        Wakeup::Written => 1,
        Wakeup::Sequenced => 2,
        Wakeup::Mail => 4,
        Wakeup::Webhook => 8,
    }
}

/// The word on the wire: nodes of different versions may not agree on numbers.
const fn word(wakeup: Wakeup) -> &'static str {
    match wakeup {
        Wakeup::Written => "written",
        Wakeup::Sequenced => "sequenced",
        Wakeup::Mail => "mail",
        Wakeup::Webhook => "webhook",
    }
}

/// `NODE WORD WORD...`.
fn message(node: &str, kinds: u8) -> String {
    let words = Wakeup::ALL.into_iter().filter(|wakeup| kinds & bit(*wakeup) != 0);
    words.fold(node.to_owned(), |text, wakeup| text + " " + word(wakeup))
}

/// What another node says; what this version does not know is passed over.
fn heard<'a>(node: &str, message: &'a str) -> impl Iterator<Item = Wakeup> + use<'a> {
    let mut words = message.split(' ');
    let from_another = words.next() != Some(node);
    let known = |said: &str| Wakeup::ALL.into_iter().find(|wakeup| word(*wakeup) == said);
    words.filter(move |_| from_another).filter_map(known)
}

async fn tell(pool: &PgPool, told: &Told, node: &str) {
    loop {
        told.some.notified().await;
        let kinds = told.kinds.swap(0, Ordering::Relaxed);
        if kinds == 0 {
            continue;
        }
        let sent = sqlx::query("SELECT pg_notify($1, $2)")
            .bind(CHANNEL)
            .bind(message(node, kinds))
            .execute(pool)
            .await;
        let pause = match sent {
            Ok(_) => GATHERING,
            Err(error) => {
                tracing::debug!(%error, "other nodes cannot be woken; they look by themselves");
                PAUSE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn hear(pool: &PgPool, here: &dyn WakeupBus, node: &str) {
    loop {
        if let Err(error) = listen(pool, here, node).await {
            tracing::debug!(%error, "wakes of other nodes are not heard; this one looks by itself");
        }
        // Whatever was said meanwhile was missed.
        Wakeup::ALL.into_iter().for_each(|wakeup| here.wake(wakeup));
        tokio::time::sleep(PAUSE).await;
    }
}

/// Listens until the connection is lost.
async fn listen(pool: &PgPool, here: &dyn WakeupBus, node: &str) -> Result<(), DriverError> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    while let Some(notification) = listener.try_recv().await? {
        heard(node, notification.payload()).for_each(|wakeup| here.wake(wakeup));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard_by_all_but_the_one_who_said_it() {
        let said = message("a", bit(Wakeup::Written) | bit(Wakeup::Mail));
        assert_eq!(said, "a written mail");
        assert_eq!(heard("b", &said).collect::<Vec<_>>(), [Wakeup::Written, Wakeup::Mail]);
        assert_eq!(heard("a", &said).count(), 0);
    }

    #[test]
    fn words_of_newer_versions_are_passed_over() {
        assert_eq!(
            heard("b", "a thought sequenced").collect::<Vec<_>>(),
            [Wakeup::Sequenced]
        );
        assert_eq!(heard("b", "").count(), 0);
    }
}
