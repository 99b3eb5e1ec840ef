//! `plinth serve` and `plinth worker`: a whole process, from the sockets to the last answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use poem::http::Method;
use poem::{Endpoint, EndpointExt, Route};
use poem_openapi::OpenApiService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::args::ExitCode;
use crate::cli::banner::{Banner, Setup};
use crate::cli::output::Output;
use crate::compose::{self, ComposeError, Ports};
use crate::config::{Config, PublicUrl, Secret, is_loopback};
use crate::edge::{self, EdgeConfig};
use crate::folder;
use crate::http::auth::TokenMeter;
use crate::http::document::Apis;
use crate::http::idempotency::Idempotency;
use crate::http::layer::{self, BodyLimit, EdgePolicy, RouteTable};
use crate::http::{
    accounts, admin, audit, dead_letters, event_types, events, files, keys, mail, me, pages, sessions, system, webhooks,
};
use crate::lifecycle::{Ending, Lifecycle};
use crate::ops::{self, Health, HttpCounters, Stats, StatsParts};
use crate::start::{self, Services, Workers};
use crate::worker::WorkCounters;

/// Of the time that stopping may take, the part that is kept for closing the database; a quarter when that is less.
const CLOSING: Duration = Duration::from_secs(2);
/// What anybody may send without a token: the longest passwords and addresses have a few kilobytes, escaped.
const PUBLIC_BODY: u64 = 16 * 1024;

/// Serves the API, and works unless told otherwise, until a signal ends it.
///
/// # Errors
/// When standard output is gone.
pub async fn serve(config: &Config, work: bool, reload: Reload, output: &mut Output) -> std::io::Result<ExitCode> {
    let lifecycle = Lifecycle::new();
    lifecycle.listen_for_signals()?;
    listen_for_reload(reload, &lifecycle)?;
    let server = match Server::start(config, work, &lifecycle).await {
        Ok(server) => server,
        Err(error) => return refuse(&error, output),
    };
    server.banner(config, true).await.print(output)?;
    server.end(config, &lifecycle).await
}

/// Works, without an API listener, until a signal ends it.
///
/// # Errors
/// When standard output is gone.
pub async fn worker(config: &Config, reload: Reload, output: &mut Output) -> std::io::Result<ExitCode> {
    let lifecycle = Lifecycle::new();
    lifecycle.listen_for_signals()?;
    listen_for_reload(reload, &lifecycle)?;
    let server = match Server::start_worker(config, &lifecycle).await {
        Ok(server) => server,
        Err(error) => return refuse(&error, output),
    };
    server.banner(config, false).await.print(output)?;
    server.end(config, &lifecycle).await
}

/// Reads the configuration again and applies what may change at run time.
pub type Reload = Box<dyn Fn() + Send + Sync>;

/// Hears SIGHUP until the process drains.
fn listen_for_reload(reload: Reload, lifecycle: &Lifecycle) -> std::io::Result<()> {
    let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
    let shutdown = lifecycle.shutdown();
    lifecycle.spawn("reload", async move {
        loop {
            tokio::select! {
                () = shutdown.draining() => return,
                _ = hangup.recv() => reload(),
            }
        }
    });
    Ok(())
}

fn refuse(error: &ComposeError, output: &mut Output) -> std::io::Result<ExitCode> {
    output.fault(&error.to_string())?;
    Ok(ExitCode::Failed)
}

/// A running process.
struct Server {
    ports: Ports,
    services: Services,
    public_url: PublicUrl,
    http: Option<SocketAddr>,
    ops: SocketAddr,
    _lock: folder::FolderLock,
}

