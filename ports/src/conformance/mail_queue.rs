//! Scenarios for [`MailQueue`](crate::MailQueue).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::id::{EventId, MailId, UserId};
use domain::mail::{Mail, MailAttempt, MailState, NewMail};
use domain::page::PageRequest;
use domain::stats::MailStats;
use domain::time::Timestamp;
use futures_util::future::join_all;

use super::samples::{TTL, at, event, events, mail, mails, payloads, sequence_all, user, uuid};
use crate::{Effects, EffectsError, EventStore, InboxMark, LogSequencer, MailOutcome, MailQueue, MailVerdict};

/// What the scenarios need: the queue, and the store through which messages and events come and are seen.
pub struct Subject {
    /// The queue under test.
    pub queue: Arc<dyn MailQueue>,
    /// The store of the same backend.
    pub store: Arc<dyn EventStore>,
    /// Its sequencer.
    pub sequencer: Arc<dyn LogSequencer>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").finish_non_exhaustive()
    }
}

/// One test for each scenario; the fixture is a future of `Option<(mail_queue::Subject, guard)>`.
#[macro_export]
macro_rules! mail_queue_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            mail_queue,
            [
                every_field_round_trips,
                a_claim_takes_the_oldest_due_and_counts_the_attempt,
                a_claimed_message_goes_to_nobody_else,
                of_many_claimants_each_message_goes_to_one,
                a_lease_that_is_over_makes_the_message_due_again,
                a_sent_message_is_final_and_its_token_blanked,
                a_message_to_be_tried_again_waits_until_then,
                a_dead_message_is_final_and_its_token_blanked,
                a_message_lost_to_another_owner_is_left_alone,
                effects_are_written_when_something_was_recorded,
                refused_effects_record_nothing,
                many_messages_settle_in_one_call,
                another_user_gets_none,
                a_list_visits_each_message_once_newest_first,
                limited_messages_are_left_out_beyond_their_bounds,
                stats_tell_what_waits,
            ]
        );
    };
}

async fn enqueue(subject: &Subject, new: &NewMail) -> MailId {
    subject.store.append(&mails(vec![new.clone()])).await.expect("enqueued");
    new.id
}

async fn claim(subject: &Subject, owner: &str, now: Timestamp, limit: u32) -> Vec<Mail> {
    subject.queue.claim(owner, now, TTL, limit).await.expect("an answer")
}

async fn settle(subject: &Subject, owner: &str, outcome: MailOutcome) -> Vec<MailId> {
    subject
        .queue
        .settle(owner, &[outcome], &Effects::none())
        .await
        .expect("an answer")
}

async fn find(subject: &Subject, user: UserId, id: MailId) -> (Mail, Vec<MailAttempt>) {
    subject.queue.find(user, id).await.expect("a read").expect("found")
}

fn outcome(id: MailId, seconds: i64, reply: &str, verdict: MailVerdict) -> MailOutcome {
    MailOutcome {
        id,
        at: at(seconds),
        reply: reply.to_owned(),
        verdict,
    }
}

fn ids(mails: &[Mail]) -> Vec<MailId> {
    mails.iter().map(|mail| mail.id).collect()
}

/// What was enqueued is what is found, with every optional field filled and with none.
pub async fn every_field_round_trips(subject: &Subject) {
    let user = user();
    let full = mail(Some(user), "full@example.org", at(1));
    let bare = NewMail {
        sealed_token: None,
        request_id: None,
        data: [].into(),
        ..mail(Some(user), "bare@example.org", at(2))
    };
    for new in [full, bare] {
        enqueue(subject, &new).await;
        let expected = Mail {
            id: new.id,
            user_id: new.user_id,
            to: new.to.clone(),
            template: new.template,
            locale: new.locale.clone(),
            data: new.data.clone(),
            sealed_token: new.sealed_token.clone(),
            state: MailState::Queued,
            attempts: 0,
            next_attempt_at: new.created_at,
            last_reply: None,
            created_at: new.created_at,
            sent_at: None,
            request_id: new.request_id,
        };
        assert_eq!(find(subject, user, new.id).await, (expected, vec![]));
    }
    assert_eq!(
        subject
            .queue
            .list(user, &PageRequest::first())
            .await
            .expect("a page")
            .items
            .len(),
        2
    );
}

