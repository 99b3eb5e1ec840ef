//! A Plinth process of its own: built once, started in an empty folder on free ports, ended with its value.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::api::Client;
use crate::outbox::Outbox;
use crate::postgres::TestDatabase;
use crate::{environment, workspace_root};

/// How long a start, or an end by SIGTERM, may take on a machine that also compiles.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);
/// 32 bytes in base64. Nodes on one PostgreSQL must agree on a master key, and Plinth makes none up there.
const MASTER_KEY: &str = "cGxpbnRoIHRlc3RzIHVzZSB0aGlzIG1hc3RlciBrZXk=";
const STANDARD_ERROR: &str = "stderr.log";

/// The binary under test: `PLINTH_TEST_BINARY`, or else what cargo builds, once per test program.
///
/// # Panics
/// When it does not build.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| environment("PLINTH_TEST_BINARY").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    // Whoever measures was built to be fast, and means the binary that is.
    let profile: &[&str] = if cfg!(debug_assertions) { &[] } else { &["--release"] };
    let output = Command::new(env!("CARGO"))
        .args([
            "build",
            "-p",
            "plinth",
            "--bin",
            "plinth",
            "--message-format",
            "json-render-diagnostics",
        ])
        .args(profile)
        .current_dir(workspace_root())
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "the binary does not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let messages = String::from_utf8_lossy(&output.stdout);
    let built = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| {
            let named = message["target"]["name"] == "plinth";
            message["executable"].as_str().filter(|_| named).map(PathBuf::from)
        });
    built.expect("cargo names the executable that it built")
}

/// How a process is to be started.
#[derive(Debug, Clone)]
pub struct Setup {
    command: &'static str,
    arguments: Vec<String>,
    variables: Vec<(String, OsString)>,
    data_dir: Option<PathBuf>,
}

impl Setup {
    /// `plinth serve`: API and workers.
    pub fn serve() -> Self {
        Self::of("serve")
    }

    /// `plinth worker`: workers alone. Links of its mails name no server of the test; their tokens do all the same.
    pub fn worker() -> Self {
        Self::of("worker").env("PLINTH_PUBLIC_URL", "http://127.0.0.1:8080")
    }

    /// `plinth doctor`, for [`run`](Self::run).
    pub fn doctor() -> Self {
        Self::of("doctor")
    }

    fn of(command: &'static str) -> Self {
        // The lowest cost that bcrypt has, and no limits: a test that is about either sets its own.
        let variables = [
            ("PLINTH_AUTH_BCRYPT_COST", "4"),
            ("PLINTH_LIMITS_ENABLED", "false"),
            ("PLINTH_HTTP_BIND", "127.0.0.1:0"),
            ("PLINTH_OPS_BIND", "127.0.0.1:0"),
        ];
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        Self {
            command,
            arguments: Vec::new(),
            variables,
            data_dir: None,
        }
    }

    /// Sets one variable, in place of any earlier value.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Leaves one variable unset, so that Plinth's own default holds.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self
    }

    /// Adds one argument after the command.
    #[must_use]
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Runs on this PostgreSQL database, under the master key that all such processes of a test share.
    #[must_use]
    pub fn database(self, database: &TestDatabase) -> Self {
        self.env("PLINTH_DATABASE_URL", database.url())
            .env("PLINTH_MASTER_KEY", MASTER_KEY)
    }

    /// Uses this data folder, for example that of another node; the default is one of its own, removed at the end.
    #[must_use]
    pub fn data_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(folder.into());
        self
    }

    /// Starts the process and waits for its first line, which tells the addresses.
    ///
    /// # Panics
    /// When it ends, or says nothing within a minute; what it said on standard error is shown.
    pub async fn start(self) -> PlinthBinary {
        let mut process = self.prepare();
        process.launch().await;
        process
    }

    /// Runs the process until it ends by itself: for a start that is to be refused.
    ///
    /// # Panics
    /// When it is still there after a minute.
    pub async fn run(self) -> Output {
        let mut process = self.prepare();
        process.spawn();
        let status = process.wait().await;
        Output {
            status,
            stdout: std::fs::read(process.standard_output()).unwrap_or_default(),
            stderr: process.stderr().into_bytes(),
        }
    }

    fn prepare(self) -> PlinthBinary {
        let home = tempfile::tempdir().expect("a temporary folder");
        let data_dir = self.data_dir.clone().unwrap_or_else(|| home.path().join("plinth-data"));
        PlinthBinary {
            setup: self,
            home,
            data_dir,
            child: None,
            starts: 0,
            first_line: Value::Null,
        }
    }
}

