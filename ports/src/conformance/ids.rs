//! The scenarios of [`Ids`](crate::Ids).

use std::collections::HashSet;

use uuid::{Uuid, Variant, Version};

use crate::Ids;

/// One named test per scenario. The fixture is a future of `Option<(ids, guard)>`.
#[macro_export]
macro_rules! ids_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            ids,
            [
                are_uuids_of_version_7,
                each_sorts_after_the_one_before,
                are_unique_and_ordered_across_threads
            ]
        );
    };
}

/// Version and variant bits are those of RFC 9562.
pub async fn are_uuids_of_version_7(ids: &dyn Ids) {
    for _ in 0..1_000 {
        let id = ids.next();
        assert_eq!(id.get_version(), Some(Version::SortRand), "{id}");
        assert_eq!(id.get_variant(), Variant::RFC4122, "{id}");
    }
}

/// Also within one millisecond, as bytes and as text.
pub async fn each_sorts_after_the_one_before(ids: &dyn Ids) {
    let mut before = ids.next();
    for _ in 0..20_000 {
        let id = ids.next();
        assert!(id > before, "{id} came after {before}");
        assert!(id.to_string() > before.to_string());
        before = id;
    }
}

/// Four threads at once: no id twice, and each thread sees its own in order.
pub async fn are_unique_and_ordered_across_threads(ids: &dyn Ids) {
    let take = || (0..5_000).map(|_| ids.next()).collect::<Vec<Uuid>>();
    let taken: Vec<Vec<Uuid>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a thread that takes ids"))
            .collect()
    });
    for thread in &taken {
        assert!(thread.is_sorted(), "a thread saw its ids out of order");
    }
    let all: HashSet<Uuid> = taken.into_iter().flatten().collect();
    assert_eq!(all.len(), 20_000);
}
