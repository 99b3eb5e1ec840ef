//! Files of 64 KiB on local disk beside nginx, and what a large one takes of memory.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use plinth_tests::server::Setup;
use plinth_tests::site::{Backing, Person, Site};

use crate::Plan;
use crate::load::{self, Target};
use crate::process;
use crate::report::{Report, Wanted};

const UP: &str = "nginx WebDAV PUT, 64 KiB, 8 connections";
const DOWN: &str = "nginx static, 64 KiB, 8 connections";
const CONNECTIONS: u32 = 8;
const SIZE: usize = 64 * 1024;
/// Files that are read in turn.
const FILES: usize = 64;
const LARGE: u64 = 1024 * 1024 * 1024;
const PIECE: usize = 1024 * 1024;

pub(crate) async fn measure(plan: &Plan, report: &mut Report) {
    let room = |setup: Setup| {
        setup
            .env("PLINTH_TIERS_FREE_STORAGE_BYTES", (1_u64 << 40).to_string())
            .env("PLINTH_TIERS_FREE_MAX_FILE_BYTES", (2 * LARGE).to_string())
    };
    let site = Site::start_with(Backing::Sqlite, room).await;
    let person = site.person("files").await;
    // The large file first: memory that a load of small ones has left free would hide what it takes.
    large(&site, &person, report).await;
    small(plan, &site, &person, report).await;
}

async fn small(plan: &Plan, site: &Site, person: &Person, report: &mut Report) {
    if !load::possible() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder, where that of the server is, too");
    let Some(nginx) = Nginx::start(folder.path()) else {
        println!("not measured: there is no nginx with WebDAV (Debian package nginx-light)");
        return;
    };
    let (base, token) = (site.server.http(), person.client.token().expect("signed in"));
    let bytes = vec![b'x'; SIZE];
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for number in 0..FILES {
        let path = format!("/v1/files?type=bench&name=read-{number}.bin");
        let kept = person
            .client
            .post_bytes(&path, "application/octet-stream", bytes.clone())
            .await;
        ours.push(format!("/v1/files/{}/content", kept.expect_status(201).string("/id")));
        std::fs::write(folder.path().join("files").join(number.to_string()), &bytes).expect("room for a file");
        theirs.push(format!("/{number}"));
    }
    let uploads = [
        (UP, Target::get(&nginx.base).script(puts()), Wanted::Nothing),
        (
            "POST /v1/files, 64 KiB, SQLite",
            Target::get(format!("{base}/v1/files?type=bench&name=written.bin"))
                .token(token)
                .post("application/octet-stream", &"x".repeat(SIZE)),
            Wanted::PartOf(0.5, UP.to_owned()),
        ),
    ];
    let downloads = [
        (DOWN, Target::get(&nginx.base).script(gets(&theirs)), Wanted::Nothing),
        (
            "GET /v1/files/{id}/content, 64 KiB, SQLite",
            Target::get(base).token(token).script(gets(&ours)),
            Wanted::PartOf(0.5, DOWN.to_owned()),
        ),
    ];
    for _ in 0..plan.rounds {
        report.add(
            "write and sync of 64 KiB and its name, 8 at once",
            "files/s",
            synced(folder.path(), &bytes, plan.length),
            Wanted::Nothing,
        );
        for (name, target, wanted) in uploads.iter().chain(&downloads) {
            let load = load::run(target, CONNECTIONS, plan.length);
            assert_eq!(load.refused, 0, "{name}");
            report.add(name, "files/s", load.rate, wanted.clone());
        }
    }
}

/// What the disk does of durable files: `nginx` leaves them to the kernel, Plinth answers when they are on it.
fn synced(folder: &Path, bytes: &[u8], length: Duration) -> f64 {
    let start = Instant::now();
    let one = |writer: u32| {
        let mut files = 0_u32;
        while start.elapsed() < length {
            let path = folder.join(format!("synced-{writer}-{files}"));
            let mut file = std::fs::File::create_new(path).expect("a file");
            std::io::Write::write_all(&mut file, bytes).expect("room for a file");
            file.sync_all().expect("a disk");
            std::fs::File::open(folder)
                .and_then(|names| names.sync_all())
                .expect("a disk");
            files += 1;
        }
        files
    };
    let files: u32 = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..CONNECTIONS)
            .map(|writer| scope.spawn(move || one(writer)))
            .collect();
        writers.into_iter().map(|writer| writer.join().expect("a writer")).sum()
    });
    let rate = f64::from(files) / start.elapsed().as_secs_f64();
    for entry in std::fs::read_dir(folder).expect("the folder").flatten() {
        if entry.file_name().to_string_lossy().starts_with("synced-") {
            std::fs::remove_file(entry.path()).expect("it was made here");
        }
    }
    rate
}

