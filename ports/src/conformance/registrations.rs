//! Scenarios for [`RegistrationRepository`](crate::RegistrationRepository).

use domain::id::{RegistrationId, UserId};
use domain::token::{OneTimeToken, TokenHash, TokenPurpose, TokenSubject};
use domain::user::{Registration, Role, User};
use futures_util::future::join_all;

use super::samples::{at, uuid};
use super::stores::{ALL_SEEN, NONE_SEEN, Stores, address, person, registration, token, witnesses};
use crate::{CompleteRegistrationError, Effects, RegistrationCompletion};

/// One test for each scenario; the fixture is a future of `Option<(stores::Stores, guard)>`.
#[macro_export]
macro_rules! registration_repository_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            registrations,
            [
                every_field_round_trips,
                known_and_unknown_addresses_are_alike,
                the_newest_is_the_newest_that_can_be_completed,
                completing_makes_the_user_and_uses_up_the_token,
                completing_voids_the_others_of_the_address,
                alone_is_refused_while_another_can_be_completed,
                a_second_completion_is_told_so,
                what_cannot_be_completed_is_gone_and_nothing_is_written,
                a_taken_address_is_gone_and_keeps_its_user,
                of_many_completions_of_one_address_one_succeeds,
                a_reminder_is_written_while_it_can_be_completed,
                pruning_removes_what_was_over_before_and_keeps_to_its_limit,
            ]
        );
    };
}

fn verify_token(registration: &Registration) -> OneTimeToken {
    let email = Some(registration.email.clone());
    OneTimeToken {
        email,
        ..token(TokenPurpose::VerifyEmail, TokenSubject::Registration(registration.id))
    }
}

/// A registration with its token, as a sign-up writes them.
async fn sign_up(stores: &Stores, registration: &Registration) -> OneTimeToken {
    let token = verify_token(registration);
    let effects = Effects {
        tokens: vec![token.clone()],
        ..Effects::none()
    };
    stores
        .registrations
        .insert(registration, &effects)
        .await
        .expect("a registration");
    token
}

fn completion(registration: &Registration, token: TokenHash) -> RegistrationCompletion {
    let user = User {
        email: registration.email.clone(),
        name: registration.name.clone(),
        password: registration.password.clone(),
        ..person(Role::User)
    };
    RegistrationCompletion {
        registration: registration.id,
        token,
        alone: false,
        user,
        at: at(100),
    }
}

async fn stored(stores: &Stores, id: RegistrationId) -> Registration {
    stores
        .registrations
        .find(id)
        .await
        .expect("a read")
        .expect("the registration is there")
}

/// Open, completed and void ones alike.
pub async fn every_field_round_trips(stores: &Stores) {
    let open = registration(&address());
    let completed = Registration {
        completed_as: Some(UserId::new(uuid())),
        ..registration(&address())
    };
    let void = Registration {
        voided_at: Some(at(50)),
        ..registration(&address())
    };
    for written in [open, completed, void] {
        let effects = witnesses(UserId::new(uuid()));
        stores.registrations.insert(&written, &effects).await.expect("inserted");
        assert_eq!(stored(stores, written.id).await, written);
        assert_eq!(stores.seen(effects.events[0].user_id, &effects).await, ALL_SEEN);
    }
    assert_eq!(
        stores
            .registrations
            .find(RegistrationId::new(uuid()))
            .await
            .expect("a read"),
        None
    );
}

/// A registration of a user's address is stored like any other, and leaves the user alone.
pub async fn known_and_unknown_addresses_are_alike(stores: &Stores) {
    let user = stores.make_user().await;
    for email in [user.email.clone(), address(), user.email.clone()] {
        let written = registration(&email);
        stores
            .registrations
            .insert(&written, &Effects::none())
            .await
            .expect("inserted");
        assert_eq!(stored(stores, written.id).await, written);
    }
    assert_eq!(stores.user(user.id).await, user);
}

/// Neither void nor completed nor over, whatever came later.
pub async fn the_newest_is_the_newest_that_can_be_completed(stores: &Stores) {
    let email = address();
    let newest = async |second| {
        stores
            .registrations
            .newest(&email, at(second))
            .await
            .expect("a read")
            .map(|found| found.id)
    };
    assert_eq!(newest(100).await, None);
    let first = registration(&email);
    let second = Registration {
        created_at: at(20),
        expires_at: at(200),
        ..registration(&email)
    };
    let void = Registration {
        created_at: at(30),
        voided_at: Some(at(40)),
        ..registration(&email)
    };
    let completed = Registration {
        created_at: at(31),
        completed_as: Some(UserId::new(uuid())),
        ..registration(&email)
    };
    let other = Registration {
        created_at: at(32),
        ..registration(&address())
    };
    for written in [&second, &first, &void, &completed, &other] {
        stores
            .registrations
            .insert(written, &Effects::none())
            .await
            .expect("inserted");
    }
    assert_eq!(newest(199).await, Some(second.id));
    assert_eq!(newest(200).await, Some(first.id));
    assert_eq!(newest(1_000).await, None);
}

