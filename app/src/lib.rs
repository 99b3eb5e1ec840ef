//! Plinth: accounts, tokens, files, events and mail in one binary.

pub mod asyncapi;
pub mod cli;
pub mod compose;
pub mod config;
pub mod doctor;
pub mod edge;
pub mod folder;
pub mod http;
pub mod lifecycle;
pub mod ops;
pub mod plain_http;
pub mod schema_files;
pub mod serve;
pub mod service;
pub mod start;
pub mod telemetry;
pub mod worker;
