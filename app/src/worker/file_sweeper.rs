//! The file sweeper: removes blobs that no file stands for, and gives the room that they held back.

use std::sync::Arc;
use std::time::Duration;

use ports::BackendError;

use crate::lifecycle::Shutdown;
use crate::service::files::{Files, Swept};

/// How often it looks: room held by an upload that broke off is back within about two of these.
const EVERY: Duration = Duration::from_secs(60);

/// Sweeps at the start and then every minute. It needs no lease: what it does can be done by many at once, and each
/// process that takes uploads runs one, since it alone knows which of its own uploads broke off.
#[derive(Debug)]
pub struct FileSweeper {
    files: Arc<Files>,
}

impl FileSweeper {
    /// A sweeper of these files.
    pub fn new(files: Arc<Files>) -> Self {
        Self { files }
    }

    /// Sweeps once, a bounded number of blobs.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn step(&self) -> Result<Swept, BackendError> {
        self.files.sweep().await
    }

    /// Sweeps until the process drains.
    pub async fn run(self, shutdown: Shutdown) {
        while !shutdown.is_draining() {
            let more = match self.step().await {
                Ok(swept) => {
                    if swept.removed > 0 {
                        tracing::info!(
                            removed = swept.removed,
                            failed = swept.failed,
                            "leftover blobs were removed"
                        );
                    }
                    swept.more
                }
                Err(error) => {
                    tracing::warn!(%error, "leftover blobs could not be looked up");
                    false
                }
            };
            if !more {
                tokio::select! {
                    () = shutdown.draining() => {}
                    () = tokio::time::sleep(EVERY) => {}
                }
            }
        }
    }
}
