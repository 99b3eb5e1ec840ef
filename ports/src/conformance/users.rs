//! Scenarios for [`UserRepository`](crate::UserRepository).

use std::collections::HashSet;

use domain::id::{SessionId, UserId};
use domain::page::PageRequest;
use domain::session::{EndReason, RevokedSubject};
use domain::token::{OneTimeToken, TokenHash, TokenPurpose, TokenSubject};
use domain::user::{Role, User};
use futures_util::future::{join, join_all};

use super::samples::{at, uuid};
use super::stores::{
    ALL_SEEN, NONE_SEEN, Stores, address, ending, far_horizon, mark, password, person, token, witnesses,
};
use crate::{Effects, EffectsError, InsertUserError, SessionSelection, UpdateUserError, UserUpdate};

/// One test for each scenario; the fixture is a future of `Option<(stores::Stores, guard)>`.
#[macro_export]
macro_rules! user_repository_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            users,
            [
                every_field_round_trips,
                an_unknown_user_is_none,
                concurrent_reads_each_get_their_own_user,
                a_page_visits_each_user_once,
                a_taken_address_is_refused_whatever_its_case,
                a_taken_id_is_refused,
                only_an_enabled_administrator_counts_as_one,
                the_first_administrator_uses_up_its_token,
                a_first_administrator_needs_a_live_setup_token,
                of_many_first_administrators_one_is_made,
                an_update_stores_every_field_one_version_on,
                a_stale_update_writes_nothing,
                of_many_updates_of_one_version_one_is_stored,
                an_update_to_a_taken_address_is_refused,
                an_update_uses_up_its_token_and_voids_the_others,
                a_token_that_cannot_be_redeemed_stops_the_update,
                a_new_password_voids_the_mailed_resets,
                an_update_ends_the_selected_sessions,
                the_last_administrator_stays,
                two_administrators_do_not_demote_each_other,
                effects_are_written_with_the_user_or_not_at_all,
            ]
        );
    };
}

fn change(user: User) -> UserUpdate {
    UserUpdate {
        user,
        redeem: None,
        end_sessions: None,
        at: at(100),
    }
}

async fn update(stores: &Stores, change: UserUpdate) -> Result<(), UpdateUserError> {
    stores.users.update(&change, &Effects::none()).await
}

fn setup_token() -> OneTimeToken {
    OneTimeToken {
        email: None,
        ..token(TokenPurpose::Setup, TokenSubject::Installation)
    }
}

/// Every field comes back as it was stored, by id and by address.
pub async fn every_field_round_trips(stores: &Stores) {
    let plain = person(Role::User);
    let disabled = User {
        role: Role::Service,
        disabled_at: Some(at(50)),
        epoch: 0,
        version: 9,
        ..person(Role::Service)
    };
    for user in [plain, disabled] {
        stores
            .users
            .insert(&user, None, &Effects::none())
            .await
            .expect("inserted");
        assert_eq!(stores.users.find(user.id).await.expect("a read").as_ref(), Some(&user));
        assert_eq!(
            stores.users.find_by_email(&user.email).await.expect("a read"),
            Some(user)
        );
    }
}

/// Nobody is found under an id or an address of nobody.
pub async fn an_unknown_user_is_none(stores: &Stores) {
    stores.make_user().await;
    assert_eq!(stores.users.find(UserId::new(uuid())).await.expect("a read"), None);
    assert_eq!(stores.users.find_by_email(&address()).await.expect("a read"), None);
}

/// Reads may be gathered, but each caller gets the user that it asked for.
pub async fn concurrent_reads_each_get_their_own_user(stores: &Stores) {
    let mut wanted = Vec::new();
    for _ in 0..10 {
        wanted.push(stores.make_user().await);
    }
    let ids: Vec<UserId> = (0..200)
        .map(|n| {
            if n % 5 == 4 {
                UserId::new(uuid())
            } else {
                wanted[n % 10].id
            }
        })
        .collect();
    let read = join_all(ids.iter().map(|id| stores.users.find(*id))).await;
    for (id, read) in ids.iter().zip(read) {
        let expected = wanted.iter().find(|user| user.id == *id);
        assert_eq!(read.expect("a read").as_ref(), expected);
    }
}

