//! What users did, by calendar month in UTC.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::id::UserId;
use domain::time::Timestamp;
use ports::{BackendError, Effects, EffectsError, UsageFigure, UsageRepository};
use sea_orm::Value;

use crate::connect::Database;
use crate::effects::write_effects;
use crate::row::{Row, bigint, execute, fetch_all, placeholders};

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

#[async_trait]
impl UsageRepository for SqlUsageRepository {
    async fn add(
        &self,
        user: UserId,
        at: Timestamp,
        figures: &[UsageFigure],
        effects: &Effects,
    ) -> Result<(), EffectsError> {
        let operation = "usage.add";
        // One row for a meter, and the rows of all writers in one order, so that none waits in a circle.
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for figure in figures {
            let sum = sums.entry(&figure.meter).or_default();
            *sum = sum.saturating_add(figure.amount);
        }
        let tx = self.db.begin_write().await?;
        write_effects(&self.db, &tx, effects).await?;
        if !sums.is_empty() {
            let sql = format!(
                "INSERT INTO usage (user_id, month, meter, amount) VALUES {} \
                 ON CONFLICT (user_id, month, meter) DO UPDATE SET amount = usage.amount + excluded.amount",
                placeholders(1, sums.len(), 4)
            );
            let mut values: Vec<Value> = Vec::with_capacity(sums.len() * 4);
            for (meter, sum) in sums {
                values.extend([
                    user.uuid().into(),
                    month(at).into(),
                    meter.into(),
                    bigint(operation, sum)?.into(),
                ]);
            }
            execute(tx.conn(), operation, &sql, values).await?;
        }
        Ok(tx.commit().await?)
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
