//! Scenarios for [`WebhookSender`](crate::WebhookSender), before receivers that the fixture runs.

use std::sync::Arc;

use bytes::Bytes;
use domain::webhook::DeliveryFault;

use crate::{TargetRefusal, WebhookRequest, WebhookSender};

/// A request as the receiver saw it: its path, its headers with lower-case names, its body.
pub type Received = (String, Vec<(String, String)>, Vec<u8>);

/// What the scenarios need. The receiver of `base` stands on an address that the sender was allowed, and answers by path: `/status/N` with that status, `/moved` with a redirect to `/status/200`,
/// `/silent` never, `/endless` with a body without end, `/nonsense` with what is not HTTP.
pub struct Subject {
    /// The sender under test.
    pub sender: Arc<dyn WebhookSender>,
    /// The receiver's address without a path.
    pub base: String,
    /// An address whose name leads to this machine, which is not among the exceptions.
    pub inward: String,
    /// What the receiver saw so far, taken away.
    pub seen: Arc<dyn Fn() -> Vec<Received> + Send + Sync>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

/// One test for each scenario; the fixture is a future of `Option<(webhook_sender::Subject, guard)>`.
#[macro_export]
macro_rules! webhook_sender_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            webhook_sender,
            [
                a_post_arrives_whole_and_its_status_comes_back,
                every_status_is_told,
                a_redirect_is_not_followed,
                silence_ends_in_time,
                of_an_endless_answer_the_status_counts,
                what_is_not_http_is_told,
                a_name_that_leads_inward_is_refused,
                bad_addresses_are_refused_by_their_text,
            ]
        );
    };
}

/// A request to that address.
pub fn request(url: &str) -> WebhookRequest {
    WebhookRequest {
        url: url.to_owned(),
        id: "019a8f42-0a9b-7c36-95f0-d18e72b3a604".to_owned(),
        timestamp: 1_800_000_000,
        signature: "v1,abc= v1,def=".to_owned(),
        content_type: "application/cloudevents+json",
        body: Bytes::from_static("{\"ü\":1}".as_bytes()),
    }
}

async fn send(subject: &Subject, path: &str) -> Result<u16, DeliveryFault> {
    subject.sender.send(&request(&format!("{}{path}", subject.base))).await
}

/// Headers and body are as they were given, the path with its query is kept.
pub async fn a_post_arrives_whole_and_its_status_comes_back(subject: &Subject) {
    assert_eq!(send(subject, "/status/204?q=%C3%BC").await, Ok(204));
    let seen = (subject.seen)();
    assert_eq!(seen.len(), 1, "{seen:?}");
    let (path, headers, body) = &seen[0];
    assert_eq!(path, "/status/204?q=%C3%BC");
    assert_eq!(body, "{\"ü\":1}".as_bytes());
    let header = |name: &str| -> Vec<&str> {
        let named = headers.iter().filter(|(known, _)| known == name);
        named.map(|(_, value)| value.as_str()).collect()
    };
    let host = subject.base.trim_start_matches("http://");
    for (name, value) in [
        ("webhook-id", "019a8f42-0a9b-7c36-95f0-d18e72b3a604"),
        ("webhook-timestamp", "1800000000"),
        ("webhook-signature", "v1,abc= v1,def="),
        ("content-type", "application/cloudevents+json"),
        ("content-length", "8"),
        ("host", host),
    ] {
        assert_eq!(header(name), [value], "{name}");
    }
    assert_eq!(header("authorization"), Vec::<&str>::new());
    assert_eq!(header("user-agent").len(), 1);
}

/// It is for the caller to judge.
pub async fn every_status_is_told(subject: &Subject) {
    for status in [200, 201, 299, 400, 404, 410, 429, 500, 503] {
        assert_eq!(send(subject, &format!("/status/{status}")).await, Ok(status));
    }
}

/// Where it leads nobody checked.
pub async fn a_redirect_is_not_followed(subject: &Subject) {
    let answered = send(subject, "/moved").await;
    assert!(
        answered.is_ok_and(|status| (300..400).contains(&status)),
        "{answered:?}"
    );
    let seen = (subject.seen)();
    assert_eq!(seen.len(), 1, "{seen:?}");
}

/// Who never answers holds a place for no longer than an attempt may take.
pub async fn silence_ends_in_time(subject: &Subject) {
    assert_eq!(send(subject, "/silent").await, Err(DeliveryFault::Timeout));
}

/// Of a body no more is read than its bound; what it says is of no interest.
pub async fn of_an_endless_answer_the_status_counts(subject: &Subject) {
    assert_eq!(send(subject, "/endless").await, Ok(200));
}

/// Whatever listens there, it is no receiver.
pub async fn what_is_not_http_is_told(subject: &Subject) {
    assert_eq!(send(subject, "/nonsense").await, Err(DeliveryFault::Protocol));
}

/// The name is public, what it leads to is not.
pub async fn a_name_that_leads_inward_is_refused(subject: &Subject) {
    assert!(subject.sender.target(&subject.inward).is_ok(), "its text tells nothing");
    assert_eq!(
        subject.sender.send(&request(&subject.inward)).await,
        Err(DeliveryFault::Forbidden)
    );
    assert_eq!((subject.seen)(), vec![]);
}

/// Said when they are given, and again when something is to be sent there.
pub async fn bad_addresses_are_refused_by_their_text(subject: &Subject) {
    for (url, refusal) in [
        ("hooks.example.org/x", TargetRefusal::Malformed),
        ("ftp://hooks.example.org/", TargetRefusal::NotHttps),
        ("https://", TargetRefusal::Malformed),
        ("https://hooks.example.org/#part", TargetRefusal::Malformed),
        ("http://hooks.example.org/", TargetRefusal::NotHttps),
        ("https://user@hooks.example.org/", TargetRefusal::Userinfo),
        ("https://user:pass@hooks.example.org/", TargetRefusal::Userinfo),
        ("https://hooks.example.org:22/", TargetRefusal::Port),
        ("https://10.0.0.1/", TargetRefusal::NotPublic),
        ("https://[::1]/", TargetRefusal::NotPublic),
        ("https://0x7f.1/", TargetRefusal::NotPublic),
        ("https://169.254.169.254/latest/meta-data", TargetRefusal::NotPublic),
    ] {
        assert_eq!(subject.sender.target(url), Err(refusal), "{url}");
        assert_eq!(
            subject.sender.send(&request(url)).await,
            Err(DeliveryFault::Forbidden),
            "{url}"
        );
    }
    assert_eq!(
        subject.sender.target("https://Hooks.Example.org/x?y=1").as_deref(),
        Ok("hooks.example.org:443")
    );
    assert_eq!(
        subject.sender.target("https://hooks.example.org:8443/").as_deref(),
        Ok("hooks.example.org:8443")
    );
}