/// Oldest due first, no more than asked for, none that is not due.
pub async fn a_claim_takes_the_oldest_due_and_counts_the_attempt(subject: &Subject) {
    let mut expected = Vec::new();
    for seconds in [30, 10, 20, 120] {
        let id = enqueue(subject, &mail(None, "anna@example.org", at(seconds))).await;
        expected.push((seconds, id));
    }
    expected.sort();
    let first = claim(subject, "a", at(100), 2).await;
    assert_eq!(ids(&first), [expected[0].1, expected[1].1]);
    assert!(
        first
            .iter()
            .all(|mail| mail.attempts == 1 && mail.state == MailState::Sending),
        "{first:?}"
    );
    assert_eq!(first[0].sealed_token, Some(vec![0, 1, 2, 255]));
    assert_eq!(ids(&claim(subject, "a", at(100), 10).await), [expected[2].1]);
    assert_eq!(
        ids(&claim(subject, "a", at(120), 10).await),
        [expected[3].1],
        "due when its time has come"
    );
}

/// Not to another, and not to the same owner a second time.
pub async fn a_claimed_message_goes_to_nobody_else(subject: &Subject) {
    let id = enqueue(subject, &mail(None, "anna@example.org", at(0))).await;
    assert_eq!(ids(&claim(subject, "a", at(1), 10).await), [id]);
    assert_eq!(claim(subject, "b", at(2), 10).await, vec![]);
    assert_eq!(claim(subject, "a", at(2), 10).await, vec![]);
}

/// Many at once: each message is handed out once.
pub async fn of_many_claimants_each_message_goes_to_one(subject: &Subject) {
    let new: Vec<NewMail> = (0..40)
        .map(|number| mail(None, &format!("u{number}@example.org"), at(0)))
        .collect();
    subject.store.append(&mails(new.clone())).await.expect("enqueued");
    let owners: Vec<String> = (0..8).map(|number| format!("owner-{number}")).collect();
    let mut claimed = Vec::new();
    loop {
        let round = join_all(owners.iter().map(|owner| claim(subject, owner, at(1), 3))).await;
        let round: Vec<MailId> = round.iter().flat_map(|mails| ids(mails)).collect();
        if round.is_empty() {
            break;
        }
        claimed.extend(round);
    }
    assert_eq!(claimed.len(), 40);
    assert_eq!(
        claimed.into_iter().collect::<BTreeSet<_>>(),
        new.iter().map(|mail| mail.id).collect()
    );
}

/// A crashed owner's message is tried again, and that attempt counts.
pub async fn a_lease_that_is_over_makes_the_message_due_again(subject: &Subject) {
    let id = enqueue(subject, &mail(None, "anna@example.org", at(0))).await;
    claim(subject, "a", at(1), 10).await;
    assert_eq!(claim(subject, "b", at(60), 10).await, vec![]);
    let again = claim(subject, "b", at(62), 10).await;
    assert_eq!((ids(&again), again[0].attempts), (vec![id], 2));
}