/// Followed to the end, the pages show each user once, oldest first; a cursor of nobody's leads to an empty page.
pub async fn a_page_visits_each_user_once(stores: &Stores) {
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(stores.make_user().await.id);
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = stores
            .users
            .list(&PageRequest { after, limit: 3 })
            .await
            .expect("a page");
        assert!(page.items.len() <= 3);
        seen.extend(page.items.into_iter().map(|user| user.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, made);
    let foreign = PageRequest {
        after: Some("no cursor".to_owned()),
        limit: 3,
    };
    assert!(stores.users.list(&foreign).await.expect("an answer").items.is_empty());
}

/// Two users never share an address, and addresses are normalised before they come here.
pub async fn a_taken_address_is_refused_whatever_its_case(stores: &Stores) {
    let first = stores.make_user().await;
    let same = first.email.as_str().to_ascii_uppercase().parse().expect("an address");
    let second = User {
        email: same,
        ..person(Role::User)
    };
    let effects = witnesses(second.id);
    let refused = stores.users.insert(&second, None, &effects).await;
    assert!(matches!(refused, Err(InsertUserError::EmailTaken)), "{refused:?}");
    assert_eq!(stores.users.find(second.id).await.expect("a read"), None);
    assert_eq!(stores.seen(second.id, &effects).await, NONE_SEEN);
}

/// A second user of the same id is refused, and the first stays as it was.
pub async fn a_taken_id_is_refused(stores: &Stores) {
    let first = stores.make_user().await;
    let second = User {
        id: first.id,
        ..person(Role::Admin)
    };
    let refused = stores.users.insert(&second, None, &Effects::none()).await;
    assert!(refused.is_err());
    assert_eq!(stores.user(first.id).await, first);
}

/// Neither another role nor a disabled administrator counts.
pub async fn only_an_enabled_administrator_counts_as_one(stores: &Stores) {
    stores.make_user().await;
    let disabled = User {
        disabled_at: Some(at(50)),
        ..person(Role::Admin)
    };
    stores
        .users
        .insert(&disabled, None, &Effects::none())
        .await
        .expect("inserted");
    assert!(!stores.users.has_admin().await.expect("an answer"));
    stores.make_admin().await;
    assert!(stores.users.has_admin().await.expect("an answer"));
}

/// The token is used, its like are void, and there is no second first administrator.
pub async fn the_first_administrator_uses_up_its_token(stores: &Stores) {
    let (used, other) = (setup_token(), setup_token());
    stores.make_token(&used).await;
    stores.make_token(&other).await;
    let first = person(Role::Admin);
    stores
        .users
        .insert(&first, Some(used.hash), &Effects::none())
        .await
        .expect("the first administrator");
    assert_eq!(stores.token(&used.hash).await.used_at, Some(first.created_at));
    assert_eq!(stores.token(&other.hash).await.voided_at, Some(first.created_at));

    let late = setup_token();
    stores.make_token(&late).await;
    let refused = stores
        .users
        .insert(&person(Role::Admin), Some(late.hash), &Effects::none())
        .await;
    assert!(matches!(refused, Err(InsertUserError::AdminExists)), "{refused:?}");
    assert_eq!(stores.token(&late.hash).await, late, "a refused set-up uses nothing up");
}

/// An unknown token, one of another purpose and one that is over make nobody an administrator.
pub async fn a_first_administrator_needs_a_live_setup_token(stores: &Stores) {
    let user = stores.make_user().await;
    let other_purpose = token(TokenPurpose::ResetPassword, TokenSubject::User(user.id));
    let over = OneTimeToken {
        created_at: at(1),
        expires_at: at(10),
        ..setup_token()
    };
    stores.make_token(&other_purpose).await;
    stores.make_token(&over).await;
    for hash in [TokenHash::of("unknown"), other_purpose.hash, over.hash] {
        let refused = stores
            .users
            .insert(&person(Role::Admin), Some(hash), &Effects::none())
            .await;
        assert!(matches!(refused, Err(InsertUserError::TokenInvalid)), "{refused:?}");
    }
    assert!(!stores.users.has_admin().await.expect("an answer"));
}

/// However many try at once, each with a good token.
pub async fn of_many_first_administrators_one_is_made(stores: &Stores) {
    let tokens: Vec<OneTimeToken> = (0..6).map(|_| setup_token()).collect();
    for token in &tokens {
        stores.make_token(token).await;
    }
    let made = join_all(tokens.iter().map(|token| async move {
        stores
            .users
            .insert(&person(Role::Admin), Some(token.hash), &Effects::none())
            .await
            .is_ok()
    }))
    .await;
    assert_eq!(made.into_iter().filter(|made| *made).count(), 1);
}

/// What an update says is what is read, one version higher.
pub async fn an_update_stores_every_field_one_version_on(stores: &Stores) {
    let before = stores.make_user().await;
    let changed = User {
        id: before.id,
        email: address(),
        name: "Other".parse().expect("a name"),
        password: password("$2b$04$other"),
        tier: "enterprise".parse().expect("a tier"),
        role: Role::Service,
        epoch: 8,
        disabled_at: Some(at(90)),
        updated_at: at(100),
        ..before
    };
    update(stores, change(changed.clone())).await.expect("updated");
    let stored = stores.user(changed.id).await;
    assert_eq!(
        stored,
        User {
            version: changed.version + 1,
            ..changed
        }
    );
}

/// Refused with the version before last, and for a user that is not there; neither effects nor token nor sessions change.
pub async fn a_stale_update_writes_nothing(stores: &Stores) {
    let user = stores.make_user().await;
    update(stores, change(user.clone())).await.expect("the first update");
    let session = stores.make_session(user.id).await;
    let reset = token(TokenPurpose::ResetPassword, TokenSubject::User(user.id));
    stores.make_token(&reset).await;
    let before = stores.user(user.id).await;

    let effects = witnesses(user.id);
    let stale = UserUpdate {
        redeem: Some(reset.hash),
        end_sessions: Some(ending(SessionSelection::All)),
        ..change(User {
            name: "Late".parse().expect("a name"),
            ..user.clone()
        })
    };
    let refused = stores.users.update(&stale, &effects).await;
    assert!(matches!(refused, Err(UpdateUserError::Stale)), "{refused:?}");
    assert_eq!(stores.user(user.id).await, before);
    assert_eq!(stores.token(&reset.hash).await, reset);
    assert_eq!(stores.session(session.id).await, session);
    assert_eq!(stores.seen(user.id, &effects).await, NONE_SEEN);

    let nobody = update(stores, change(person(Role::User))).await;
    assert!(matches!(nobody, Err(UpdateUserError::Stale)), "{nobody:?}");
}

/// The others are told that they are stale.
pub async fn of_many_updates_of_one_version_one_is_stored(stores: &Stores) {
    let user = stores.make_user().await;
    let results = join_all((0..8).map(|_| update(stores, change(user.clone())))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Ok(()) | Err(UpdateUserError::Stale))),
        "{results:?}"
    );
    assert_eq!(stores.user(user.id).await.version, user.version + 1);
}

