//! Leases of shards: of many owners at most one holds a shard, and none more than a fair share.

use domain::event::{SHARDS, Shard};
use domain::time::Timestamp;
use ports::{BackendError, Cursor};
use sea_orm::Value;

use crate::connect::{Dialect, WriteTransaction};
use crate::log::{cursors_from, shard_from};
use crate::row::{Row, execute, fetch_all, fetch_one, skip_locked};

/// A table with a row for each shard, which says who holds it: `shard`, `position`, `lease_owner`, `lease_until`.
pub(crate) struct Leases<'a> {
    /// What errors name.
    pub(crate) operation: &'static str,
    /// The table.
    pub(crate) table: &'static str,
    /// Whose rows of the table are meant (`group_name`), where it has those of many groups.
    pub(crate) group: Option<&'a str>,
    /// The name under which owners take part.
    pub(crate) members: &'a str,
}

/// Who asks, and until when that is to hold.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) owner: &'a str,
    pub(crate) now: Timestamp,
    pub(crate) until: Timestamp,
}

/// A shard as a claim finds it.
struct Found {
    shard: Shard,
    mine: bool,
    free: bool,
}

/// What an owner takes or renews, and what it gives back.
#[derive(Debug, PartialEq, Eq)]
struct Choice {
    take: Vec<Shard>,
    give: Vec<Shard>,
}

/// A fair share of the shards for one of so many owners: first what it holds, then what is free.
fn choose(found: &[Found], members: usize) -> Choice {
    let share = found.len().div_ceil(members.max(1));
    let mine: Vec<Shard> = found
        .iter()
        .filter(|found| found.mine)
        .map(|found| found.shard)
        .collect();
    let free = found.iter().filter(|found| found.free && !found.mine);
    let (keep, give) = mine.split_at(share.min(mine.len()));
    let take = keep.iter().copied().chain(free.map(|found| found.shard)).take(share);
    Choice {
        take: take.collect(),
        give: give.to_vec(),
    }
}