/// Sent is the end: reply and time are kept, the token is not.
pub async fn a_sent_message_is_final_and_its_token_blanked(subject: &Subject) {
    let user = user();
    let id = enqueue(subject, &mail(Some(user), "anna@example.org", at(0))).await;
    claim(subject, "a", at(1), 1).await;
    assert_eq!(
        settle(
            subject,
            "a",
            outcome(id, 3, "250 2.0.0 queued as 4Xy", MailVerdict::Sent)
        )
        .await,
        [id]
    );
    let (sent, attempts) = find(subject, user, id).await;
    assert_eq!(
        (sent.state, sent.sent_at, sent.sealed_token),
        (MailState::Sent, Some(at(3)), None)
    );
    assert_eq!(
        (sent.attempts, sent.last_reply.as_deref()),
        (1, Some("250 2.0.0 queued as 4Xy"))
    );
    let expected = MailAttempt {
        number: 1,
        at: at(3),
        accepted: true,
        reply: "250 2.0.0 queued as 4Xy".to_owned(),
    };
    assert_eq!(attempts, [expected]);
    assert_eq!(claim(subject, "b", at(100_000), 10).await, vec![]);
    assert_eq!(
        settle(subject, "a", outcome(id, 4, "250 again", MailVerdict::Sent)).await,
        vec![]
    );
}

/// Later means not before then; the token stays; each attempt has its row.
pub async fn a_message_to_be_tried_again_waits_until_then(subject: &Subject) {
    let user = user();
    let id = enqueue(subject, &mail(Some(user), "anna@example.org", at(0))).await;
    claim(subject, "a", at(1), 1).await;
    settle(
        subject,
        "a",
        outcome(id, 2, "451 4.7.1 greylisted", MailVerdict::Retry(at(40))),
    )
    .await;
    let (waiting, _) = find(subject, user, id).await;
    assert_eq!((waiting.state, waiting.next_attempt_at), (MailState::Queued, at(40)));
    assert_eq!(
        (waiting.sealed_token, waiting.sent_at),
        (Some(vec![0, 1, 2, 255]), None)
    );
    assert_eq!(waiting.last_reply.as_deref(), Some("451 4.7.1 greylisted"));
    assert_eq!(claim(subject, "b", at(39), 1).await, vec![]);
    assert_eq!(ids(&claim(subject, "b", at(40), 1).await), [id]);
    settle(subject, "b", outcome(id, 41, "250 ok", MailVerdict::Sent)).await;
    let (_, attempts) = find(subject, user, id).await;
    assert_eq!(
        attempts
            .iter()
            .map(|attempt| (attempt.number, attempt.accepted))
            .collect::<Vec<_>>(),
        [(1, false), (2, true)]
    );
}

/// Given up is the end too.
pub async fn a_dead_message_is_final_and_its_token_blanked(subject: &Subject) {
    let user = user();
    let id = enqueue(subject, &mail(Some(user), "anna@example.org", at(0))).await;
    claim(subject, "a", at(1), 1).await;
    settle(
        subject,
        "a",
        outcome(id, 2, "550 5.1.1 no such user", MailVerdict::Dead),
    )
    .await;
    let (dead, attempts) = find(subject, user, id).await;
    assert_eq!(
        (dead.state, dead.sent_at, dead.sealed_token),
        (MailState::Dead, None, None)
    );
    assert_eq!((attempts.len(), attempts[0].accepted), (1, false));
    assert_eq!(claim(subject, "b", at(100_000), 10).await, vec![]);
}

/// Who comes back after its lease was taken records nothing and causes nothing.
pub async fn a_message_lost_to_another_owner_is_left_alone(subject: &Subject) {
    let user = user();
    let id = enqueue(subject, &mail(Some(user), "anna@example.org", at(0))).await;
    claim(subject, "a", at(1), 1).await;
    claim(subject, "b", at(62), 1).await;
    let effects = events(vec![event(user, 1)]);
    let late = [
        outcome(id, 63, "250 late", MailVerdict::Sent),
        outcome(MailId::new(uuid()), 63, "?", MailVerdict::Dead),
    ];
    assert_eq!(
        subject.queue.settle("a", &late, &effects).await.expect("an answer"),
        vec![]
    );
    let (held, attempts) = find(subject, user, id).await;
    assert_eq!(
        (held.state, held.last_reply, attempts),
        (MailState::Sending, None, vec![])
    );
    sequence_all(&*subject.sequencer).await;
    assert!(
        payloads(&*subject.store, user).await.is_empty(),
        "no effects without a record"
    );
    assert_eq!(
        settle(subject, "b", outcome(id, 64, "250 ok", MailVerdict::Sent)).await,
        [id]
    );
}