/// The user is there as it was given, the registration says whose it became, and the effects are written.
pub async fn completing_makes_the_user_and_uses_up_the_token(stores: &Stores) {
    let registration = registration(&address());
    let token = sign_up(stores, &registration).await;
    let completion = completion(&registration, token.hash);
    let effects = witnesses(completion.user.id);
    stores
        .registrations
        .complete(&completion, &effects)
        .await
        .expect("completed");
    assert_eq!(stores.user(completion.user.id).await, completion.user);
    assert_eq!(
        stored(stores, registration.id).await.completed_as,
        Some(completion.user.id)
    );
    assert_eq!(stores.token(&token.hash).await.used_at, Some(at(100)));
    assert_eq!(stores.seen(completion.user.id, &effects).await, ALL_SEEN);
}

/// With all their tokens; another address is left alone.
pub async fn completing_voids_the_others_of_the_address(stores: &Stores) {
    let email = address();
    let (winner, loser, stranger) = (registration(&email), registration(&email), registration(&address()));
    let token = sign_up(stores, &winner).await;
    let lost = sign_up(stores, &loser).await;
    let foreign = sign_up(stores, &stranger).await;
    let second = verify_token(&winner);
    stores.make_token(&second).await;
    stores
        .registrations
        .complete(&completion(&winner, token.hash), &Effects::none())
        .await
        .expect("completed");

    assert_eq!(stored(stores, loser.id).await.voided_at, Some(at(100)));
    assert_eq!(stored(stores, stranger.id).await, stranger);
    assert_eq!(stores.token(&lost.hash).await.voided_at, Some(at(100)));
    assert_eq!(stores.token(&second.hash).await.voided_at, Some(at(100)));
    assert_eq!(stores.token(&foreign.hash).await, foreign);
    let late = stores
        .registrations
        .complete(&completion(&loser, lost.hash), &Effects::none())
        .await;
    assert!(matches!(late, Err(CompleteRegistrationError::Gone)), "{late:?}");
}

/// A contest writes nothing: the token is still good, and the rival still waits.
pub async fn alone_is_refused_while_another_can_be_completed(stores: &Stores) {
    let email = address();
    let (one, rival, stranger) = (registration(&email), registration(&email), registration(&address()));
    let token = sign_up(stores, &one).await;
    let _ = sign_up(stores, &rival).await;
    let _ = sign_up(stores, &stranger).await;
    let alone = RegistrationCompletion {
        alone: true,
        ..completion(&one, token.hash)
    };
    let effects = witnesses(alone.user.id);
    let refused = stores.registrations.complete(&alone, &effects).await;
    assert!(
        matches!(refused, Err(CompleteRegistrationError::Contested)),
        "{refused:?}"
    );
    assert_eq!(stores.seen(alone.user.id, &effects).await, NONE_SEEN);
    assert_eq!(stores.token(&token.hash).await, token);
    assert_eq!(stored(stores, rival.id).await, rival);
    let completed = stores
        .registrations
        .complete(&completion(&one, token.hash), &effects)
        .await;
    assert!(
        completed.is_ok(),
        "it can be completed in spite of the rival: {completed:?}"
    );
}

/// The same link again is not an error of the user's, so the caller can tell.
pub async fn a_second_completion_is_told_so(stores: &Stores) {
    let registration = registration(&address());
    let token = sign_up(stores, &registration).await;
    stores
        .registrations
        .complete(&completion(&registration, token.hash), &Effects::none())
        .await
        .expect("completed");
    let again = completion(&registration, token.hash);
    let effects = witnesses(again.user.id);
    let refused = stores.registrations.complete(&again, &effects).await;
    assert!(
        matches!(refused, Err(CompleteRegistrationError::AlreadyCompleted)),
        "{refused:?}"
    );
    assert_eq!(stores.seen(again.user.id, &effects).await, NONE_SEEN);
}

/// Void, over or unknown, or with a token that is used, over, of another registration or of another purpose.
pub async fn what_cannot_be_completed_is_gone_and_nothing_is_written(stores: &Stores) {
    let void = Registration {
        voided_at: Some(at(50)),
        ..registration(&address())
    };
    let over = Registration {
        expires_at: at(100),
        ..registration(&address())
    };
    let (good, other) = (registration(&address()), registration(&address()));
    let (void_token, over_token) = (sign_up(stores, &void).await, sign_up(stores, &over).await);
    let (good_token, other_token) = (sign_up(stores, &good).await, sign_up(stores, &other).await);
    let used = OneTimeToken {
        used_at: Some(at(20)),
        ..verify_token(&good)
    };
    let late = OneTimeToken {
        expires_at: at(100),
        ..verify_token(&good)
    };
    let reset = OneTimeToken {
        purpose: TokenPurpose::ResetPassword,
        ..verify_token(&good)
    };
    for token in [&used, &late, &reset] {
        stores.make_token(token).await;
    }
    let unknown = registration(&address());
    let cases = [
        (&void, void_token.hash),
        (&over, over_token.hash),
        (&unknown, good_token.hash),
        (&good, other_token.hash),
        (&good, used.hash),
        (&good, late.hash),
        (&good, reset.hash),
        (&good, TokenHash::of("unknown")),
    ];
    for (number, (registration, token)) in cases.into_iter().enumerate() {
        let completion = completion(registration, token);
        let effects = witnesses(completion.user.id);
        let refused = stores.registrations.complete(&completion, &effects).await;
        assert!(
            matches!(refused, Err(CompleteRegistrationError::Gone)),
            "case {number}: {refused:?}"
        );
        assert_eq!(
            stores.users.find(completion.user.id).await.expect("a read"),
            None,
            "case {number}"
        );
        assert_eq!(
            stores.seen(completion.user.id, &effects).await,
            NONE_SEEN,
            "case {number}"
        );
    }
    assert_eq!(stored(stores, good.id).await, good);
    assert_eq!(stores.token(&good_token.hash).await, good_token);
    assert_eq!(stores.token(&other_token.hash).await, other_token);
}

