//! Scenarios for [`SessionRepository`](crate::SessionRepository).

use std::collections::HashSet;

use domain::id::{SessionId, UserId};
use domain::page::PageRequest;
use domain::session::{EndReason, RevokedSubject, Session};
use domain::user::{Role, User};
use futures_util::future::{join, join_all};

use super::samples::{at, uuid};
use super::stores::{ALL_SEEN, NONE_SEEN, Stores, ending, far_horizon, password, person, proven, session, witnesses};
use crate::{AdvanceSessionError, Effects, InsertSessionError, SessionHorizon, SessionSelection, UserUpdate};

/// One test for each scenario; the fixture is a future of `Option<(stores::Stores, guard)>`.
#[macro_export]
macro_rules! session_repository_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            sessions,
            [
                every_field_round_trips,
                a_missing_or_disabled_user_gets_no_session,
                disabling_leaves_no_session_behind,
                another_password_than_the_proven_one_gets_no_session,
                a_new_password_leaves_no_session_behind,
                a_page_visits_each_live_session_once,
                a_page_is_full_although_sessions_are_over_by_themselves,
                advancing_moves_one_generation_on,
                of_many_advances_one_succeeds,
                what_has_moved_on_or_ended_does_not_advance,
                ending_ends_the_selected_sessions_with_their_revocations,
                ending_nothing_writes_nothing,
                an_ended_session_keeps_its_first_ending,
                pruning_removes_what_is_over_and_keeps_to_its_limit,
            ]
        );
    };
}

async fn advance(stores: &Stores, id: SessionId, from: u32) -> Result<(), AdvanceSessionError> {
    stores.sessions.advance(id, from, at(100), &Effects::none()).await
}

async fn live(stores: &Stores, user: UserId) -> HashSet<SessionId> {
    let page = stores
        .sessions
        .list(user, &far_horizon(), &PageRequest::first())
        .await
        .expect("a page");
    page.items.into_iter().map(|session| session.id).collect()
}

/// New and ended ones, with every optional field and with none.
pub async fn every_field_round_trips(stores: &Stores) {
    let user = stores.make_user().await;
    let full = session(user.id);
    let ended = Session {
        ended: Some((at(60), EndReason::RefreshReuse)),
        ..session(user.id)
    };
    let bare = Session {
        generation: 0,
        rotated_at: None,
        methods: Vec::new(),
        user_agent: None,
        ..session(user.id)
    };
    for written in [full, ended, bare] {
        let effects = witnesses(user.id);
        stores
            .sessions
            .insert(&written, &proven(), &effects)
            .await
            .expect("inserted");
        assert_eq!(stores.session(written.id).await, written);
        assert_eq!(stores.seen(user.id, &effects).await, ALL_SEEN);
    }
    assert_eq!(
        stores.sessions.find(SessionId::new(uuid())).await.expect("a read"),
        None
    );
}

/// Neither of them, and no effects.
pub async fn a_missing_or_disabled_user_gets_no_session(stores: &Stores) {
    let disabled = User {
        disabled_at: Some(at(5)),
        ..person(Role::User)
    };
    stores
        .users
        .insert(&disabled, None, &Effects::none())
        .await
        .expect("inserted");
    for user in [disabled.id, UserId::new(uuid())] {
        let (session, effects) = (session(user), witnesses(user));
        let refused = stores.sessions.insert(&session, &proven(), &effects).await;
        assert!(matches!(refused, Err(InsertSessionError::UserGone)), "{refused:?}");
        assert_eq!(stores.sessions.find(session.id).await.expect("a read"), None);
        assert_eq!(stores.seen(user, &effects).await, NONE_SEEN);
    }
}

