//! Passwords: every byte counts, spelling does not, what is easy to guess is refused, and none is ever repeated.

use plinth_tests::api::{Client, Reply};
use plinth_tests::site::{Backing, Site, new_address, sign_up_body, verified};
use serde_json::json;
use unicode_normalization::UnicodeNormalization as _;

use crate::tools::assert_refused;

plinth_tests::on_both!(
    every_byte_counts,
    spellings_agree,
    weak_ones_are_refused,
    bounds_are_kept_without_an_echo
);

async fn login(client: &Client, email: &str, password: &str) -> Reply {
    client
        .post("/v1/auth/login", &json!({ "email": email, "password": password }))
        .await
}

async fn register(client: &Client, email: &str, password: &str) -> Reply {
    client.post("/v1/auth/register", &sign_up_body(email, password)).await
}

/// Asserts that an account with `password` opens by exactly that one and by none of `others`.
async fn assert_opens_by(site: &Site, password: &str, others: &[String]) {
    let (email, visitor) = (new_address("ada"), site.client());
    verified(&visitor, &site.outbox(), &email, password).await;
    let _ = login(&visitor, &email, password).await.expect_status(200);
    for other in others {
        assert_ne!(password, other);
        let refused = login(&visitor, &email, other).await;
        assert_eq!(refused.status, 401, "{other:?} opens the account of {password:?}");
        let _ = refused.expect_problem(401, "invalid_credentials");
    }
}

async fn every_byte_counts(backing: Backing) {
    let site = Site::start(backing).await;
    // bcrypt itself stops at NUL and after 72 bytes.
    let with_nul = "gravel lantern\0 orchard drum".to_owned();
    let cut = "gravel lantern".to_owned();
    assert_opens_by(
        &site,
        &with_nul,
        &[
            cut,
            "gravel lantern\0 orchard plum".to_owned(),
            with_nul.replace('\0', ""),
        ],
    )
    .await;

    let first = "Twelve otters carry a wicker basket across the frozen canal at midnight.";
    assert_eq!(first.len(), 72);
    let (one, two) = (format!("{first}a"), format!("{first}b"));
    assert_opens_by(&site, &one, &[two, first.to_owned(), format!("{one}a")]).await;

    let long: String = "The harbour master keeps eleven spare compasses, 4 kites. "
        .chars()
        .cycle()
        .take(256)
        .collect();
    let flipped = |at: usize| {
        let mut bytes = long.clone().into_bytes();
        bytes[at] ^= 1;
        String::from_utf8(bytes).expect("still ASCII")
    };
    assert_opens_by(
        &site,
        &long,
        &[
            flipped(255),
            flipped(128),
            flipped(72),
            flipped(0),
            long[..255].to_owned(),
        ],
    )
    .await;
}

async fn spellings_agree(backing: Backing) {
    let site = Site::start(backing).await;
    let (composed, decomposed) = (new_address("ada"), new_address("ada"));
    let nfc: String = "Zwölf Ångström über dem Café, ½ Stück ﬁn".nfc().collect();
    let nfd: String = nfc.nfd().collect();
    assert_ne!(nfc, nfd);
    for (email, typed, again) in [(&composed, &nfc, &nfd), (&decomposed, &nfd, &nfc)] {
        verified(&site.client(), &site.outbox(), email, typed).await;
        for password in [typed, again] {
            let _ = login(&site.client(), email, password).await.expect_status(200);
        }
        let bare = "Zwolf Angstrom uber dem Cafe, ½ Stuck ﬁn";
        let _ = login(&site.client(), email, bare)
            .await
            .expect_problem(401, "invalid_credentials");
    }
}

async fn weak_ones_are_refused(backing: Backing) {
    let site = Site::start(backing).await;
    let email = "margaret.hamilton@apollo-software.example.org";
    for weak in [
        "passwordpassword",
        "aaaaaaaaaaaaaaaaaaaa",
        "1234567890123456789",
        "margaret.hamilton@apollo-software",
        "Ada Example Ada Example",
    ] {
        let refused = register(&site.client(), email, weak).await;
        assert_eq!(refused.status, 422, "{weak}: {refused}");
        assert_refused(
            &refused.expect_problem(422, "validation_failed"),
            "#/password",
            "too_guessable",
        );
    }
    let short = register(&site.client(), email, "kX9$vQ2!mZ7#pL")
        .await
        .expect_problem(422, "validation_failed");
    assert_refused(&short, "#/password", "too_short");
    // No rule about kinds of characters: words alone are good.
    let _ = register(&site.client(), email, "walrus teapot hinge sparrow")
        .await
        .expect_status(202);
}

async fn bounds_are_kept_without_an_echo(backing: Backing) {
    let site = Site::start(backing).await;
    let (visitor, email) = (site.client(), new_address("ada"));
    let secret = "echoless-";
    let too_many: String = secret.chars().cycle().take(257).collect();
    // Few code points, but more than 1,024 bytes of them.
    let too_heavy = format!("{secret}{}", "\u{1F980}".repeat(255));
    for password in [too_many.as_str(), too_heavy.as_str(), &secret.repeat(1_000)] {
        for reply in [
            register(&visitor, &email, password).await,
            login(&visitor, &email, password).await,
        ] {
            let reply = reply.expect_problem(422, "validation_failed");
            assert_refused(&reply, "#/password", "too_long");
            assert!(!reply.text().contains(secret), "{reply}");
        }
    }
    // Exactly at the bound is good: 256 code points.
    let most: String = "Fourteen geese argue about the price of 9 umbrellas. "
        .chars()
        .cycle()
        .take(256)
        .collect();
    let _ = register(&visitor, &email, &most).await.expect_status(202);
    assert!(!site.server.stderr().contains("geese"), "no password is logged");
    assert!(!site.server.stderr().contains(secret), "no password is logged");
}