/// Whoever has the address by now keeps it, and their password.
pub async fn a_taken_address_is_gone_and_keeps_its_user(stores: &Stores) {
    let user = stores.make_user().await;
    let late = registration(&user.email);
    let token = sign_up(stores, &late).await;
    let refused = stores
        .registrations
        .complete(&completion(&late, token.hash), &Effects::none())
        .await;
    assert!(matches!(refused, Err(CompleteRegistrationError::Gone)), "{refused:?}");
    assert_eq!(stores.user(user.id).await, user);
    assert_eq!(stored(stores, late.id).await, late);
    assert_eq!(stores.token(&token.hash).await, token);
}

/// Different registrations and the same one, all at once.
pub async fn of_many_completions_of_one_address_one_succeeds(stores: &Stores) {
    let email = address();
    let mut attempts = Vec::new();
    for _ in 0..3 {
        let registration = registration(&email);
        let token = sign_up(stores, &registration).await;
        attempts.extend([
            completion(&registration, token.hash),
            completion(&registration, token.hash),
        ]);
    }
    let none = Effects::none();
    let results = join_all(
        attempts
            .iter()
            .map(|attempt| stores.registrations.complete(attempt, &none)),
    )
    .await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    let told =
        |result: &Result<(), CompleteRegistrationError>| !matches!(result, Err(CompleteRegistrationError::Effects(_)));
    assert!(results.iter().all(told), "{results:?}");
    let winner = attempts
        .iter()
        .zip(&results)
        .find(|(_, result)| result.is_ok())
        .expect("a winner")
        .0;
    let user = stores
        .users
        .find_by_email(&email)
        .await
        .expect("a read")
        .expect("a user");
    assert_eq!(user.id, winner.user.id);
}

/// For what is void, completed, over or unknown, nothing is written, and nobody is told the difference.
pub async fn a_reminder_is_written_while_it_can_be_completed(stores: &Stores) {
    let open = registration(&address());
    let void = Registration {
        voided_at: Some(at(50)),
        ..registration(&address())
    };
    let completed = Registration {
        completed_as: Some(UserId::new(uuid())),
        ..registration(&address())
    };
    let over = Registration {
        expires_at: at(10),
        created_at: at(5),
        ..registration(&address())
    };
    let unknown = registration(&address());
    for written in [&open, &void, &completed, &over] {
        stores
            .registrations
            .insert(written, &Effects::none())
            .await
            .expect("inserted");
    }
    for (registration, expected) in [
        (&open, ALL_SEEN),
        (&void, NONE_SEEN),
        (&completed, NONE_SEEN),
        (&over, NONE_SEEN),
        (&unknown, NONE_SEEN),
    ] {
        let effects = witnesses(UserId::new(uuid()));
        stores
            .registrations
            .remind(registration.id, &effects)
            .await
            .expect("an answer");
        assert_eq!(stores.seen(effects.events[0].user_id, &effects).await, expected);
    }
}

/// Open, completed or void, by their expiry alone: until then a used token is still known.
pub async fn pruning_removes_what_was_over_before_and_keeps_to_its_limit(stores: &Stores) {
    let until = |second: i64| Registration {
        expires_at: at(second),
        ..registration(&address())
    };
    let completed = |second| Registration {
        completed_as: Some(UserId::new(uuid())),
        ..until(second)
    };
    let void = |second| Registration {
        voided_at: Some(at(50)),
        ..until(second)
    };
    let over = [until(100), completed(101), void(102), until(199)];
    let kept = [until(200), completed(300), void(300)];
    for registration in over.iter().chain(&kept) {
        stores
            .registrations
            .insert(registration, &Effects::none())
            .await
            .expect("inserted");
    }
    for expected in [3, 1, 0] {
        assert_eq!(stores.registrations.prune(at(200), 3).await.expect("pruned"), expected);
    }
    for registration in over {
        assert_eq!(stores.registrations.find(registration.id).await.expect("a read"), None);
    }
    for registration in kept {
        assert_eq!(stored(stores, registration.id).await, registration);
    }
}