impl Server {
    /// The sockets come first: an address that is taken is told before anything is changed.
    async fn start(config: &Config, work: bool, lifecycle: &Lifecycle) -> Result<Self, ComposeError> {
        folder::data_folder(config)?;
        let lock = folder::lock_folder(config)?;
        let http = listen(config.http.bind, "http.bind").await?;
        let ops = listen(config.ops.bind, "ops.bind").await?;
        let (http_address, ops_address) = (local(&http, config.http.bind), local(&ops, config.ops.bind));
        let public_url = config
            .public_url
            .clone()
            .unwrap_or_else(|| PublicUrl::of_listener(http_address));
        let mut ports = compose::ports(config).await?;
        start::carry(&mut ports, lifecycle);
        let services = Services::new(&ports, config, &public_url)?;
        services.start(config).await?;
        ports.sweep_uploads(config.database.url.is_postgres()).await?;
        let answered = CancellationToken::new();
        start::keep(&services, lifecycle, answered.clone());
        start::watch(&ports, lifecycle);
        let tailer = start::follow(&ports, &services, lifecycle).await?;
        let workers = if work {
            Some(start::work(&ports, &services, config, lifecycle).await?)
        } else {
            None
        };
        let table = route_table();
        let watched = Watched {
            http: Arc::new(HttpCounters::new(&table)),
            tokens: Arc::default(),
            tailer: Some(tailer),
            workers,
        };
        let endpoint = front(config, &ports, &services, lifecycle, table, &watched);
        let (mut edge, life) = (edge_config(config), lifecycle.clone());
        edge.connections = Arc::clone(&watched.http.connections);
        lifecycle.spawn_essential("http", async move {
            if let Err(error) = edge::serve(http, endpoint, edge, life).await {
                tracing::error!(%error, "the API listener failed");
            }
            answered.cancel();
        });
        spawn_ops(ops, config, &ports, &services, lifecycle, watched);
        Ok(Self {
            ports,
            services,
            public_url,
            http: Some(http_address),
            ops: ops_address,
            _lock: lock,
        })
    }

    async fn start_worker(config: &Config, lifecycle: &Lifecycle) -> Result<Self, ComposeError> {
        folder::data_folder(config)?;
        let ops = listen(config.ops.bind, "ops.bind").await?;
        let ops_address = local(&ops, config.ops.bind);
        if config.public_url.is_none() && config.http.bind.port() == 0 {
            let reason = "a worker puts links into mails and cannot know which port the server took: set it".to_owned();
            return Err(ComposeError::Setting {
                key: "public_url".to_owned(),
                reason,
            });
        }
        let public_url = config
            .public_url
            .clone()
            .unwrap_or_else(|| PublicUrl::of_listener(config.http.bind));
        let mut ports = compose::ports(config).await?;
        start::carry(&mut ports, lifecycle);
        let services = Services::new(&ports, config, &public_url)?;
        services.start(config).await?;
        let answered = CancellationToken::new();
        start::keep(&services, lifecycle, answered.clone());
        start::watch(&ports, lifecycle);
        let workers = start::work(&ports, &services, config, lifecycle).await?;
        let draining = lifecycle.shutdown();
        lifecycle.spawn("drain", async move {
            draining.draining().await;
            answered.cancel();
        });
        let watched = Watched {
            http: Arc::new(HttpCounters::new(&RouteTable::new())),
            tokens: Arc::default(),
            tailer: None,
            workers: Some(workers),
        };
        spawn_ops(ops, config, &ports, &services, lifecycle, watched);
        Ok(Self {
            ports,
            services,
            public_url,
            http: None,
            ops: ops_address,
            _lock: folder::no_lock(),
        })
    }

    async fn banner(&self, config: &Config, offer: bool) -> Banner {
        let base = |address: SocketAddr| format!("http://{address}");
        let http = self
            .http
            .map_or_else(|| "none: this process only works".to_owned(), base);
        let offered = if offer {
            self.services.admin.offer_set_up().await
        } else {
            Ok(None)
        };
        let setup = offered.unwrap_or_else(|error| {
            tracing::warn!(%error, "no set-up link could be made");
            None
        });
        Banner {
            docs: if self.http.is_some() {
                self.public_url.join("/docs")
            } else {
                "none".to_owned()
            },
            http,
            ops: base(self.ops),
            adapters: self.ports.adapters.clone(),
            setup: setup.map(|(token, _)| Setup {
                url: Secret::new(self.public_url.join(&format!("/setup?token={token}"))),
                minutes: domain::token::TokenPurpose::Setup.life().as_secs() / 60,
            }),
            dangers: config.dangers(),
            pid: std::process::id(),
        }
    }