/// An address that another user has cannot be moved to.
pub async fn an_update_to_a_taken_address_is_refused(stores: &Stores) {
    let (owner, other) = (stores.make_user().await, stores.make_user().await);
    let refused = update(
        stores,
        change(User {
            email: owner.email.clone(),
            ..other.clone()
        }),
    )
    .await;
    assert!(matches!(refused, Err(UpdateUserError::EmailTaken)), "{refused:?}");
    assert_eq!(stores.user(other.id).await, other);
}

/// The others are those of the same purpose and user alone.
pub async fn an_update_uses_up_its_token_and_voids_the_others(stores: &Stores) {
    let (user, stranger) = (stores.make_user().await, stores.make_user().await);
    let used = token(TokenPurpose::ResetPassword, TokenSubject::User(user.id));
    let like = token(TokenPurpose::ResetPassword, TokenSubject::User(user.id));
    let unlike = token(TokenPurpose::VerifyEmail, TokenSubject::User(user.id));
    let foreign = token(TokenPurpose::ResetPassword, TokenSubject::User(stranger.id));
    for token in [&used, &like, &unlike, &foreign] {
        stores.make_token(token).await;
    }
    update(
        stores,
        UserUpdate {
            redeem: Some(used.hash),
            ..change(user.clone())
        },
    )
    .await
    .expect("updated");
    assert_eq!(
        stores.token(&used.hash).await,
        OneTimeToken {
            used_at: Some(at(100)),
            ..used
        }
    );
    assert_eq!(
        stores.token(&like.hash).await,
        OneTimeToken {
            voided_at: Some(at(100)),
            ..like
        }
    );
    assert_eq!(stores.token(&unlike.hash).await, unlike);
    assert_eq!(stores.token(&foreign.hash).await, foreign);
}

