//! The command line: what can be asked for, and how answers are written.

mod admin;
pub mod args;
pub mod audit;
pub mod banner;
pub mod config;
mod doctor;
mod events;
mod health;
mod keys;
mod migrate;
mod openapi;
pub mod output;
mod run;
mod top;
mod user;

pub use run::run;