/// A login beside the disabling either comes first, and is ended with the others, or is refused.
pub async fn disabling_leaves_no_session_behind(stores: &Stores) {
    for _ in 0..10 {
        let user = stores.make_user().await;
        let disable = UserUpdate {
            user: User {
                disabled_at: Some(at(50)),
                ..user.clone()
            },
            redeem: None,
            end_sessions: Some(ending(SessionSelection::All)),
            at: at(50),
        };
        let (none, proven) = (Effects::none(), proven());
        let logins: Vec<Session> = (0..3).map(|_| session(user.id)).collect();
        let login = join_all(
            logins
                .iter()
                .map(|session| stores.sessions.insert(session, &proven, &none)),
        );
        let (disabled, logged_in) = join(stores.users.update(&disable, &none), login).await;
        disabled.expect("disabled");
        for result in logged_in {
            assert!(
                matches!(result, Ok(()) | Err(InsertSessionError::UserGone)),
                "{result:?}"
            );
        }
        assert_eq!(live(stores, user.id).await, HashSet::new());
    }
}

/// Whoever proved the old password proved nothing: no session, and no effects.
pub async fn another_password_than_the_proven_one_gets_no_session(stores: &Stores) {
    let user = stores.make_user().await;
    let (session, effects) = (session(user.id), witnesses(user.id));
    let old = password("$2b$04$old");
    let refused = stores.sessions.insert(&session, &old, &effects).await;
    assert!(
        matches!(refused, Err(InsertSessionError::PasswordChanged)),
        "{refused:?}"
    );
    assert_eq!(stores.sessions.find(session.id).await.expect("a read"), None);
    assert_eq!(stores.seen(user.id, &effects).await, NONE_SEEN);
    stores
        .sessions
        .insert(&session, &proven(), &effects)
        .await
        .expect("the password that it is");
}

/// A login with the old password beside the change either comes first, and is ended with the others, or is refused.
pub async fn a_new_password_leaves_no_session_behind(stores: &Stores) {
    for _ in 0..10 {
        let user = stores.make_user().await;
        let change = UserUpdate {
            user: User {
                password: password("$2b$04$new"),
                ..user.clone()
            },
            redeem: None,
            end_sessions: Some(ending(SessionSelection::All)),
            at: at(50),
        };
        let (none, proven) = (Effects::none(), proven());
        let logins: Vec<Session> = (0..3).map(|_| session(user.id)).collect();
        let login = join_all(
            logins
                .iter()
                .map(|session| stores.sessions.insert(session, &proven, &none)),
        );
        let (changed, logged_in) = join(stores.users.update(&change, &none), login).await;
        changed.expect("changed");
        for result in logged_in {
            assert!(
                matches!(result, Ok(()) | Err(InsertSessionError::PasswordChanged)),
                "{result:?}"
            );
        }
        assert_eq!(live(stores, user.id).await, HashSet::new());
    }
}

