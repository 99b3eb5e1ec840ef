//! Several workers of one group: shards are shared out, and order and effects hold while they move.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::id::{EventId, UserId};
use plinth::worker::handlers::HandlerWorker;

use crate::support::{Fault, GROUP, World, on_both};

on_both!(
    shards_are_shared_out_when_workers_come_and_go,
    order_and_effects_hold_while_shards_move,
);

/// How many shards each of these owners holds, by asking in their name.
async fn shares(world: &World, owners: &[&str]) -> Vec<usize> {
    let mut shares = Vec::new();
    for owner in owners {
        let held = world
            .cursors
            .claim(GROUP, owner, world.now(), Duration::from_secs(5))
            .await;
        shares.push(held.unwrap().len());
    }
    shares
}

/// Each looks a few times, as it does by itself within two seconds.
async fn look(world: &World, workers: &mut [HandlerWorker]) {
    for _ in 0..4 {
        world.advance(1.7);
        for worker in workers.iter_mut() {
            worker.step().await.unwrap();
        }
    }
}

async fn shards_are_shared_out_when_workers_come_and_go(world: &World) {
    let mut workers = vec![world.worker("one")];
    look(world, &mut workers).await;
    assert_eq!(shares(world, &["one"]).await, [16]);
    workers.push(world.worker("two"));
    look(world, &mut workers).await;
    assert_eq!(shares(world, &["one", "two"]).await, [8, 8]);
    workers.push(world.worker("three"));
    look(world, &mut workers).await;
    assert_eq!(shares(world, &["one", "two", "three"]).await.iter().sum::<usize>(), 16);
    world.cursors.release(GROUP, "two").await.unwrap();
    workers.remove(1);
    look(world, &mut workers).await;
    assert_eq!(shares(world, &["one", "three"]).await, [8, 8]);
    // This one is killed: nothing is said.
    workers.remove(0);
    look(world, &mut workers).await;
    assert_eq!(shares(world, &["three"]).await, [16]);
}

async fn order_and_effects_hold_while_shards_move(world: &World) {
    let users: Vec<UserId> = (0..24).map(|_| world.user()).collect();
    let mut written: BTreeMap<UserId, Vec<EventId>> = BTreeMap::new();
    let mut workers: Vec<(String, HandlerWorker)> = Vec::new();
    for round in 0..30_usize {
        for (number, user) in users.iter().enumerate() {
            let ids = world.write(*user, 1 + (round + number) % 2).await;
            // One in eleven fails a little.
            for id in ids.iter().filter(|_| (round * 24 + number) % 11 == 0) {
                world.handler.fail(*id, Fault::Times(2));
            }
            written.entry(*user).or_default().extend(ids);
        }
        match round % 6 {
            0 | 2 => {
                let name = format!("node-{round}");
                workers.push((name.clone(), world.worker(&name)));
            }
            4 => {
                let (name, worker) = workers.remove(0);
                drop(worker);
                // Every other one has time to say so.
                if round % 12 == 4 {
                    world.cursors.release(GROUP, &name).await.unwrap();
                }
            }
            _ => {}
        }
        for (_, worker) in &mut workers {
            worker.step().await.unwrap();
        }
        world.advance(0.9);
    }
    for _ in 0..60 {
        world.advance(1.7);
        for (_, worker) in &mut workers {
            worker.step().await.unwrap();
        }
    }
    for (user, ids) in written {
        assert_eq!(world.handler.handled(user), ids);
        assert_eq!(world.counted(user).await, ids.len() as u64);
    }
}