    /// Waits for a signal, drains, and folds the database together, all within the time that stopping may take.
    async fn end(self, config: &Config, lifecycle: &Lifecycle) -> std::io::Result<ExitCode> {
        let closing = CLOSING.min(config.http.shutdown_timeout / 4);
        let ending = lifecycle.wait(config.http.shutdown_timeout - closing).await;
        // A connection that is still in use must not hold the end up.
        let _ = tokio::time::timeout(closing, self.ports.close()).await;
        match ending {
            Ending::Clean => tracing::info!("stopped"),
            Ending::Cut(tasks) => tracing::warn!(tasks, "stopped at the deadline with work unfinished"),
        }
        Ok(ExitCode::Done)
    }
}

async fn listen(address: SocketAddr, key: &str) -> Result<TcpListener, ComposeError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| {
        let way_out = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                format!("; end what listens there, or choose another with --set {key}=HOST:PORT")
            }
            _ => String::new(),
        };
        ComposeError::Setting {
            key: key.to_owned(),
            reason: format!("{address} cannot be bound: {error}{way_out}"),
        }
    })
}

fn local(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

fn edge_config(config: &Config) -> EdgeConfig {
    EdgeConfig {
        max_connections: config.http.max_connections,
        head_timeout: config.http.header_timeout,
        idle_timeout: config.http.idle_timeout,
        body_stall: config.http.body_stall_timeout,
        max_head_bytes: config.http.max_header_bytes,
        accept_grace: config.http.drain_grace,
        ..EdgeConfig::default()
    }
}

/// What is counted while a process runs, beside what its services count themselves.
struct Watched {
    http: Arc<HttpCounters>,
    tokens: Arc<TokenMeter>,
    tailer: Option<Arc<WorkCounters>>,
    workers: Option<Workers>,
}

/// The paths of the API listener.
fn route_table() -> RouteTable {
    let table = RouteTable::new().api::<Apis>();
    let system = system::PATHS.iter();
    let table = system.fold(table, |table, path| table.route(path, &[Method::GET]));
    let pages = pages::PATHS.iter();
    pages.fold(table, |table, path| table.route(path, &[Method::GET, Method::POST]))
}

/// All routes of the API listener behind the layers.
fn front(
    config: &Config,
    ports: &Ports,
    services: &Services,
    lifecycle: &Lifecycle,
    table: RouteTable,
    watched: &Watched,
) -> impl Endpoint + 'static {
    let service = OpenApiService::new(apis(ports, services, lifecycle), "Plinth", env!("CARGO_PKG_VERSION"));
    let mut routes = system::routes(Route::new().nest("/", service));
    let small_pages = Arc::new(pages::routes(
        Arc::clone(&services.accounts),
        Arc::clone(&services.admin),
    ));
    for path in pages::PATHS {
        routes = routes.at(*path, Arc::clone(&small_pages));
    }
    let endpoint = routes
        .data(Arc::clone(&services.gate))
        .data(Arc::clone(&services.throttle))
        .data(Arc::clone(&watched.tokens));
    let ids = Arc::clone(&ports.toolkit.ids);
    let mut policy = EdgePolicy::new(table, move || ids.next());
    policy.body_limit = body_limit(config.http.max_json_bytes, upload_limit(config));
    policy.trusted_proxies = config.http.trusted_proxies.clone();
    policy.cors_origins = config.http.cors_origins.clone();
    let counters = Arc::clone(&watched.http);
    policy.in_flight = Arc::clone(&counters.in_flight);
    policy.observer = Some(Arc::new(move |answered| counters.count(answered)));
    layer::stack(endpoint, policy)
}