/// Newest first, without those that have ended and those of others.
pub async fn a_page_visits_each_live_session_once(stores: &Stores) {
    let (user, stranger) = (stores.make_user().await, stores.make_user().await);
    let mut made = Vec::new();
    for number in 0..7 {
        made.push(stores.make_session(user.id).await.id);
        if number % 3 == 0 {
            stores.make_session(stranger.id).await;
            let ended = Session {
                ended: Some((at(60), EndReason::Logout)),
                ..session(user.id)
            };
            stores
                .sessions
                .insert(&ended, &proven(), &Effects::none())
                .await
                .expect("inserted");
        }
    }
    made.reverse();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = stores
            .sessions
            .list(user.id, &far_horizon(), &PageRequest { after, limit: 2 })
            .await
            .expect("a page");
        assert!(page.items.len() <= 2);
        seen.extend(page.items.into_iter().map(|session| session.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, made);
    let foreign = PageRequest {
        after: Some("no cursor".to_owned()),
        limit: 2,
    };
    assert!(
        stores
            .sessions
            .list(user.id, &far_horizon(), &foreign)
            .await
            .expect("an answer")
            .items
            .is_empty()
    );
}

/// Those that ran out of time, by idling or by age, are left out before the page is cut.
pub async fn a_page_is_full_although_sessions_are_over_by_themselves(stores: &Stores) {
    let user = stores.make_user().await;
    let horizon = SessionHorizon {
        used: at(500),
        created: at(200),
    };
    let mut alive = Vec::new();
    for number in 0..9 {
        let (created, used) = [(at(201), at(501)), (at(201), at(500)), (at(200), at(501))][number % 3];
        let session = Session {
            created_at: created,
            last_used_at: used,
            ..session(user.id)
        };
        stores
            .sessions
            .insert(&session, &proven(), &Effects::none())
            .await
            .expect("inserted");
        if number % 3 == 0 {
            alive.insert(0, session.id);
        }
    }
    let page = |after| PageRequest { after, limit: 2 };
    let first = stores
        .sessions
        .list(user.id, &horizon, &page(None))
        .await
        .expect("a page");
    let second = stores
        .sessions
        .list(user.id, &horizon, &page(first.next.clone()))
        .await
        .expect("a page");
    assert_eq!((first.items.len(), second.items.len()), (2, 1));
    let seen: Vec<SessionId> = first
        .items
        .iter()
        .chain(&second.items)
        .map(|session| session.id)
        .collect();
    assert_eq!((seen, second.next), (alive, None));
}

/// With its times, its effects, and nothing else changed.
pub async fn advancing_moves_one_generation_on(stores: &Stores) {
    let user = stores.make_user().await;
    let before = stores.make_session(user.id).await;
    let effects = witnesses(user.id);
    stores
        .sessions
        .advance(before.id, 3, at(100), &effects)
        .await
        .expect("advanced");
    let after = Session {
        generation: 4,
        last_used_at: at(100),
        rotated_at: Some(at(100)),
        ..before
    };
    assert_eq!(stores.session(after.id).await, after);
    assert_eq!(stores.seen(user.id, &effects).await, ALL_SEEN);
    advance(stores, after.id, 4).await.expect("and on, without effects");
    assert_eq!(stores.session(after.id).await.generation, 5);
}

/// With and without effects.
pub async fn of_many_advances_one_succeeds(stores: &Stores) {
    let user = stores.make_user().await;
    let session = stores.make_session(user.id).await;
    let results = join_all((0..8).map(|_| advance(stores, session.id, 3))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    let many: Vec<Effects> = (0..8).map(|_| witnesses(user.id)).collect();
    let results = join_all(
        many.iter()
            .map(|effects| stores.sessions.advance(session.id, 4, at(100), effects)),
    )
    .await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Ok(()) | Err(AdvanceSessionError::Stale))),
        "{results:?}"
    );
    assert_eq!(stores.session(session.id).await.generation, 5);
}

/// Nor one that nobody knows; its effects are not written.
pub async fn what_has_moved_on_or_ended_does_not_advance(stores: &Stores) {
    let user = stores.make_user().await;
    let session = stores.make_session(user.id).await;
    for (id, from) in [(session.id, 2), (session.id, 4), (SessionId::new(uuid()), 3)] {
        let effects = witnesses(user.id);
        let refused = stores.sessions.advance(id, from, at(100), &effects).await;
        assert!(matches!(refused, Err(AdvanceSessionError::Stale)), "{refused:?}");
        assert_eq!(stores.seen(user.id, &effects).await, NONE_SEEN);
    }
    let this = ending(SessionSelection::This(session.id));
    stores
        .sessions
        .end(user.id, &this, at(70), &Effects::none())
        .await
        .expect("ended");
    let refused = advance(stores, session.id, 3).await;
    assert!(matches!(refused, Err(AdvanceSessionError::Stale)), "{refused:?}");
}

