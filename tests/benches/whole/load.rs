//! Load by `wrk`: one thread of it makes more requests than two cores can answer.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a stretch of load came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Load {
    /// Answers in a second, refusals not counted.
    pub(crate) rate: f64,
    /// Half of the answers came within so many milliseconds.
    pub(crate) p50: f64,
    /// All but a hundredth of the answers came within so many milliseconds.
    pub(crate) p99: f64,
    /// Answers that were no success, and answers that did not come.
    pub(crate) refused: u64,
}

/// A request that is sent again and again.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) url: String,
    headers: Vec<String>,
    /// Lua that prepares the requests; none for a plain GET.
    script: Option<String>,
}

impl Target {
    pub(crate) fn get(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            headers: Vec::new(),
            script: None,
        }
    }

    pub(crate) fn token(mut self, token: &str) -> Self {
        self.headers.push(format!("Authorization: Bearer {token}"));
        self
    }

    /// The same body by POST every time.
    pub(crate) fn post(mut self, media_type: &str, body: &str) -> Self {
        let body = body.replace('\\', "\\\\").replace('\'', "\\'");
        self.headers.push(format!("Content-Type: {media_type}"));
        self.script = Some(format!("wrk.method = 'POST'\nwrk.body = '{body}'\n"));
        self
    }

    /// Lua of the caller's.
    pub(crate) fn script(mut self, script: String) -> Self {
        self.script = Some(script);
        self
    }
}

/// Whether there is a `wrk`; says so when there is none.
pub(crate) fn possible() -> bool {
    let found = Command::new("wrk").arg("-v").output().is_ok();
    if !found {
        println!("not measured: there is no wrk (Debian package wrk)");
    }
    found
}

/// Loads a target over so many connections.
pub(crate) fn run(target: &Target, connections: u32, length: Duration) -> Load {
    let script = target.script.as_ref().map(|script| {
        let mut file = tempfile::NamedTempFile::with_suffix(".lua").expect("a temporary file");
        file.write_all(script.as_bytes()).expect("room for a script");
        file
    });
    let mut command = Command::new("wrk");
    command
        .args(["-t1", "--latency", "--timeout", "20s"])
        .arg(format!("-c{connections}"))
        .arg(format!("-d{}s", length.as_secs()));
    for header in &target.headers {
        command.args(["-H", header]);
    }
    if let Some(script) = &script {
        command.arg("-s").arg(script.path());
    }
    let output = command
        .arg(&target.url)
        .stdin(Stdio::null())
        .output()
        .expect("wrk starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    read(&text)
}

fn read(text: &str) -> Load {
    let mut load = Load::default();
    let (mut requests, mut seconds) = (0_f64, 1_f64);
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("50%") {
            load.p50 = milliseconds(rest.trim());
        } else if let Some(rest) = line.strip_prefix("99%") {
            load.p99 = milliseconds(rest.trim());
        } else if let Some(rest) = line.strip_prefix("Non-2xx or 3xx responses:") {
            load.refused += rest.trim().parse::<u64>().unwrap_or(0);
        } else if let Some(rest) = line.strip_prefix("Socket errors:") {
            load.refused += rest
                .split([' ', ','])
                .filter_map(|word| word.parse::<u64>().ok())
                .sum::<u64>();
        } else if let Some((count, rest)) = line.split_once(" requests in ") {
            requests = count.parse().unwrap_or(0.0);
            seconds = milliseconds(rest.split(',').next().unwrap_or("1s")) / 1_000.0;
        }
    }
    load.rate = (requests - load.refused as f64).max(0.0) / seconds.max(0.001);
    load
}

/// `1.25ms`, `830.00us`, `1.02s`, `1.00m` in milliseconds.
fn milliseconds(text: &str) -> f64 {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let number: f64 = text[..end].parse().unwrap_or(0.0);
    match &text[end..] {
        "us" => number / 1_000.0,
        "ms" => number,
        "m" => number * 60_000.0,
        _ => number * 1_000.0,
    }
}
