//! What users did, by calendar month in UTC.

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use domain::id::UserId;
use domain::time::Timestamp;
use ports::{BackendError, InboxMark, UsageEntry, UsageFigure, UsageRepository};
use sea_orm::Value;
use sea_orm::sea_query::ArrayType;
use uuid::Uuid;

use crate::connect::{Database, Dialect, WriteTransaction};
use crate::event_insert::{array, in_widths};
use crate::row::{Row, bigint, execute, fetch_all, placeholders};

const OPERATION: &str = "usage.add";

/// [`UsageRepository`] on SQL.
#[derive(Debug, Clone)]
pub struct SqlUsageRepository {
    db: Database,
}

impl SqlUsageRepository {
    /// Counts in this database.
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }
}

/// The month as `yyyymm`: the first digits of the time as RFC 3339 writes it.
fn month(at: Timestamp) -> i32 {
    let digits = at
        .to_rfc3339()
        .bytes()
        .filter(u8::is_ascii_digit)
        .take(6)
        .collect::<Vec<u8>>();
    digits
        .into_iter()
        .fold(0, |month, digit| month * 10 + i32::from(digit - b'0'))
}

/// Writes the marks that are not there yet, and gives them. They come sorted, and every writer writes them before it counts, so that none waits in a circle.
async fn write_marks(tx: &WriteTransaction, marks: &[&InboxMark]) -> Result<HashSet<(String, Uuid)>, BackendError> {
    let mut rows = Vec::with_capacity(marks.len());
    match tx.dialect() {
        Dialect::Postgres => {
            let sql = "INSERT INTO inbox (group_name, event_id, at) \
                SELECT * FROM unnest($1::text[], $2::uuid[], $3::bigint[]) \
                ON CONFLICT DO NOTHING RETURNING group_name, event_id";
            let values = vec![
                array(ArrayType::String, marks.iter().map(|mark| mark.group.as_str().into())),
                array(ArrayType::Uuid, marks.iter().map(|mark| mark.event_id.uuid().into())),
                array(ArrayType::BigInt, marks.iter().map(|mark| mark.at.micros().into())),
            ];
            rows.extend(fetch_all(tx.conn(), OPERATION, sql, values).await?);
        }
        Dialect::Sqlite => {
            for some in in_widths(marks) {
                let sql = format!(
                    "INSERT INTO inbox (group_name, event_id, at) VALUES {} \
                     ON CONFLICT DO NOTHING RETURNING group_name, event_id",
                    placeholders(1, some.len(), 3)
                );
                let columns = |mark: &&InboxMark| -> [Value; 3] {
                    [
                        mark.group.as_str().into(),
                        mark.event_id.uuid().into(),
                        mark.at.micros().into(),
                    ]
                };
                rows.extend(fetch_all(tx.conn(), OPERATION, &sql, some.iter().flat_map(columns).collect()).await?);
            }
        }
    }
    rows.iter()
        .map(|row| Ok((row.get("group_name")?, row.get("event_id")?)))
        .collect()
}

/// What is added to each row of the table, in the order of its key: the same for all writers.
type Sums<'e> = BTreeMap<(Uuid, i32, &'e str), u64>;

async fn write_sums(tx: &WriteTransaction, sums: &Sums<'_>) -> Result<(), BackendError> {
    const UPSERT: &str = "ON CONFLICT (user_id, month, meter) DO UPDATE SET amount = usage.amount + excluded.amount";
    let mut rows: Vec<[Value; 4]> = Vec::with_capacity(sums.len());
    for ((user, month, meter), sum) in sums {
        rows.push([
            (*user).into(),
            (*month).into(),
            (*meter).into(),
            bigint(OPERATION, *sum)?.into(),
        ]);
    }
    match tx.dialect() {
        _ if rows.is_empty() => {}
        Dialect::Postgres => {
            let sql = format!(
                "INSERT INTO usage (user_id, month, meter, amount) \
                 SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::bigint[]) {UPSERT}"
            );
            let column = |kind, index: usize| array(kind, rows.iter().map(|row| row[index].clone()));
            let values = vec![
                column(ArrayType::Uuid, 0),
                column(ArrayType::Int, 1),
                column(ArrayType::String, 2),
                column(ArrayType::BigInt, 3),
            ];
            execute(tx.conn(), OPERATION, &sql, values).await?;
        }
        Dialect::Sqlite => {
            for some in in_widths(&rows) {
                let sql = format!(
                    "INSERT INTO usage (user_id, month, meter, amount) VALUES {} {UPSERT}",
                    placeholders(1, some.len(), 4)
                );
                execute(tx.conn(), OPERATION, &sql, some.concat()).await?;
            }
        }
    }
    Ok(())
}

#[async_trait]
impl UsageRepository for SqlUsageRepository {
    async fn add_many(&self, entries: &[UsageEntry]) -> Result<Vec<bool>, BackendError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let mut marks: Vec<&InboxMark> = entries.iter().map(|entry| &entry.mark).collect();
        marks.sort_by(|one, other| (&one.group, one.event_id).cmp(&(&other.group, other.event_id)));
        let tx = self.db.begin_write().await?;
        let mut written = write_marks(&tx, &marks).await?;
        let (mut added, mut sums) = (Vec::with_capacity(entries.len()), Sums::new());
        for entry in entries {
            // Taken out, so that a mark that comes twice in the call counts once.
            let new = written.remove(&(entry.mark.group.clone(), entry.mark.event_id.uuid()));
            added.push(new);
            for figure in entry.figures.iter().filter(|_| new) {
                let sum = sums
                    .entry((entry.user.uuid(), month(entry.at), &figure.meter))
                    .or_default();
                *sum = sum.saturating_add(figure.amount);
            }
        }
        write_sums(&tx, &sums).await?;
        tx.commit().await?;
        Ok(added)
    }

    async fn get(&self, user: UserId, at: Timestamp) -> Result<Vec<UsageFigure>, BackendError> {
        let sql = "SELECT meter, amount FROM usage WHERE user_id = $1 AND month = $2";
        let rows = fetch_all(
            self.db.read(),
            "usage.get",
            sql,
            vec![user.uuid().into(), month(at).into()],
        )
        .await?;
        let figure = |row: &Row| {
            Ok(UsageFigure {
                meter: row.get("meter")?,
                amount: row.count("amount")?,
            })
        };
        let mut figures: Vec<UsageFigure> = rows.iter().map(figure).collect::<Result<_, BackendError>>()?;
        // By bytes, which the collation of the database need not follow.
        figures.sort_by(|one, other| one.meter.cmp(&other.meter));
        Ok(figures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_four_digits_of_the_year_and_two_of_the_month() {
        for (text, expected) in [
            ("2026-01-31T23:59:59.999999Z", 202_601),
            ("2026-02-01T00:00:00Z", 202_602),
            ("1999-12-01T00:00:00Z", 199_912),
        ] {
            assert_eq!(month(Timestamp::parse_rfc3339(text).expect("a time")), expected);
        }
    }
}
