//! A PostgreSQL database for one test, on the server that `scripts/services up postgres` started.

use std::path::PathBuf;
use std::process::Command;

use crate::{environment, left_out};

/// A database of its own, dropped with this value.
#[derive(Debug)]
pub struct TestDatabase {
    server: String,
    name: String,
}

/// Makes a database on the server that `PLINTH_TEST_POSTGRES_URL` names.
///
/// None, said on standard error, when the variable is absent: the test then returns at once.
///
/// # Panics
/// When the server refuses, and with `PLINTH_TEST_REQUIRE=1` when there is none.
pub fn fresh_database() -> Option<TestDatabase> {
    let Some(server) = environment("PLINTH_TEST_POSTGRES_URL") else {
        left_out("PostgreSQL");
        return None;
    };
    let name = format!("t{}", uuid::Uuid::now_v7().simple());
    psql(&server, &format!("CREATE DATABASE {name}")).expect("the server makes a database");
    Some(TestDatabase { server, name })
}

impl TestDatabase {
    /// The address of this database, `postgres://USER@HOST:PORT/NAME`.
    pub fn url(&self) -> String {
        let (server, _) = self
            .server
            .rsplit_once('/')
            .expect("PLINTH_TEST_POSTGRES_URL ends in a database name");
        format!("{server}/{}", self.name)
    }

    /// The name of this database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `psql` answers to one statement: a line per row, columns parted by `|`, no headings.
    ///
    /// # Panics
    /// When the statement fails.
    pub fn query(&self, statement: &str) -> String {
        psql(&self.url(), statement).expect("the statement runs")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // FORCE ends the connections of a server that the test left running or killed.
        if let Err(reason) = psql(
            &self.server,
            &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name),
        ) {
            crate::say(&format!("the database {} stays behind: {reason}", self.name));
        }
    }
}

/// Runs one statement; the error is what `psql` said.
fn psql(url: &str, statement: &str) -> Result<String, String> {
    let program = psql_program().ok_or("psql is neither in PATH nor below /usr/lib/postgresql")?;
    let output = Command::new(program)
        .args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-w",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            url,
            "-c",
            statement,
        ])
        .output()
        .map_err(|error| format!("psql does not start: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned())
    }
}

fn psql_program() -> Option<PathBuf> {
    let path = environment("PATH").unwrap_or_default();
    let in_path = path
        .split(':')
        .map(|folder| PathBuf::from(folder).join("psql"))
        .find(|file| file.is_file());
    in_path.or_else(|| {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let programs = versions.flatten().map(|version| version.path().join("bin/psql"));
        programs.filter(|program| program.is_file()).max()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_database_is_its_own_and_goes_with_its_value() {
        let Some(first) = fresh_database() else { return };
        let second = fresh_database().expect("the variable is set");
        first.query("CREATE TABLE seen (n int)");
        first.query("INSERT INTO seen VALUES (1), (2)");
        assert_eq!(first.query("SELECT n FROM seen ORDER BY n"), "1\n2");
        assert_eq!(
            second.query("SELECT count(*) FROM pg_tables WHERE tablename = 'seen'"),
            "0"
        );

        let name = first.name().to_owned();
        drop(first);
        assert_eq!(
            second.query(&format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'")),
            "0"
        );
    }

    #[test]
    fn a_refused_statement_says_why() {
        let Some(database) = fresh_database() else { return };
        let refused = psql(&database.url(), "SELECT * FROM nowhere").expect_err("there is no such table");
        assert!(refused.contains("nowhere"), "{refused}");
    }
}
