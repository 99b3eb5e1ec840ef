//! Uploads that this process left half-done: requests that were dropped, and commits whose outcome is unknown.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::file::Reservation;
use domain::time::Timestamp;
use ports::Clock;

/// How long an abandoned upload is left alone: a backend may still be at its last write, and the database at a commit
/// whose connection is gone.
const SETTLE: Duration = Duration::from_secs(60);
/// More are not remembered: their reservations run out, and then they are leftovers like those of a dead node.
const MOST: usize = 10_000;

/// The list of them.
#[derive(Debug, Default)]
pub(super) struct Abandoned(Mutex<Vec<(Timestamp, Reservation)>>);

impl Abandoned {
    /// Remembers one.
    pub(super) fn push(&self, reservation: Reservation, now: Timestamp) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() < MOST {
            list.push((now, reservation));
        }
    }

    /// Takes those that have settled.
    pub(super) fn due(&self, now: Timestamp) -> Vec<Reservation> {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = list.extract_if(.., |(at, _)| now.since(*at) >= SETTLE);
        due.map(|(_, reservation)| reservation).collect()
    }
}

/// A reservation whose upload is under way. Dropped before it is [settled](Held::settle), it is abandoned.
pub(super) struct Held {
    reservation: Option<Reservation>,
    abandoned: Arc<Abandoned>,
    clock: Arc<dyn Clock>,
}

impl Held {
    pub(super) fn new(reservation: Reservation, abandoned: &Arc<Abandoned>, clock: &Arc<dyn Clock>) -> Self {
        Self {
            reservation: Some(reservation),
            abandoned: Arc::clone(abandoned),
            clock: Arc::clone(clock),
        }
    }

    /// Nothing is left to be done about it.
    pub(super) fn settle(mut self) {
        self.reservation = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            self.abandoned.push(reservation, self.clock.now());
        }
    }
}
