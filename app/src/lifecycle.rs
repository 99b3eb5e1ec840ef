//! The life of the process: every task is started here, told here to finish, and cut off here when it does not.
use std::{any::Any, future::Future, io, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a task that was cut off may take to be dropped, at most; it is a part of the time that ending may take.
const LAST_MOMENT: Duration = Duration::from_millis(250);

/// How far the process is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// New work is taken.
    Running,
    /// No new work; what was begun is finished.
    Draining,
    /// Whatever is left is dropped.
    Stopped,
}

/// The way out, shared by all who must hear of it. Clones are the same way out.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    stopped: CancellationToken,
}

impl Shutdown {
    /// A process that runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// The present stage.
    pub fn stage(&self) -> Stage {
        if self.stopped.is_cancelled() {
            Stage::Stopped
        } else if self.draining.is_cancelled() {
            Stage::Draining
        } else {
            Stage::Running
        }
    }

    /// Whether draining has begun (and perhaps ended).
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Resolves when draining begins: long-lived streams end, loops finish their step.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Resolves when everything left is dropped.
    pub async fn stopped(&self) {
        self.stopped.cancelled().await;
    }

    /// The same as [`Shutdown::draining`], as a future of its own for those who keep it.
    pub fn draining_owned(&self) -> impl Future<Output = ()> + Send + Sync + 'static {
        self.draining.clone().cancelled_owned()
    }

    /// Begins to drain. Does nothing the second time.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Drops everything left.
    pub fn stop(&self) {
        self.draining.cancel();
        self.stopped.cancel();
    }
}

/// How the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Every task finished by itself.
    Clean,
    /// This many tasks were cut off, at the deadline or by a second signal.
    Cut(usize),
}

/// Starts tasks and sees them out. Clones share the same tasks.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    shutdown: Shutdown,
    tasks: TaskTracker,
}

impl Lifecycle {
    /// A life without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// The way out that these tasks hear of.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// The number of tasks that have not ended.
    pub fn running(&self) -> usize {
        self.tasks.len()
    }

    /// Runs `task` until it ends or the process stops. A panic is logged under `name` and ends this task alone.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            run(name, task, &shutdown).await;
        });
    }

    /// As [`Lifecycle::spawn`], for a task without which the process is of no use: when it ends or panics before
    /// draining, the process drains, so that whoever supervises it starts a whole one.
    pub fn spawn_essential(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            run(name, task, &shutdown).await;
            if !shutdown.is_draining() {
                tracing::error!(task = name, "a task that the process needs has ended, draining");
                shutdown.drain();
            }
        });
    }

    /// Hears SIGTERM and SIGINT: the first drains, the second cuts.
    ///
    /// # Errors
    /// When the operating system refuses the handlers.
    pub fn listen_for_signals(&self) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.shutdown.clone();
        // Not among the tasks that are waited for: it lives until the process does.
        TaskTracker::new().spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                    () = shutdown.stopped() => return,
                };
                if shutdown.is_draining() {
                    tracing::warn!(signal = name, "second signal, stopping now");
                    shutdown.stop();
                } else {
                    tracing::info!(signal = name, "draining");
                    shutdown.drain();
                }
            }
        });
        Ok(())
    }

    /// Waits until draining begins, then until every task has ended; what has not shortly before the end of `grace` is
    /// cut, so that it is over by then.
    pub async fn wait(&self, grace: Duration) -> Ending {
        let last_moment = LAST_MOMENT.min(grace / 4);
        self.shutdown.draining().await;
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => return Ending::Clean,
            () = self.shutdown.stopped() => {}
            () = tokio::time::sleep(grace - last_moment) => {}
        }
        let left = self.tasks.len();
        self.shutdown.stop();
        if tokio::time::timeout(last_moment, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "tasks that hold a thread were left behind");
        }
        if left == 0 { Ending::Clean } else { Ending::Cut(left) }
    }
}

async fn run(name: &'static str, task: impl Future<Output = ()> + Send, shutdown: &Shutdown) {
    tokio::select! {
        biased;
        () = shutdown.stopped() => {}
        ended = AssertUnwindSafe(task).catch_unwind() => {
            if let Err(panic) = ended {
                tracing::error!(task = name, panic = panic_message(panic.as_ref()), "a task panicked");
            }
        }
    }
}

/// What a panic said, when it said it in words.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test]
    async fn a_task_that_ends_when_told_is_a_clean_ending() {
        let life = Lifecycle::new();
        let shutdown = life.shutdown();
        life.spawn("polite", async move { shutdown.draining().await });
        assert_eq!(life.shutdown().stage(), Stage::Running);
        life.shutdown().drain();
        assert_eq!(life.wait(Duration::from_secs(5)).await, Ending::Clean);
    }

    #[tokio::test]
    async fn a_task_that_does_not_end_is_cut_at_the_deadline() {
        let life = Lifecycle::new();
        life.spawn("stubborn", pending());
        life.shutdown().drain();
        assert_eq!(life.wait(Duration::from_millis(20)).await, Ending::Cut(1));
        assert_eq!(life.running(), 0);
        assert_eq!(life.shutdown().stage(), Stage::Stopped);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_task_that_cannot_be_cut_does_not_prolong_the_end() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (begun, holds) = tokio::sync::oneshot::channel();
        let life = Lifecycle::new();
        life.spawn("holds a thread", async move {
            let _ = begun.send(());
            let _ = held.recv();
        });
        holds.await.unwrap();
        let grace = Duration::from_secs(1);
        let started = tokio::time::Instant::now();
        life.shutdown().drain();
        assert_eq!(life.wait(grace).await, Ending::Cut(1));
        let took = started.elapsed();
        assert!(took < grace + LAST_MOMENT / 2, "{took:?}");
        drop(release);
    }

    #[tokio::test]
    async fn a_second_word_cuts_before_the_deadline() {
        let life = Lifecycle::new();
        life.spawn("stubborn", pending());
        life.shutdown().drain();
        let waiting = life.wait(Duration::from_secs(3600));
        life.shutdown().stop();
        assert_eq!(waiting.await, Ending::Cut(1));
    }

    #[tokio::test]
    async fn a_panic_ends_its_task_alone_unless_the_process_needs_it() {
        let life = Lifecycle::new();
        let panics = || async { panic!("on purpose") };
        life.spawn("optional", panics());
        while life.running() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(!life.shutdown().is_draining());
        life.spawn_essential("needed", panics());
        life.shutdown().draining().await;
        assert_eq!(life.wait(Duration::from_secs(5)).await, Ending::Clean);
    }
}
