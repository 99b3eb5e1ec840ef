//! Places for what lasts, such as live streams and uploads: so many for each user, given back when dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::id::UserId;

/// All places of one kind in this process.
#[derive(Debug)]
pub(super) struct Places {
    per_user: u32,
    taken: Arc<Mutex<HashMap<UserId, u32>>>,
}

/// A place that is taken.
#[derive(Debug)]
pub(super) struct Place {
    user: UserId,
    taken: Arc<Mutex<HashMap<UserId, u32>>>,
}

impl Places {
    /// So many for each user.
    pub(super) fn new(per_user: u32) -> Self {
        Self {
            per_user,
            taken: Arc::default(),
        }
    }

    /// A place, if the user has one left.
    pub(super) fn take(&self, user: UserId) -> Option<Place> {
        let mut taken = lock(&self.taken);
        let count = taken.get(&user).copied().unwrap_or_default();
        if count >= self.per_user {
            return None;
        }
        taken.insert(user, count + 1);
        Some(Place {
            user,
            taken: Arc::clone(&self.taken),
        })
    }

    /// How many are taken, by all users.
    pub(super) fn taken(&self) -> u64 {
        lock(&self.taken).values().copied().map(u64::from).sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        match taken.get_mut(&self.user) {
            Some(count) if *count > 1 => *count -= 1,
            // Users without places take no memory.
            _ => drop(taken.remove(&self.user)),
        }
    }
}

fn lock(taken: &Mutex<HashMap<UserId, u32>>) -> MutexGuard<'_, HashMap<UserId, u32>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_place_is_free_again_when_it_is_dropped() {
        let (a, b) = (UserId::new(Uuid::from_u128(1)), UserId::new(Uuid::from_u128(2)));
        let places = Places::new(2);
        let first = places.take(a);
        let second = places.take(a);
        assert!(first.is_some() && second.is_some());
        assert!(places.take(a).is_none());
        let other = places.take(b);
        assert!(other.is_some(), "users do not concern each other");
        assert_eq!(places.taken(), 3);
        drop(first);
        assert!(places.take(a).is_some());
        drop(second);
        drop(other);
        assert_eq!(places.taken(), 0);
        assert!(lock(&places.taken).is_empty());
    }
}
