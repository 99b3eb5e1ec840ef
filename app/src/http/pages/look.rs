//! How the pages look: built-in templates, one style, and the policy that lets nothing else in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::{Environment, Error, Value, context};
use poem::http::HeaderValue;
use sha2::{Digest, Sha256};

use crate::service::mail::environment;

const STYLE: &str = include_str!("../../../templates/pages/style.css");
const TEMPLATES: [(&str, &str); 5] = [
    ("layout.html", include_str!("../../../templates/pages/layout.html")),
    ("message.html", include_str!("../../../templates/pages/message.html")),
    ("verify.html", include_str!("../../../templates/pages/verify.html")),
    ("reset.html", include_str!("../../../templates/pages/reset.html")),
    ("setup.html", include_str!("../../../templates/pages/setup.html")),
];

/// A page to be rendered.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    /// Which template.
    pub(super) template: &'a str,
    /// The heading.
    pub(super) title: &'a str,
    /// Why the form was refused.
    pub(super) refused: Option<&'a str>,
    /// The text of a message.
    pub(super) text: &'a str,
    /// The token that the form sends on.
    pub(super) token: &'a str,
    /// The address that was typed.
    pub(super) email: &'a str,
}

/// The templates and the policy.
pub(super) struct Look {
    environment: Environment<'static>,
    policy: HeaderValue,
}

impl Look {
    /// The built-in look.
    pub(super) fn new() -> Self {
        let mut environment = environment();
        for (name, source) in TEMPLATES {
            environment
                .add_template(name, source)
                .expect("the built-in pages parse");
        }
        // The style stands in the page, and its hash in the policy: no other style and no script can run.
        let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
        Self {
            environment,
            policy: HeaderValue::from_str(&policy).expect("the policy is ASCII"),
        }
    }

    /// The Content-Security-Policy of every page.
    pub(super) fn policy(&self) -> &HeaderValue {
        &self.policy
    }

    /// The page as HTML.
    pub(super) fn render(&self, view: &View<'_>) -> Result<String, Error> {
        let context = context! {
            style => Value::from_safe_string(STYLE.to_owned()),
            title => view.title,
            refused => view.refused.map_or_else(|| Value::from(()), Value::from),
            text => view.text,
            token => view.token,
            email => view.email,
        };
        self.environment.get_template(view.template)?.render(context)
    }
}
