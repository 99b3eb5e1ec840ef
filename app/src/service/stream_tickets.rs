//! Tickets for live streams: an address that opens one stream once, for clients that cannot send a header.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::time::Timestamp;
use domain::token::Claims;
use ports::{BackendError, Begun, IdempotencyScope, IdempotencyStore, SealPurpose, Sealer, TokenIssuer};
use uuid::Uuid;

use super::Toolkit;
use super::gate::Gate;
use crate::config::PublicUrl;

/// How long a ticket may wait for its use: an address may come to stand in the log of a proxy.
pub const LIFE: Duration = Duration::from_secs(30);

/// Under which route a ticket's use is remembered.
const ROUTE: &str = "GET /v1/events/stream/{ticket}";

/// A ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamTicket {
    /// The address that opens the stream.
    pub url: String,
    /// Until when it may be used.
    pub expires_at: Timestamp,
}

/// Why a ticket opens nothing.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// It is none, it is over, it was used, or whom it is of may follow nothing any more.
    #[error("the ticket is not good")]
    Invalid,
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// What the service is made of.
pub struct TicketParts {
    /// Time and ids.
    pub toolkit: Toolkit,
    /// Access tokens.
    pub issuer: Arc<dyn TokenIssuer>,
    /// Checks them.
    pub gate: Arc<Gate>,
    /// What makes a ticket unreadable.
    pub sealer: Arc<dyn Sealer>,
    /// What knows on every node that it was used.
    pub used: Arc<dyn IdempotencyStore>,
    /// Where clients reach the API.
    pub public_url: PublicUrl,
}

impl std::fmt::Debug for TicketParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TicketParts").finish_non_exhaustive()
    }
}

/// Issues and redeems tickets. A ticket is the caller's claims, signed again and sealed: nothing is stored before its use.
pub struct StreamTickets {
    p: TicketParts,
}

impl std::fmt::Debug for StreamTickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamTickets").finish_non_exhaustive()
    }
}

impl StreamTickets {
    /// The service over its parts.
    pub fn new(parts: TicketParts) -> Self {
        Self { p: parts }
    }

    /// A ticket for a caller. The stream that it opens ends as one with the caller's own token would.
    ///
    /// # Errors
    /// When no key signs.
    pub fn issue(&self, claims: &Claims) -> Result<StreamTicket, BackendError> {
        let expires_at = self.p.toolkit.now().plus(LIFE).min(claims.expires_at);
        let mut content = Vec::with_capacity(1_024);
        content.extend_from_slice(self.p.toolkit.id().as_bytes());
        content.extend_from_slice(&expires_at.micros().to_be_bytes());
        content.extend_from_slice(self.p.issuer.issue(claims)?.as_bytes());
        let sealed = self.p.sealer.seal(SealPurpose::StreamTicket, &[], &content)?;
        let (base, ticket) = (self.p.public_url.as_str(), URL_SAFE_NO_PAD.encode(sealed));
        Ok(StreamTicket {
            url: format!("{base}/v1/events/stream/{ticket}"),
            expires_at,
        })
    }

    /// The claims of a ticket that is used now, for the first time on any node.
    ///
    /// # Errors
    /// See [`RedeemError`].
    pub async fn redeem(&self, ticket: &str) -> Result<Claims, RedeemError> {
        let (id, expires_at, token) = self.open(ticket).ok_or(RedeemError::Invalid)?;
        let now = self.p.toolkit.now();
        if now >= expires_at {
            return Err(RedeemError::Invalid);
        }
        self.p.gate.catch_up().await;
        let claims = self.p.gate.check(&token).map_err(|_| RedeemError::Invalid)?;
        let scope = IdempotencyScope {
            user_id: claims.subject,
            route: ROUTE.to_owned(),
            key: id.to_string(),
        };
        // Remembered for longer than it lives.
        let begun = self.p.used.begin(&scope, &[0; 32], now, 2 * LIFE, 2 * LIFE).await?;
        match begun {
            Begun::New => Ok(claims),
            Begun::InFlight | Begun::Answered(_) | Begun::Reused => Err(RedeemError::Invalid),
        }
    }