/// A running Plinth. Dropping it kills the process and removes its folder.
#[derive(Debug)]
pub struct PlinthBinary {
    setup: Setup,
    home: TempDir,
    data_dir: PathBuf,
    child: Option<Child>,
    starts: u32,
    first_line: Value,
}

impl PlinthBinary {
    /// API and workers on SQLite in an empty folder: the first run of a user.
    pub async fn serve() -> Self {
        Setup::serve().start().await
    }

    /// Workers beside `self`: same data folder, same environment, links to this server.
    pub async fn worker(&self) -> Self {
        let command = Setup {
            command: "worker",
            arguments: Vec::new(),
            ..self.setup.clone()
        };
        // It cannot know by itself which port the server took, and its mails need the address.
        command
            .data_dir(&self.data_dir)
            .env("PLINTH_PUBLIC_URL", self.http())
            .start()
            .await
    }

    /// The address of the API, `http://127.0.0.1:PORT`.
    pub fn http(&self) -> &str {
        self.address("http")
    }

    /// The address of the operations listener.
    pub fn ops(&self) -> &str {
        self.address("ops")
    }

    fn address(&self, name: &str) -> &str {
        self.first_line[name]
            .as_str()
            .unwrap_or_else(|| panic!("no address {name:?} in {}", self.first_line))
    }

    /// The first line of standard output, as JSON.
    pub fn first_line(&self) -> &Value {
        &self.first_line
    }

    /// The data folder.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The process id.
    ///
    /// # Panics
    /// When the process was ended.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the process runs").id()
    }

    /// A client of the API, not signed in.
    pub fn client(&self) -> Client {
        Client::new(self.http())
    }

    /// A client of the operations listener.
    pub fn ops_client(&self) -> Client {
        Client::new(self.ops())
    }

    /// The mail that was handed over, below the data folder.
    pub fn outbox(&self) -> Outbox {
        Outbox::new(self.data_dir.join("outbox"))
    }

    /// Everything that was said on standard error so far, over all starts.
    pub fn stderr(&self) -> String {
        std::fs::read(self.home.path().join(STANDARD_ERROR))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Runs another command of the binary in the same environment, on the same data folder, and waits for its end.
    ///
    /// # Panics
    /// When it does not start.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.command()
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("the binary starts")
    }

    /// Sends a signal by name (`TERM`, `STOP`, `CONT`, `HUP`), without waiting.
    ///
    /// # Panics
    /// When the process was ended.
    pub fn signal(&self, name: &str) {
        // By the shell, whose `kill` is built in: the program of that name is not on every machine.
        let sent = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -{name} {}", self.pid()))
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "SIG{name} could not be sent");
    }

    /// Ends the process by SIGTERM and waits.
    ///
    /// # Panics
    /// When it is still there after a minute.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait().await
    }

    /// Waits until the process ends by itself, or by a signal that was sent.
    ///
    /// # Panics
    /// When it is still there after a minute.
    pub async fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the process runs");
        let waited = tokio::time::timeout(PATIENCE, ended(&mut child)).await;
        waited.unwrap_or_else(|_| {
            kill(&mut child);
            panic!("the process did not end within {PATIENCE:?}:\n{}", self.stderr())
        })
    }

    /// Ends the process by SIGKILL, as a crash would, and waits until it is gone.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            kill(&mut child);
        }
    }

    /// Starts again on the same data folder and environment; a process that still runs is killed first. The addresses
    /// are new ones.
    ///
    /// # Panics
    /// As [`Setup::start`].
    pub async fn restart(&mut self) {
        self.kill9();
        self.launch().await;
    }

    async fn launch(&mut self) {
        self.spawn();
        let output = self.standard_output();
        let line = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(line) = first_line(&output) {
                    return Ok(line);
                }
                if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                    return Err(status);
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        let line = match line.await {
            Ok(Ok(line)) => line,
            Ok(Err(status)) => panic!("the process ended at its start ({status}):\n{}", self.stderr()),
            Err(_) => panic!("the process told no address within {PATIENCE:?}:\n{}", self.stderr()),
        };
        self.first_line =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in the first line: {line}"));
    }

    fn spawn(&mut self) {
        self.starts += 1;
        let errors = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.home.path().join(STANDARD_ERROR));
        let output = File::create(self.standard_output());
        let mut command = self.command();
        command
            .arg(self.setup.command)
            .args(["--format", "json"])
            .args(&self.setup.arguments);
        command
            .stdin(Stdio::null())
            .stdout(output.expect("a file"))
            .stderr(errors.expect("a file"));
        self.child = Some(command.spawn().expect("the binary starts"));
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary());
        self.dress(&mut command);
        command
    }

    /// Gives a command exactly the environment of this setup: no `PLINTH_*` of the caller's shell comes through, and
    /// the folder that it stands in holds no file of configuration.
    #[expect(
        clippy::disallowed_methods,
        reason = "to take the variables of Plinth out of the inherited environment"
    )]
    fn dress(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PLINTH_") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.home.path())
            .env("PLINTH_DATA_DIR", &self.data_dir);
        command.envs(self.setup.variables.iter().map(|(name, value)| (name, value)));
    }

    /// One file per start, so that the first line is always the first.
    fn standard_output(&self) -> PathBuf {
        self.home.path().join(format!("stdout-{}.log", self.starts))
    }
}

