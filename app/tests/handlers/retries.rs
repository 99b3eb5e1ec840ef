//! Failing events: held, tried again, given up, handed back.

use domain::dead_letter::DeadLetter;
use domain::event::Shard;
use domain::id::{DeadLetterId, EventId};
use domain::page::PageRequest;
use plinth::worker::handlers::{EventHandler, HandlerWorker};
use ports::{DeadLetterFilter, Effects, ReplayStep};
use uuid::Uuid;

use crate::support::{Fault, GROUP, World, on_both, work};

on_both!(
    an_event_that_fails_is_tried_again_given_up_redriven_and_acts_once,
    a_redriven_event_goes_before_what_its_user_does_then,
    a_refused_event_is_a_dead_letter_at_once_and_holds_nobody_up,
    an_outage_uses_up_no_attempt_and_makes_no_dead_letter,
    what_is_held_outlives_its_worker,
    an_effect_whose_note_was_lost_is_not_made_twice,
    a_replay_hands_everything_out_once_more_in_order,
);

async fn dead(world: &World) -> Vec<DeadLetter> {
    let page = world
        .letters
        .list(&DeadLetterFilter::default(), &PageRequest::first())
        .await;
    page.unwrap().items
}

/// The longest waits come to ten minutes; each step is as long as the wait that was drawn (the shortest, since the randomness is zero).
async fn wait_and_work(world: &World, worker: &mut HandlerWorker, waits: &[f64]) {
    for wait in waits {
        world.advance(*wait);
        work(worker).await;
    }
}

/// Three failures, then success; then failures for ever. The other user of the shard goes on all the time.
async fn an_event_that_fails_is_tried_again_given_up_redriven_and_acts_once(world: &World) {
    let [anna, berta] = world.users();
    let hers = world.write(anna, 3).await;
    let others = world.write(berta, 2).await;
    world.handler.fail(hers[0], Fault::Times(3));
    world.handler.fail(hers[1], Fault::Times(u32::MAX));
    let mut worker = world.worker("node-1");
    work(&mut worker).await;
    assert_eq!(world.handler.handled(berta), others, "nobody else is held up");
    assert_eq!(world.handler.handled(anna), []);
    let later = world.write(berta, 1).await;
    work(&mut worker).await;
    assert_eq!(world.handler.handled(berta).last(), later.last());
    // 2.5, 5 and 10 seconds: half of the steps.
    wait_and_work(world, &mut worker, &[2.4]).await;
    assert_eq!(world.handler.handled(anna), [], "its time has not come");
    wait_and_work(world, &mut worker, &[0.1, 5.0, 10.0]).await;
    assert_eq!(
        world.handler.handled(anna),
        hers[..1],
        "the fourth attempt; the second event fails, the third waits"
    );
    let fresh = world.write(anna, 1).await;
    wait_and_work(world, &mut worker, &[2.5, 5.0, 10.0, 20.0, 40.0, 80.0]).await;
    assert_eq!(dead(world).await, []);
    assert_eq!(world.handler.handled(anna).len(), 1);
    wait_and_work(world, &mut worker, &[150.0]).await;
    let letters = dead(world).await;
    let [letter] = letters.as_slice() else {
        panic!("{letters:?}")
    };
    assert_eq!(
        (letter.event_id, letter.attempts, letter.group.as_str()),
        (hers[1], 8, GROUP)
    );
    assert_eq!(
        (letter.reason.code(), letter.reason.text()),
        ("failed", "the counter is jammed")
    );
    assert_eq!(letter.last_failed_at, world.now());
    assert_eq!(
        world.handler.handled(anna),
        [hers[0], hers[2], fresh[0]],
        "what waited followed in order"
    );
    // The fix.
    world.handler.mend();
    world
        .letters
        .redrive(&[letter.id], world.now(), &Effects::none())
        .await
        .unwrap();
    wait_and_work(world, &mut worker, &[2.0, 2.0]).await;
    assert_eq!(dead(world).await, []);
    assert_eq!(world.handler.handled(anna).last(), Some(&hers[1]));
    assert_eq!((world.counted(anna).await, world.counted(berta).await), (4, 3));
    assert_eq!(world.held.waiting(GROUP, &[Shard::of(anna)]).await.unwrap(), []);
}

async fn a_redriven_event_goes_before_what_its_user_does_then(world: &World) {
    let [anna, berta] = world.users();
    let hers = world.write(anna, 2).await;
    world.handler.fail(hers[0], Fault::Refused);
    let mut worker = world.worker("node-1");
    work(&mut worker).await;
    assert_eq!(world.handler.handled(anna), hers[1..]);
    let letter = dead(world).await.remove(0);
    world.handler.fail(hers[0], Fault::Times(1));
    world
        .letters
        .redrive(&[letter.id], world.now(), &Effects::none())
        .await
        .unwrap();
    // The look that finds it.
    wait_and_work(world, &mut worker, &[2.0]).await;
    let (later, others) = (world.write(anna, 2).await, world.write(berta, 1).await);
    work(&mut worker).await;
    assert_eq!(
        (world.handler.handled(anna).len(), world.handler.handled(berta)),
        (1, others)
    );
    wait_and_work(world, &mut worker, &[2.5]).await;
    assert_eq!(world.handler.handled(anna), [hers[1], hers[0], later[0], later[1]]);
    assert_eq!(world.counted(anna).await, 4);
}