/// Requests that read one file after the other.
fn gets(paths: &[String]) -> String {
    let list: Vec<String> = paths.iter().map(|path| format!("'{path}'")).collect();
    format!(
        "local paths, requests, next = {{{}}}, {{}}, 0\n\
         function init() for i, path in ipairs(paths) do requests[i] = wrk.format('GET', path) end end\n\
         function request() next = next % #requests + 1 return requests[next] end\n",
        list.join(",")
    )
}

/// Requests that write one new file after the other.
fn puts() -> String {
    format!(
        "local body, next = string.rep('x', {SIZE}), 0\n\
         function request() next = next + 1 return wrk.format('PUT', '/new-' .. next, nil, body) end\n"
    )
}

/// An nginx of our own; dropping it ends it.
struct Nginx {
    child: Child,
    base: String,
}

impl Nginx {
    fn start(folder: &Path) -> Option<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .ok()?
            .local_addr()
            .ok()?
            .port();
        // Started by the super-user it works as somebody else, who must come in.
        let open = |folder: &Path, mode| {
            std::fs::create_dir_all(folder).expect("a folder");
            std::fs::set_permissions(folder, Permissions::from_mode(mode)).expect("the folder is ours");
        };
        open(folder, 0o755);
        open(&folder.join("files"), 0o777);
        open(&folder.join("bodies"), 0o777);
        let home = folder.display();
        // What Debian configures, with its log of requests: ours is on as well.
        let text = format!(
            "daemon off;\nworker_processes auto;\npid {home}/pid;\nerror_log {home}/error.log;\n\
             events {{ worker_connections 768; }}\n\
             http {{ sendfile on; tcp_nopush on; keepalive_requests 1000000; access_log {home}/access.log;\n\
             client_body_temp_path {home}/bodies; client_max_body_size 0; client_body_buffer_size 128k;\n\
             server {{ listen 127.0.0.1:{port}; root {home}/files; location / {{ dav_methods PUT; }} }} }}\n"
        );
        let config = folder.join("nginx.conf");
        std::fs::write(&config, text).expect("room for a file");
        let child = Command::new("nginx")
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let base = format!("http://127.0.0.1:{port}");
        let mut this = Self { child, base };
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(this);
            }
            if this.child.try_wait().ok().flatten().is_some() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // QUIT by the shell, whose `kill` is built in: a killed master would leave its workers behind.
        let _ = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -QUIT {}", self.child.id()))
            .status();
        let _ = self.child.wait();
    }
}

/// 1 GiB up and down again, and by how much the memory in use grew meanwhile.
async fn large(site: &Site, person: &Person, report: &mut Report) {
    let pid = site.server.pid();
    process::forget_peak(pid);
    let before = process::resident(pid);
    let start = Instant::now();
    let pieces =
        futures_util::stream::iter((0..LARGE / PIECE as u64).map(|_| Ok::<_, std::io::Error>(vec![b'y'; PIECE])));
    let request = person
        .client
        .request(reqwest::Method::POST, "/v1/files?type=bench&name=large.bin")
        .header("Content-Type", "application/octet-stream")
        .body(reqwest::Body::wrap_stream(pieces));
    let response = request.send().await.expect("the server answers");
    assert_eq!(response.status(), 201);
    let kept: serde_json::Value = response.json().await.expect("a file");
    report.add("1 GiB up", "s", start.elapsed().as_secs_f64(), Wanted::Nothing);
    let growth = process::peak(pid) - before;
    report.add("memory that 1 GiB up takes", "MiB", growth, Wanted::AtMost(32.0));
    process::forget_peak(pid);
    let before = process::resident(pid);
    let start = Instant::now();
    let path = format!("/v1/files/{}/content", kept["id"].as_str().expect("an id"));
    let mut response = person
        .client
        .request(reqwest::Method::GET, &path)
        .send()
        .await
        .expect("it answers");
    let mut read = 0;
    while let Some(piece) = response.chunk().await.expect("a whole file") {
        read += piece.len() as u64;
    }
    assert_eq!(read, LARGE);
    report.add("1 GiB down", "s", start.elapsed().as_secs_f64(), Wanted::Nothing);
    let growth = process::peak(pid) - before;
    report.add("memory that 1 GiB down takes", "MiB", growth, Wanted::AtMost(32.0));
}