/// One recorded message is enough for the effects.
pub async fn effects_are_written_when_something_was_recorded(subject: &Subject) {
    let user = user();
    let id = enqueue(subject, &mail(Some(user), "anna@example.org", at(0))).await;
    claim(subject, "a", at(1), 1).await;
    let outcomes = [
        outcome(MailId::new(uuid()), 2, "?", MailVerdict::Dead),
        outcome(id, 2, "250 ok", MailVerdict::Sent),
    ];
    let recorded = subject
        .queue
        .settle("a", &outcomes, &events(vec![event(user, 1)]))
        .await
        .expect("recorded");
    assert_eq!(recorded, [id]);
    sequence_all(&*subject.sequencer).await;
    assert_eq!(payloads(&*subject.store, user).await, ["{\"number\":1}"]);
}

/// Effects that are refused take the record with them.
pub async fn refused_effects_record_nothing(subject: &Subject) {
    let user = user();
    let mark = InboxMark {
        group: "mail".to_owned(),
        event_id: EventId::new(uuid()),
        at: at(1),
    };
    let marked = Effects {
        inbox: Some(mark),
        ..Effects::none()
    };
    subject.store.append(&marked).await.expect("marked");
    let id = enqueue(subject, &mail(Some(user), "anna@example.org", at(0))).await;
    claim(subject, "a", at(1), 1).await;
    let sent = [outcome(id, 2, "250 ok", MailVerdict::Sent)];
    let refused = subject.queue.settle("a", &sent, &marked).await;
    assert!(matches!(refused, Err(EffectsError::AlreadyHandled)), "{refused:?}");
    let (held, attempts) = find(subject, user, id).await;
    assert_eq!((held.state, attempts), (MailState::Sending, vec![]));
}

/// A batch of different verdicts, each taken for its own message.
pub async fn many_messages_settle_in_one_call(subject: &Subject) {
    let user = user();
    let new: Vec<NewMail> = (0..9)
        .map(|number| mail(Some(user), &format!("u{number}@example.org"), at(0)))
        .collect();
    subject.store.append(&mails(new.clone())).await.expect("enqueued");
    assert_eq!(claim(subject, "a", at(1), 20).await.len(), 9);
    let verdicts = [MailVerdict::Sent, MailVerdict::Dead, MailVerdict::Retry(at(70))];
    let outcomes: Vec<MailOutcome> = new
        .iter()
        .zip(verdicts.iter().cycle())
        .enumerate()
        .map(|(number, (mail, verdict))| outcome(mail.id, 2, &format!("reply {number}"), *verdict))
        .collect();
    let recorded = subject
        .queue
        .settle("a", &outcomes, &Effects::none())
        .await
        .expect("recorded");
    assert_eq!(
        recorded.into_iter().collect::<BTreeSet<_>>(),
        new.iter().map(|mail| mail.id).collect()
    );
    for (number, expected) in outcomes.iter().enumerate() {
        let (found, attempts) = find(subject, user, expected.id).await;
        let state = match expected.verdict {
            MailVerdict::Sent => MailState::Sent,
            MailVerdict::Retry(_) => MailState::Queued,
            MailVerdict::Dead => MailState::Dead,
        };
        assert_eq!(
            (found.state, found.last_reply),
            (state, Some(format!("reply {number}")))
        );
        assert_eq!(
            (attempts.len(), attempts[0].accepted),
            (1, expected.verdict == MailVerdict::Sent)
        );
    }
}

