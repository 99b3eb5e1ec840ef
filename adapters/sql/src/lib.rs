//! Users, sessions, the event log, the mail ledger and file rows on SeaORM: SQLite and PostgreSQL.