impl Leases<'_> {
    /// Takes part, takes or renews a fair share, and gives back what is beyond it; gives what is held, in the order of shards.
    pub(crate) async fn claim(&self, tx: &WriteTransaction, asking: Asking<'_>) -> Result<Vec<Cursor>, BackendError> {
        let members = self.join(tx, asking).await?;
        let mut found = self.found(tx, asking).await?;
        if let Some(group) = self.group
            && found.len() < usize::from(SHARDS)
        {
            let missing = "INSERT INTO cursors (group_name, shard, position, lease_owner, lease_until) \
                SELECT $1, shard, 0, NULL, 0 FROM log_shards WHERE true ORDER BY shard ON CONFLICT DO NOTHING";
            execute(tx.conn(), self.operation, missing, vec![group.into()]).await?;
            found = self.found(tx, asking).await?;
        }
        let Choice { take, give } = choose(&found, members);
        let held = if take.is_empty() {
            Vec::new()
        } else {
            self.take(tx, asking, &take).await?
        };
        // After what is kept, which lies before it: everybody locks in the order of shards.
        if !give.is_empty() {
            let sql = format!(
                "UPDATE {} SET lease_owner = NULL, lease_until = 0 WHERE lease_owner = $1 AND shard IN ({}){}",
                self.table,
                numbers(&give),
                self.of_group(2)
            );
            execute(tx.conn(), self.operation, &sql, self.values(vec![asking.owner.into()])).await?;
        }
        Ok(held)
    }

    /// Gives everything back, and takes part no more.
    pub(crate) async fn release(&self, tx: &WriteTransaction, owner: &str) -> Result<(), BackendError> {
        let sql = format!(
            "UPDATE {} SET lease_owner = NULL, lease_until = 0 WHERE lease_owner = $1{}",
            self.table,
            self.of_group(2)
        );
        execute(tx.conn(), self.operation, &sql, self.values(vec![owner.into()])).await?;
        let sql = "DELETE FROM group_members WHERE group_name = $1 AND owner = $2";
        execute(tx.conn(), self.operation, sql, vec![self.members.into(), owner.into()]).await?;
        Ok(())
    }

    /// Takes part, and gives how many do.
    async fn join(&self, tx: &WriteTransaction, asking: Asking<'_>) -> Result<usize, BackendError> {
        let (group, now, until): (Value, Value, Value) = (
            self.members.into(),
            asking.now.micros().into(),
            asking.until.micros().into(),
        );
        let sql = "INSERT INTO group_members (group_name, owner, until) VALUES ($1, $2, $3) \
            ON CONFLICT (group_name, owner) DO UPDATE SET until = excluded.until";
        let values = vec![group.clone(), asking.owner.into(), until];
        execute(tx.conn(), self.operation, sql, values).await?;
        let sql = "SELECT count(*) AS members, sum(CASE WHEN until <= $2 THEN 1 ELSE 0 END) AS past \
            FROM group_members WHERE group_name = $1";
        let counted = fetch_one(tx.conn(), self.operation, sql, vec![group.clone(), now.clone()]).await?;
        let Some(row) = counted else { return Ok(1) };
        let (members, past) = (row.count("members")?, row.count("past")?);
        if past > 0 {
            let sql = format!(
                "DELETE FROM group_members WHERE (group_name, owner) IN (SELECT group_name, owner FROM group_members \
                 WHERE group_name = $1 AND until <= $2 ORDER BY owner{})",
                skip_locked(tx.dialect())
            );
            execute(tx.conn(), self.operation, &sql, vec![group, now]).await?;
        }
        Ok(usize::try_from(members - past).unwrap_or(usize::MAX))
    }

    async fn found(&self, tx: &WriteTransaction, asking: Asking<'_>) -> Result<Vec<Found>, BackendError> {
        let sql = format!(
            "SELECT shard, lease_owner, lease_until FROM {} WHERE true{} ORDER BY shard",
            self.table,
            self.of_group(1)
        );
        let rows = fetch_all(tx.conn(), self.operation, &sql, self.values(vec![])).await?;
        let found = |row: &Row| {
            let holder: Option<String> = row.get("lease_owner")?;
            Ok(Found {
                shard: shard_from(row)?,
                mine: holder.as_deref() == Some(asking.owner),
                free: holder.is_none() || row.get::<i64>("lease_until")? <= asking.now.micros(),
            })
        };
        rows.iter().map(found).collect()
    }

    async fn take(
        &self,
        tx: &WriteTransaction,
        asking: Asking<'_>,
        shards: &[Shard],
    ) -> Result<Vec<Cursor>, BackendError> {
        let (table, numbers, of_group) = (self.table, numbers(shards), self.of_group(4));
        // What was free may have been taken between the look and the lock.
        let may = format!(
            "shard IN ({numbers}) AND (lease_owner IS NULL OR lease_owner = $1 OR lease_until <= $2){of_group}"
        );
        let sql = match tx.dialect() {
            Dialect::Sqlite => {
                format!("UPDATE {table} SET lease_owner = $1, lease_until = $3 WHERE {may} RETURNING shard, position")
            }
            // Locked in the order of shards; the condition is looked at again once the lock is there.
            Dialect::Postgres => format!(
                "WITH free AS (SELECT shard FROM {table} WHERE {may} ORDER BY shard FOR UPDATE) \
                 UPDATE {table} SET lease_owner = $1, lease_until = $3 \
                 WHERE shard IN (SELECT shard FROM free){of_group} RETURNING shard, position"
            ),
        };
        let values = self.values(vec![
            asking.owner.into(),
            asking.now.micros().into(),
            asking.until.micros().into(),
        ]);
        cursors_from(&fetch_all(tx.conn(), self.operation, &sql, values).await?)
    }

    /// What keeps a statement to the rows of the group, its name being the parameter of that number.
    fn of_group(&self, number: usize) -> String {
        self.group
            .map_or(String::new(), |_| format!(" AND group_name = ${number}"))
    }

    /// The values of a statement, with the group's name behind them where there is one.
    fn values(&self, mut values: Vec<Value>) -> Vec<Value> {
        values.extend(self.group.map(Value::from));
        values
    }
}

/// The numbers of shards, for a list in a statement.
pub(crate) fn numbers(shards: &[Shard]) -> String {
    let numbers = shards.iter().map(|shard| shard.number().to_string());
    numbers.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(mine: &[u8], others: &[u8]) -> Vec<Found> {
        let cursor = |shard: Shard| Found {
            shard,
            mine: mine.contains(&shard.number()),
            free: !mine.contains(&shard.number()) && !others.contains(&shard.number()),
        };
        Shard::all().map(cursor).collect()
    }

    fn chosen(found: &[Found], members: usize) -> (Vec<u8>, Vec<u8>) {
        let numbers = |shards: Vec<Shard>| shards.into_iter().map(Shard::number).collect();
        let Choice { take, give } = choose(found, members);
        (numbers(take), numbers(give))
    }

    #[test]
    fn a_share_is_what_is_held_then_what_is_free() {
        let all: Vec<u8> = (0..16).collect();
        assert_eq!(chosen(&found(&[], &[]), 1), (all.clone(), vec![]));
        assert_eq!(chosen(&found(&all, &[]), 2), (all[..8].to_vec(), all[8..].to_vec()));
        assert_eq!(
            chosen(&found(&[9], &all[..8]), 2),
            (
                all[8..]
                    .iter()
                    .copied()
                    .map(|n| if n == 8 {
                        9
                    } else if n == 9 {
                        8
                    } else {
                        n
                    })
                    .collect(),
                vec![]
            )
        );
        assert_eq!(chosen(&found(&all[..6], &all[6..12]), 3), (all[..6].to_vec(), vec![]));
        assert_eq!(chosen(&found(&[], &all), 2), (vec![], vec![]));
        assert_eq!(chosen(&found(&[3, 4], &[]), 40), (vec![3], vec![4]));
    }
}
