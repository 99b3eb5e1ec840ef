//! What a database error means to a caller: whether it may pass, and which uniqueness it broke.

use ports::BackendError;
use sea_orm::sqlx::Error as DriverError;
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr};

/// The name of this adapter in errors.
pub(crate) const ADAPTER: &str = "sql";

/// Wraps a database error, saying whether the same call may work a little later.
pub(crate) fn backend(operation: &'static str, error: DbErr) -> BackendError {
    BackendError {
        adapter: ADAPTER,
        operation,
        temporary: is_temporary(&error),
        full: is_full(&error),
        source: Box::new(error),
    }
}

/// SQLite: `SQLITE_FULL` (13), and a write or sync that the system refused (778, 1034), which a full disk shows as too. PostgreSQL: `disk_full`.
fn is_full(error: &DbErr) -> bool {
    let database = driver_error(error).and_then(|driver| driver.as_database_error());
    let code = database.and_then(|database| database.code());
    code.is_some_and(|code| matches!(&*code, "13" | "778" | "1034" | "53100"))
}

/// A stored value that no code of ours can have written.
pub(crate) fn corrupt(operation: &'static str, column: &str) -> BackendError {
    BackendError::permanent(
        ADAPTER,
        operation,
        format!("column {column} holds a value that is none of ours"),
    )
}

/// The constraint that was broken (PostgreSQL), or `table.column` (SQLite); both name table and column.
pub(crate) fn unique_violation(error: &DbErr) -> Option<String> {
    let database = driver_error(error)?.as_database_error()?;
    if !database.is_unique_violation() {
        return None;
    }
    Some(database.constraint().unwrap_or_else(|| database.message()).to_owned())
}

fn driver_error(error: &DbErr) -> Option<&DriverError> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(driver))
        | DbErr::Exec(RuntimeErr::SqlxError(driver))
        | DbErr::Query(RuntimeErr::SqlxError(driver)) => Some(driver.as_ref()),
        _ => None,
    }
}

fn is_temporary(error: &DbErr) -> bool {
    match error {
        DbErr::ConnectionAcquire(ConnAcquireErr::Timeout | ConnAcquireErr::ConnectionClosed) => true,
        DbErr::Conn(RuntimeErr::Internal(_)) => true,
        _ => driver_error(error).is_some_and(is_temporary_driver),
    }
}

pub(crate) fn is_temporary_driver(error: &DriverError) -> bool {
    match error {
        DriverError::Io(_) | DriverError::PoolTimedOut | DriverError::PoolClosed | DriverError::WorkerCrashed => true,
        // A server that dies mid-message leaves half a message behind.
        DriverError::Protocol(_) => true,
        DriverError::Database(database) => database.code().is_some_and(|code| is_temporary_code(&code)),
        _ => false,
    }
}

/// PostgreSQL: SQLSTATE (its documentation, appendix A). SQLite: the extended result code as a number.
fn is_temporary_code(code: &str) -> bool {
    if let (true, Ok(number)) = (code.len() < 5, code.parse::<u32>()) {
        // SQLITE_BUSY (5) and SQLITE_LOCKED (6); the primary code is the low byte.
        return matches!(number & 0xff, 5 | 6);
    }
    const CODES: [&str; 10] = [
        "40001", // serialization_failure
        "40P01", // deadlock_detected
        "55P03", // lock_not_available
        "57014", // query_canceled: the statement timeout
        "57P01", // admin_shutdown
        "57P02", // crash_shutdown
        "57P03", // cannot_connect_now
        "57P05", // idle_session_timeout
        "25P03", // idle_in_transaction_session_timeout
        "25006", // read_only_sql_transaction: a primary that became a standby
    ];
    // 08: connection exceptions. 53: no memory, no connections.
    CODES.contains(&code) || code.starts_with("08") || matches!(code, "53200" | "53300")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_pass_are_told_from_those_that_stay() {
        for code in [
            "5", "6", "261", "517", "40001", "40P01", "57P01", "57014", "08006", "53300",
        ] {
            assert!(is_temporary_code(code), "{code}");
        }
        for code in ["1", "13", "19", "2067", "1555", "23505", "42P01", "22021"] {
            assert!(!is_temporary_code(code), "{code}");
        }
    }

    #[test]
    fn a_pool_that_stays_full_is_temporary_and_a_conversion_is_not() {
        assert!(backend("test", DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)).temporary);
        assert!(!backend("test", DbErr::Type("other".to_owned())).temporary);
    }
}
