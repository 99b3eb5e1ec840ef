//! The dashboard in a real terminal: drawn, steered by its keys, made smaller, and kept through the end and the return of
//! its server.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use plinth_tests::left_out;
use plinth_tests::server::{Setup, binary};
use tempfile::TempDir;

use crate::tools::eventually;

/// A terminal of its own, with one program in it. Dropping it ends both.
struct Terminal {
    home: TempDir,
}

impl Terminal {
    /// Opens one with the dashboard of a server; none where there is no tmux.
    fn open(ops: &str, width: u16, height: u16) -> Option<Self> {
        let terminal = Self {
            home: tempfile::tempdir().expect("a temporary folder"),
        };
        let (width, height) = (width.to_string(), height.to_string());
        let size = ["-x", &width, "-y", &height];
        let mut command = terminal.command(&["new-session", "-d"])?;
        command.args(size).arg("--").arg(binary()).args(["top", "--url", ops]);
        let opened = command.output().ok()?;
        assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
        Some(terminal)
    }

    /// tmux, without anybody's settings, on a socket of its own.
    fn command(&self, arguments: &[&str]) -> Option<Command> {
        Command::new("tmux").arg("-V").output().ok()?;
        let mut command = Command::new("tmux");
        command
            .args(["-u", "-f", "/dev/null", "-S"])
            .arg(self.home.path().join("socket"))
            .args(arguments);
        // What the shell around the test has set must not steer the program in the terminal.
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8");
        command.current_dir(self.home.path()).stdin(Stdio::null());
        Some(command)
    }

    fn tell(&self, arguments: &[&str]) -> Output {
        let command = self.command(arguments);
        command
            .and_then(|mut command| command.output().ok())
            .expect("tmux starts")
    }

    fn press(&self, key: &str) {
        self.tell(&["send-keys", key]);
    }

    fn picture(&self) -> String {
        String::from_utf8_lossy(&self.tell(&["capture-pane", "-p"]).stdout).into_owned()
    }

    /// The picture, once it holds a text.
    async fn shows(&self, text: &str) -> String {
        let what = format!("the terminal shows {text:?}");
        eventually(&what, async || {
            Some(self.picture()).filter(|picture| picture.contains(text))
        })
        .await
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr().lock(), "-- the terminal --\n{}", self.picture());
        }
        self.tell(&["kill-server"]);
    }
}

/// An address that a server can have again after its end.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

#[tokio::test]
async fn the_dashboard_lives_in_a_terminal_and_outlives_its_server() {
    let ops = free_address();
    let mut server = Setup::serve().env("PLINTH_OPS_BIND", &ops).start().await;
    let Some(terminal) = Terminal::open(&ops, 120, 40) else {
        return left_out("tmux");
    };
    let picture = terminal.shows("● ready").await;
    assert!(
        picture.contains("1 Overview") && picture.contains("no warnings"),
        "{picture}"
    );
    let client = server.client();
    eventually("the routes are told", async || {
        client.get("/v1/auth/whoami").await;
        let picture = terminal.picture();
        picture.contains("GET /v1/auth/whoami").then_some(())
    })
    .await;
    for (key, text) in [
        ("2", "Statements"),
        ("3", "Commit to stream"),
        ("4", "Oldest due"),
        ("?", "Keys"),
        ("1", "Routes"),
    ] {
        terminal.press(key);
        terminal.shows(text).await;
    }
    terminal.tell(&["resize-window", "-x", "80", "-y", "24"]);
    eventually("the picture fits the smaller terminal", async || {
        let picture = terminal.picture();
        let fits = picture.lines().count() == 24 && picture.lines().all(|line| line.chars().count() <= 80);
        (fits && picture.contains("q quit") && picture.contains("● ready")).then_some(())
    })
    .await;
    server.kill9();
    terminal.shows("does not answer").await;
    server.restart().await;
    terminal.press("r");
    let picture = terminal.shows(" ago, every 1 s").await;
    assert!(!picture.contains("does not answer"), "{picture}");
    terminal.press("q");
    eventually("the terminal is given back", async || {
        (!terminal.tell(&["has-session"]).status.success()).then_some(())
    })
    .await;
}