impl Drop for PlinthBinary {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            let errors = self.stderr();
            let lines: Vec<&str> = errors.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            crate::say(&format!(
                "-- {}: the end of what plinth {} said --\n{tail}",
                crate::test_name(),
                self.setup.command
            ));
        }
    }
}

fn first_line(output: &Path) -> Option<String> {
    let text = std::fs::read_to_string(output).ok()?;
    text.split_once('\n').map(|(line, _)| line.to_owned())
}

async fn ended(child: &mut Child) -> ExitStatus {
    loop {
        if let Some(status) = child.try_wait().expect("the child is ours to wait for") {
            return status;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn kill(child: &mut Child) {
    // Both fail only for a child that is gone already, which is what is wanted.
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    /// A stand-in for the binary, to see the fixture itself at work.
    fn stand_in(script: &str) -> PlinthBinary {
        let process = Setup::serve().prepare();
        let program = process.home.path().join("stand-in");
        std::fs::write(&program, script).expect("a file");
        process
    }

    fn run(process: &mut PlinthBinary) {
        process.starts += 1;
        let output = File::create(process.standard_output()).expect("a file");
        let script = process.home.path().join("stand-in");
        process.child = Some(
            Command::new("sh")
                .arg(script)
                .stdout(output)
                .spawn()
                .expect("sh starts"),
        );
    }

    #[test]
    fn the_master_key_has_32_bytes() {
        let key = base64::engine::general_purpose::STANDARD
            .decode(MASTER_KEY)
            .expect("base64");
        assert_eq!(key.len(), 32);
    }

    #[tokio::test]
    async fn terminate_waits_for_the_exit_code() {
        let mut process = stand_in("trap 'exit 7' TERM\necho ready\nwhile :; do sleep 0.01; done\n");
        run(&mut process);
        while first_line(&process.standard_output()).is_none() {
            tokio::time::sleep(PAUSE).await;
        }
        assert_eq!(process.terminate().await.code(), Some(7));
        assert!(process.child.is_none());
    }

    #[tokio::test]
    async fn a_killed_process_is_gone_before_the_call_returns() {
        let mut process = stand_in("trap '' TERM\nwhile :; do sleep 0.01; done\n");
        run(&mut process);
        let pid = process.pid();
        process.kill9();
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_variable_set_twice_has_its_last_value_and_defaults_can_be_left_out() {
        let setup = Setup::serve()
            .env("PLINTH_AUTH_BCRYPT_COST", "10")
            .env("A", "1")
            .without("PLINTH_LIMITS_ENABLED");
        let names: Vec<&str> = setup.variables.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names.iter().filter(|name| **name == "PLINTH_AUTH_BCRYPT_COST").count(),
            1
        );
        assert!(!names.contains(&"PLINTH_LIMITS_ENABLED"));
        let process = setup.prepare();
        let mut command = Command::new("sh");
        process.dress(&mut command);
        let cost = command
            .get_envs()
            .find(|(name, _)| *name == "PLINTH_AUTH_BCRYPT_COST")
            .and_then(|(_, value)| value);
        assert_eq!(cost, Some("10".as_ref()));
    }
}
