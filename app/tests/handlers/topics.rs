//! The same handler, fed from a topic: what fails is held, given up and redriven as what comes from the log is.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use domain::cloud_event::{ForeignEvent, RecordFrame, TopicPlace};
use domain::dead_letter::LetterOrigin;
use domain::id::{EventId, UserId};
use domain::page::PageRequest;
use domain::stats::SubscriptionStats;
use plinth::worker::handlers::TopicWorker;
use plinth::worker::{Pace, Worker as _};
use ports::{BackendError, DeadLetterFilter, Effects, LetterEvent, Received, TopicSubscriber};

use crate::support::{Fault, World, on_both, work};

on_both!(
    an_event_of_a_topic_is_tried_again_given_up_redriven_and_acts_once,
    a_topic_that_is_read_again_acts_once,
);

/// One partition, in memory: gives what comes after the offset that is noted.
#[derive(Default)]
struct Topic {
    records: Mutex<Vec<Received>>,
    given: Mutex<usize>,
    done: Mutex<usize>,
}

impl Topic {
    /// Appends an event; gives the id under which handlers know it.
    fn write(&self, user: UserId, world: &World) -> EventId {
        let mut records = self.records.lock().unwrap();
        let offset = records.len() as u64;
        let value = format!(
            r#"{{"specversion":"1.0","id":"{offset}","source":"shop","type":"app.order.placed","data":{offset}}}"#
        );
        let key = user.to_string();
        let frame = RecordFrame {
            key: Some(key.as_bytes()),
            written_at: world.now(),
        };
        let foreign = ForeignEvent::from_structured(value.as_bytes(), frame).unwrap();
        let id = foreign.event.id;
        records.push(Received {
            place: TopicPlace {
                topic: "shop.orders".to_owned(),
                partition: 0,
                offset,
            },
            foreign,
            fault: None,
        });
        id
    }

    /// As after a crash, or an offset that was set back.
    fn rewind(&self, to: usize) {
        *self.given.lock().unwrap() = to;
        *self.done.lock().unwrap() = to;
    }
}

#[async_trait]
impl TopicSubscriber for Topic {
    async fn receive(&self, limit: u32, _at_most: Duration) -> Result<Vec<Received>, BackendError> {
        let (records, mut given) = (self.records.lock().unwrap(), self.given.lock().unwrap());
        let some: Vec<Received> = records[*given..].iter().take(limit as usize).cloned().collect();
        *given += some.len();
        Ok(some)
    }

    async fn done(&self, places: &[TopicPlace]) -> Result<(), BackendError> {
        if let [place] = places {
            *self.done.lock().unwrap() = place.offset as usize + 1;
        }
        Ok(())
    }

    async fn leave(&self) -> Result<(), BackendError> {
        Ok(())
    }

    fn stats(&self) -> SubscriptionStats {
        SubscriptionStats::default()
    }
}

fn feeder(world: &World, topic: &std::sync::Arc<Topic>) -> TopicWorker {
    TopicWorker::new(
        world.handler.clone(),
        topic.clone(),
        world.held.clone(),
        world.toolkit.clone(),
        "urn:plinth:here".to_owned(),
    )
}

async fn feed(worker: &mut TopicWorker) {
    for _ in 0..3 {
        assert_eq!(worker.step().await.unwrap(), Pace::More);
    }
}

/// Three failures, then success; then failures for ever. The other user goes on all the time.
async fn an_event_of_a_topic_is_tried_again_given_up_redriven_and_acts_once(world: &World) {
    let [anna, berta] = world.users();
    let topic = std::sync::Arc::new(Topic::default());
    let hers: Vec<EventId> = (0..3).map(|_| topic.write(anna, world)).collect();
    let others: Vec<EventId> = (0..2).map(|_| topic.write(berta, world)).collect();
    world.handler.fail(hers[0], Fault::Times(3));
    world.handler.fail(hers[1], Fault::Times(u32::MAX));
    let (mut feeder, mut worker) = (feeder(world, &topic), world.worker("node-1"));
    feed(&mut feeder).await;
    assert_eq!(world.handler.handled(berta), others, "nobody else is held up");
    assert_eq!(world.handler.handled(anna), []);
    assert_eq!(*topic.done.lock().unwrap(), 5, "what is held is done with");
    // The group's worker looks for what is held now and then, and tries it when it is due: 2.5, 5 and 10 seconds.
    for wait in [2.5, 5.0, 10.0] {
        world.advance(wait);
        work(&mut worker).await;
    }
    assert_eq!(world.handler.handled(anna), hers[..1]);
    let fresh = topic.write(anna, world);
    feed(&mut feeder).await;
    assert_eq!(
        world.handler.handled(anna),
        hers[..1],
        "it waits behind the one that fails"
    );
    for wait in [2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0] {
        world.advance(wait);
        work(&mut worker).await;
    }
    assert_eq!(world.handler.handled(anna), [hers[0], hers[2], fresh], "in order");
    let letters = world
        .letters
        .list(&DeadLetterFilter::default(), &PageRequest::first())
        .await
        .unwrap()
        .items;
    let [letter] = letters.as_slice() else {
        panic!("{letters:?}")
    };
    assert_eq!((letter.event_id, letter.attempts, letter.user_id), (hers[1], 8, anna));
    assert_eq!(
        (letter.origin, letter.reason.text()),
        (LetterOrigin::Topic, "the counter is jammed")
    );
    assert_eq!(letter.place.as_ref().map(|place| place.offset), Some(1));
    let (_, event) = world.letters.find(letter.id).await.unwrap().unwrap();
    assert!(
        matches!(&event, LetterEvent::Foreign(foreign) if (foreign.source.as_str(), foreign.id.as_str()) == ("shop", "1")),
        "{event:?}"
    );
    world.handler.mend();
    world
        .letters
        .redrive(&[letter.id], world.now(), &Effects::none())
        .await
        .unwrap();
    for _ in 0..2 {
        world.advance(2.0);
        work(&mut worker).await;
    }
    assert_eq!(world.handler.handled(anna).last(), Some(&hers[1]));
    assert_eq!((world.counted(anna).await, world.counted(berta).await), (4, 2));
}

/// All of it comes again, what is held too; nothing is done twice.
async fn a_topic_that_is_read_again_acts_once(world: &World) {
    let [anna, berta] = world.users();
    let topic = std::sync::Arc::new(Topic::default());
    let hers: Vec<EventId> = (0..3).map(|_| topic.write(anna, world)).collect();
    let others = [topic.write(berta, world)];
    world.handler.fail(hers[1], Fault::Times(1));
    feed(&mut feeder(world, &topic)).await;
    topic.rewind(0);
    feed(&mut feeder(world, &topic)).await;
    assert_eq!(world.handler.handled(anna), hers[..1]);
    world.advance(2.5);
    work(&mut world.worker("node-1")).await;
    topic.rewind(1);
    feed(&mut feeder(world, &topic)).await;
    assert_eq!(
        (world.handler.handled(anna), world.handler.handled(berta)),
        (hers, others.to_vec())
    );
    assert_eq!((world.counted(anna).await, world.counted(berta).await), (3, 1));
    let waiting = world.held.behind(crate::support::GROUP, &[anna, berta]).await.unwrap();
    assert_eq!(waiting, []);
}
