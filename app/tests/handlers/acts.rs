//! What operators do about dead letters, and replays, over real databases.

use domain::event::Shard;
use domain::id::{EventId, UserId};
use domain::page::PageRequest;
use plinth::service::Origin;
use plinth::service::dead_letters::{Act, Changed, DeadLetterError, DeadLetters, Replay, ReplayPoint};
use ports::DeadLetterFilter;
use serde_json::Value;

use crate::support::{Fault, GROUP, World, on_both, work};

on_both!(
    letters_are_redriven_up_to_a_limit_and_each_act_names_them,
    a_letter_that_dies_again_and_again_is_left_alone_unless_forced,
    two_who_act_on_the_same_letters_do_it_once,
    a_replay_goes_through_all_shards_and_can_be_resumed,
    a_replay_waits_while_its_group_has_enough_to_do,
);

const REDRIVE: Act = Act::Redrive { force: false };

fn service(world: &World) -> DeadLetters {
    DeadLetters::new(
        world.toolkit.clone(),
        world.letters.clone(),
        "urn:plinth:test".to_owned(),
    )
}

/// So many dead letters of different users, whose events are refused.
async fn dead(world: &World, count: usize) -> Vec<EventId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.extend(world.write(world.user(), 1).await);
    }
    for id in &ids {
        world.handler.fail(*id, Fault::Refused);
    }
    work(&mut world.worker("node-1")).await;
    ids
}

async fn change(world: &World, act: Act, limit: u32, dry_run: bool) -> Changed {
    let all = DeadLetterFilter::default();
    let changed = service(world)
        .change(act, &all, limit, dry_run, &Origin::SYSTEM, &mut |_| {})
        .await;
    changed.unwrap()
}

/// How many letters the acts of that type name, each in events of their own.
async fn named(world: &World, kind: &str) -> (usize, usize) {
    let events = world.history(UserId::SYSTEM).await;
    let acts = events.iter().filter(|logged| logged.event.event_type.as_str() == kind);
    let letters: Vec<usize> = acts
        .map(|logged| {
            let data: Value = serde_json::from_str(logged.event.data.as_deref().unwrap()).unwrap();
            data["letters"].as_array().unwrap().len()
        })
        .collect();
    (letters.len(), letters.iter().sum())
}

async fn count(world: &World) -> usize {
    let page = PageRequest {
        after: None,
        limit: 200,
    };
    world
        .letters
        .list(&DeadLetterFilter::default(), &page)
        .await
        .unwrap()
        .items
        .len()
}

async fn letters_are_redriven_up_to_a_limit_and_each_act_names_them(world: &World) {
    dead(world, 130).await;
    let dry = change(world, REDRIVE, 1_000, true).await;
    assert_eq!(
        dry,
        Changed {
            changed: 130,
            in_a_loop: 0,
            more: false
        }
    );
    assert_eq!(count(world).await, 130);
    let some = change(world, REDRIVE, 110, false).await;
    assert_eq!(
        some,
        Changed {
            changed: 110,
            in_a_loop: 0,
            more: true
        }
    );
    assert_eq!(
        (count(world).await, named(world, "dead_letter.redriven").await),
        (20, (2, 110))
    );
    let rest = change(world, Act::Discard, 20, false).await;
    assert_eq!(
        rest,
        Changed {
            changed: 20,
            in_a_loop: 0,
            more: false
        }
    );
    assert_eq!(
        (count(world).await, named(world, "dead_letter.discarded").await),
        (0, (1, 20))
    );
    assert_eq!(change(world, REDRIVE, 10, false).await, Changed::default());
}

