//! Who is calling: the access token of a request, checked without the database.

use std::sync::Arc;

use domain::event::Actor;
use domain::id::{RequestId, UserId};
use domain::limit::{RateDecision, RateRule};
use domain::token::Claims;
use domain::user::Role;
use poem::Request;
use poem::http::header;
use poem_openapi::SecurityScheme;

use crate::http::layer;
use crate::http::problem::Fault;
use crate::http::throttled;
use crate::service::Origin;
use crate::service::gate::{Gate, GateError};
use crate::service::throttle::Throttle;

mod meter;

pub use meter::TokenMeter;

/// The signed-in caller of a request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// What the access token says.
    pub claims: Claims,
    /// The request, where its id is a UUID.
    pub request_id: Option<RequestId>,
    /// Where the request comes from.
    pub client: layer::ClientAddress,
}

impl Caller {
    /// The user.
    pub fn user_id(&self) -> UserId {
        self.claims.subject
    }

    /// The caller as the audit trail records it.
    pub fn origin(&self) -> Origin {
        Origin {
            actor: Actor::User(self.claims.subject),
            impersonator: self.claims.actor,
            request_id: self.request_id,
        }
    }

    /// Refuses callers who are not administrators.
    ///
    /// # Errors
    /// `scope_missing`, naming the missing right.
    pub fn require_admin(&self) -> Result<(), Fault> {
        if self.claims.role == Role::Admin {
            return Ok(());
        }
        Err(Fault::scope_missing().detail("This needs the role `admin`."))
    }
}

/// A PASETO v4.public access token, from a login or a refresh.
#[derive(SecurityScheme)]
#[oai(
    ty = "bearer",
    rename = "accessToken",
    bearer_format = "PASETO v4.public",
    checker = "check"
)]
pub struct Bearer(pub Caller);

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Bearer").field(&self.0.claims.subject).finish()
    }
}

async fn check(request: &Request, bearer: poem_openapi::auth::Bearer) -> poem::Result<Caller> {
    let (Some(gate), Some(throttle)) = (request.data::<Arc<Gate>>(), request.data::<Arc<Throttle>>()) else {
        return Err(Fault::internal_error().into());
    };
    gate.catch_up().await;
    let caller = admit(request, gate, &bearer.token)?;
    let told = |rule: &RateRule, decision: &RateDecision| layer::RateNote::note(request, rule, decision);
    throttle.request(&caller.claims, told).await.map_err(throttled)?;
    Ok(caller)
}

fn admit(request: &Request, gate: &Gate, token: &str) -> Result<Caller, Fault> {
    let claims = match request.data::<Arc<TokenMeter>>() {
        Some(meter) => meter.measure(|| gate.check(token))?,
        None => gate.check(token)?,
    };
    Ok(Caller {
        claims,
        request_id: request_id(request),
        client: client_address(request),
    })
}

impl Bearer {
    /// The caller of a request whose operation can do without a token, and therefore asks only when it needs one.
    ///
    /// # Errors
    /// As for every operation that needs a token.
    pub fn from_request(request: &Request, gate: &Gate) -> Result<Caller, Fault> {
        let bearer = poem_openapi::auth::BearerAuthorization::from_request(request);
        let bearer: poem_openapi::auth::Bearer = bearer.map_err(|_| Fault::token_missing())?;
        admit(request, gate, &bearer.token)
    }
}

/// The id of a request, where it is a UUID: a proxy in front may have given another form.
pub fn request_id(request: &Request) -> Option<RequestId> {
    request
        .data::<layer::RequestId>()
        .and_then(|id| id.as_str().parse().ok())
}

/// Where a request comes from.
pub fn client_address(request: &Request) -> layer::ClientAddress {
    let unknown = || layer::ClientAddress::new(std::net::Ipv4Addr::UNSPECIFIED.into());
    request.data::<layer::ClientAddress>().copied().unwrap_or_else(unknown)
}

/// A visitor without a token: what the public operations know of their caller.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// The request, where its id is a UUID.
    pub request_id: Option<RequestId>,
    /// Where the request comes from.
    pub client: layer::ClientAddress,
    /// What the client calls itself, at most 200 characters.
    pub user_agent: Option<String>,
}

impl Visitor {
    /// What is known of the sender of a request.
    pub fn of(request: &Request) -> Self {
        let text = request
            .headers()
            .get(header::USER_AGENT)
            .and_then(|value| value.to_str().ok());
        let user_agent = text.map(|text| text.chars().filter(|c| !c.is_control()).take(200).collect());
        Self {
            request_id: request_id(request),
            client: client_address(request),
            user_agent,
        }
    }

    /// The visitor as the audit trail records it.
    pub fn origin(&self) -> Origin {
        Origin {
            actor: Actor::Anonymous,
            impersonator: None,
            request_id: self.request_id,
        }
    }
}

impl From<GateError> for Fault {
    fn from(error: GateError) -> Self {
        match error {
            GateError::Invalid => Self::token_invalid(),
            GateError::Expired => Self::token_expired(),
            GateError::Outdated => Self::token_outdated(),
            GateError::SessionEnded => Self::session_ended(),
            GateError::AccountDisabled => Self::account_disabled(),
            GateError::Stale => Self::auth_state_stale(),
        }
    }
}

#[cfg(test)]
mod tests;
