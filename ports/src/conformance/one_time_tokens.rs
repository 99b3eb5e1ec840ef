//! Scenarios for [`OneTimeTokenRepository`](crate::OneTimeTokenRepository), and for the effects of every kind, which it writes alone.

use std::time::Duration;

use domain::id::{RegistrationId, UserId};
use domain::mail::{MailTemplate, NewMail};
use domain::token::{OneTimeToken, TokenHash, TokenPurpose, TokenSubject};
use futures_util::future::join_all;

use super::samples::{at, mail, uuid};
use super::stores::{ALL_SEEN, NONE_SEEN, Stores, mark, token, witnesses};
use crate::{Begun, Effects, EffectsError, IdempotencyScope, StoredAnswer};

/// One test for each scenario; the fixture is a future of `Option<(stores::Stores, guard)>`.
#[macro_export]
macro_rules! one_time_token_repository_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            one_time_tokens,
            [
                every_field_round_trips,
                effects_of_every_kind_are_written_together,
                a_mark_that_is_there_refuses_everything,
                an_answer_goes_to_the_request_that_was_begun,
                an_answer_that_nobody_waits_for_refuses_everything,
                a_mail_beyond_its_bounds_is_left_out_silently,
                mail_bounds_hold_when_many_write_at_once,
                a_decoy_mail_is_never_written_and_counts_for_nothing,
                pruning_removes_what_was_over_before_and_keeps_to_its_limit,
            ]
        );
    };
}

fn scope() -> IdempotencyScope {
    IdempotencyScope {
        user_id: UserId::new(uuid()),
        route: "POST /v1/things".to_owned(),
        key: uuid().to_string(),
    }
}

fn answer(scope: &IdempotencyScope) -> StoredAnswer {
    StoredAnswer {
        scope: scope.clone(),
        status: 201,
        resources: vec![uuid().to_string(), "a \"b\"".to_owned()],
    }
}

async fn begin(stores: &Stores, scope: &IdempotencyScope) -> Begun {
    let (lock, keep) = (Duration::from_secs(60), Duration::from_secs(86_400));
    stores
        .idempotency
        .begin(scope, &[1; 32], at(1), lock, keep)
        .await
        .expect("an answer")
}

/// Of every purpose and subject, with every optional field and with none.
pub async fn every_field_round_trips(stores: &Stores) {
    let user = token(TokenPurpose::ResetPassword, TokenSubject::User(UserId::new(uuid())));
    let subject = TokenSubject::Registration(RegistrationId::new(uuid()));
    let registration = OneTimeToken {
        used_at: Some(at(20)),
        ..token(TokenPurpose::VerifyEmail, subject)
    };
    let installation = OneTimeToken {
        email: None,
        voided_at: Some(at(30)),
        ..token(TokenPurpose::Setup, TokenSubject::Installation)
    };
    let all = vec![user, registration, installation];
    stores
        .tokens
        .issue(&Effects {
            tokens: all.clone(),
            ..Effects::none()
        })
        .await
        .expect("issued");
    for written in all {
        assert_eq!(stores.token(&written.hash).await, written);
    }
    assert_eq!(
        stores.tokens.find(&TokenHash::of("unknown")).await.expect("a read"),
        None
    );
    stores
        .tokens
        .issue(&Effects::none())
        .await
        .expect("nothing is written as well");
}

/// Events in their order, mail, token, revocation, answer and mark.
pub async fn effects_of_every_kind_are_written_together(stores: &Stores) {
    let (owner, scope, mark) = (UserId::new(uuid()), scope(), mark("group"));
    assert_eq!(begin(stores, &scope).await, Begun::New);
    let answer = answer(&scope);
    let effects = Effects {
        answer: Some(answer.clone()),
        inbox: Some(mark.clone()),
        ..witnesses(owner)
    };
    stores.tokens.issue(&effects).await.expect("written");
    assert_eq!(stores.seen(owner, &effects).await, ALL_SEEN);
    assert_eq!(begin(stores, &scope).await, Begun::Answered(answer));
    let history = stores.events.history(owner, 0, 10).await.expect("a history");
    let ids: Vec<_> = history.into_iter().map(|logged| logged.event.id).collect();
    assert_eq!(ids, effects.events.iter().map(|event| event.id).collect::<Vec<_>>());
    let marked = stores
        .tokens
        .issue(&Effects {
            inbox: Some(mark),
            ..Effects::none()
        })
        .await;
    assert!(matches!(marked, Err(EffectsError::AlreadyHandled)), "{marked:?}");
}

