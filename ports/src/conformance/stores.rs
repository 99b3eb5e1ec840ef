//! The stores of one backend together, for scenarios that look at a change from more than one side.

use std::fmt;
use std::sync::Arc;

use domain::event::Event;
use domain::id::{EventId, RegistrationId, SessionId, UserId};
use domain::mail::NewMail;
use domain::password::PasswordRecord;
use domain::session::{EndReason, Revocation, RevokedSubject, Session};
use domain::tier::TierName;
use domain::time::Timestamp;
use domain::token::{OneTimeToken, TokenHash, TokenPurpose, TokenSubject};
use domain::user::{Registration, Role, User};

use super::samples::{at, event, mail, sequence_all, uuid};
use crate::{
    Effects, EventStore, IdempotencyStore, InboxMark, InstallationRepository, LogSequencer, MailQueue,
    OneTimeTokenRepository, RegistrationRepository, RevocationFeed, SessionEnding, SessionHorizon, SessionRepository,
    SessionSelection, SignInLedger, SigningKeyRepository, UserRepository,
};

/// Every store on one fresh backend. A decorated one may stand in the place of any.
#[derive(Clone)]
pub struct Stores {
    /// Users.
    pub users: Arc<dyn UserRepository>,
    /// Registrations.
    pub registrations: Arc<dyn RegistrationRepository>,
    /// One-time tokens.
    pub tokens: Arc<dyn OneTimeTokenRepository>,
    /// Sessions.
    pub sessions: Arc<dyn SessionRepository>,
    /// Revocations.
    pub revocations: Arc<dyn RevocationFeed>,
    /// Sign-ins.
    pub sign_ins: Arc<dyn SignInLedger>,
    /// Signing keys.
    pub keys: Arc<dyn SigningKeyRepository>,
    /// The installation.
    pub installation: Arc<dyn InstallationRepository>,
    /// Requests by their key.
    pub idempotency: Arc<dyn IdempotencyStore>,
    /// Events.
    pub events: Arc<dyn EventStore>,
    /// What gives them their positions.
    pub sequencer: Arc<dyn LogSequencer>,
    /// The mail ledger.
    pub mails: Arc<dyn MailQueue>,
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").finish_non_exhaustive()
    }
}

impl Stores {
    /// Makes a user that has every field filled.
    pub async fn make_user(&self) -> User {
        let user = person(Role::User);
        self.users.insert(&user, None, &Effects::none()).await.expect("a user");
        user
    }

    /// Makes an enabled administrator.
    pub async fn make_admin(&self) -> User {
        let user = person(Role::Admin);
        self.users
            .insert(&user, None, &Effects::none())
            .await
            .expect("an administrator");
        user
    }

    /// Begins a session of that user.
    pub async fn make_session(&self, user: UserId) -> Session {
        let session = session(user);
        self.sessions
            .insert(&session, &proven(), &Effects::none())
            .await
            .expect("a session");
        session
    }

    /// Stores a token.
    pub async fn make_token(&self, token: &OneTimeToken) {
        let effects = Effects {
            tokens: vec![token.clone()],
            ..Effects::none()
        };
        self.tokens.issue(&effects).await.expect("a token");
    }

    /// The token as it is stored.
    pub async fn token(&self, hash: &TokenHash) -> OneTimeToken {
        self.tokens
            .find(hash)
            .await
            .expect("a read")
            .expect("the token is there")
    }

    /// The session as it is stored.
    pub async fn session(&self, id: SessionId) -> Session {
        self.sessions
            .find(id)
            .await
            .expect("a read")
            .expect("the session is there")
    }

    /// The user as it is stored.
    pub async fn user(&self, id: UserId) -> User {
        self.users.find(id).await.expect("a read").expect("the user is there")
    }

    /// What the feed shows as revoked, in its order.
    pub async fn revoked(&self) -> Vec<RevokedSubject> {
        let fed = self.revocations.after(0, at(0)).await.expect("the feed");
        fed.into_iter().map(|fed| fed.revocation.subject).collect()
    }

