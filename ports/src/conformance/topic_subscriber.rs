//! The scenarios of [`TopicSubscriber`](crate::TopicSubscriber), fed by whoever writes to its topic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::cloud_event::{ForeignEvent, TopicPlace};
use tokio::time::Instant;

use crate::{Received, TopicSubscriber};

/// A topic of several partitions, and a group that reads it from its beginning.
#[async_trait]
pub trait Topic: Send + Sync {
    /// A new member of the group, driven until the subject is dropped.
    async fn join(&self) -> Arc<dyn TopicSubscriber>;

    /// Appends records, those of a key to one partition in order.
    async fn write(&self, records: &[(String, String)]);
}

/// One named test per scenario. The fixture is a future of `Option<(impl Topic, guard)>`.
#[macro_export]
macro_rules! topic_subscriber_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            topic_subscriber,
            [
                records_come_once_and_in_order,
                what_is_done_stays_done_and_the_rest_comes_to_the_next_member,
                members_share_and_nothing_is_missed,
                whoever_does_not_come_holds_a_bounded_number_and_stays_a_member,
                a_record_that_is_no_event_is_told_and_kept,
            ]
        );
    };
}

const PATIENCE: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_millis(100);

/// An event as another service writes it.
fn event(key: &str, number: u64, filler: usize) -> (String, String) {
    let value = format!(
        r#"{{"specversion":"1.0","id":"{key}-{number}","source":"shop","type":"app.a","subject":"{number}","data":"{}"}}"#,
        "x".repeat(filler)
    );
    (key.to_owned(), value)
}

/// So many events of each key, in turn.
fn events(keys: &[&str], numbers: std::ops::Range<u64>) -> Vec<(String, String)> {
    let of_number = |number| keys.iter().map(move |key| event(key, number, 0));
    numbers.flat_map(of_number).collect()
}

/// Receives until there are so many; more than one subscriber takes turns.
async fn receive(members: &[&Arc<dyn TopicSubscriber>], count: usize) -> Vec<Received> {
    let (started, mut received) = (Instant::now(), Vec::new());
    while received.len() < count {
        assert!(
            started.elapsed() < PATIENCE,
            "{} of {count} records came",
            received.len()
        );
        for member in members {
            received.extend(member.receive(100, SOON).await.unwrap_or_default());
        }
    }
    received
}

/// The numbers of each key, in the order in which they came.
fn numbers(received: &[Received]) -> BTreeMap<String, Vec<u64>> {
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for record in received {
        let (key, number) = record.foreign.id.split_once('-').expect("the id of an event");
        numbers
            .entry(key.to_owned())
            .or_default()
            .push(number.parse().expect("a number"));
    }
    numbers
}

fn last_places(received: &[Received]) -> Vec<TopicPlace> {
    let mut last: BTreeMap<u32, TopicPlace> = BTreeMap::new();
    for record in received {
        last.insert(record.place.partition, record.place.clone());
    }
    last.into_values().collect()
}

/// Each key's by themselves; places say where they stand.
pub async fn records_come_once_and_in_order(topic: &impl Topic) {
    let keys = ["a", "b", "c", "d"];
    topic.write(&events(&keys, 0..50)).await;
    let member = topic.join().await;
    let received = receive(&[&member], 200).await;
    let expected: BTreeMap<String, Vec<u64>> = keys.iter().map(|key| ((*key).to_owned(), (0..50).collect())).collect();
    assert_eq!(numbers(&received), expected);
    assert!(received.iter().all(|record| record.fault.is_none()));
    let mut offsets: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for Received { place, .. } in &received {
        offsets.entry(place.partition).or_default().push(place.offset);
    }
    for offsets in offsets.into_values() {
        assert!(offsets.iter().copied().eq(0..offsets.len() as u64), "{offsets:?}");
    }
    member.done(&last_places(&received)).await.expect("noted");
    assert_eq!(member.receive(100, SOON).await.expect("nothing"), []);
    topic.write(&events(&keys, 50..51)).await;
    assert_eq!(receive(&[&member], 4).await.len(), 4, "it goes on");
    member.leave().await.expect("it left");
}

