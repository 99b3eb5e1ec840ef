//! The small pages behind mailed links: verify an address, set a new password, make the first administrator.
//!
//! Opening a link changes nothing, since mail scanners open links too: the page has a button, and only what the button
//! sends uses the token up. The pages need no JavaScript and load nothing.

mod form;
mod look;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use domain::email::EmailAddress;
use domain::password::Password;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, Request, Response, Result, Route};

use self::form::Form;
use self::look::{Look, View};
use super::auth::Visitor;
use super::problem::Fault;
use crate::service::accounts::{AccountError, Accounts};
use crate::service::admin::{AdminError, Administration};

/// The paths of this module's routes; each takes GET and POST.
pub const PATHS: &[&str] = &["/verify", "/reset", "/setup"];

/// The routes of the pages.
pub fn routes(accounts: Arc<Accounts>, admin: Arc<Administration>) -> Route {
    let pages = Arc::new(Pages {
        accounts,
        admin,
        look: Look::new(),
    });
    let page = |kind| Page {
        kind,
        pages: Arc::clone(&pages),
    };
    Route::new()
        .at("/verify", page(Kind::Verify))
        .at("/reset", page(Kind::Reset))
        .at("/setup", page(Kind::Setup))
}

struct Pages {
    accounts: Arc<Accounts>,
    admin: Arc<Administration>,
    look: Look,
}

/// Which page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Verify,
    Reset,
    Setup,
}

impl Kind {
    fn title(self) -> &'static str {
        match self {
            Self::Verify => "Confirm your address",
            Self::Reset => "Choose a new password",
            Self::Setup => "Set up the administrator",
        }
    }

    fn template(self) -> &'static str {
        match self {
            Self::Verify => "verify.html",
            Self::Reset => "reset.html",
            Self::Setup => "setup.html",
        }
    }

    /// Where the whole link is.
    fn whole_link(self) -> &'static str {
        match self {
            Self::Verify | Self::Reset => "Copy the whole link from the mail into your browser.",
            Self::Setup => "Copy the whole link that the server printed when it started into your browser.",
        }
    }

    /// What to do about a link that does not work any more.
    fn way_out(self) -> &'static str {
        match self {
            Self::Verify => "It was used already, or it is too old. Try to sign in; if that fails, ask for a new mail.",
            Self::Reset => {
                "It was used already, or it is too old. Ask for a new password once more to get another mail."
            }
            Self::Setup => "It was used already, or it is too old. Restart the server for a new one.",
        }
    }

    /// The page with its form.
    fn form<'a>(self, token: &'a str, email: &'a str) -> View<'a> {
        View {
            template: self.template(),
            title: self.title(),
            refused: None,
            text: "",
            token,
            email,
        }
    }
}

/// What became of a form.
enum Outcome {
    /// Done: a title and a sentence.
    Done(&'static str, &'static str),
    /// The form again with a sentence that says why.
    Again(String, Fault),
    /// The link is of no use, as the sentence says.
    Over(&'static str),
}

struct Page {
    kind: Kind,
    pages: Arc<Pages>,
}

impl Endpoint for Page {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        match *request.method() {
            Method::GET | Method::HEAD => self.show(&request),
            Method::POST => {
                let form = Form::read(&mut request).await?;
                let outcome = self.submit(&form, &Visitor::of(&request)).await;
                self.answer(outcome, &form, request.data::<super::layer::RequestId>())
            }
            _ => Err(Fault::method_not_allowed().into()),
        }
    }
}

impl Page {
    fn show(&self, request: &Request) -> Result<Response> {
        let form = Form::of_query(request.uri().query().unwrap_or_default());
        if form.token.is_empty() {
            return self.message(
                StatusCode::UNPROCESSABLE_ENTITY,
                "This link is incomplete",
                self.kind.whole_link(),
            );
        }
        self.render(StatusCode::OK, &self.kind.form(&form.token, ""))
    }

    async fn submit(&self, form: &Form, visitor: &Visitor) -> Outcome {
        if form.token.is_empty() {
            return Outcome::Over(self.kind.way_out());
        }
        match self.kind {
            Kind::Verify => self.verify(form, visitor).await,
            Kind::Reset => self.reset(form, visitor).await,
            Kind::Setup => self.set_up(form, visitor).await,
        }
    }

    async fn verify(&self, form: &Form, visitor: &Visitor) -> Outcome {
        match self.pages.accounts.verify(&form.token, &visitor.origin()).await {
            Ok(()) => Outcome::Done(
                "Your address is confirmed",
                "You can sign in now. This page may be closed.",
            ),
            Err(error) => self.refused_account(error),
        }
    }

