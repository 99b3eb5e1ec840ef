//! The schema, as additive migrations that run on SQLite and PostgreSQL.