/// Used, void, over, unknown, or another user's: the update is refused whole.
pub async fn a_token_that_cannot_be_redeemed_stops_the_update(stores: &Stores) {
    let (user, stranger) = (stores.make_user().await, stores.make_user().await);
    let of = |subject: UserId| token(TokenPurpose::ResetPassword, TokenSubject::User(subject));
    let bad = [
        OneTimeToken {
            used_at: Some(at(20)),
            ..of(user.id)
        },
        OneTimeToken {
            voided_at: Some(at(20)),
            ..of(user.id)
        },
        OneTimeToken {
            expires_at: at(100),
            ..of(user.id)
        },
        of(stranger.id),
        token(TokenPurpose::Setup, TokenSubject::Installation),
    ];
    for token in &bad {
        stores.make_token(token).await;
    }
    let unknown = TokenHash::of("unknown");
    for hash in bad.iter().map(|token| token.hash).chain([unknown]) {
        let refused = update(
            stores,
            UserUpdate {
                redeem: Some(hash),
                ..change(user.clone())
            },
        )
        .await;
        assert!(matches!(refused, Err(UpdateUserError::TokenInvalid)), "{refused:?}");
    }
    assert_eq!(stores.user(user.id).await, user);
    assert_eq!(stores.token(&bad[3].hash).await, bad[3]);
}

/// Whoever changed the password, a link that was mailed before sets no other; an update that leaves the password leaves the links.
pub async fn a_new_password_voids_the_mailed_resets(stores: &Stores) {
    let (user, stranger) = (stores.make_user().await, stores.make_user().await);
    let of = |purpose, id| token(purpose, TokenSubject::User(id));
    let reset = of(TokenPurpose::ResetPassword, user.id);
    let used = OneTimeToken {
        used_at: Some(at(20)),
        ..of(TokenPurpose::ResetPassword, user.id)
    };
    let unlike = of(TokenPurpose::VerifyEmail, user.id);
    let foreign = of(TokenPurpose::ResetPassword, stranger.id);
    for token in [&reset, &used, &unlike, &foreign] {
        stores.make_token(token).await;
    }
    let renamed = User {
        name: "Zoë Zett".parse().expect("a name"),
        ..user
    };
    update(stores, change(renamed.clone())).await.expect("renamed");
    assert_eq!(stores.token(&reset.hash).await, reset);
    let changed = User {
        password: password("$2b$04$another"),
        version: renamed.version + 1,
        ..renamed
    };
    update(stores, change(changed)).await.expect("changed");
    assert_eq!(stores.token(&reset.hash).await.voided_at, Some(at(100)));
    for token in [used, unlike, foreign] {
        assert_eq!(stores.token(&token.hash).await, token);
    }
}

