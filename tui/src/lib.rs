//! The terminal dashboard: an ordinary client of the operations listener.