    async fn reset(&self, form: &Form, visitor: &Visitor) -> Outcome {
        let password = match Password::parse(&form.password) {
            Ok(password) => password,
            Err(refusal) => return self.refused_account(refusal.into()),
        };
        let client = visitor.client.bucket().to_string();
        match self
            .pages
            .accounts
            .reset(&form.token, &password, &client, &visitor.origin())
            .await
        {
            Ok(()) => Outcome::Done(
                "Your new password is set",
                "You were signed out everywhere. Sign in with the new password.",
            ),
            Err(error) => self.refused_account(error),
        }
    }

    async fn set_up(&self, form: &Form, visitor: &Visitor) -> Outcome {
        let email: EmailAddress = match form.email.parse() {
            Ok(email) => email,
            Err(rule) => return Outcome::Again(format!("The address {rule}."), Fault::validation_failed()),
        };
        let password = match Password::parse(&form.password) {
            Ok(password) => password,
            Err(refusal) => return self.refused_set_up(refusal.into()),
        };
        let client = visitor.client.bucket().to_string();
        match self
            .pages
            .admin
            .set_up(&form.token, email, password, &client, &visitor.origin())
            .await
        {
            Ok(_) => Outcome::Done(
                "The administrator is made",
                "You can sign in now with this address and password.",
            ),
            Err(error) => self.refused_set_up(error),
        }
    }

    fn refused_account(&self, error: AccountError) -> Outcome {
        let sentence = match &error {
            AccountError::TokenInvalid | AccountError::NotFound => return Outcome::Over(self.kind.way_out()),
            AccountError::Password(refusal) => format!("The password {refusal}."),
            AccountError::Contended => "The account was changed at the same moment. Try again.".to_owned(),
            AccountError::Throttled(_) => "Too many requests came from your network.".to_owned(),
            AccountError::Hash(_) => "The server is busy.".to_owned(),
            AccountError::RegistrationClosed | AccountError::WrongPassword | AccountError::Effects(_) => {
                "The server could not do this.".to_owned()
            }
        };
        Outcome::Again(sentence, error.into())
    }

    fn refused_set_up(&self, error: AdminError) -> Outcome {
        let sentence = match &error {
            AdminError::TokenInvalid => return Outcome::Over(self.kind.way_out()),
            AdminError::AdminExists => return Outcome::Over("There is an administrator already, who can make others."),
            AdminError::Password(refusal) => format!("The password {refusal}."),
            AdminError::EmailTaken => "A user has this address already. Take another.".to_owned(),
            AdminError::Contended => "The account was changed at the same moment. Try again.".to_owned(),
            AdminError::Throttled(_) | AdminError::Hash(_) => "The server is busy.".to_owned(),
            AdminError::NotFound | AdminError::UnknownTier(_) | AdminError::LastAdmin | AdminError::Effects(_) => {
                "The server could not do this.".to_owned()
            }
        };
        Outcome::Again(sentence, error.into())
    }

    fn answer(&self, outcome: Outcome, form: &Form, id: Option<&super::layer::RequestId>) -> Result<Response> {
        let (mut sentence, fault) = match outcome {
            Outcome::Done(title, text) => return self.message(StatusCode::OK, title, text),
            Outcome::Over(text) => {
                return self.message(StatusCode::UNPROCESSABLE_ENTITY, "This link cannot be used", text);
            }
            Outcome::Again(sentence, fault) => (sentence, fault),
        };
        let id = id.map_or("-", |id| id.as_str());
        let status = fault.status_code();
        if status.is_server_error() {
            log(&fault, id);
        }
        let wait = fault.problem(id).retry_after;
        if let Some(seconds) = wait {
            let unit = if seconds == 1 { "second" } else { "seconds" };
            sentence.push_str(&format!(" Wait {seconds} {unit} and try again."));
        } else if status == StatusCode::INTERNAL_SERVER_ERROR {
            sentence.push_str(&format!(" If it happens again, tell the operator this number: {id}"));
        }
        let view = View {
            refused: Some(&sentence),
            ..self.kind.form(&form.token, &form.email)
        };
        let mut response = self.render(status, &view)?;
        if let Some(seconds) = wait {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        Ok(response)
    }

    fn message(&self, status: StatusCode, title: &str, text: &str) -> Result<Response> {
        self.render(
            status,
            &View {
                template: "message.html",
                title,
                refused: None,
                text,
                token: "",
                email: "",
            },
        )
    }

    fn render(&self, status: StatusCode, view: &View<'_>) -> Result<Response> {
        let look = &self.pages.look;
        let html = look
            .render(view)
            .map_err(|error| Fault::internal_error().caused_by(error))?;
        let mut response = Response::builder()
            .status(status)
            .content_type("text/html; charset=utf-8")
            .body(html);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, look.policy().clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        Ok(response)
    }
}

fn log(fault: &Fault, id: &str) {
    let mut causes = Vec::new();
    let mut cause = std::error::Error::source(fault);
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    tracing::error!(
        request_id = id,
        code = fault.code(),
        causes = causes.join(": "),
        "a page could not do its work"
    );
}