/// Another user's message answers exactly like an unknown one; a message of nobody is in no list.
pub async fn another_user_gets_none(subject: &Subject) {
    let (owner, stranger) = (user(), user());
    let theirs = enqueue(subject, &mail(Some(owner), "anna@example.org", at(0))).await;
    let nobodys = enqueue(subject, &mail(None, "new@example.org", at(0))).await;
    assert!(subject.queue.find(owner, theirs).await.expect("a read").is_some());
    assert_eq!(subject.queue.find(stranger, theirs).await.expect("a read"), None);
    assert_eq!(subject.queue.find(owner, nobodys).await.expect("a read"), None);
    let page = subject.queue.list(owner, &PageRequest::first()).await.expect("a page");
    assert_eq!((ids(&page.items), page.next), (vec![theirs], None));
    assert_eq!(
        subject
            .queue
            .list(stranger, &PageRequest::first())
            .await
            .expect("a page")
            .items,
        vec![]
    );
}

/// Pages visit each once; a cursor that is none of ours begins nowhere worse than at the beginning or end.
pub async fn a_list_visits_each_message_once_newest_first(subject: &Subject) {
    let user = user();
    let mut expected = Vec::new();
    for number in 0..7 {
        expected.insert(
            0,
            enqueue(subject, &mail(Some(user), "anna@example.org", at(number))).await,
        );
        enqueue(subject, &mail(Some(self::user()), "else@example.org", at(number))).await;
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = subject
            .queue
            .list(user, &PageRequest { after, limit: 3 })
            .await
            .expect("a page");
        assert!((1..=3).contains(&page.items.len()));
        seen.extend(ids(&page.items));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, expected);
    let whole = subject
        .queue
        .list(user, &PageRequest { after: None, limit: 7 })
        .await
        .expect("a page");
    assert_eq!(
        (whole.items.len(), whole.next),
        (7, None),
        "an exactly full last page has no next"
    );
}

/// One a minute and five an hour, per address and template; what is not limited does not mind.
pub async fn limited_messages_are_left_out_beyond_their_bounds(subject: &Subject) {
    let user = user();
    let limited = |to: &str, seconds| NewMail {
        limited: true,
        ..mail(Some(user), to, at(seconds))
    };
    let kept = |id| async move { subject.queue.find(user, id).await.expect("a read").is_some() };
    assert!(kept(enqueue(subject, &limited("anna@example.org", 0)).await).await);
    assert!(
        !kept(enqueue(subject, &limited("anna@example.org", 59)).await).await,
        "a second within the minute"
    );
    assert!(
        kept(enqueue(subject, &limited("bert@example.org", 59)).await).await,
        "another address"
    );
    assert!(
        kept(enqueue(subject, &mail(Some(user), "cleo@example.org", at(59))).await).await,
        "not limited"
    );
    for seconds in [70, 140, 210, 280] {
        assert!(
            kept(enqueue(subject, &limited("anna@example.org", seconds)).await).await,
            "at {seconds} s"
        );
    }
    assert!(
        !kept(enqueue(subject, &limited("anna@example.org", 350)).await).await,
        "a sixth within the hour"
    );
    assert!(
        kept(enqueue(subject, &limited("anna@example.org", 3_700)).await).await,
        "an hour later"
    );
}

/// Waiting, held and given up, and how long the oldest due one waits.
pub async fn stats_tell_what_waits(subject: &Subject) {
    assert_eq!(subject.queue.stats(at(0)).await.expect("stats"), MailStats::default());
    for seconds in [0, 10, 20, 30, 9_000] {
        enqueue(subject, &mail(None, "anna@example.org", at(seconds))).await;
    }
    let held = claim(subject, "a", at(40), 2).await;
    settle(subject, "a", outcome(held[0].id, 41, "550 no", MailVerdict::Dead)).await;
    let waited = Duration::from_secs(80);
    let expected = MailStats {
        queued: 3,
        sending: 1,
        dead: 1,
        oldest_due_micros: u64::try_from(waited.as_micros()).expect("small"),
    };
    assert_eq!(subject.queue.stats(at(100)).await.expect("stats"), expected);
}
