//! The database as it is, past Plinth: what a flow must have left behind, or must not.

use plinth_tests::site::Site;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement};

/// A connection of the test's own.
pub(crate) struct Rows(DatabaseConnection);

impl Rows {
    pub(crate) async fn of(site: &Site) -> Self {
        Self::at(site.database_url()).await
    }

    pub(crate) async fn at(url: impl Into<String>) -> Self {
        let mut options = ConnectOptions::new(url.into());
        options.max_connections(2).sqlx_logging(false);
        Self(Database::connect(options).await.expect("the database is there"))
    }

    /// The one number that a statement answers with.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let numbers = self.numbers(sql).await;
        *numbers.first().unwrap_or_else(|| panic!("no row: {sql}"))
    }

    /// The first column of every row, as numbers.
    pub(crate) async fn numbers(&self, sql: &str) -> Vec<i64> {
        let rows = self.0.query_all_raw(self.statement(sql)).await;
        let rows = rows.unwrap_or_else(|error| panic!("{error}: {sql}"));
        rows.iter()
            .map(|row| row.try_get_by_index(0).expect("a number of 64 bits"))
            .collect()
    }

    /// The first column of every row, as texts.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        let rows = self.0.query_all_raw(self.statement(sql)).await;
        let rows = rows.unwrap_or_else(|error| panic!("{error}: {sql}"));
        rows.iter()
            .map(|row| row.try_get_by_index(0).expect("a text"))
            .collect()
    }

    /// Changes something that time would change.
    pub(crate) async fn change(&self, sql: &str) {
        self.0
            .execute_raw(self.statement(sql))
            .await
            .unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    fn statement(&self, sql: &str) -> Statement {
        Statement::from_string(self.0.get_database_backend(), sql.to_owned())
    }
}