/// The largest bodies, by who may send them and where.
fn body_limit(json: u64, upload: u64) -> BodyLimit {
    Arc::new(move |method, route| match (method, route) {
        (&Method::POST, "/v1/files") => upload,
        (&Method::POST, "/v1/events/batch") => events::BATCH_BODY_LIMIT.max(json),
        (_, "/v1/admin/setup") => PUBLIC_BODY.min(json),
        (_, route) if route.starts_with("/v1/auth/") || pages::PATHS.contains(&route) => PUBLIC_BODY.min(json),
        _ => json,
    })
}

/// The largest file of any plan, and room for the frame of a form around it; the plan's own limit is kept by the service.
fn upload_limit(config: &Config) -> u64 {
    let largest = config.tiers.values().map(|tier| tier.max_file_bytes).max().unwrap_or(0);
    largest.saturating_add(64 * 1024)
}

fn apis(ports: &Ports, services: &Services, lifecycle: &Lifecycle) -> Apis {
    let (idempotency, releaser) = Idempotency::new(Arc::clone(&ports.idempotency), Arc::clone(&ports.toolkit.clock));
    lifecycle.spawn("idempotency keys", releaser);
    let idempotency = Arc::new(idempotency);
    (
        accounts::AccountsApi {
            accounts: Arc::clone(&services.accounts),
        },
        sessions::SessionsApi {
            sessions: Arc::clone(&services.sessions),
            gate: Arc::clone(&services.gate),
        },
        me::MeApi {
            accounts: Arc::clone(&services.accounts),
            sessions: Arc::clone(&services.sessions),
            usage: Arc::clone(&ports.usage),
            files: Arc::clone(&ports.files),
            tiers: Arc::clone(&services.tiers),
            clock: Arc::clone(&ports.toolkit.clock),
        },
        files::FilesApi {
            files: Arc::clone(&services.files),
            idempotency: Arc::clone(&idempotency),
        },
        events::EventsApi {
            events: Arc::clone(&services.events),
            idempotency: Arc::clone(&idempotency),
            tickets: Arc::clone(&services.tickets),
            gate: Arc::clone(&services.gate),
            shutdown: lifecycle.shutdown(),
        },
        event_types::EventTypesApi {
            schemas: Arc::clone(&services.schemas),
            source: services.events.source().to_owned(),
        },
        mail::MailApi {
            mails: Arc::clone(&services.mails),
        },
        admin::AdminApi {
            admin: Arc::clone(&services.admin),
        },
        keys::KeysApi {
            keyring: Arc::clone(&ports.keyring),
        },
        dead_letters::DeadLettersApi {
            letters: Arc::clone(&services.dead_letters),
        },
        audit::AuditApi {
            audit: Arc::clone(&services.audit),
            source: services.events.source().to_owned(),
        },
        webhooks::WebhooksApi {
            shared: shared_webhooks(ports, services, &idempotency),
        },
        webhooks::InstallationWebhooksApi {
            shared: shared_webhooks(ports, services, &idempotency),
        },
    )
}

fn shared_webhooks(ports: &Ports, services: &Services, idempotency: &Arc<Idempotency>) -> webhooks::Shared {
    webhooks::Shared {
        webhooks: Arc::clone(&services.webhooks),
        idempotency: Arc::clone(idempotency),
        clock: Arc::clone(&ports.toolkit.clock),
    }
}