    fn open(&self, ticket: &str) -> Option<(Uuid, Timestamp, String)> {
        let sealed = URL_SAFE_NO_PAD.decode(ticket).ok()?;
        let content = self.p.sealer.open(SealPurpose::StreamTicket, &[], &sealed).ok()?;
        let (id, rest) = content.split_first_chunk::<16>()?;
        let (expires_at, token) = rest.split_first_chunk::<8>()?;
        Some((
            Uuid::from_bytes(*id),
            Timestamp::from_micros(i64::from_be_bytes(*expires_at)),
            String::from_utf8(token.to_vec()).ok()?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Mutex;

    use domain::session::{Revocation, RevokedSubject};
    use ports::{
        FedRevocation, MockIdempotencyStore, MockRevocationFeed, MockSealer, MockTokenIssuer, MockTokenVerifier,
    };

    use super::*;
    use crate::worker::testing::{Kit, claims, kit};

    /// Tickets whose claims are those of one caller; what is sealed is readable, and `revoked` ends the caller's session.
    async fn tickets(kit: &Kit, revoked: bool) -> (StreamTickets, Claims) {
        let claims = claims(kit.toolkit.now());
        let (mut issuer, mut verifier) = (MockTokenIssuer::new(), MockTokenVerifier::new());
        issuer.expect_issue().returning(|_| Ok("token".to_owned()));
        let genuine = claims.clone();
        verifier.expect_verify().returning(move |token, _| {
            assert_eq!(token, "token");
            Ok(genuine.clone())
        });
        let (session, expires_at) = (claims.session, claims.expires_at);
        let mut feed = MockRevocationFeed::new();
        feed.expect_after().returning(move |_, _| {
            let ended = Revocation {
                subject: RevokedSubject::Session(session),
                at: Timestamp::from_seconds(0),
                expires_at,
            };
            let row = FedRevocation {
                sequence: 1,
                revocation: ended,
            };
            Ok(if revoked { vec![row] } else { Vec::new() })
        });
        let gate = Gate::new(
            Arc::new(verifier),
            Arc::new(feed),
            Arc::clone(&kit.toolkit.clock),
            Duration::from_secs(60),
        );
        gate.refresh().await.unwrap();
        let mut sealer = MockSealer::new();
        sealer.expect_seal().returning(|purpose, _, secret| {
            assert_eq!(purpose, SealPurpose::StreamTicket);
            Ok(secret.iter().map(|byte| byte ^ 0x55).collect())
        });
        sealer.expect_open().returning(|_, _, sealed| {
            let content: Vec<u8> = sealed.iter().map(|byte| byte ^ 0x55).collect();
            match content.ends_with(b"token") {
                true => Ok(content),
                false => Err(BackendError::permanent("test", "open", "it is none of ours")),
            }
        });
        let (mut used, begun) = (MockIdempotencyStore::new(), Mutex::new(HashSet::new()));
        used.expect_begin().returning(move |scope, _, _, lock, keep| {
            assert!(lock > LIFE && keep > LIFE, "it is remembered for longer than it lives");
            let first = begun.lock().unwrap().insert(scope.clone());
            Ok(if first { Begun::New } else { Begun::InFlight })
        });
        let parts = TicketParts {
            toolkit: kit.toolkit.clone(),
            issuer: Arc::new(issuer),
            gate: Arc::new(gate),
            sealer: Arc::new(sealer),
            used: Arc::new(used),
            public_url: PublicUrl::parse("https://plinth.example.org/base").unwrap(),
        };
        (StreamTickets::new(parts), claims)
    }

    fn ticket_of(ticket: &StreamTicket) -> &str {
        let ticket = ticket
            .url
            .strip_prefix("https://plinth.example.org/base/v1/events/stream/");
        ticket.expect("the public address")
    }

    fn is_invalid(redeemed: &Result<Claims, RedeemError>) -> bool {
        matches!(redeemed, Err(RedeemError::Invalid))
    }

    #[tokio::test]
    async fn a_ticket_is_good_once() {
        let kit = kit();
        let (tickets, claims) = tickets(&kit, false).await;
        let (one, other) = (tickets.issue(&claims).unwrap(), tickets.issue(&claims).unwrap());
        assert_eq!(one.expires_at, kit.toolkit.now().plus(LIFE));
        assert_eq!(tickets.redeem(ticket_of(&one)).await.unwrap(), claims);
        assert!(is_invalid(&tickets.redeem(ticket_of(&one)).await));
        assert_eq!(tickets.redeem(ticket_of(&other)).await.unwrap(), claims);
    }

    #[tokio::test]
    async fn a_ticket_that_is_over_or_none_is_not_good() {
        let kit = kit();
        let (tickets, claims) = tickets(&kit, false).await;
        let ticket = tickets.issue(&claims).unwrap();
        kit.clock.advance(LIFE);
        assert!(is_invalid(&tickets.redeem(ticket_of(&ticket)).await));
        for none in ["", "x", "ticket", "AAAA", "%00", "..", &"A".repeat(5_000)] {
            assert!(is_invalid(&tickets.redeem(none).await), "{none}");
        }
    }

    #[tokio::test]
    async fn a_ticket_is_no_better_than_its_callers_token() {
        let kit = kit();
        let (tickets, claims) = tickets(&kit, true).await;
        let ticket = tickets.issue(&claims).unwrap();
        assert!(
            is_invalid(&tickets.redeem(ticket_of(&ticket)).await),
            "the session has ended"
        );
    }
}