/// Also when many bring the same mark at once: one writes.
pub async fn a_mark_that_is_there_refuses_everything(stores: &Stores) {
    let (owner, mark) = (UserId::new(uuid()), mark("group"));
    let many: Vec<Effects> = (0..6)
        .map(|_| Effects {
            inbox: Some(mark.clone()),
            ..witnesses(owner)
        })
        .collect();
    let results = join_all(many.iter().map(|effects| stores.tokens.issue(effects))).await;
    for (effects, result) in many.iter().zip(&results) {
        assert!(
            matches!(result, Ok(()) | Err(EffectsError::AlreadyHandled)),
            "{result:?}"
        );
        let expected = if result.is_ok() { ALL_SEEN } else { NONE_SEEN };
        assert_eq!(stores.seen(owner, effects).await, expected);
    }
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let other = Effects {
        inbox: Some(crate::InboxMark {
            group: "other".to_owned(),
            ..mark
        }),
        ..Effects::none()
    };
    stores
        .tokens
        .issue(&other)
        .await
        .expect("another group has its own marks");
}

/// To the scope that it names and no other.
pub async fn an_answer_goes_to_the_request_that_was_begun(stores: &Stores) {
    let (mine, other) = (scope(), scope());
    assert_eq!(begin(stores, &mine).await, Begun::New);
    assert_eq!(begin(stores, &other).await, Begun::New);
    let answer = answer(&mine);
    stores
        .tokens
        .issue(&Effects {
            answer: Some(answer.clone()),
            ..Effects::none()
        })
        .await
        .expect("answered");
    assert_eq!(begin(stores, &mine).await, Begun::Answered(answer));
    assert_eq!(begin(stores, &other).await, Begun::InFlight);
}

/// A request that was answered by another, or never begun, must not be carried out a second time: the failure is temporary, for the repeat finds the answer.
pub async fn an_answer_that_nobody_waits_for_refuses_everything(stores: &Stores) {
    let (answered, unknown) = (scope(), scope());
    assert_eq!(begin(stores, &answered).await, Begun::New);
    let first = answer(&answered);
    stores
        .tokens
        .issue(&Effects {
            answer: Some(first.clone()),
            ..Effects::none()
        })
        .await
        .expect("answered");
    for scope in [&answered, &unknown] {
        let owner = UserId::new(uuid());
        let effects = Effects {
            answer: Some(answer(scope)),
            ..witnesses(owner)
        };
        let refused = stores.tokens.issue(&effects).await;
        assert!(
            matches!(&refused, Err(EffectsError::Backend(error)) if error.temporary),
            "{refused:?}"
        );
        assert_eq!(stores.seen(owner, &effects).await, NONE_SEEN);
    }
    assert_eq!(begin(stores, &answered).await, Begun::Answered(first));
}

/// One a minute and five an hour for an address and template; the rest of the change is made.
pub async fn a_mail_beyond_its_bounds_is_left_out_silently(stores: &Stores) {
    let owner = UserId::new(uuid());
    let to = format!("bounded.{}@example.org", uuid().simple());
    let send = async |second: i64, change: &dyn Fn(NewMail) -> NewMail| {
        let mut effects = witnesses(owner);
        effects.mails = vec![change(NewMail {
            limited: true,
            ..mail(Some(owner), &to, at(second))
        })];
        stores.tokens.issue(&effects).await.expect("written");
        stores.seen(owner, &effects).await
    };
    let same = |mail: NewMail| mail;
    let left_out = [true, false, true, true];
    assert_eq!(send(0, &same).await, ALL_SEEN);
    assert_eq!(send(59, &same).await, left_out, "one a minute");
    assert_eq!(
        send(1, &|mail| NewMail {
            template: MailTemplate::VerifyEmail,
            ..mail
        })
        .await,
        ALL_SEEN,
        "another template"
    );
    let other = format!("other.{}@example.org", uuid().simple());
    assert_eq!(
        send(1, &|mail| NewMail {
            to: other.parse().expect("an address"),
            ..mail
        })
        .await,
        ALL_SEEN
    );
    for second in [60, 120, 180, 240] {
        assert_eq!(send(second, &same).await, ALL_SEEN, "{second}");
    }
    assert_eq!(send(300, &same).await, left_out, "five an hour");
    assert_eq!(send(3_600, &same).await, ALL_SEEN, "the first one is an hour ago");
    assert_eq!(
        send(3_601, &|mail| NewMail { limited: false, ..mail }).await,
        ALL_SEEN,
        "no bounds for this one"
    );
}