fn spawn_ops(
    listener: TcpListener,
    config: &Config,
    ports: &Ports,
    services: &Services,
    lifecycle: &Lifecycle,
    watched: Watched,
) {
    let health = Arc::new(Health {
        database: Arc::clone(&ports.database),
        gate: Arc::clone(&services.gate),
        shutdown: lifecycle.shutdown(),
        backends: ports
            .guarded
            .iter()
            .map(|guarded| (guarded.name.clone(), Arc::clone(&guarded.state)))
            .collect(),
    });
    let stats = Arc::new(Stats::new(StatsParts {
        node: ports.toolkit.id().to_string(),
        clock: Arc::clone(&ports.toolkit.clock),
        started_at: ports.toolkit.now(),
        health: Arc::clone(&health),
        http: watched.http,
        tokens: watched.tokens,
        database: Arc::clone(&ports.database),
        log: Arc::clone(&ports.log),
        appended: Arc::clone(&ports.appended),
        events: Arc::clone(&services.events),
        mails: Arc::clone(&ports.mails),
        webhooks: Arc::clone(&ports.webhook_queue),
        sent_webhooks: Arc::clone(&services.webhooks),
        hasher: Arc::clone(&ports.hasher),
        gate: Arc::clone(&services.gate),
        tailer: watched.tailer,
        workers: watched.workers,
        broker: ports.relay.as_ref().map(|relay| Arc::clone(&relay.probe)),
        backends: ports
            .guarded
            .iter()
            .map(|guarded| Arc::clone(&guarded.figures))
            .collect(),
        process: Arc::clone(&ports.process),
    }));
    let ids = Arc::clone(&ports.toolkit.ids);
    let mut policy = EdgePolicy::new(ops::table(), move || ids.next());
    // A page in a browser on this machine can reach a loopback port under a name of its own making; it cannot choose these names.
    if is_loopback(config.ops.bind) {
        let ip = config.ops.bind.ip();
        policy.allowed_hosts = Some(vec![
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            "[::1]".to_owned(),
            ip.to_string(),
        ]);
    }
    let endpoint = layer::stack(
        ops::routes(health, stats, config.ops.token.clone(), lifecycle.shutdown()),
        policy,
    );
    // Few watch a process, and what hangs here must not keep it.
    let edge = EdgeConfig {
        max_connections: 64,
        ..edge_config(config)
    };
    let life = lifecycle.clone();
    lifecycle.spawn_essential("ops", async move {
        if let Err(error) = edge::serve(listener, endpoint, edge, life).await {
            tracing::error!(%error, "the operations listener failed");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_needs_no_token_sends_little() {
        let limit = body_limit(1_000_000, 5_000_000);
        for (method, route, most) in [
            (Method::POST, "/v1/auth/login", PUBLIC_BODY),
            (Method::POST, "/v1/auth/password/reset", PUBLIC_BODY),
            (Method::POST, "/v1/admin/setup", PUBLIC_BODY),
            (Method::POST, "/setup", PUBLIC_BODY),
            (Method::POST, "/verify", PUBLIC_BODY),
            (Method::POST, "/v1/files", 5_000_000),
            (Method::GET, "/v1/files", 1_000_000),
            (Method::POST, "/v1/events", 1_000_000),
            (Method::POST, "/v1/events/batch", events::BATCH_BODY_LIMIT),
            (Method::POST, "", 1_000_000),
        ] {
            assert_eq!(limit(&method, route), most, "{method} {route}");
        }
        assert_eq!(body_limit(1_000, 1_000)(&Method::POST, "/v1/auth/login"), 1_000);
    }

    #[test]
    fn every_route_that_needs_no_token_is_among_them() {
        let document: serde_json::Value = serde_json::from_str(crate::http::document::document()).unwrap();
        let limit = body_limit(1_000_000, 1_000_000);
        let mut public = 0;
        for (path, operations) in document["paths"].as_object().unwrap() {
            let post = &operations["post"];
            if post["security"].as_array().is_some_and(Vec::is_empty) && post.get("requestBody").is_some() {
                public += 1;
                assert_eq!(limit(&Method::POST, path), PUBLIC_BODY, "{path}");
            }
        }
        assert!(public >= 6, "{public}");
    }
}
