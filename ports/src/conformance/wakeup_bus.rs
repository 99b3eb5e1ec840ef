//! The scenarios of [`WakeupBus`](crate::WakeupBus).

use std::future::Future;
use std::time::Duration;

use crate::{Wakeup, WakeupBus};

/// One named test per scenario. The fixture is a future of `Option<(bus, guard)>`.
#[macro_export]
macro_rules! wakeup_bus_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            wakeup_bus,
            [
                wakes_one_that_waits,
                remembers_a_wake_for_one_that_does_not_wait_yet,
                wakes_every_waiter,
                wakes_once_for_many_wakes,
                wakes_for_the_kind_alone,
                returns_after_the_time_at_most,
                loses_no_wake_to_a_wait_that_was_dropped,
            ]
        );
    };
}

/// Far longer than a wake takes, far shorter than the longest wait of the scenarios.
const PATIENCE: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(20);

/// Whether the wait returned because of a wake, long before its time.
async fn woken(wait: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(PATIENCE, wait).await.is_ok()
}

/// Whether it stays asleep for a while.
async fn asleep(bus: &dyn WakeupBus, waiter: &str, wakeup: Wakeup) -> bool {
    tokio::time::timeout(SHORT, bus.wait(waiter, wakeup, LONG))
        .await
        .is_err()
}

/// The waiter is there first.
pub async fn wakes_one_that_waits(bus: &dyn WakeupBus) {
    assert!(asleep(bus, "a", Wakeup::Mail).await);
    let wake = async {
        tokio::task::yield_now().await;
        bus.wake(Wakeup::Mail);
    };
    let (woken, ()) = tokio::join!(woken(bus.wait("a", Wakeup::Mail, LONG)), wake);
    assert!(woken);
}

/// The wake is there first, also for a waiter that never waited before; it counts once.
pub async fn remembers_a_wake_for_one_that_does_not_wait_yet(bus: &dyn WakeupBus) {
    bus.wake(Wakeup::Written);
    assert!(woken(bus.wait("new", Wakeup::Written, LONG)).await);
    assert!(asleep(bus, "new", Wakeup::Written).await);
    bus.wake(Wakeup::Written);
    assert!(woken(bus.wait("new", Wakeup::Written, LONG)).await);
}

/// One waiter does not take another's wake.
pub async fn wakes_every_waiter(bus: &dyn WakeupBus) {
    bus.wake(Wakeup::Sequenced);
    for waiter in ["a", "b", "c"] {
        assert!(
            woken(bus.wait(waiter, Wakeup::Sequenced, LONG)).await,
            "{waiter} sleeps on"
        );
    }
}

/// A worker looks once for all that came while it was busy.
pub async fn wakes_once_for_many_wakes(bus: &dyn WakeupBus) {
    for _ in 0..1_000 {
        bus.wake(Wakeup::Mail);
    }
    assert!(woken(bus.wait("a", Wakeup::Mail, LONG)).await);
    assert!(asleep(bus, "a", Wakeup::Mail).await);
}

/// One kind wakes nobody who waits for another.
pub async fn wakes_for_the_kind_alone(bus: &dyn WakeupBus) {
    for wakeup in Wakeup::ALL {
        bus.wake(wakeup);
        for other in Wakeup::ALL.into_iter().filter(|other| *other != wakeup) {
            assert!(
                asleep(bus, "a", other).await,
                "{wakeup:?} woke one who waits for {other:?}"
            );
        }
        assert!(woken(bus.wait("a", wakeup, LONG)).await);
    }
}

/// Polling is the floor.
pub async fn returns_after_the_time_at_most(bus: &dyn WakeupBus) {
    assert!(woken(bus.wait("a", Wakeup::Mail, Duration::from_millis(5))).await);
    assert!(woken(bus.wait("a", Wakeup::Mail, Duration::ZERO)).await);
}

/// A wait that is dropped has not returned: the wake is still there for the next one.
pub async fn loses_no_wake_to_a_wait_that_was_dropped(bus: &dyn WakeupBus) {
    assert!(asleep(bus, "a", Wakeup::Mail).await);
    let wait = bus.wait("a", Wakeup::Mail, LONG);
    bus.wake(Wakeup::Mail);
    drop(wait);
    assert!(woken(bus.wait("a", Wakeup::Mail, LONG)).await);
}