/// One, all but one, or all, and nobody else's; the effects go with it.
pub async fn ending_ends_the_selected_sessions_with_their_revocations(stores: &Stores) {
    let (user, stranger) = (stores.make_user().await, stores.make_user().await);
    let foreign = stores.make_session(stranger.id).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(stores.make_session(user.id).await.id);
    }
    let cases = [
        (SessionSelection::This(ids[0]), 1, ids[1..].to_vec()),
        (SessionSelection::Others(ids[1]), 3, vec![ids[1]]),
        (SessionSelection::All, 1, vec![]),
    ];
    for (selection, count, left) in cases {
        let effects = witnesses(user.id);
        let ended = stores
            .sessions
            .end(user.id, &ending(selection), at(70), &effects)
            .await
            .expect("ended");
        assert_eq!(ended, count);
        assert_eq!(live(stores, user.id).await, left.into_iter().collect());
        assert_eq!(stores.seen(user.id, &effects).await, ALL_SEEN);
    }
    let fed = stores.revocations.after(0, at(1_999)).await.expect("the feed");
    let revoked: HashSet<SessionId> = fed
        .iter()
        .filter_map(|fed| match fed.revocation.subject {
            RevokedSubject::Session(id) if fed.revocation.at == at(70) && fed.revocation.expires_at == at(2_000) => {
                Some(id)
            }
            _ => None,
        })
        .collect();
    assert_eq!(revoked, ids.into_iter().collect());
    assert_eq!(stores.session(foreign.id).await, foreign);
}

/// Another user's session is not there to be ended.
pub async fn ending_nothing_writes_nothing(stores: &Stores) {
    let (user, stranger) = (stores.make_user().await, stores.make_user().await);
    let foreign = stores.make_session(stranger.id).await;
    for selection in [
        SessionSelection::All,
        SessionSelection::This(foreign.id),
        SessionSelection::Others(foreign.id),
    ] {
        let effects = witnesses(user.id);
        let ended = stores
            .sessions
            .end(user.id, &ending(selection), at(70), &effects)
            .await
            .expect("an answer");
        assert_eq!(ended, 0);
        assert_eq!(stores.seen(user.id, &effects).await, NONE_SEEN);
    }
    assert_eq!(stores.session(foreign.id).await, foreign);
    assert_eq!(stores.revoked().await, []);
}

/// Ending it again changes neither time nor reason, and revokes nothing anew.
pub async fn an_ended_session_keeps_its_first_ending(stores: &Stores) {
    let user = stores.make_user().await;
    let session = stores.make_session(user.id).await;
    let all = ending(SessionSelection::All);
    let none = Effects::none();
    assert_eq!(
        stores.sessions.end(user.id, &all, at(70), &none).await.expect("ended"),
        1
    );
    let later = crate::SessionEnding {
        reason: EndReason::Logout,
        ..all
    };
    assert_eq!(
        stores
            .sessions
            .end(user.id, &later, at(80), &none)
            .await
            .expect("an answer"),
        0
    );
    assert_eq!(
        stores.session(session.id).await.ended,
        Some((at(70), EndReason::Revoked))
    );
    assert_eq!(stores.revoked().await, [RevokedSubject::Session(session.id)]);
}

/// Ended ones by their end, the others by their last use and by their age; what is younger stays.
pub async fn pruning_removes_what_is_over_and_keeps_to_its_limit(stores: &Stores) {
    let user = stores.make_user().await;
    let of = |created, used, ended: Option<i64>| Session {
        created_at: at(created),
        last_used_at: at(used),
        ended: ended.map(|second| (at(second), EndReason::Logout)),
        ..session(user.id)
    };
    let over = [
        of(100, 300, Some(99)),
        of(150, 200, None),
        of(50, 300, None),
        of(50, 200, Some(99)),
    ];
    let kept = [of(51, 201, None), of(51, 201, Some(100)), of(1, 2, Some(100))];
    for session in over.iter().chain(&kept) {
        stores
            .sessions
            .insert(session, &proven(), &Effects::none())
            .await
            .expect("inserted");
    }
    let horizon = SessionHorizon {
        used: at(200),
        created: at(50),
    };
    let prune = || stores.sessions.prune(&horizon, at(100), 3);
    assert_eq!(prune().await.expect("pruned"), 3);
    assert_eq!(prune().await.expect("pruned"), 1);
    assert_eq!(prune().await.expect("pruned"), 0);
    for session in over {
        assert_eq!(stores.sessions.find(session.id).await.expect("a read"), None);
    }
    for session in kept {
        assert_eq!(stores.session(session.id).await, session);
    }
}