async fn a_letter_that_dies_again_and_again_is_left_alone_unless_forced(world: &World) {
    dead(world, 1).await;
    let mut worker = world.worker("node-1");
    for _ in 0..3 {
        assert_eq!(change(world, REDRIVE, 10, false).await.changed, 1);
        world.advance(2.0);
        work(&mut worker).await;
        assert_eq!(count(world).await, 1, "it died again");
    }
    let left = Changed {
        changed: 0,
        in_a_loop: 1,
        more: false,
    };
    assert_eq!(change(world, REDRIVE, 10, false).await, left);
    assert_eq!(change(world, REDRIVE, 10, true).await, left);
    let forced = change(world, Act::Redrive { force: true }, 10, false).await;
    assert_eq!(
        forced,
        Changed {
            changed: 1,
            in_a_loop: 0,
            more: false
        }
    );
}

async fn two_who_act_on_the_same_letters_do_it_once(world: &World) {
    dead(world, 60).await;
    let (one, other) = tokio::join!(
        change(world, REDRIVE, 100, false),
        change(world, Act::Discard, 100, false)
    );
    assert_eq!(one.changed + other.changed, 60, "{one:?} {other:?}");
    let (redriven, discarded) = (
        named(world, "dead_letter.redriven").await,
        named(world, "dead_letter.discarded").await,
    );
    assert_eq!(
        (redriven.1 as u64, discarded.1 as u64),
        (one.changed, other.changed),
        "what is named is what was done"
    );
}

fn everything() -> Replay {
    Replay {
        group: GROUP.to_owned(),
        since: None,
        before: None,
        shard: None,
        from: 0,
        to: u64::MAX,
    }
}

async fn a_replay_goes_through_all_shards_and_can_be_resumed(world: &World) {
    let users: Vec<UserId> = (0..20).map(|_| world.user()).collect();
    for user in &users {
        world.write(*user, 3).await;
    }
    let mut worker = world.worker("node-1");
    work(&mut worker).await;
    let (service, origin) = (service(world), Origin::SYSTEM);
    let dry = service.replay(&everything(), None, true, &origin).await.unwrap();
    assert_eq!((dry.events, dry.left, dry.looked_at, dry.resume), (60, 0, 60, None));
    let half: ReplayPoint = "8:0".parse().unwrap();
    let upper = service.replay(&everything(), Some(half), true, &origin).await.unwrap();
    let of_upper = users.iter().filter(|user| Shard::of(**user).number() >= 8).count() as u64;
    assert_eq!(upper.events, of_upper * 3);
    let done = service.replay(&everything(), None, false, &origin).await.unwrap();
    assert_eq!((done.events, done.waiting, done.resume), (60, 60, None));
    world.advance(2.0);
    work(&mut worker).await;
    for user in &users {
        assert_eq!(world.counted(*user).await, 6);
    }
    let told = world.history(UserId::SYSTEM).await;
    let told: Vec<&str> = told.iter().map(|logged| logged.event.event_type.as_str()).collect();
    assert_eq!(told, ["events.replayed"], "dry runs are not told");
    let unknown = Replay {
        group: "nobody".to_owned(),
        ..everything()
    };
    let refused = service.replay(&unknown, None, false, &origin).await;
    assert!(matches!(refused, Err(DeadLetterError::UnknownGroup(groups)) if groups == [GROUP]));
}

async fn a_replay_waits_while_its_group_has_enough_to_do(world: &World) {
    let user = world.user();
    for _ in 0..12 {
        world.write(user, 500).await;
    }
    let mut worker = world.worker("node-1");
    work(&mut worker).await;
    assert_eq!(world.counted(user).await, 6_000);
    let (service, origin) = (service(world), Origin::SYSTEM);
    let first = service.replay(&everything(), None, false, &origin).await.unwrap();
    assert_eq!((first.events, first.waiting), (5_000, 5_000));
    let point = first.resume.unwrap();
    let none = service
        .replay(&everything(), Some(point), false, &origin)
        .await
        .unwrap();
    assert_eq!((none.looked_at, none.resume), (0, Some(point)));
    world.advance(2.0);
    work(&mut worker).await;
    let rest = service
        .replay(&everything(), Some(point), false, &origin)
        .await
        .unwrap();
    assert_eq!((rest.events, rest.resume), (1_000, None));
}
