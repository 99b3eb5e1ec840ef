//! Figures that a backend tells about itself, as operators see them.

/// A pool of database connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolStats {
    /// The most connections that it may open.
    pub max: u32,
    /// Connections open now.
    pub open: u32,
    /// Connections open and free.
    pub idle: u32,
}

impl PoolStats {
    /// The share of the pool in use, 0 to 1.
    pub fn utilisation(&self) -> f64 {
        if self.max == 0 {
            0.0
        } else {
            (f64::from(self.open.saturating_sub(self.idle)) / f64::from(self.max)).min(1.0)
        }
    }
}

/// The log and what follows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogStats {
    /// Events committed and not yet given a position.
    pub unsequenced: u64,
    /// All positions given, over all shards.
    pub head: u64,
    /// For each cursor group, how many events it has yet to pass.
    pub lags: Vec<(String, u64)>,
}

/// The mail ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MailStats {
    /// Messages that wait.
    pub queued: u64,
    /// Messages that a worker holds.
    pub sending: u64,
    /// Messages given up.
    pub dead: u64,
    /// How long the oldest due message has waited, in microseconds.
    pub oldest_due_micros: u64,
}