async fn a_refused_event_is_a_dead_letter_at_once_and_holds_nobody_up(world: &World) {
    let [anna] = world.users();
    let hers = world.write(anna, 3).await;
    world.handler.fail(hers[1], Fault::Refused);
    work(&mut world.worker("node-1")).await;
    assert_eq!(world.handler.handled(anna), [hers[0], hers[2]]);
    let letters = dead(world).await;
    let [letter] = letters.as_slice() else {
        panic!("{letters:?}")
    };
    assert_eq!((letter.event_id, letter.attempts), (hers[1], 1));
    assert_eq!(
        (letter.reason.code(), letter.reason.text()),
        ("not_counted", "the counter takes no such event")
    );
}

/// New events and held ones alike: an hour without the backend, far more than the attempts of an event take.
async fn an_outage_uses_up_no_attempt_and_makes_no_dead_letter(world: &World) {
    let [anna, berta] = world.users();
    let (hers, others) = (world.write(anna, 2).await, world.write(berta, 1).await);
    world.handler.fail(hers[0], Fault::Times(1));
    world.handler.fail(others[0], Fault::Away);
    let mut worker = world.worker("node-1");
    work(&mut worker).await;
    world.handler.fail(hers[0], Fault::Away);
    wait_and_work(world, &mut worker, &[60.0; 60]).await;
    assert_eq!(
        (
            dead(world).await,
            world.handler.handled(anna),
            world.handler.handled(berta)
        ),
        (vec![], vec![], vec![])
    );
    world.handler.mend();
    wait_and_work(world, &mut worker, &[60.0]).await;
    assert_eq!(
        (world.handler.handled(anna), world.handler.handled(berta)),
        (hers, others)
    );
}

/// A worker that is gone without a word: the next has the lease once it is over, and goes on with the attempts counted so far.
async fn what_is_held_outlives_its_worker(world: &World) {
    let [anna, berta] = world.users();
    let (hers, others) = (world.write(anna, 2).await, world.write(berta, 1).await);
    world.handler.fail(hers[0], Fault::Times(u32::MAX));
    let mut first = world.worker("node-1");
    work(&mut first).await;
    wait_and_work(world, &mut first, &[2.5, 5.0]).await;
    drop(first);
    let mut second = world.worker("node-2");
    work(&mut second).await;
    assert_eq!(world.handler.handled(berta), others);
    assert_eq!(world.handler.handled(anna), []);
    let later = world.write(anna, 1).await;
    wait_and_work(world, &mut second, &[6.0, 4.0, 20.0, 40.0, 80.0, 150.0]).await;
    let letters = dead(world).await;
    assert_eq!(
        letters
            .iter()
            .map(|letter| (letter.event_id, letter.attempts))
            .collect::<Vec<_>>(),
        [(hers[0], 8)]
    );
    assert_eq!(world.handler.handled(anna), [hers[1], later[0]]);
}

/// The handler has committed; the process dies before the event is noted as done.
async fn an_effect_whose_note_was_lost_is_not_made_twice(world: &World) {
    let [anna] = world.users();
    let hers = world.write(anna, 2).await;
    world.handler.fail(hers[0], Fault::Times(1));
    let mut first = world.worker("node-1");
    work(&mut first).await;
    let (shards, due_at) = ([Shard::of(anna)], world.now().plus(std::time::Duration::from_secs(10)));
    let due = world.held.due(GROUP, &shards, due_at, 10).await.unwrap();
    world.handler.handle(&due[0].event).await.unwrap();
    drop(first);
    wait_and_work(world, &mut world.worker("node-2"), &[6.0]).await;
    assert_eq!((world.handler.handled(anna), world.counted(anna).await), (hers, 2));
    assert_eq!(world.held.waiting(GROUP, &shards).await.unwrap(), []);
}

async fn a_replay_hands_everything_out_once_more_in_order(world: &World) {
    let [anna, berta] = world.users();
    let (hers, others) = (world.write(anna, 3).await, world.write(berta, 2).await);
    let mut worker = world.worker("node-1");
    work(&mut worker).await;
    let step = ReplayStep {
        group: GROUP.to_owned(),
        shard: Shard::of(anna),
        after: 0,
        to: u64::MAX,
        since: None,
        before: None,
        limit: 100,
        at: world.now(),
        ids: (0..100)
            .map(|number| DeadLetterId::new(Uuid::from_u128(number)))
            .collect(),
        dry_run: false,
    };
    let replayed = world.letters.replay(&step, &Effects::none()).await.unwrap();
    assert_eq!((replayed.events, replayed.left, replayed.more), (5, 0, false));
    wait_and_work(world, &mut worker, &[2.0]).await;
    let twice = |ids: Vec<EventId>| [ids.clone(), ids].concat();
    assert_eq!(world.handler.handled(anna), twice(hers));
    assert_eq!(world.handler.handled(berta), twice(others));
    assert_eq!(
        world.counted(anna).await,
        6,
        "once more, since that is what was asked for"
    );
}