/// Of many at the same moment one is written.
pub async fn mail_bounds_hold_when_many_write_at_once(stores: &Stores) {
    let owner = UserId::new(uuid());
    let to = format!("flooded.{}@example.org", uuid().simple());
    let many: Vec<Effects> = (0..8)
        .map(|_| {
            let mails = vec![NewMail {
                limited: true,
                ..mail(Some(owner), &to, at(5))
            }];
            Effects {
                mails,
                ..witnesses(owner)
            }
        })
        .collect();
    for result in join_all(many.iter().map(|effects| stores.tokens.issue(effects))).await {
        result.expect("the rest is written");
    }
    let mut written = 0;
    for effects in &many {
        written += usize::from(
            stores
                .mails
                .find(owner, effects.mails[0].id)
                .await
                .expect("a read")
                .is_some(),
        );
    }
    assert_eq!(written, 1);
}

/// Whether it says that it is limited or not; what comes with it is written, and the next real message too.
pub async fn a_decoy_mail_is_never_written_and_counts_for_nothing(stores: &Stores) {
    let owner = UserId::new(uuid());
    let to = format!("decoyed.{}@example.org", uuid().simple());
    let to_them = |limited, second| NewMail {
        limited,
        ..mail(Some(owner), &to, at(second))
    };
    let decoys = vec![to_them(true, 5), to_them(false, 5)];
    let effects = Effects {
        decoy_mails: decoys.clone(),
        ..witnesses(owner)
    };
    stores.tokens.issue(&effects).await.expect("written");
    assert_eq!(stores.seen(owner, &effects).await, ALL_SEEN);
    let alone = Effects {
        decoy_mails: decoys.clone(),
        ..Effects::none()
    };
    stores.tokens.issue(&alone).await.expect("nothing to write is no fault");
    for decoy in decoys {
        assert_eq!(stores.mails.find(owner, decoy.id).await.expect("a read"), None);
    }
    let real = to_them(true, 6);
    let effects = Effects {
        mails: vec![real.clone()],
        ..Effects::none()
    };
    stores.tokens.issue(&effects).await.expect("written");
    assert!(stores.mails.find(owner, real.id).await.expect("a read").is_some());
}

/// Used or not, by their expiry alone, so that a used one is known for its whole life.
pub async fn pruning_removes_what_was_over_before_and_keeps_to_its_limit(stores: &Stores) {
    let over = |second: i64| OneTimeToken {
        expires_at: at(second),
        ..token(TokenPurpose::ResetPassword, TokenSubject::User(UserId::new(uuid())))
    };
    let old: Vec<OneTimeToken> = (0..5).map(|n| over(100 + n)).collect();
    let kept = [
        over(200),
        OneTimeToken {
            used_at: Some(at(50)),
            ..over(300)
        },
    ];
    for token in old.iter().chain(&kept) {
        stores.make_token(token).await;
    }
    assert_eq!(stores.tokens.prune(at(200), 3).await.expect("pruned"), 3);
    assert_eq!(stores.tokens.prune(at(200), 3).await.expect("pruned"), 2);
    assert_eq!(stores.tokens.prune(at(200), 3).await.expect("pruned"), 0);
    for token in &old {
        assert_eq!(stores.tokens.find(&token.hash).await.expect("a read"), None);
    }
    for token in kept {
        assert_eq!(stores.token(&token.hash).await, token);
    }
}