/// One, all but one, or all; each with its reason and its revocation, and nobody else's.
pub async fn an_update_ends_the_selected_sessions(stores: &Stores) {
    let (user, stranger) = (stores.make_user().await, stores.make_user().await);
    let foreign = stores.make_session(stranger.id).await;
    let mut ids: Vec<SessionId> = Vec::new();
    for _ in 0..4 {
        ids.push(stores.make_session(user.id).await.id);
    }
    let live = async || {
        let page = stores
            .sessions
            .list(user.id, &far_horizon(), &PageRequest::first())
            .await
            .expect("a page");
        page.items.into_iter().map(|session| session.id).collect::<HashSet<_>>()
    };
    let selections = [
        (SessionSelection::This(ids[0]), vec![ids[1], ids[2], ids[3]]),
        (SessionSelection::Others(ids[1]), vec![ids[1]]),
        (SessionSelection::All, vec![]),
    ];
    for (version, (selection, left)) in (user.version..).zip(selections) {
        let user = User {
            version,
            ..user.clone()
        };
        let update = UserUpdate {
            end_sessions: Some(ending(selection)),
            ..change(user)
        };
        stores.users.update(&update, &Effects::none()).await.expect("updated");
        assert_eq!(live().await, left.into_iter().collect());
    }
    assert_eq!(stores.session(ids[2]).await.ended, Some((at(100), EndReason::Revoked)));
    assert_eq!(stores.session(foreign.id).await, foreign);
    let revoked: HashSet<RevokedSubject> = stores.revoked().await.into_iter().collect();
    assert_eq!(revoked, ids.into_iter().map(RevokedSubject::Session).collect());
}

/// Neither demoted nor disabled; with another one there it may go.
pub async fn the_last_administrator_stays(stores: &Stores) {
    let admin = stores.make_admin().await;
    let disabled = User {
        disabled_at: Some(at(100)),
        ..admin.clone()
    };
    let demoted = User {
        role: Role::User,
        ..admin.clone()
    };
    for ended in [&disabled, &demoted] {
        let refused = update(stores, change(ended.clone())).await;
        assert!(matches!(refused, Err(UpdateUserError::LastAdmin)), "{refused:?}");
    }
    let renamed = User {
        name: "Still here".parse().expect("a name"),
        ..admin.clone()
    };
    update(stores, change(renamed)).await.expect("other changes are free");
    stores.make_admin().await;
    update(
        stores,
        change(User {
            version: admin.version + 1,
            ..demoted
        }),
    )
    .await
    .expect("there is another one");
}

/// Each would leave the other, so one of the two stays.
pub async fn two_administrators_do_not_demote_each_other(stores: &Stores) {
    for _ in 0..5 {
        let (one, two) = (stores.make_admin().await, stores.make_admin().await);
        let demoted = |user: &User| {
            change(User {
                role: Role::User,
                ..user.clone()
            })
        };
        let others = stores.users.list(&PageRequest::first()).await.expect("a page").items;
        for other in others
            .iter()
            .filter(|user| user.role == Role::Admin && user.id != one.id && user.id != two.id)
        {
            update(stores, demoted(other)).await.expect("there are two more");
        }
        let (first, second) = join(update(stores, demoted(&one)), update(stores, demoted(&two))).await;
        let refused = |result: &Result<(), UpdateUserError>| matches!(result, Err(UpdateUserError::LastAdmin));
        assert!(
            first.is_ok() && refused(&second) || refused(&first) && second.is_ok(),
            "{first:?} {second:?}"
        );
        assert!(stores.users.has_admin().await.expect("an answer"));
    }
}

/// Also with an inbox mark: the second time nothing is written.
pub async fn effects_are_written_with_the_user_or_not_at_all(stores: &Stores) {
    let user = person(Role::User);
    let effects = Effects {
        inbox: Some(mark("welcome")),
        ..witnesses(user.id)
    };
    stores.users.insert(&user, None, &effects).await.expect("inserted");
    assert_eq!(stores.seen(user.id, &effects).await, ALL_SEEN);

    let again = Effects {
        inbox: effects.inbox.clone(),
        ..witnesses(user.id)
    };
    let second = person(Role::User);
    let refused = stores.users.insert(&second, None, &again).await;
    assert!(
        matches!(refused, Err(InsertUserError::Effects(EffectsError::AlreadyHandled))),
        "{refused:?}"
    );
    assert_eq!(stores.users.find(second.id).await.expect("a read"), None);
    let refused = stores
        .users
        .update(
            &change(User {
                epoch: 99,
                ..user.clone()
            }),
            &again,
        )
        .await;
    assert!(
        matches!(refused, Err(UpdateUserError::Effects(EffectsError::AlreadyHandled))),
        "{refused:?}"
    );
    assert_eq!(stores.user(user.id).await, user);
    assert_eq!(stores.seen(user.id, &again).await, NONE_SEEN);
}