/// Nothing that was handled is lost when its member goes, nor is anything that was not.
pub async fn what_is_done_stays_done_and_the_rest_comes_to_the_next_member(topic: &impl Topic) {
    topic.write(&events(&["a"], 0..20)).await;
    let first = topic.join().await;
    let received = receive(&[&first], 20).await;
    first.done(&[received[11].place.clone()]).await.expect("noted");
    first.leave().await.expect("it left");
    first
        .done(&[received[19].place.clone()])
        .await
        .expect("passed over: it is nobody's any more");
    let second = topic.join().await;
    let rest = receive(&[&second], 8).await;
    assert_eq!(numbers(&rest)["a"], (12..20).collect::<Vec<_>>());
    second.leave().await.expect("it left");
}

/// A member that comes takes a part, one that goes gives it back.
pub async fn members_share_and_nothing_is_missed(topic: &impl Topic) {
    let keys: Vec<String> = (0..24).map(|number| number.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let (first, mut seen) = (topic.join().await, BTreeSet::new());
    topic.write(&events(&keys, 0..1)).await;
    let note = |seen: &mut BTreeSet<String>, received: &[Received]| {
        seen.extend(received.iter().map(|record| record.foreign.id.clone()));
    };
    let received = receive(&[&first], 24).await;
    first.done(&last_places(&received)).await.expect("noted");
    note(&mut seen, &received);
    let second = topic.join().await;
    let started = Instant::now();
    while first.stats().partitions.is_empty() || second.stats().partitions.is_empty() {
        assert!(started.elapsed() < PATIENCE, "they do not share");
        for member in [&first, &second] {
            let received = member.receive(100, SOON).await.unwrap_or_default();
            note(&mut seen, &received);
        }
    }
    let parts = |member: &Arc<dyn TopicSubscriber>| -> BTreeSet<u32> {
        member
            .stats()
            .partitions
            .into_iter()
            .map(|part| part.partition)
            .collect()
    };
    assert_eq!(parts(&first).intersection(&parts(&second)).count(), 0);
    topic.write(&events(&keys, 1..2)).await;
    let started = Instant::now();
    while seen.len() < 48 {
        assert!(started.elapsed() < PATIENCE, "{} of 48 came", seen.len());
        for member in [&first, &second] {
            let received = member.receive(100, SOON).await.unwrap_or_default();
            member.done(&last_places(&received)).await.expect("noted");
            note(&mut seen, &received);
        }
    }
    second.leave().await.expect("it left");
    topic.write(&events(&keys, 2..3)).await;
    let started = Instant::now();
    while seen.len() < 72 {
        assert!(started.elapsed() < PATIENCE, "{} of 72 came", seen.len());
        let received = first.receive(100, SOON).await.unwrap_or_default();
        note(&mut seen, &received);
    }
    first.leave().await.expect("it left");
}

/// All of it comes once it is asked for.
pub async fn whoever_does_not_come_holds_a_bounded_number_and_stays_a_member(topic: &impl Topic) {
    let member = topic.join().await;
    let started = Instant::now();
    while member.stats().partitions.is_empty() {
        assert!(started.elapsed() < PATIENCE, "it does not become a member");
        assert_eq!(member.receive(10, SOON).await.unwrap_or_default(), []);
    }
    let records: Vec<(String, String)> = (0..6_000).map(|number| event("a", number, 400)).collect();
    topic.write(&records).await;
    let started = Instant::now();
    while !member.stats().paused {
        assert!(started.elapsed() < PATIENCE, "{:?}", member.stats());
        tokio::time::sleep(SOON).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let waiting = member.stats().waiting;
    assert!(waiting < 5_000, "{waiting} of 6,000 were fetched");
    let received = receive(&[&member], 6_000).await;
    assert_eq!(numbers(&received)["a"], (0..6_000).collect::<Vec<_>>());
    assert!(!member.stats().paused);
    member.leave().await.expect("it left");
}

/// With the reason, and in its turn.
pub async fn a_record_that_is_no_event_is_told_and_kept(topic: &impl Topic) {
    let records = [event("a", 0, 0), ("a".to_owned(), "hello".to_owned()), event("a", 1, 0)];
    topic.write(&records).await;
    let member = topic.join().await;
    let received = receive(&[&member], 3).await;
    let faults: Vec<bool> = received.iter().map(|record| record.fault.is_some()).collect();
    assert_eq!(faults, [false, true, false]);
    assert!(ForeignEvent::is_unreadable(&received[1].foreign.event));
    let kept = received[1].foreign.event.data.clone().expect("the record");
    assert!(kept.contains("aGVsbG8="), "{kept}");
    member.leave().await.expect("it left");
}
