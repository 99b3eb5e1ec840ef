//! End-to-end flows against the built binary, each on SQLite and on PostgreSQL.

mod audit;
mod bad_requests;
mod bad_uploads;
mod clients;
mod dashboard;
mod dead_letters;
mod doctor;
mod enumeration;
mod event_schemas;
mod figures;
mod flow_files;
mod flow_main;
mod flow_passwords;
mod flow_sessions;
mod flow_users;
mod fuzzed;
mod kafka;
mod limits;
mod pages;
mod readme;
#[path = "../common/rows.rs"]
mod rows;
mod rust_client;
mod tickets;
mod tools;
mod webhooks;
