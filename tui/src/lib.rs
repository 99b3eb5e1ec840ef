//! The terminal dashboard: an ordinary client of the operations listener.
//!
//! Everything that happens is a [`Message`] on one channel. [`update`] takes it into the [`Model`], purely; [`view`] draws
//! the model and changes nothing. So a recording of messages shows the same pictures again, and a test is a recording.

mod burst;
pub mod data;
pub mod event;
pub mod format;
pub mod happening;
pub mod keymap;
pub mod model;
pub mod panel;
pub mod quantile;
pub mod rates;
pub mod record;
mod run;
pub mod source;
pub mod table;
mod terminal;
mod update;
mod view;
pub mod warning;

pub use event::{Key, Message, Way};
pub use model::{Model, Profile};
pub use run::{Options, TopError, once, overview, run};
pub use update::{Effect, update};
pub use view::{plain, view};
