//! A whole installation under test: a server, the database behind it, and the people who use it.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::api::Client;
use crate::outbox::Outbox;
use crate::postgres::{TestDatabase, fresh_database};
use crate::server::{PlinthBinary, Setup};

/// Good enough for the policy, and nobody's name or address.
pub const PASSWORD: &str = "seven quiet lamps under nine pears";

/// Runs each flow, an `async fn(Backing)`, once on SQLite and once on PostgreSQL.
#[macro_export]
macro_rules! on_both {
    ($($flow:ident),* $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $flow() {
                    super::$flow($crate::site::Backing::Sqlite).await;
                }
            )*
        }

        mod on_postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $flow() {
                    if let Some(backing) = $crate::site::Backing::postgres() {
                        super::$flow(backing).await;
                    }
                }
            )*
        }
    };
}

/// The database that an installation stands on.
#[derive(Debug)]
pub enum Backing {
    /// A file in the data folder, as without any configuration.
    Sqlite,
    /// A database of its own on a real server.
    Postgres(TestDatabase),
}

impl Backing {
    /// A fresh PostgreSQL database; None, said aloud, where there is no server.
    pub fn postgres() -> Option<Self> {
        fresh_database().map(Self::Postgres)
    }

    /// What tells a process to use this database.
    #[must_use]
    pub fn applied_to(&self, setup: Setup) -> Setup {
        match self {
            Self::Sqlite => setup,
            Self::Postgres(database) => setup.database(database),
        }
    }
}

/// A running installation. The server ends before its database goes.
#[derive(Debug)]
pub struct Site {
    /// The server.
    pub server: PlinthBinary,
    /// The database behind it.
    pub backing: Backing,
}

/// Somebody with a verified account, signed in.
#[derive(Debug, Clone)]
pub struct Person {
    /// The user's id.
    pub id: String,
    /// The address.
    pub email: String,
    /// The password.
    pub password: String,
    /// A client that sends their access token.
    pub client: Client,
    /// The refresh token of the same session.
    pub refresh_token: String,
    /// The session.
    pub session_id: String,
}

impl Site {
    /// API and workers with the settings of all tests.
    pub async fn start(backing: Backing) -> Self {
        Self::start_with(backing, |setup| setup).await
    }

    /// API and workers with settings of this test's own.
    pub async fn start_with(backing: Backing, change: impl FnOnce(Setup) -> Setup) -> Self {
        let server = change(backing.applied_to(Setup::serve())).start().await;
        Self { server, backing }
    }

    /// A client that is not signed in.
    pub fn client(&self) -> Client {
        self.server.client()
    }

    /// The mail that was handed over.
    pub fn outbox(&self) -> Outbox {
        self.server.outbox()
    }

    /// The address of the database, for looking at it past Plinth.
    pub fn database_url(&self) -> String {
        match &self.backing {
            Backing::Sqlite => format!(
                "sqlite://{}?mode=rw",
                self.server.data_dir().join("plinth.db").display()
            ),
            Backing::Postgres(database) => database.url(),
        }
    }

    /// Signs somebody up, verifies the address by the mail, and signs them in. Addresses are `NAME-N@example.org`.
    pub async fn person(&self, name: &str) -> Person {
        sign_up(&self.client(), &self.outbox(), name).await
    }

    /// Makes an administrator on the command line and signs them in.
    ///
    /// # Panics
    /// When the command fails.
    pub async fn administrator(&self) -> Person {
        let email = new_address("admin");
        create_administrator(&self.server, &email, PASSWORD);
        sign_in(&self.client(), &email, PASSWORD).await
    }
}

/// Makes an administrator on the command line.
///
/// # Panics
/// When the command fails.
pub fn create_administrator(server: &PlinthBinary, email: &str, password: &str) {
    let file = server.data_dir().join("admin-password");
    std::fs::write(&file, format!("{password}\n")).expect("a file in the data folder");
    let path = file.to_string_lossy();
    let made = server.cli(&["admin", "create", "--email", email, "--password-file", &path]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// An address that no other test uses.
pub fn new_address(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{name}-{}@example.org", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The body of a sign-up.
pub fn sign_up_body(email: &str, password: &str) -> Value {
    json!({ "email": email, "password": password, "name": "Ada Example" })
}

/// Signs somebody up at a server whose mail lands in `outbox`, verifies the address and signs them in.
///
/// # Panics
/// When a step is refused.
pub async fn sign_up(client: &Client, outbox: &Outbox, name: &str) -> Person {
    let email = new_address(name);
    verified(client, outbox, &email, PASSWORD).await;
    sign_in(client, &email, PASSWORD).await
}

/// Signs up and verifies, without signing in.
///
/// # Panics
/// When a step is refused.
pub async fn verified(client: &Client, outbox: &Outbox, email: &str, password: &str) {
    let reply = client.post("/v1/auth/register", &sign_up_body(email, password)).await;
    let _ = reply.expect_status(202);
    let token = outbox.wait_for(email, "token=").await.token();
    let _ = client
        .post("/v1/auth/verify", &json!({ "token": token }))
        .await
        .expect_status(204);
}

/// Begins a session.
///
/// # Panics
/// When it is refused.
pub async fn sign_in(client: &Client, email: &str, password: &str) -> Person {
    let body = json!({ "email": email, "password": password });
    let tokens = client.post("/v1/auth/login", &body).await.expect_status(200);
    let signed_in = client.with_token(tokens.string("/access_token"));
    let claims = signed_in.get("/v1/auth/whoami").await.expect_status(200);
    Person {
        id: claims.string("/sub"),
        email: email.to_owned(),
        password: password.to_owned(),
        client: signed_in,
        refresh_token: tokens.string("/refresh_token"),
        session_id: tokens.string("/session_id"),
    }
}
