//! Ids that sort by the time of their making: `UUIDv7` (RFC 9562 section 5.7).

use std::sync::{Arc, Mutex, PoisonError};

use ports::{Clock, Ids, Randomness};
use uuid::Uuid;

/// The bits after the time that are ours: 12 beside the version, 62 beside the variant.
const TAIL_BITS: u32 = 74;
const TAIL_MAX: u128 = (1 << TAIL_BITS) - 1;
const MILLIS_MAX: u64 = (1 << 48) - 1;

/// Makes ids of a clock and of randomness.
///
/// Within a millisecond, and while the clock stands still or goes back, the random part counts up by a random step (RFC 9562
/// section 6.2, method 2): ids keep their order and still cannot be guessed from one another.
pub struct SystemIds {
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    pub(crate) last: Mutex<Last>,
    reserve: Mutex<Reserve>,
}

/// Bytes of randomness fetched at once: the system is asked for every hundredth id instead of for each.
const RESERVE: usize = 512;

/// Randomness that no id has used yet.
struct Reserve {
    bytes: [u8; RESERVE],
    used: usize,
}

impl Reserve {
    const EMPTY: Self = Self {
        bytes: [0; RESERVE],
        used: RESERVE,
    };

    fn take<const N: usize>(&mut self, randomness: &dyn Randomness) -> [u8; N] {
        if self.used + N > RESERVE {
            randomness.fill(&mut self.bytes);
            self.used = 0;
        }
        let mut taken = [0; N];
        taken.copy_from_slice(&self.bytes[self.used..self.used + N]);
        // What was given out is nobody else's to read.
        self.bytes[self.used..self.used + N].fill(0);
        self.used += N;
        taken
    }
}

/// What the last id was made of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Last {
    pub(crate) millis: u64,
    pub(crate) tail: u128,
}

impl SystemIds {
    /// Ids whose time is the clock's.
    pub fn new(clock: Arc<dyn Clock>, randomness: Arc<dyn Randomness>) -> Self {
        Self {
            clock,
            randomness,
            last: Mutex::new(Last::default()),
            reserve: Mutex::new(Reserve::EMPTY),
        }
    }

    /// Random bits, with the highest one clear: at least half of the tail is left to count up in.
    fn fresh_tail(&self) -> u128 {
        let mut bytes = [0; 16];
        bytes[6..].copy_from_slice(&self.random::<10>());
        u128::from_be_bytes(bytes) & (TAIL_MAX >> 1)
    }

    fn step(&self) -> u128 {
        u128::from(u32::from_be_bytes(self.random())) + 1
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        let mut reserve = self.reserve.lock().unwrap_or_else(PoisonError::into_inner);
        reserve.take(&*self.randomness)
    }

    fn following(&self, last: Last, now: u64) -> Last {
        if now > last.millis {
            return Last {
                millis: now,
                tail: self.fresh_tail(),
            };
        }
        let tail = last.tail + self.step();
        if tail <= TAIL_MAX {
            Last { tail, ..last }
        } else {
            // The tail is used up: borrow from the future rather than repeat or go back.
            Last {
                millis: last.millis + 1,
                tail: self.fresh_tail(),
            }
        }
    }
}

impl Last {
    fn to_uuid(self) -> Uuid {
        let millis = u128::from(self.millis.min(MILLIS_MAX));
        let (high, low) = (self.tail >> 62, self.tail & ((1 << 62) - 1));
        Uuid::from_u128((millis << 80) | (7 << 76) | (high << 64) | (0b10 << 62) | low)
    }
}

impl Ids for SystemIds {
    fn next(&self) -> Uuid {
        let now = u64::try_from(self.clock.now().micros() / 1_000).unwrap_or(0);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = self.following(*last, now);
        last.to_uuid()
    }
}

impl std::fmt::Debug for SystemIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SystemIds").finish_non_exhaustive()
    }
}
