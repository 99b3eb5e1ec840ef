//! A listener with a small API behind the real edge and layers, and a client that writes bytes as they are.
use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use plinth::{
    edge::{EdgeConfig, serve},
    http::layer::{ClientAddress, EdgePolicy, RequestId, RouteTable, stack},
    lifecycle::{Ending, Lifecycle},
};
use poem::{Body, Request, Route, get, handler, http::Method, http::StatusCode, web::Data};
use poem_openapi::{
    Object, OpenApi, OpenApiService,
    param::{Path, Query},
    payload::{Binary, Json, PlainText},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use uuid::Uuid;

/// No test waits longer than this for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// What `POST /v1/raw` takes.
pub(crate) const RAW_LIMIT: u64 = 64 * 1024;

#[derive(Object)]
#[oai(deny_unknown_fields)]
struct LoginBody {
    #[oai(validator(max_length = 40))]
    email: String,
    password: String,
    device: Option<DeviceBody>,
    #[oai(validator(pattern = "^[a-z]{2}$"))]
    locale: Option<String>,
    contact: Option<Ipv4Addr>,
}

#[derive(Object)]
#[oai(deny_unknown_fields)]
struct DeviceBody {
    ports: Vec<u16>,
}

struct Api {
    gate: Arc<Gate>,
}

#[OpenApi]
impl Api {
    #[oai(path = "/v1/login", method = "post")]
    async fn login(&self, body: Json<LoginBody>) -> PlainText<String> {
        let ports = body.0.device.map_or(0, |device| device.ports.len());
        PlainText(format!("{} {} {ports}", body.0.email.len(), body.0.password.len()))
    }

    #[oai(path = "/v1/things/:id", method = "get")]
    async fn thing(&self, id: Path<Uuid>) -> PlainText<String> {
        PlainText(id.0.to_string())
    }

    #[oai(path = "/v1/things/:id", method = "delete")]
    async fn remove(&self, _id: Path<Uuid>) {}

    #[oai(path = "/v1/list", method = "get")]
    async fn list(&self, #[oai(validator(maximum(value = "200")))] limit: Query<u32>) -> PlainText<String> {
        PlainText(limit.0.to_string())
    }

    #[oai(path = "/v1/raw", method = "post")]
    async fn raw(&self, body: Binary<Body>) -> poem::Result<PlainText<String>> {
        Ok(PlainText(body.0.into_vec().await?.len().to_string()))
    }

    /// Answers when the gate is opened.
    #[oai(path = "/v1/slow", method = "get")]
    async fn slow(&self) -> PlainText<&'static str> {
        self.gate.entered.add_permits(1);
        let _ = self.gate.open.acquire().await;
        PlainText("done")
    }
}

/// Holds `GET /v1/slow` back.
pub(crate) struct Gate {
    pub(crate) entered: Semaphore,
    pub(crate) open: Semaphore,
}

#[handler]
fn who(request: &Request, address: Data<&ClientAddress>, id: Data<&RequestId>) -> String {
    format!("{} {} {}", address.0, id.0, request.method())
}

#[handler]
fn fail() -> String {
    panic!("on purpose")
}

#[handler]
fn bare() -> StatusCode {
    StatusCode::CONFLICT
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) gate: Arc<Gate>,
    pub(crate) life: Lifecycle,
}

impl Server {
    pub(crate) async fn start(config: EdgeConfig, policy: impl FnOnce(&mut EdgePolicy)) -> Self {
        let gate = Arc::new(Gate {
            entered: Semaphore::new(0),
            open: Semaphore::new(0),
        });
        let api = Api {
            gate: Arc::clone(&gate),
        };
        let extra = ["/who", "/fail", "/bare"];
        let routes = extra.iter().fold(RouteTable::new().api::<Api>(), |table, path| {
            table.route(path, &[Method::GET])
        });
        let ids = AtomicU64::new(1);
        let mut edge = EdgePolicy::new(routes, move || {
            Uuid::from_u128(ids.fetch_add(1, Ordering::Relaxed).into())
        });
        edge.body_limit = Arc::new(|_, route| if route == "/v1/raw" { RAW_LIMIT } else { 1024 });
        policy(&mut edge);
        let service = Route::new()
            .at("/who", get(who))
            .at("/fail", get(fail))
            .at("/bare", get(bare))
            .nest("/", OpenApiService::new(api, "test", "1"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let life = Lifecycle::new();
        let serving = serve(listener, stack(service, edge), config, life.clone());
        life.spawn_essential("http", async move { serving.await.unwrap() });
        Self { address, gate, life }
    }

    pub(crate) async fn plain() -> Self {
        Self::start(EdgeConfig::default(), |_| {}).await
    }

    pub(crate) async fn connect(&self) -> Raw {
        Raw(TcpStream::connect(self.address).await.unwrap())
    }

    /// One request on a connection of its own: `head` without the Host header and the empty line.
    pub(crate) async fn ask(&self, head: &str, body: &str) -> Answer {
        let mut raw = self.connect().await;
        raw.send(&request(head, body)).await;
        raw.answer().await
    }

    /// Drains and waits for the end.
    pub(crate) async fn end(&self, grace: Duration) -> Ending {
        self.life.shutdown().drain();
        timeout(PATIENCE, self.life.wait(grace))
            .await
            .expect("the server does not end")
    }
}

/// A request with the headers that a good client sends.
pub(crate) fn request(head: &str, body: &str) -> String {
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("content-length: {}\r\n", body.len())
    };
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let headers: String = headers.lines().map(|header| format!("{header}\r\n")).collect();
    format!("{line} HTTP/1.1\r\nhost: test\r\n{headers}{length}\r\n{body}")
}

/// A client that knows nothing of HTTP but how to read an answer.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) async fn send(&mut self, text: &str) {
        timeout(PATIENCE, self.0.write_all(text.as_bytes()))
            .await
            .expect("the server reads nothing")
            .unwrap();
    }

    /// Everything until the server closes; what came before a reset counts.
    pub(crate) async fn rest(&mut self) -> String {
        let mut all = Vec::new();
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut all))
            .await
            .expect("the server does not close");
        String::from_utf8(all).unwrap()
    }

    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = timeout(PATIENCE, self.0.read_u8()).await.expect("no answer");
            head.push(byte.expect("closed without a whole answer"));
        }
        String::from_utf8(head).unwrap()
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        self.answer_to(true).await
    }

    /// An answer that has no body whatever its length says.
    pub(crate) async fn answer_to_head(&mut self) -> Answer {
        self.answer_to(false).await
    }

    async fn answer_to(&mut self, has_body: bool) -> Answer {
        let head = self.head().await;
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let pairs = lines.filter_map(|line| line.split_once(": "));
        let headers: HashMap<String, String> = pairs
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; if has_body { length } else { 0 }];
        timeout(PATIENCE, self.0.read_exact(&mut body))
            .await
            .expect("half a body")
            .unwrap();
        Answer {
            status,
            headers,
            body: String::from_utf8(body).unwrap(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The problem in the body, which must be one and agree with the answer around it.
    pub(crate) fn problem(&self) -> openapi::Problem {
        assert_eq!(self.header("content-type"), openapi::PROBLEM_MEDIA_TYPE, "{self:?}");
        let problem: openapi::Problem = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem.status, self.status);
        assert_eq!(problem.request_id, self.header("x-request-id"));
        assert_eq!(problem.kind, format!("/docs/errors#{}", problem.code));
        problem
    }

    /// The code of the problem.
    pub(crate) fn code(&self) -> String {
        self.problem().code
    }
}