    /// Which parts of the effects that [`witnesses`] made are in the stores: event, mail, token, revocation.
    pub async fn seen(&self, owner: UserId, effects: &Effects) -> [bool; 4] {
        sequence_all(&*self.sequencer).await;
        let event = effects.events.first().map(|event| event.id).expect("a witness");
        let mail = effects.mails.first().map(|mail| mail.id).expect("a witness");
        let token = effects.tokens.first().map(|token| token.hash).expect("a witness");
        let subject = effects
            .revocations
            .first()
            .map(|revocation| revocation.subject)
            .expect("a witness");
        [
            self.events.find(owner, event).await.expect("a read").is_some(),
            self.mails.find(owner, mail).await.expect("a read").is_some(),
            self.tokens.find(&token).await.expect("a read").is_some(),
            self.revoked().await.contains(&subject),
        ]
    }
}

/// All of [`Stores::seen`].
pub const ALL_SEEN: [bool; 4] = [true; 4];

/// None of [`Stores::seen`].
pub const NONE_SEEN: [bool; 4] = [false; 4];

/// Effects of each kind but the marks, by which a scenario tells whether a change was written whole or not at all.
pub fn witnesses(owner: UserId) -> Effects {
    let events: Vec<Event> = vec![event(owner, 1), event(owner, 2)];
    let mails: Vec<NewMail> = vec![mail(Some(owner), "witness@example.org", at(1))];
    let tokens = vec![token(TokenPurpose::ResetPassword, TokenSubject::User(owner))];
    let subject = RevokedSubject::Epoch(UserId::new(uuid()), 3);
    let revocations = vec![Revocation {
        subject,
        at: at(1),
        expires_at: at(10_000),
    }];
    Effects {
        events,
        mails,
        tokens,
        revocations,
        ..Effects::none()
    }
}

/// A mark of a handler's group.
pub fn mark(group: &str) -> InboxMark {
    InboxMark {
        group: group.to_owned(),
        event_id: EventId::new(uuid()),
        at: at(1),
    }
}

/// An address that nobody else has.
pub fn address() -> domain::email::EmailAddress {
    format!("person.{}@example.org", uuid().simple())
        .parse()
        .expect("an address")
}

/// A user with every field filled but the disabling.
pub fn person(role: Role) -> User {
    User {
        id: UserId::new(uuid()),
        email: address(),
        name: "Zoë O'Neill „Zett“".parse().expect("a name"),
        password: proven(),
        tier: "pro".parse::<TierName>().expect("a tier"),
        role,
        epoch: 7,
        disabled_at: None,
        created_at: at(10),
        updated_at: Timestamp::from_micros(at(20).micros() + 1),
        version: 1,
    }
}

/// The password of every [`person`].
pub fn proven() -> PasswordRecord {
    password("$2b$04$person")
}

/// A password record.
pub fn password(hash: &str) -> PasswordRecord {
    PasswordRecord {
        scheme: "bcrypt-hmac-sha384".to_owned(),
        cost: 12,
        pepper_id: "p1".to_owned(),
        hash: hash.to_owned(),
    }
}

/// A registration that can be completed from second 10 to second 1,000.
pub fn registration(email: &domain::email::EmailAddress) -> Registration {
    Registration {
        id: RegistrationId::new(uuid()),
        email: email.clone(),
        name: "Renée".parse().expect("a name"),
        password: password("$2b$04$registration"),
        created_at: at(10),
        expires_at: at(1_000),
        completed_as: None,
        voided_at: None,
    }
}

/// A session in its third generation.
pub fn session(user: UserId) -> Session {
    Session {
        id: SessionId::new(uuid()),
        user_id: user,
        created_at: at(30),
        last_used_at: at(40),
        generation: 3,
        rotated_at: Some(at(40)),
        methods: vec!["pwd".to_owned(), "otp".to_owned()],
        authenticated_at: at(30),
        user_agent: Some("Mozilla/5.0 (X11; „Linux“)".to_owned()),
        ended: None,
    }
}

/// A horizon behind which no session of a scenario lies.
pub fn far_horizon() -> SessionHorizon {
    SessionHorizon {
        used: at(0),
        created: at(0),
    }
}

/// A token that is good from second 10 to second 1,000.
pub fn token(purpose: TokenPurpose, subject: TokenSubject) -> OneTimeToken {
    OneTimeToken {
        hash: TokenHash::of(&uuid().to_string()),
        purpose,
        subject,
        email: Some(address()),
        created_at: at(10),
        expires_at: at(1_000),
        used_at: None,
        voided_at: None,
    }
}

/// An ending of the selected sessions, revoked until second 2,000.
pub fn ending(selection: SessionSelection) -> SessionEnding {
    SessionEnding {
        selection,
        reason: EndReason::Revoked,
        revoked_until: at(2_000),
    }
}
