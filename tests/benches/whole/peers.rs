//! The limits of the stack: bare handlers over poem-openapi and SeaORM, each in a process of its own as Plinth is.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use poem::listener::{Acceptor as _, Listener as _, TcpListener};
use poem::{Route, Server};
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi, OpenApiService};
use sea_orm::entity::prelude::*;
use sea_orm::{ConnectOptions, Database, DatabaseConnection};

/// As many connections as Plinth has by default.
const CONNECTIONS: u32 = 15;

/// A running peer; dropping it ends it.
pub(crate) struct Peer {
    child: Child,
    pub(crate) base: String,
}

impl Peer {
    /// A handler that answers a small JSON object.
    pub(crate) fn json() -> Self {
        Self::start(&["json"])
    }

    /// A handler that reads a user by id.
    pub(crate) fn find(database: &str) -> Self {
        Self::start(&["find", database])
    }

    fn start(arguments: &[&str]) -> Self {
        let this = std::env::current_exe().expect("this program has a path");
        let mut child = Command::new(this)
            .arg("--peer")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts again");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output is ours");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("it tells its address");
        assert!(!line.is_empty(), "the peer {arguments:?} ended at its start");
        Self {
            child,
            base: line.trim().to_owned(),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail only for a child that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Object)]
struct Health {
    status: String,
}

struct JsonApi;

#[OpenApi]
impl JsonApi {
    #[oai(path = "/json", method = "get")]
    async fn json(&self) -> Json<Health> {
        Json(Health {
            status: "ok".to_owned(),
        })
    }
}

mod user {
    use super::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "users")]
    pub(super) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub email: String,
        pub name: String,
        pub password_scheme: String,
        pub password_cost: i32,
        pub password_pepper: String,
        pub password_hash: String,
        pub tier: String,
        pub role: String,
        pub epoch: i64,
        pub disabled_at: Option<i64>,
        pub created_at: i64,
        pub updated_at: i64,
        pub version: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(super) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

#[derive(Object)]
struct UserBody {
    id: String,
    email: String,
    name: String,
    tier: String,
    role: String,
    created_at: i64,
    updated_at: i64,
}

struct FindApi(DatabaseConnection);

#[OpenApi]
impl FindApi {
    #[oai(path = "/users/:id", method = "get")]
    async fn find(&self, id: Path<Uuid>) -> poem::Result<Json<UserBody>> {
        let found = user::Entity::find_by_id(id.0).one(&self.0).await;
        let found = found.map_err(poem::error::InternalServerError)?;
        let user = found.ok_or_else(|| poem::Error::from_status(poem::http::StatusCode::NOT_FOUND))?;
        Ok(Json(UserBody {
            id: user.id.to_string(),
            email: user.email,
            name: user.name,
            tier: user.tier,
            role: user.role,
            created_at: user.created_at,
            updated_at: user.updated_at,
        }))
    }
}

/// What the started process does.
pub(crate) fn run(arguments: &[String]) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        match arguments {
            [kind] if kind == "json" => serve(JsonApi).await,
            [kind, database] if kind == "find" => {
                let mut options = ConnectOptions::new(database);
                options
                    .max_connections(CONNECTIONS)
                    .sqlx_logging(false)
                    .test_before_acquire(false);
                serve(FindApi(
                    Database::connect(options).await.expect("the database is there"),
                ))
                .await;
            }
            other => panic!("no such peer: {other:?}"),
        }
    });
}

async fn serve(api: impl OpenApi + 'static) {
    let service = OpenApiService::new(api, "peer", "1");
    let acceptor = TcpListener::bind("127.0.0.1:0")
        .into_acceptor()
        .await
        .expect("a free port");
    let address = acceptor.local_addr().remove(0);
    let address = address.0.as_socket_addr().copied().expect("an address of TCP");
    println!("http://{address}");
    std::io::stdout().flush().expect("who started this listens");
    let served = Server::new_with_acceptor(acceptor)
        .run(Route::new().nest("/", service))
        .await;
    served.expect("it serves until it is killed");
}
